"""What the server passes on: a request's head, a request, an answer."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, NamedTuple, Optional, Tuple
from urllib.parse import unquote_to_bytes

Fields = Tuple[Tuple[str, str], ...]
_LENGTH = re.compile(rb"[0-9]{1,18}\Z")


class Head(NamedTuple):
    """A request without its body.

    Args:
        method: Such as `GET`.
        path: The path, percent-decoded, without the query.
        fields: The header fields, by names in lower case.
        length: Bytes of the body.
    """

    method: str
    path: str
    fields: Dict[str, str]
    length: int


class Answer(NamedTuple):
    """An answer. `fields` are those beside type and length of the content."""

    status: int
    content: bytes
    content_type: str = "application/json"
    fields: Fields = ()


class HttpError(Exception):
    """A request that is answered by an error.

    Args:
        status: The status code.
        text: One sentence.
        retry_after: Seconds after which trying again makes sense.
    """

    def __init__(
        self, status: int, text: str, retry_after: Optional[int] = None, fields: Fields = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.fields = fields
        if retry_after is not None:
            self.fields += (("Retry-After", str(retry_after)),)

    def answer(self) -> Answer:
        """The error as an answer, in the protocol's form."""
        return json_answer(self.status, {"error": self.text}, self.fields)


def json_answer(status: int, content: Any, fields: Fields = ()) -> Answer:
    """An answer of JSON."""
    text = json.dumps(content, allow_nan=False) + "\n"
    return Answer(status, text.encode("ascii"), "application/json", fields)


def check_head(data: bytes) -> None:
    """Refuses heads that another HTTP parser could understand differently.

    Such heads are how requests are smuggled past a proxy (RFC 9112, sections 2.2, 5.2, 6.1, 6.3).
    Everything else about a head's syntax is h11's business.

    Raises:
        HttpError: The head has a bare CR or LF, a null, a folded line, two lengths, a length that
            is not digits, or a transfer coding.
    """
    if any(byte in data.replace(b"\r\n", b"") for byte in b"\r\n\0"):
        raise HttpError(400, "The request's head has a bare CR, LF or a null character.")
    names = []
    for line in data[:-4].split(b"\r\n")[1:]:
        if line[:1] in (b" ", b"\t"):
            raise HttpError(400, "The request's head has a folded line.")
        name, _, value = line.partition(b":")
        names.append(name.strip().lower())
        if names[-1] == b"content-length" and not _LENGTH.match(value.strip(b" \t")):
            raise HttpError(400, "The Content-Length is not a number.")
    if names.count(b"content-length") > 1:
        raise HttpError(400, "The request has two lengths.")
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise HttpError(400, "The request has a Content-Length and a Transfer-Encoding.")
        raise HttpError(411, "Send a Content-Length: transfer codings are not accepted.")


def make_head(method: bytes, target: bytes, fields: Any) -> Head:
    """A head from what h11 has parsed.

    Raises:
        HttpError: The target is not a path.
    """
    path = unquote_to_bytes(target.split(b"?", 1)[0])
    if not path.startswith(b"/") or b"\0" in path:
        raise HttpError(400, "The request's target is not a path.")
    named = {
        bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
        for name, value in fields
    }
    return Head(
        bytes(method).decode("latin-1"),
        path.decode("utf-8", "replace"),
        named,
        int(named.get("content-length", "0")),
    )
