"""Descriptions of data sets: the TOML files in models/data/."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.base.text import printable
from cascadeport.config.schema import Strict, as_tuple, read_toml, validate

PICTURES = "val2017"
ANNOTATIONS = "annotations/instances_val2017.json"


Texts = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class ArchiveFile(Strict):
    """A zip or tar file that holds a part of a data set.

    Args:
        file: Its name on disk.
        urls: Where it is published, in the order of trying: http, https, file, or a path.
        size_bytes: Its size.
        sha256: Its digest.
        source: Who published size and digest.
        members: Patterns of the files to unpack; everything when empty.
    """

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    urls: Texts = Field(min_length=1)
    size_bytes: int = Field(gt=0, lt=2**63)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    source: str = Field(min_length=1)
    members: Texts = ()


class Scenes(Strict):
    """A data set that is generated: `count` scenes from a seed.

    Args:
        calibration: The name of another description: the pictures that int8 is calibrated on.
    """

    kind: Literal["scenes"]
    title: str = Field(min_length=1)
    count: int = Field(gt=0, le=1_000_000)
    seed: int = Field(ge=0, lt=2**63)
    calibration: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Coco(Strict):
    """A data set that is downloaded as archives, which unpack to COCO layout.

    Args:
        calibration: The name of another description: the pictures that int8 is calibrated on.
    """

    kind: Literal["coco"]
    title: str = Field(min_length=1)
    pictures: str = PICTURES
    annotations: str = ANNOTATIONS
    archives: Annotated[tuple[ArchiveFile, ...], BeforeValidator(as_tuple)]
    calibration: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")

    @field_validator("archives")
    @classmethod
    def _something(cls, value: tuple[ArchiveFile, ...]) -> tuple[ArchiveFile, ...]:
        # A length in the field itself would be reported again with every error of an archive.
        if not value:
            raise ValueError("there must be at least one")
        return value

    @field_validator("pictures", "annotations")
    @classmethod
    def _below_the_root(cls, value: str) -> str:
        path = PurePosixPath(value)
        if printable(value) != value:
            raise ValueError("must not have control characters in it")
        if not path.parts or path.is_absolute() or ".." in path.parts:
            raise ValueError("must be a path below the data set's folder")
        return value


Description = Scenes | Coco
_KINDS: dict[str, type[Scenes] | type[Coco]] = {"scenes": Scenes, "coco": Coco}


def describe(path: Path) -> Description:
    """Reads and validates a description.

    Raises:
        CascadeportError: With every error and its key.
    """
    values = read_toml(path, "data set's description")
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        detail = "kind: missing" if kind is None else f"kind: {suggest(str(kind), _KINDS)}"
        raise CascadeportError(
            "The data set's description has 1 error.",
            where=str(path),
            details=[detail],
            next="kind is 'scenes' or 'coco'; docs/datasets.md describes both.",
        )
    return validate(_KINDS[kind], values, where=str(path), what="data set's description")
