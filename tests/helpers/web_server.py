"""A web server on this machine that misbehaves as it is told to, for tests of downloads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One request; a behaviour answers it."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.log.append((self.path, dict(self.headers)))
        waiting = self.server.routes[self.path]
        behaviour = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        behaviour(self)

    def head(self, status: int, **headers: str) -> None:
        """Sends status line and headers; `Content_Length=` stands for Content-Length."""
        self.send_response(status)
        self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    @property
    def offset(self) -> int:
        """Where the wanted range begins."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def log_message(self, format: str, *args: object) -> None:
        """Tests read `Server.log`."""


class Server(ThreadingHTTPServer):
    """The server. Each path has behaviours: one per request, the last one for all further ones."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.routes: dict[str, list[Behaviour]] = {}
        self.log: list[tuple[str, dict[str, str]]] = []
        # Set when the test ends: behaviours that stall wait for it, not for a time.
        self.over = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""

    def serve(self, path: str, *behaviours: Behaviour) -> str:
        """Says how requests of a path are answered and returns its address."""
        self.routes[path] = list(behaviours)
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range headers of the requests of a path."""
        return [headers.get("Range") for asked, headers in self.log if asked == path]


@contextmanager
def running() -> Iterator[Server]:
    """A server that runs during the block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def whole(content: bytes, *, tag: str = "", ranges: bool = True) -> Behaviour:
    """Sends everything, or the range that is asked for."""
    return cut(content, None, tag=tag, ranges=ranges)


def cut(content: bytes, after: int | None, *, tag: str = "", ranges: bool = True) -> Behaviour:
    """Hangs up after a number of bytes of what was asked for.

    Args:
        content: The file.
        after: How many bytes are sent; None: all.
        tag: The file's ETag; a range is given only to those who know it.
        ranges: Whether the server knows ranges at all.
    """

    def answer(request: Request) -> None:
        known = request.headers.get("If-Range") in (None, tag)
        start = request.offset if ranges and known else 0
        headers = {"ETag": tag} if tag else {}
        if start >= len(content):
            request.head(416, Content_Range=f"bytes */{len(content)}", Content_Length="0")
            return
        if start:
            end = len(content) - 1
            headers["Content_Range"] = f"bytes {start}-{end}/{len(content)}"
        request.head(206 if start else 200, Content_Length=str(len(content) - start), **headers)
        request.wfile.write(content[start:][:after])

    return answer


def stall(content: bytes, after: int) -> Behaviour:
    """Sends a number of bytes and then nothing more until the test is over."""

    def answer(request: Request) -> None:
        request.head(200, Content_Length=str(len(content)))
        request.wfile.write(content[:after])
        request.wfile.flush()
        request.server.over.wait()

    return answer


def trickle(content: bytes) -> Behaviour:
    """Sends a byte at a time: never silent, never done."""

    def answer(request: Request) -> None:
        request.head(200, Content_Length=str(len(content)))
        for index in range(len(content)):
            request.wfile.write(content[index : index + 1])
            request.wfile.flush()
            if request.server.over.wait(0.02):
                return

    return answer


def chunked(content: bytes, *, ended: bool = True) -> Behaviour:
    """Sends chunks without announcing a length."""

    def answer(request: Request) -> None:
        request.head(200, Transfer_Encoding="chunked")
        for start in range(0, len(content), 1000):
            block = content[start : start + 1000]
            request.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        if ended:
            request.wfile.write(b"0\r\n\r\n")

    return answer


def status(code: int, **headers: str) -> Behaviour:
    """Answers with a status and an empty body."""

    def answer(request: Request) -> None:
        request.head(code, Content_Length="0", **headers)

    return answer


def body(
    content: bytes, code: int = 200, *, length: int | None = None, **headers: str
) -> Behaviour:
    """Answers with exactly these headers and this body; `length` lies about Content-Length."""

    def answer(request: Request) -> None:
        announced = len(content) if length is None else length
        request.head(code, Content_Length=str(announced), **headers)
        request.wfile.write(content)

    return answer
