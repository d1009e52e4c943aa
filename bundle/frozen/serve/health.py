"""The health check: asks the server that runs here, so that the network is not loaded twice."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any, Dict, NamedTuple, Optional

from bundle.frozen.serve.note import Note, read_note

_SECONDS = 10.0


class Health(NamedTuple):
    """What a server says of itself."""

    ready: bool
    text: str


def ask_server() -> Optional[Health]:
    """What the server of this user says; None if neither it nor an `infer` runs here."""
    note = read_note()
    if note is None:
        return None
    if note.port == 0:
        return Health(True, "infer is running")
    try:
        content = _get("/readyz", note)
    except (OSError, ValueError, http.client.HTTPException) as failure:
        return Health(False, "the server does not answer: {}".format(failure))
    return Health(content.get("ready") is True, _text(content))


def _text(content: Dict[str, Any]) -> str:
    reason = content.get("reason")
    return "the server is {}{}".format(content.get("state"), ": " + reason if reason else "")


def _get(path: str, note: Note) -> Dict[str, Any]:
    if note.tls:
        # It is this machine's own server, and the certificate names its public address.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            note.host, note.port, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(note.host, note.port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        content = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return dict(content)
