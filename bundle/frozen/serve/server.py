"""Starts the server, and ends it: what was accepted is answered first."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import ssl
import time
from typing import Any, Callable, NamedTuple, Optional

from bundle.errors import BundleError
from bundle.frozen import console
from bundle.frozen.layout import Frozen
from bundle.frozen.serve.app import App
from bundle.frozen.serve.connection import Connections
from bundle.frozen.serve.engine import Engine
from bundle.frozen.serve.limits import HEAD_BYTES, Limits
from bundle.frozen.serve.metrics import Metrics
from bundle.frozen.serve.note import noted
from bundle.job import Job
from bundle.runners import Runner, open_runner

_BACKLOG = 128
# A process that was killed may leave a runtime's process that has the socket for a moment.
_BIND_SECONDS = 5.0
# Connections that the kernel has accepted already are served, too.
_LAST_CONNECTIONS_SECONDS = 0.2
_HANDSHAKE_SECONDS = 10.0


class Settings(NamedTuple):
    """How to serve.

    Args:
        host: The address to listen on.
        port: The port; 0 for any free one.
        limits: The limits.
        key: The API key, empty for none.
        certificate: A file with the certificate and its chain, empty for no TLS.
        private_key: The certificate's key.
    """

    host: str = "0.0.0.0"
    port: int = 8000
    limits: Limits = Limits()
    key: str = ""
    certificate: str = ""
    private_key: str = ""


def serve(frozen: Frozen, settings: Settings, load: Callable[[Job], Runner] = open_runner) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        BundleError: It cannot start: the port is taken, a certificate or a network is unusable.
    """
    metrics = Metrics()
    tls = _tls(settings)
    engine = Engine(frozen, settings.limits, metrics, load)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(frozen, settings, engine, metrics, tls))


async def _serve(
    frozen: Frozen,
    settings: Settings,
    engine: Engine,
    metrics: Metrics,
    tls: Optional[ssl.SSLContext],
) -> None:
    app = App(frozen, settings.limits, engine, metrics, settings.key)
    names = ",".join(sorted({label.name for label in frozen.labels}))
    fields = (("Cascadeport-Labels", names),) if names else ()
    connections = Connections(settings.limits, app.admit, app.handle, fields)
    app.connections = connections
    loop = asyncio.get_event_loop()
    loop.set_exception_handler(_note_failure)
    stop = loop.create_future()
    _on_signals(stop)
    server = await _listen(settings, connections, tls)
    port = server.sockets[0].getsockname()[1]
    engine.start()
    scheme = "https" if tls else "http"
    console.note("listening on {}://{}:{}".format(scheme, settings.host, port))
    with noted(settings.host, port, bool(tls)):
        watch = asyncio.ensure_future(_report(engine))
        number = await stop
        watch.cancel()
        console.note("stopping: signal {}".format(number))
        app.stop()
        await asyncio.sleep(_LAST_CONNECTIONS_SECONDS)
        server.close()
        end = time.monotonic() + settings.limits.stop_seconds
        await connections.stop(settings.limits.stop_seconds)
        left = max(0.0, end - time.monotonic())
        finished = await loop.run_in_executor(None, engine.stop, left)
    console.note("stopped" if finished else "stopped: the device did not finish in time")


def _note_failure(loop: Any, context: Any) -> None:
    """What asyncio cannot give to anybody, such as a lack of file descriptors: one line."""
    failure = context.get("exception")
    console.note("{}{}".format(context.get("message"), ": {}".format(failure) if failure else ""))


def _on_signals(stop: Any) -> None:
    """The first signal begins the end; a second one is the end."""

    def handle(number: int) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(number)

    loop = asyncio.get_event_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


async def _listen(
    settings: Settings, connections: Connections, tls: Optional[ssl.SSLContext]
) -> Any:
    end = time.monotonic() + _BIND_SECONDS
    handshake = {"ssl_handshake_timeout": _HANDSHAKE_SECONDS} if tls else {}
    while True:
        try:
            return await asyncio.start_server(
                connections.accept,
                settings.host,
                settings.port,
                limit=HEAD_BYTES,
                backlog=_BACKLOG,
                ssl=tls,
                **handshake,
            )
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE and time.monotonic() < end:
                await asyncio.sleep(0.2)
                continue
            raise BundleError(
                "The server cannot listen: {}.".format(failure.strerror or failure),
                "{}:{}".format(settings.host, settings.port),
                "Choose another --port or --host.",
            ) from None


def read_key(path: Optional[str]) -> str:
    """The API key: from a file, else from CASCADEPORT_API_KEY; empty if there is neither.

    Raises:
        BundleError: The file cannot be read, or the key is empty or not ASCII.
    """
    key = os.environ.get("CASCADEPORT_API_KEY")
    if path is not None:
        try:
            with open(path, encoding="utf-8") as stream:
                key = stream.read()
        except (OSError, ValueError) as failure:
            raise BundleError(
                "The API key cannot be read: {}.".format(failure), path, "Name a readable file."
            ) from None
    if key is None:
        return ""
    key = key.strip()
    if not key or not all("!" <= one <= "~" for one in key):
        raise BundleError(
            "The API key is empty or has characters that a header field cannot have.",
            path or "CASCADEPORT_API_KEY",
            "Use letters, digits and signs of ASCII, without spaces.",
        )
    return key


async def _report(engine: Engine) -> None:
    """Says when the state changes, and relieves devices that are stuck."""
    said = ""
    while True:
        for lane in engine.lanes:
            lane.relieve()
        state, reason = engine.state, engine.reason
        if state + reason != said:
            said = state + reason
            console.note("{}{}".format(state, ": " + reason if reason else ""))
        await asyncio.sleep(0.1)


def _tls(settings: Settings) -> Optional[ssl.SSLContext]:
    if not settings.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password for an encrypted key, OpenSSL would ask for it on the terminal.
        context.load_cert_chain(
            settings.certificate, settings.private_key or None, password=lambda: ""
        )
    except (OSError, ssl.SSLError, ValueError) as failure:
        raise BundleError(
            "The certificate or its key cannot be used: {}.".format(failure),
            settings.certificate,
            "--tls-certificate takes PEM files: the certificate and its chain, and with --tls-key "
            "its key, without a password.",
        ) from None
    return context
