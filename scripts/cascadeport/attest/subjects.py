"""What a statement is about: the files of a row, and whatever they were made from, by digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.results import result as results
from cascadeport.results.result import Result

Descriptor = dict[str, Any]
"""in-toto's ResourceDescriptor: a name and digests by algorithm."""

SHA256 = "sha256"
# Digests of several files at once, or of what is no file: docs/attest.md says of what.
OWN = "cascadeportV1"

ANNOTATIONS, DATA_SET, PICTURES = "annotations", "data set", "pictures"
_FOLDERS = ("infer", "evaluate")


def files(folder: Path) -> list[Descriptor]:
    """The files of a row, by the sha256 of their content and their path in it."""
    found = [path for name in _FOLDERS for path in sorted((folder / name).rglob("*"))]
    return [
        _of_file(path.relative_to(folder).as_posix(), digest.of_file(path))
        for path in (*found, folder / results.NAME)
        if path.is_file()
    ]


def is_file(subject: Mapping[str, Any]) -> bool:
    """Whether a subject is a file of the row."""
    name = str(subject.get("name", ""))
    return name == results.NAME or name.split("/", 1)[0] in _FOLDERS


def is_elsewhere(subject: Mapping[str, Any]) -> bool:
    """Whether a subject is neither a file of the row nor the data set, which is read again."""
    return not is_file(subject) and subject.get("name") not in (ANNOTATIONS, DATA_SET, PICTURES)


def sources(result: Result, job: Mapping[str, Any], annotations: Path) -> list[Descriptor]:
    """What the files of a row were made from."""
    return [
        _model(result),
        *_networks(job),
        _own("bundle", result.bundle_digest),
        *_images(result),
        _of_file(ANNOTATIONS, digest.of_file(annotations)),
        _own(DATA_SET, result.dataset_digest),
        _own(PICTURES, result.pictures_digest),
    ]


def _model(result: Result) -> Descriptor:
    seed = result.run.subject.seed if result.run.subject else None
    if seed is not None:
        return _own(f"random weights, seed {seed}", result.model_digest)
    made_from = "checkpoint" if result.model.checkpoint_sha256 else "graph of the card"
    return _of_file(f"model: {made_from}", result.model_digest)


def _networks(job: Mapping[str, Any]) -> Iterator[Descriptor]:
    """The graphs that ran. compute() has compared the job with the other records."""
    networks = _tables(job.get("networks"))
    for number, network in enumerate(networks, 1):
        suffix = f" {number}" if len(networks) > 1 else ""
        yield _of_file(f"network{suffix}", str(network.get("sha256")))
        for file in _tables(network.get("files")):
            name = Path(str(file.get("path"))).name
            yield _of_file(f"network{suffix}: {name}", str(file.get("sha256")))


def _tables(value: Any) -> list[Mapping[str, Any]]:
    # The job of an invalid row, which somebody insisted on signing, may be anything.
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _images(result: Result) -> Iterator[Descriptor]:
    engine = (result.run.model_extra or {}).get("engine")
    for name, value in sorted(engine.items() if isinstance(engine, Mapping) else ()):
        if name.startswith("image:"):
            yield _of_file(name, str(value).removeprefix("sha256:"))


def _of_file(name: str, sha256: str) -> Descriptor:
    return {"name": name, "digest": {SHA256: sha256}}


def _own(name: str, value: str) -> Descriptor:
    return {"name": name, "digest": {OWN: value}}
