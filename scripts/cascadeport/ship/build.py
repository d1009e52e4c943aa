"""Makes the frozen image: the layers of the run's image, and two of its own on top.

No builder takes part. The run's image is saved by its engine, its layers are put into canonical
form (layers.py), and what is frozen becomes two more layers, written here: the networks, which
change seldom, and the rest. The same run gives the same image, whichever engine saved it, and when.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors
from cascadeport.containers.engine import DockerEngine
from cascadeport.core.context import Context
from cascadeport.core.task import Mount, Task
from cascadeport.ship import contents, image, labels, layers, runtime, saved
from cascadeport.ship.contents import Subject
from cascadeport.ship.image import Image
from cascadeport.ship.layers import Entry
from cascadeport.ship.rootfs import Rootfs

_ENTRY = ("python3", "-m", "bundle.frozen")
_MINUTE = 60 * 10**9
_SILENCE_S = 600.0
_OF_THE_BASE = ("org.opencontainers.image.", "io.cascadeport.recipe")


@dataclass(frozen=True)
class Made:
    """A frozen image, and what was found out while it was made.

    Args:
        image: The image. Its layers lie in the work folder.
        runtime: How its containers are run.
        frozen: The folder that became /opt/cascadeport/frozen.
        shell: Whether the image has a shell: its base's entry point is a script.
    """

    image: Image
    runtime: runtime.Runtime
    frozen: Path
    shell: bool


def make(
    context: Context,
    subject: Subject,
    statement: Path | None,
    work: Path,
    *,
    rebuilt: str | None = None,
) -> Made:
    """Makes the frozen image of a run.

    Args:
        statement: The signed statement; None: there is none.
        work: An empty folder, kept by the caller as long as the image is used.
        rebuilt: The image that takes the place of the run's own, to see whether it is the same.

    Raises:
        CascadeportError: The run's image is not there, finds something else than the run did, …
    """
    engine = engine_of(context)
    run_image = rebuilt or subject.image
    reporter = context.reporter
    frozen = work / "frozen"
    with disk_errors(work):
        contents.write(subject, statement, frozen)
        with reporter.stage("record what the image finds in its golden pictures"):
            _record(engine, run_image, frozen, work)
        with reporter.stage(f"save the image of the run, {run_image[:19]}"):
            _save(engine, run_image, work / "saved.tar")
        with reporter.stage("put its layers into canonical form"):
            base = saved.read(work / "saved.tar", work)
        (work / "saved.tar").unlink()
        how = runtime.of(context)
        inherited = base.config.get("config") or {}
        entry = list(inherited.get("Entrypoint") or [])
        with Rootfs(base.layers) as files:
            gone = [] if entry else files.shells()
        own = (
            layers.written(_entries(frozen, "networks"), work / "networks.tar", gone),
            layers.written({**_entries(frozen, ""), **_baked(how.baked)}, work / "frozen.tar"),
        )
    name = f"{repository(subject)}:{subject.full_version}"
    config = _config(subject, base.config, [*entry, *_ENTRY], how.environment)
    made = image.frozen(name, base.config, (*base.layers, *own), config)
    return Made(made, how, frozen, shell=bool(entry))


def repository(subject: Subject) -> str:
    """The image's name without its tag; tags are case-sensitive, names are lower case."""
    return f"cascadeport/{subject.name}-{subject.target}".lower()


def engine_of(context: Context) -> DockerEngine:
    """The Docker Engine of a context.

    Raises:
        CascadeportError: It has none.
    """
    engine = context.engine
    if not isinstance(engine, DockerEngine):
        raise CascadeportError(
            "An image can be frozen only where there is a Docker Engine.",
            next="Use --engine docker.",
        )
    return engine


def image_of(result_engine: Mapping[str, Any], context: Context) -> str | None:
    """The id of the image that a pass ran in, as its record says; None: it ran in none."""
    service = context.engine.service("infer")
    found = result_engine.get(f"image:{service.image}") if service else None
    return str(found) if found else None


