"""serve's connections: what smugglers send, slow and half-open clients, and every limit."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Server, serving


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete frozen folder and pictures."""
    root = tmp_path_factory.mktemp("connection")
    frozen_folder.complete(root)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server that accepts few connections."""
    limits = ("--max-connections", 20, "--max-body", 1, "--max-memory", 2)
    with serving(root / "frozen", *limits) as server:
        yield server


def connect(server: Server, seconds: float = 20) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def exchange(server: Server, data: bytes) -> bytes:
    """What is answered to these bytes, after which the client sends no more."""
    with connect(server) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return receive_all(sock)


def statuses(answers: bytes) -> list[int]:
    """The status codes of answers that follow one another."""
    return [int(one[:3]) for one in answers.split(b"HTTP/1.1 ")[1:]]


HOST = b"Host: x\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /v1/detect HTTP/1.1\r\n" + HOST
HIDDEN = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"

SMUGGLED = {
    "CL.TE": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE with a tab": POST + b"Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "TE identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + HIDDEN,
    "TE with a space": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 72\r\n\r\n" + HIDDEN,
    "one length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n" + HIDDEN,
    "a signed length": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n" + HIDDEN,
    "a length of spaces": POST + b"Content-Length: 0 0\r\n\r\n" + HIDDEN,
    "a huge length": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n" + HIDDEN,
    "a folded TE": POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a folded value": POST + b"Content-Length:\r\n 0\r\n\r\n" + HIDDEN,
    "a bare LF": POST + b"X: y\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a bare CR": POST + b"X: y\rContent-Length: 0\r\n\r\n" + HIDDEN,
    "a null": POST + b"X: \0\r\n\r\n" + HIDDEN,
    "a name with a space": POST + b"Content Length: 0\r\n\r\n" + HIDDEN,
    "no name": POST + b": 0\r\n\r\n" + HIDDEN,
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n" + HIDDEN,
    "two Hosts": GET + b"Host: y\r\n\r\n" + HIDDEN,
    "no version": b"GET /healthz\r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an address": b"GET http://x/healthz HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a tunnel": b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN,
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(30) + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_smugglers_send_is_answered_once(server: Server, name: str) -> None:
    answers = exchange(server, SMUGGLED[name])
    (status,) = statuses(answers)
    assert status in (400, 411)
    assert b"\r\nConnection: close\r\n" in answers
    assert b"cascadeport_requests_total" not in answers


def test_requests_one_after_another_and_pipelined(server: Server) -> None:
    body = POST + b"Content-Length: 5\r\n\r\nhello"
    answers = exchange(server, GET + b"\r\n" + body + GET + b"Connection: close\r\n\r\n" + HIDDEN)
    assert statuses(answers) == [200, 400, 200]
    old = exchange(server, b"GET /healthz HTTP/1.0\r\n\r\n" + HIDDEN)
    assert statuses(old) == [200]


def test_a_refused_body_does_not_become_a_request(server: Server) -> None:
    """What was refused by its head is read all the same, and the next request is the next one."""
    smuggled = b"PUT /v1/detect HTTP/1.1\r\n" + HOST
    smuggled += b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    answers = exchange(server, smuggled + GET + b"\r\n")
    assert statuses(answers) == [405, 200]
    assert b"cascadeport_requests_total" not in answers


def test_a_head_that_is_too_long(server: Server) -> None:
    assert statuses(exchange(server, GET + b"X: " + b"y" * 20_000 + b"\r\n\r\n")) == [431]
    assert statuses(exchange(server, b"GET /" + b"y" * 2_000_000)) == [431]
    assert statuses(exchange(server, GET + b"X: y\r\n" * 5_000)) == [431]


def test_a_body_that_is_announced_too_long_is_not_waited_for(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(POST + b"Content-Length: 999999999\r\n\r\n")
        start = time.monotonic()
        assert statuses(receive_all(sock)) == [413]
        assert time.monotonic() - start < 5
    with connect(server) as sock:
        sock.sendall(POST + b"Content-Length: 999999999\r\nExpect: 100-continue\r\n\r\n")
        assert statuses(receive_all(sock)) == [413]


def test_a_client_that_waits_for_100_is_told_to_go_on(server: Server) -> None:
    with connect(server) as sock:
        sock.sendall(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        assert statuses(receive_all(sock)) == [400]


def test_a_half_closed_client_gets_its_answer(server: Server) -> None:
    assert statuses(exchange(server, GET + b"\r\n")) == [200]
    # And one that goes away in the middle of a request gets none.
    assert exchange(server, GET) == b""
    assert exchange(server, POST + b"Content-Length: 5\r\n\r\nhel") == b""


def test_too_many_connections_are_told_so_and_the_others_go_on(server: Server) -> None:
    silent = [connect(server) for _ in range(19)]
    try:
        time.sleep(0.3)
        assert server.ask("/healthz").status == 200
        last = connect(server)
        silent.append(last)
        time.sleep(0.1)
        assert statuses(exchange(server, GET + b"\r\n")) == [503]
        for sock in silent[:5]:
            sock.close()
        time.sleep(0.3)
        assert server.ask("/healthz").status == 200
    finally:
        for sock in silent:
            sock.close()


def test_bodies_together_are_bounded(server: Server) -> None:
    """Three bodies of nearly 1 MiB that never end, where 2 MiB are allowed in all."""
    part = POST + b"Content-Length: 1048576\r\n\r\n" + bytes(1_000_000)
    first, second = connect(server), connect(server)
    try:
        for sock in (first, second):
            sock.sendall(part)
        time.sleep(0.5)
        with connect(server) as third:
            third.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
            assert third.recv(1000).startswith(b"HTTP/1.1 503 ")
        assert server.ask("/healthz").status == 200
    finally:
        first.close()
        second.close()
    time.sleep(0.3)
    assert b"cascadeport_body_bytes 0.0" in server.ask("/metrics").content


def test_slow_clients_lose_their_connection_and_nobody_else(root: Path, tmp_path: Path) -> None:
    """Bytes that trickle in do not prolong what a head, a body or a pause may take."""
    names = ("head_seconds", "body_seconds", "idle_seconds", "write_seconds")
    (tmp_path / "limits").write_text(json.dumps(dict.fromkeys(names, 0.6)))
    with serving(root / "frozen", flags=tmp_path) as server:
        heads = [connect(server) for _ in range(10)]
        body, idle, half = connect(server), connect(server), connect(server)
        body.sendall(POST + b"Content-Length: 1000\r\n\r\n")
        half.sendall(b"GET /hea")
        idle.sendall(GET + b"\r\n")
        start = time.monotonic()
        for _ in range(8):
            for sock in heads + [body]:
                try:
                    sock.sendall(b"G")
                except OSError:
                    assert time.monotonic() - start > 0.5
            asked = time.monotonic()
            assert server.ask("/healthz").status == 200
            assert time.monotonic() - asked < 1
            time.sleep(0.12)
        for sock, wanted in ((body, [408]), (idle, [200]), (half, [408])):
            assert statuses(receive_all(sock)) == wanted
            sock.close()
        for sock in heads:
            sock.close()
        # A client that never reads its answers.
        with connect(server) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.settimeout(3)
            with pytest.raises(OSError, match=r"reset|Broken|timed out"):
                for _ in range(20_000):
                    deaf.sendall((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 10)
                    time.sleep(0.001)
        end = time.monotonic() + 10
        while b"cascadeport_connections 1.0" not in server.ask("/metrics").content:
            assert time.monotonic() < end
            time.sleep(0.1)
