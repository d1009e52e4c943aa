"""HTTP/1.1 connections: asyncio moves bytes, h11 understands them, the limits are kept here."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Awaitable, Callable, Optional, Set

import h11

from bundle.frozen.serve.limits import HEAD_BYTES, Limits
from bundle.frozen.serve.messages import Answer, Head, HttpError, check_head, make_head

_END_OF_HEAD = b"\r\n\r\n"
_CHUNK = 1 << 16
_REASONS = {status.value: status.phrase for status in HTTPStatus}
# How long a connection is kept half open for a client that still sends, so that it can read why it
# was refused; and how long an idle one is watched for a last request when the server stops.
_LINGER_SECONDS = 2.0
_LAST_REQUEST_SECONDS = 0.5
_COMMON_FIELDS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
)

Admit = Callable[[Head], None]
Handle = Callable[[Head, bytes], Awaitable[Answer]]


class Connections:
    """All connections of a server.

    Args:
        limits: The limits.
        admit: Called with a request's head; raises HttpError if its body need not be read.
        handle: Answers a request; raises HttpError.
        fields: Header fields that every answer has.

    Attributes:
        count: Open connections.
        held: Bytes of bodies that are being received or waiting.
    """

    def __init__(self, limits: Limits, admit: Admit, handle: Handle, fields: Any = ()) -> None:
        self.count = 0
        self.held = 0
        self._limits = limits
        self._admit = admit
        self._handle = handle
        self._fields = tuple(fields) + _COMMON_FIELDS
        self._stopping: asyncio.Future = asyncio.get_event_loop().create_future()
        self._tasks: Set[Any] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection: the callback of `asyncio.start_server`."""
        # So that `drain` waits until everything has been passed on.
        writer.transport.set_write_buffer_limits(high=0)
        task = asyncio.current_task()
        self._tasks.add(task)
        self.count += 1
        try:
            await _Connection(self, reader, writer).serve()
        except (ConnectionError, asyncio.TimeoutError, OSError):
            pass  # the client is gone, or too slow
        finally:
            self.count -= 1
            self._tasks.discard(task)
            _close(writer)

    async def stop(self, seconds: float) -> None:
        """Lets every request that has been accepted be answered, and closes all connections."""
        if not self._stopping.done():
            self._stopping.set_result(None)
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in set(self._tasks):
            task.cancel()


