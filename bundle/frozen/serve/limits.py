"""What a server accepts at most: bytes, pixels, requests, connections, seconds."""

from __future__ import annotations

from typing import NamedTuple

MIB = 1 << 20


class Limits(NamedTuple):
    """The limits of a server.

    Args:
        queue: Requests that are accepted and not answered yet; one more is answered 503.
        body: Bytes of a request's body.
        memory: Bytes of all bodies that are being received or waiting.
        pixels: Pixels of a picture; its size is read before it is decoded.
        connections: Open connections; one more is answered 503.
        answer_seconds: From a request's acceptance until its turn; later it is answered 503.
        device_seconds: For one picture on the device; later the device counts as stuck.
        idle_seconds: Between two requests of a connection.
        head_seconds: For a request's head, from its first byte.
        body_seconds: For a request's body.
        write_seconds: For a client to take its answer.
        stop_seconds: From SIGTERM until the last answer.
    """

    queue: int = 64
    body: int = 32 * MIB
    memory: int = 256 * MIB
    pixels: int = 1 << 26
    connections: int = 256
    answer_seconds: float = 60.0
    device_seconds: float = 60.0
    idle_seconds: float = 75.0
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 30.0
    stop_seconds: float = 25.0


HEAD_BYTES = 16 << 10
"""Bytes of a request's head: its line and its fields."""
JSON_BYTES = 16 * MIB
"""Bytes of a request's JSON. Parsed, it takes some twenty times as much memory."""
