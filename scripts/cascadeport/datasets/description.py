"""Descriptions of data sets: the TOML files in models/data/."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.config.schema import Strict, read_toml, validate

PICTURES = "val2017"
ANNOTATIONS = "annotations/instances_val2017.json"


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class Archive(Strict):
    """A zip or tar file that holds a part of a data set.

    Args:
        file: Its name on disk.
        urls: Where it can be had, in the order of trying: http, https, file, or a path.
        size_bytes: Its size.
        sha256: Its digest.
        source: Who has published size and digest.
        members: Patterns of the files to unpack; everything when empty.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    urls: Texts = Field(min_length=1)
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    source: str = Field(min_length=1)
    members: Texts = ()


class Scenes(Strict):
    """A data set that is drawn here: `count` scenes from a seed."""

    kind: Literal["scenes"]
    title: str = Field(min_length=1)
    count: int = Field(gt=0)
    seed: int = Field(ge=0)


class Coco(Strict):
    """A data set that is fetched as archives and stands in COCO layout once they are unpacked."""

    kind: Literal["coco"]
    title: str = Field(min_length=1)
    pictures: str = PICTURES
    annotations: str = ANNOTATIONS
    archives: Annotated[tuple[Archive, ...], BeforeValidator(_as_tuple)]

    @field_validator("archives")
    @classmethod
    def _something(cls, value: tuple[Archive, ...]) -> tuple[Archive, ...]:
        # A length in the field itself would be told again with every fault of an archive.
        if not value:
            raise ValueError("there must be one at least")
        return value

    @field_validator("pictures", "annotations")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a path below the data set's folder")
        return value


Description = Scenes | Coco
_KINDS: dict[str, type[Scenes] | type[Coco]] = {"scenes": Scenes, "coco": Coco}


def describe(path: Path) -> Description:
    """Reads and validates a description.

    Raises:
        CascadeportError: With every fault in the file and its place.
    """
    values = read_toml(path, "data set's description")
    kind = values.get("kind")
    if kind not in _KINDS:
        fault = "kind: missing" if kind is None else f"kind: {suggest(str(kind), _KINDS)}"
        raise CascadeportError(
            "The data set's description has 1 fault.",
            where=str(path),
            details=[fault],
            next="kind is 'scenes' or 'coco'; docs/datasets.md describes both.",
        )
    return validate(_KINDS[kind], values, where=str(path), what="data set's description")