class _Connection:
    """One connection: requests and answers in turn."""

    def __init__(
        self, all: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._all = all
        self._limits = all._limits
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._method = ""

    async def serve(self) -> None:
        if self._all.count > self._limits.connections:
            refusal = HttpError(503, "There are too many connections.", retry_after=1)
            await self._refuse(refusal)
            return
        while await self._serve_request():
            self._http.start_next_cycle()

    async def _serve_request(self) -> bool:
        """Reads a request and answers it; returns whether the connection goes on."""
        try:
            head = await self._read_head()
            if head is None:
                return False
        except HttpError as failure:
            await self._refuse(failure)
            return False
        try:
            self._check_length(head)
            self._all._admit(head)
        except HttpError as failure:
            return await self._refuse_body(failure, head)
        body: Optional[bytes] = None
        try:
            body = await self._read_body(head)
            answer = await self._all._handle(head, body)
        except HttpError as failure:
            if body is None:
                await self._refuse(failure)
                return False
            answer = failure.answer()
        finally:
            self._all.held -= 0 if body is None else len(body)
        await self._send(answer)
        return self._goes_on()

    async def _read_head(self) -> Optional[Head]:
        """The next request's head; None if there is no further request."""
        first = await self._first_byte()
        if not first:
            return None
        try:
            rest = await asyncio.wait_for(
                self._reader.readuntil(_END_OF_HEAD), self._limits.head_seconds
            )
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise HttpError(431, "The request's head is too long.") from None
        except asyncio.TimeoutError:
            raise HttpError(408, "The request's head took too long.") from None
        if len(rest) >= HEAD_BYTES:
            raise HttpError(431, "The request's head is too long.")
        data = first + rest
        check_head(data)
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as failure:
            raise HttpError(400, "This is not an HTTP request: {}.".format(failure)) from None
        if not isinstance(event, h11.Request):
            raise HttpError(400, "This is not an HTTP request.")
        head = make_head(event.method, event.target, event.headers)
        self._method = head.method
        return head

    async def _first_byte(self) -> bytes:
        """The first byte of the next request; empty if there is none in time."""
        read = asyncio.ensure_future(self._reader.read(1))
        stopping = self._all._stopping
        try:
            await asyncio.wait(
                {read, stopping},
                timeout=self._limits.idle_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not read.done() and stopping.done():
                await asyncio.wait({read}, timeout=_LAST_REQUEST_SECONDS)
            return read.result() if read.done() else b""
        finally:
            read.cancel()

    def _check_length(self, head: Head) -> None:
        if head.length > self._limits.body:
            raise HttpError(
                413,
                "The body has {} bytes; at most {} are accepted.".format(
                    head.length, self._limits.body
                ),
            )
        if self._all.held + head.length > self._limits.memory:
            raise HttpError(503, "Too much is being received.", retry_after=1)

    async def _read_body(self, head: Head) -> bytes:
        """Reads a body. What of it has arrived counts as held until the request is answered."""
        if self._http.they_are_waiting_for_100_continue:
            interim = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._http.send(interim))
        body = bytearray()
        end = time.monotonic() + self._limits.body_seconds
        try:
            while len(body) < head.length:
                chunk = await self._read(min(_CHUNK, head.length - len(body)), end)
                if self._all.held + len(chunk) > self._limits.memory:
                    raise HttpError(503, "Too much is being received.", retry_after=1)
                self._all.held += len(chunk)
                body += chunk
                self._feed(chunk)
        except BaseException:
            self._all.held -= len(body)
            raise
        self._feed(b"")
        return bytes(body)

    async def _read(self, count: int, end: float) -> bytes:
        try:
            chunk = await asyncio.wait_for(self._reader.read(count), end - time.monotonic())
        except asyncio.TimeoutError:
            raise HttpError(408, "The request's body took too long.") from None
        if not chunk:
            raise ConnectionError
        return chunk

    def _feed(self, chunk: bytes) -> None:
        """Tells h11 what has been read of the body."""
        if chunk:
            self._http.receive_data(chunk)
        while True:
            event = self._http.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.EndOfMessage):
                return

    async def _send(self, answer: Answer) -> None:
        fields = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.content))),
            *self._all._fields,
            *answer.fields,
        ]
        if self._all._stopping.done():
            fields.append(("Connection", "close"))
        events = [
            h11.Response(
                status_code=answer.status, headers=fields, reason=_REASONS.get(answer.status, "")
            ),
            h11.Data(data=b"" if self._method == "HEAD" else answer.content),
            h11.EndOfMessage(),
        ]
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await asyncio.wait_for(self._writer.drain(), self._limits.write_seconds)

    def _goes_on(self) -> bool:
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _refuse(self, failure: HttpError) -> None:
        """Answers what is not a request that could be followed by another, and closes."""
        answer = failure.answer()
        answer = answer._replace(fields=answer.fields + (("Connection", "close"),))
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        await self._send(answer)
        await self._linger()

    async def _refuse_body(self, failure: HttpError, head: Head) -> bool:
        """Answers at once, then reads what the client has sent meanwhile, and goes on if it can."""
        if head.length > self._limits.body or self._http.they_are_waiting_for_100_continue:
            await self._refuse(failure)
            return False
        await self._send(failure.answer())
        if self._http.our_state is not h11.DONE:
            await self._linger()
            return False
        end = time.monotonic() + self._limits.body_seconds
        left = head.length
        while left:
            chunk = await self._read(min(_CHUNK, left), end)
            self._feed(chunk)
            left -= len(chunk)
        self._feed(b"")
        return self._goes_on()

    async def _linger(self) -> None:
        """Keeps reading for a while: closing with unread data would destroy the answer."""
        if self._writer.can_write_eof():
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write_eof()
        end = time.monotonic() + _LINGER_SECONDS
        with contextlib.suppress(HttpError, ConnectionError):
            while True:
                await self._read(_CHUNK, end)


def _close(writer: asyncio.StreamWriter) -> None:
    """Closes the connection for good: a runtime's process may have a copy of its socket."""
    transport = writer.transport
    if transport.get_write_buffer_size():
        transport.abort()  # the client does not take it
        return
    transport.close()
    if writer.get_extra_info("ssl_object") is None:
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
