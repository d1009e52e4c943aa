"""What the stand-ins for CANN are like, as data: images/simulator/personalities.toml."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cascadeport.backends.ascend import releases
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES
from cascadeport.base.suggest import suggest
from cascadeport.config.schema import Strict, as_tuple, read_toml, validate

FILE = IMAGES / "simulator" / "personalities.toml"
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
Mode = Annotated[str, Field(pattern=r"^0[0-7]{3}$")]


class Revision(Strict):
    """A revision of the vendor's tools; personalities.toml explains its keys."""

    source: str
    released: str
    version: str
    times: Literal["total", "list", "pairs"]
    steps: bool
    strict_om: bool
    tool: Literal["ais_infer.py", "ais_bench"]
    flags: Names
    outputs: str
    summary: str
    host_clock: bool
    warm_up: int
    line: str
    strict: bool
    driver: dict[str, str]
    npu_smi: str


class ReleaseFacts(Strict):
    """What the stand-ins of a release are like; personalities.toml explains its keys."""

    hal: str
    om_mode: Mode
    version_info_mode: Mode
    opp: str
    operators: Names


class _File(Strict):
    default: str
    revision: dict[str, Revision]
    release: dict[str, ReleaseFacts]


@cache
def _file() -> _File:
    values = read_toml(FILE, "personalities")
    return validate(_File, values, where=str(FILE), what="table of personalities")


def revisions() -> tuple[str, ...]:
    """Every revision."""
    return tuple(_file().revision)


def name(given: str | None) -> str:
    """The name of a revision; None: the default.

    Raises:
        CascadeportError: There is none of that name.
    """
    known = _file().revision
    if given is None:
        return _file().default
    if given not in known:
        raise CascadeportError(
            f"The stand-ins have no personality '{given}'; {suggest(given, known)}.",
            next=f"--personality takes one of: {', '.join(known)}. {FILE} describes them.",
        )
    return given


def revision(given: str) -> dict[str, Any]:
    """What the stand-ins for the vendor's tools of a revision read."""
    return {"name": given, **_file().revision[name(given)].model_dump(mode="json")}


def release(version: str, chip: str) -> dict[str, Any]:
    """What the stand-in for a release's atc reads.

    Args:
        version: The release.
        chip: The short name of the chip, e.g. `ascend310p`.
    """
    facts = _file().release.get(version)
    if facts is None:
        raise CascadeportError(
            f"There is no stand-in for CANN {version}.",
            where=str(FILE),
            next="Add a table for it there, or leave out --simulate.",
        )
    kernels = asdict(releases.find(version).kernels)
    return {
        "version": version,
        "chip": chip,
        "arithmetic": kernels,
        **facts.model_dump(mode="json"),
    }
