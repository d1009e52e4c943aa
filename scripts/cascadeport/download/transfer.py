"""One HTTP response, and what it adds to the part of a file that has arrived."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import urllib3

from cascadeport import __version__
from cascadeport.download.disk import check_space
from cascadeport.download.part import Part
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Meter
from cascadeport.download.source import Source

_BLOCK = 1 << 16
_RETRIED = {408, 425, 429, 500, 502, 503, 504}
_TRANSIENT = (
    requests.exceptions.ConnectionError,
    requests.exceptions.Timeout,
    requests.exceptions.ChunkedEncodingError,
)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class TransientError(Exception):
    """The transfer failed, and may work when it is tried again.

    Args:
        what: A phrase for the user.
        wait_s: The pause that the server asks for.
    """

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class PermanentError(Exception):
    """This address will not serve the file, however often it is tried."""


def session(policy: Policy) -> requests.Session:
    """A session that takes bytes as they are. Proxies are those of the environment."""
    made = requests.Session()
    made.max_redirects = policy.redirects
    made.headers["User-Agent"] = f"cascadeport/{__version__}"
    # A compressed transfer can neither be resumed nor counted.
    made.headers["Accept-Encoding"] = "identity"
    return made


def request(
    web: requests.Session, address: str, part: Part, tag: str | None, policy: Policy
) -> requests.Response:
    """Requests what is missing, and makes `part` fit the response.

    Raises:
        TransientError: It may work later.
        PermanentError: It will not.
    """
    headers = {}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if tag:
            headers["If-Range"] = tag
    try:
        response = web.get(
            address, headers=headers, stream=True, timeout=(policy.connect_s, policy.stall_s)
        )
    except requests.exceptions.SSLError as error:
        raise PermanentError(
            f"its certificate is not trusted ({_reason(error)}); behind a company proxy, "
            "REQUESTS_CA_BUNDLE names the certificates to trust"
        ) from error
    except requests.exceptions.TooManyRedirects as error:
        raise PermanentError(f"it redirects more than {policy.redirects} times") from error
    except _TRANSIENT as error:
        raise TransientError(f"no answer ({_reason(error)})") from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise PermanentError(f"its response cannot be used ({_reason(error)})") from error
    try:
        _check(response, part, ranged="Range" in headers)
    except BaseException:
        response.close()
        raise
    return response


def _reason(error: BaseException) -> str:
    """The innermost cause: the outer ones repeat the address."""
    seen = error
    while True:
        inner = next((arg for arg in seen.args if isinstance(arg, BaseException)), None)
        inner = inner or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = str(seen).rsplit(": ", 1)[-1] or type(seen).__name__
    return text.rstrip(".")[:200]


def _check(response: requests.Response, part: Part, *, ranged: bool) -> None:
    hops = [hop.url for hop in response.history] + [response.url]
    if hops[0].startswith("https:") and not all(hop.startswith("https:") for hop in hops):
        raise PermanentError("it redirects from https to http")
    status = response.status_code
    if status in _RETRIED:
        raise TransientError(f"the server says {status} {response.reason}", _retry_after(response))
    if status == 416 and ranged:
        # What has arrived is longer than the server's file: it is not a part of it.
        part.restart()
        raise TransientError("the server's file is shorter than the part that has arrived")
    if status == 206 and ranged:
        found = _RANGE.match(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != part.size:
            part.restart()
            raise TransientError("the server sends another range than was requested")
    elif status == 200:
        # The server does not support ranges, or its file has changed: this is all of it.
        part.restart()
    else:
        raise PermanentError(f"the server says {status} {response.reason}")
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise PermanentError(f"it sends {coding} where the plain bytes were requested")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise PermanentError("it sends a web page, such as the login page of a proxy")


def _retry_after(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def tag_of(response: requests.Response) -> str | None:
    """What to resume by: a strong ETag, else the time of the last change (RFC 9110, 13.1.5)."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def receive(
    response: requests.Response,
    part: Part,
    source: Source,
    policy: Policy,
    meter: Meter,
    folder: Path,
) -> None:
    """Adds an response's body to the part.

    Raises:
        TransientError: The connection was cut, or it stalled; what arrived before is in the part.
        PermanentError: More bytes came than the file has.
        CascadeportError: There is not enough space on the disk.
    """
    announced = response.headers.get("Content-Length", "")
    total = source.size or (part.size + int(announced) if announced.isdigit() else 0)
    check_space(folder, max(total - part.size, 0), source.name)
    meter.total = total
    part.pieces += 1
    for block in _blocks(response, policy):
        part.append(block)
        if source.size is not None and part.size > source.size:
            part.restart()
            raise PermanentError(f"it sends more than the {source.size:,} bytes of the file")
        meter.update(part.size)


def _blocks(response: requests.Response, policy: Policy) -> Iterator[bytes]:
    """The body in blocks as they arrive, watched for a transfer that only trickles."""
    since, moved = time.monotonic(), 0
    while True:
        try:
            block = response.raw.read1(_BLOCK, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            stalled = isinstance(error, urllib3.exceptions.ReadTimeoutError)
            what = f"nothing came for {policy.stall_s:g} s" if stalled else "the connection was cut"
            raise TransientError(what) from error
        if not block:
            return
        yield block
        moved += len(block)
        now = time.monotonic()
        if now - since > policy.stall_s:
            if moved < policy.stall_bytes:
                raise TransientError(f"only {moved} bytes came in {policy.stall_s:g} s")
            since, moved = now, 0