def has_image(context: Context, run_image: str) -> bool:
    """Whether the engine still has an image."""
    import docker.errors

    try:
        engine_of(context).client.images.get(run_image)
    except docker.errors.ImageNotFound:
        return False
    return True


def _record(engine: DockerEngine, run_image: str, frozen: Path, work: Path) -> None:
    """Lets the run's image write golden/expected.json; it refuses to, if it finds other things."""
    with _absent(engine, run_image):
        engine.run_in(
            run_image,
            Task(
                stage="infer",
                argv=(*_ENTRY, "record", "/out"),
                mounts=(Mount(frozen.resolve(), "/out", writable=True),),
                log=work / "record.log",
                deadline_s=_SILENCE_S,
            ),
            lambda event: None,
        )
    if not (frozen / "golden" / "expected.json").is_file():
        raise CascadeportError(
            "The image recorded nothing of its golden pictures.",
            where=(work / "record.log").read_text(encoding="utf-8", errors="replace")[-500:],
            next="Run the target again, and freeze that run.",
        )


def _save(engine: DockerEngine, run_image: str, path: Path) -> None:
    with _absent(engine, run_image), path.open("wb") as file:
        for block in engine.client.api.get_image(run_image):
            file.write(block)


@contextlib.contextmanager
def _absent(engine: DockerEngine, run_image: str) -> Iterator[None]:
    """Says what to do where the engine does not have the image that the run was made in."""
    import docker.errors

    try:
        engine.client.images.get(run_image)
        yield
    except docker.errors.ImageNotFound:
        raise CascadeportError(
            "The engine does not have the image any more that the run was made in.",
            where=run_image,
            next="Load it there (docker load) if you have it; or remove the run's folder and run "
            "the target again: what is frozen is the image that made the numbers.",
        ) from None


def _entries(frozen: Path, part: str) -> dict[str, Entry]:
    """The files of a layer: the networks, or everything else."""
    found = {}
    for path in sorted(frozen.rglob("*")):
        inside = path.relative_to(frozen)
        if path.is_file() and (inside.parts[0] == "networks") == (part == "networks"):
            found[f"{contents.FOLDER}/{inside.as_posix()}"] = Entry(path)
    return found


def _baked(files: Mapping[str, Path]) -> dict[str, Entry]:
    return {name: Entry(path) for name, path in files.items()}


def _config(
    subject: Subject, base: Mapping[str, Any], entry: list[str], environment: Mapping[str, str]
) -> dict[str, Any]:
    inherited = base.get("config") or {}
    own = {
        "org.opencontainers.image.title": repository(subject),
        "org.opencontainers.image.version": subject.full_version,
        "org.opencontainers.image.description": f"{subject.plan.card.title} on "
        f"{subject.result.title}, frozen by Cascadeport",
        "io.cascadeport.format": "1",
        "io.cascadeport.name": subject.name,
        "io.cascadeport.target": subject.target,
        "io.cascadeport.statement": subject.statement,
        **labels.of_image(subject.labels),
    }
    kept = {
        key: value
        for key, value in (inherited.get("Labels") or {}).items()
        if not key.startswith(_OF_THE_BASE)
    }
    given = [line for line in inherited.get("Env") or [] if line.split("=")[0] not in environment]
    return {
        "Entrypoint": entry,
        "Cmd": ["about"],
        "Env": [*given, *(f"{key}={value}" for key, value in sorted(environment.items()))],
        "ExposedPorts": {f"{runtime.PORT}/tcp": {}},
        "Healthcheck": {
            "Test": ["CMD", *entry, "selftest", "--health"],
            "Interval": 5 * _MINUTE,
            "Timeout": 5 * _MINUTE,
            "StartPeriod": 5 * _MINUTE,
            "Retries": 2,
        },
        "Labels": dict(sorted({**kept, **own}.items())),
        "StopSignal": "SIGTERM",
    }
