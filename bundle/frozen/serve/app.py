"""The server's routes: who may ask what, and what is answered."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Awaitable, Callable, Dict, List, NamedTuple, Optional

from bundle.errors import BundleError, PictureError
from bundle.frozen import console
from bundle.frozen.layout import Frozen
from bundle.frozen.serve.connection import Connections
from bundle.frozen.serve.engine import Engine
from bundle.frozen.serve.gauges import gauges, info
from bundle.frozen.serve.lane import READY, STUCK
from bundle.frozen.serve.limits import Limits
from bundle.frozen.serve.messages import Answer, Head, HttpError, json_answer
from bundle.frozen.serve.metrics import CONTENT_TYPE, Metrics
from bundle.frozen.serve.page import Page
from bundle.frozen.serve.protocol import HEADER_LENGTH, Models
from bundle.frozen.serve.work import (
    FullError,
    LateError,
    NotReadyError,
    PictureResult,
    PictureWork,
    Work,
)

_RETRY_WHILE_LOADING = 5
_FORM = "multipart/form-data"


class Route(NamedTuple):
    """What is answered at a path.

    Args:
        name: Its name in the metrics.
        methods: The methods that it understands.
        handle: Answers.
        open: Whether it needs no API key.
        works: Whether it asks the engine, so that it is refused at once if the engine refuses.
    """

    name: str
    methods: str
    handle: Callable[[Head, bytes], Awaitable[Answer]]
    open: bool = False
    works: bool = False


class App:
    """Everything that is answered.

    Args:
        frozen: The frozen folder.
        limits: The limits.
        engine: The engine.
        metrics: Counts and times.
        key: The API key; empty if none is asked for.
    """

    def __init__(
        self, frozen: Frozen, limits: Limits, engine: Engine, metrics: Metrics, key: str
    ) -> None:
        self._frozen = frozen
        self._limits = limits
        self._engine = engine
        self._metrics = metrics
        self._key = hashlib.sha256(key.encode("utf-8")).digest() if key else b""
        self._models = Models(frozen)
        self._page = Page(frozen, bool(key))
        self._stopping = False
        # JSON is parsed one at a time: it takes many times as much memory as its text.
        self._parser = ThreadPoolExecutor(1, "parse")
        self.connections: Optional[Connections] = None
        self._fixed = {
            "/": Route("page", "GET", self._show_page, open=True),
            "/healthz": Route("healthz", "GET", self._healthz, open=True),
            "/readyz": Route("readyz", "GET", self._readyz, open=True),
            "/metrics": Route("metrics", "GET", self._show_metrics),
            "/v1/detect": Route("detect", "POST", self._detect, works=True),
            "/v2": Route("server", "GET", self._server),
            "/v2/health/live": Route("live", "GET", self._live, open=True),
            "/v2/health/ready": Route("ready", "GET", self._ready, open=True),
        }

    def stop(self) -> None:
        """From now on the server is not ready; what is asked of it all the same is answered."""
        self._stopping = True

    def admit(self, head: Head) -> None:
        """Refuses what can be refused without its body."""
        try:
            route = self._route(head)
            self._check_key(route, head)
            if route.works:
                self._check_media(head)
                self._check_engine()
        except HttpError as failure:
            self._count("refused", failure.status)
            raise

    async def handle(self, head: Head, body: bytes) -> Answer:
        """Answers a request."""
        route = self._route(head)
        try:
            answer = await route.handle(head, body)
        except HttpError as failure:
            answer = failure.answer()
        except Exception as failure:
            console.note("internal error at {}: {!r}".format(head.path, failure))
            answer = HttpError(500, "An internal error.").answer()
        self._count(route.name, answer.status)
        return answer

    def _count(self, route: str, status: int) -> None:
        self._metrics.requests.add(route, str(status))

    def _route(self, head: Head) -> Route:
        path = head.path
        route = self._fixed.get(path if path == "/" else path.rstrip("/"))
        parts = path.rstrip("/").split("/")
        if route is None and parts[:3] == ["", "v2", "models"] and len(parts) > 3:
            route = self._model_route(parts[3:])
        if route is None:
            raise HttpError(404, "There is nothing at this path.")
        allowed = "GET, HEAD" if route.methods == "GET" else route.methods
        if head.method not in allowed.split(", "):
            raise HttpError(405, "Use {} here.".format(allowed), fields=(("Allow", allowed),))
        return route

    def _model_route(self, parts: List[str]) -> Optional[Route]:
        """The route of `NAME[/versions/VERSION][/ready|/infer]`."""
        name, rest = parts[0], parts[1:]
        version = None
        if len(rest) >= 2 and rest[0] == "versions":
            version, rest = rest[1], rest[2:]
        if rest not in ([], ["ready"], ["infer"]):
            return None
        self._models.check(name, version)

        async def metadata(head: Head, body: bytes) -> Answer:
            return json_answer(200, self._models.metadata(name))

        async def ready(head: Head, body: bytes) -> Answer:
            self._check_ready()
            return json_answer(200, {"name": name, "ready": True})

        async def infer(head: Head, body: bytes) -> Answer:
            return await self._infer(name, head, body)

        if rest == ["ready"]:
            return Route("model ready", "GET", ready)
        if rest == ["infer"]:
            return Route("infer", "POST", infer, works=True)
        return Route("model", "GET", metadata)

    def _check_key(self, route: Route, head: Head) -> None:
        if not self._key or route.open:
            return
        given = head.fields.get("x-api-key", "")
        scheme, _, token = head.fields.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = token.strip()
        # Digests have one length, and comparing them takes one time whatever was given.
        digest = hashlib.sha256(given.encode("latin-1")).digest()
        if not hmac.compare_digest(digest, self._key):
            raise HttpError(
                401,
                "An API key is needed: 'Authorization: Bearer KEY'.",
                fields=(("WWW-Authenticate", "Bearer"),),
            )

    def _check_media(self, head: Head) -> None:
        media = head.fields.get("content-type", "").split(";")[0].strip().lower()
        if media == _FORM:
            raise HttpError(415, "Send the content itself, not a form (curl: --data-binary).")
        if head.fields.get("content-encoding", "identity").strip().lower() != "identity":
            raise HttpError(415, "Content codings are not accepted.")

    def _check_engine(self) -> None:
        try:
            self._engine.check()
        except (NotReadyError, FullError) as failure:
            raise self._refusal(failure) from None

    def _refusal(self, failure: Exception) -> HttpError:
        if isinstance(failure, FullError):
            return HttpError(503, "The queue is full.", retry_after=self._engine.retry_after)
        if isinstance(failure, LateError):
            text = "The request waited longer than {:g} seconds.".format(
                self._limits.answer_seconds
            )
            return HttpError(503, text, retry_after=self._engine.retry_after)
        return HttpError(503, str(failure), retry_after=_RETRY_WHILE_LOADING)

    async def _run(self, work: Work) -> Any:
        """Has work done.

        Raises:
            HttpError: It was not accepted, failed, or took too long.
        """
        try:
            future = self._engine.submit(work)
            # The engine keeps the deadline of the queue; this one is for a device that is stuck.
            seconds = self._limits.answer_seconds + self._limits.device_seconds
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except (NotReadyError, FullError, LateError) as failure:
            raise self._refusal(failure) from None
        except asyncio.TimeoutError:
            raise self._refusal(NotReadyError(self._engine.reason)) from None
        except PictureError as failure:
            raise HttpError(400, failure.what) from None
        except BundleError as failure:
            raise HttpError(500, failure.what) from None
        except Exception as failure:
            text = "Internal error: {}.".format(type(failure).__name__)
            raise HttpError(500, text) from None

    async def _detect(self, head: Head, body: bytes) -> Answer:
        result: PictureResult = await self._run(PictureWork(body))
        self._count_result(result)
        content: Dict[str, Any] = {
            "image": "{} {}".format(self._frozen.name, self._frozen.version),
            "labels": [label.name for label in self._frozen.labels],
            "width": result.width,
            "height": result.height,
            "sha256": result.sha256,
            "detections": result.detections,
        }
        return json_answer(200, content)

    async def _infer(self, name: str, head: Head, body: bytes) -> Answer:
        length = head.fields.get(HEADER_LENGTH.lower())
        loop = asyncio.get_event_loop()
        request = await loop.run_in_executor(self._parser, self._models.read, name, body, length)
        result = await self._run(request.work)
        self._count_result(result)
        return self._models.answer(name, request, result)

    def _count_result(self, result: Any) -> None:
        if isinstance(result, PictureResult):
            self._metrics.pictures.add()
            self._metrics.detections.add(count=len(result.detections))

    async def _server(self, head: Head, body: bytes) -> Answer:
        content = {
            "name": "cascadeport",
            "version": "frozen-1 {}".format(self._frozen.bundle[:12]),
            "extensions": ["binary_tensor_data"],
        }
        return json_answer(200, content)

    async def _live(self, head: Head, body: bytes) -> Answer:
        self._check_live()
        return json_answer(200, {"live": True})

    async def _ready(self, head: Head, body: bytes) -> Answer:
        self._check_ready()
        return json_answer(200, {"ready": True, "live": True})

    async def _healthz(self, head: Head, body: bytes) -> Answer:
        self._check_live()
        return json_answer(200, {"state": self._engine.state})

    async def _readyz(self, head: Head, body: bytes) -> Answer:
        """Ready or not, and why: also says what this image must not be mistaken for."""
        ready = self._engine.state == READY and not self._stopping
        content = {
            "ready": ready,
            "state": "stopping" if self._stopping else self._engine.state,
            "reason": self._engine.reason,
            "warnings": list(self._frozen.warnings),
        }
        return json_answer(200 if ready else 503, content)

    def _check_live(self) -> None:
        """A device that is stuck does not come back within this process."""
        if self._engine.state == STUCK:
            raise HttpError(503, self._engine.reason)

    def _check_ready(self) -> None:
        if self._stopping:
            raise HttpError(503, "The server stops.")
        if self._engine.state != READY:
            raise HttpError(503, self._engine.reason, retry_after=_RETRY_WHILE_LOADING)

    async def _show_metrics(self, head: Head, body: bytes) -> Answer:
        found = gauges(self._engine, self._limits)
        if self.connections is not None:
            open_ones = float(self.connections.count)
            found.append(("connections", "Open connections.", open_ones))
            held = float(self.connections.held)
            found.append(("body_bytes", "Bytes of requests' bodies.", held))
        text = self._metrics.text(found, info(self._frozen))
        return Answer(200, text.encode("utf-8"), CONTENT_TYPE)

    async def _show_page(self, head: Head, body: bytes) -> Answer:
        return self._page.answer
