"""What runs here, and where it listens: a note for the health check."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import Iterator, NamedTuple, Optional

from bundle.frozen import console

_ANY = ("", "0.0.0.0", "::")


class Note(NamedTuple):
    """Where a server listens; port 0 for an `infer`, which does not."""

    pid: int
    host: str
    port: int
    tls: bool


@contextlib.contextmanager
def noted(host: str, port: int, tls: bool) -> Iterator[None]:
    """Leaves a note as long as the context lasts. Without one, the health check tests itself."""
    path = _path()
    reached = "127.0.0.1" if host in _ANY else host
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "w") as stream:
            json.dump(Note(os.getpid(), reached, port, tls)._asdict(), stream)
    except OSError as failure:
        console.note("{}: {}; the health check will load the network".format(path, failure))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.remove(path)


def read_note() -> Optional[Note]:
    """The note of a server that is still alive."""
    try:
        with open(_path(), encoding="utf-8") as stream:
            found = json.load(stream)
        note = Note(int(found["pid"]), str(found["host"]), int(found["port"]), bool(found["tls"]))
        os.kill(note.pid, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note


def _path() -> str:
    name = "cascadeport-serve-{}.json".format(os.getuid())
    return os.path.join(tempfile.gettempdir(), name)
