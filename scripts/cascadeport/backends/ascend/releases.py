"""Releases of CANN as data: images/ascend/cann.toml."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from cascadeport.backends.ascend.arithmetic import Arithmetic
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES
from cascadeport.base.suggest import suggest
from cascadeport.config.schema import Strict, as_tuple, read_toml, validate

FILE = IMAGES / "ascend" / "cann.toml"
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Driver(Strict):
    """Which drivers a release works with.

    Args:
        at_least: The oldest supported ones, in each of the series in which drivers are numbered;
            empty: only the release's own version.info says so.
        warn_from: The first driver that came years after the release; None: not known yet.
    """

    at_least: Names
    warn_from: str | None = None


class Module(Strict):
    """The Python module aclruntime, which runs om files.

    Args:
        wheel: The name of a prebuilt one.
        revision: The revision of the vendor's tools whose sources the image compiles.
    """

    wheel: str
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")

    @property
    def sources(self) -> str:
        """The name of the archive of its sources."""
        return f"aclruntime-{self.revision[:7]}.tar.gz"


class _Arithmetic(Strict):
    nms: Literal["fp16", "fp32"]
    iou_factor: float = Field(gt=0)
    whole_pixels: bool
    empty_boxes: bool
    thin_rois: bool


class Release(Strict):
    """A release of CANN; cann.toml explains its keys."""

    name: str
    source: str
    images: dict[str, str]
    packages: Names
    sha256: dict[str, Checksum] = Field(default_factory=dict)
    python: str
    base: str
    driver: Driver
    aclruntime: Module
    arithmetic: _Arithmetic

    @property
    def kernels(self) -> Arithmetic:
        """What its kernels compute, for the reference executor."""
        return Arithmetic(**self.arithmetic.model_dump())

    @property
    def is_in_its_base(self) -> bool:
        """Whether the base image has CANN, so that there is nothing to install."""
        return not self.packages

    def named(self, pattern: str, machine: str) -> str:
        """The name of a file of this release for an architecture."""
        return pattern.format(version=self.name, arch=machine)

    def image(self, wanted: str) -> str:
        """The folder that builds an image of a row of targets.toml with this release.

        Raises:
            CascadeportError: The release is not for that chip.
        """
        if wanted not in self.images:
            raise CascadeportError(
                f"CANN {self.name} is not for images/{wanted}.",
                where=f"{FILE}: release {self.name}: images",
                next=f"It is for: {', '.join(sorted(self.images))}. Without --cann-release the "
                f"target runs on CANN {default().name}.",
            )
        return self.images[wanted]


class _File(Strict):
    default: str
    release: dict[str, Release]

    @model_validator(mode="after")
    def _known(self) -> _File:
        if self.default not in self.release:
            raise ValueError(f"the default '{self.default}' is no release")
        return self


@cache
def _file() -> _File:
    values = read_toml(FILE, "CANN release")
    for name, table in values.get("release", {}).items():
        table["name"] = name
    return validate(_File, values, where=str(FILE), what="table of CANN releases")


def default() -> Release:
    """The release that targets run on unless another is chosen."""
    return _file().release[_file().default]


def find(name: str | None) -> Release:
    """A release by its name; None: the default.

    Raises:
        CascadeportError: There is none of that name.
    """
    if name is None:
        return default()
    known = _file().release
    if name not in known:
        raise CascadeportError(
            f"There is no CANN release named '{name}'; {suggest(name, known)}.",
            next=f"--cann-release takes one of: {', '.join(known)}. {FILE} describes them.",
        )
    return known[name]


def every() -> tuple[Release, ...]:
    """Every release."""
    return tuple(_file().release.values())
