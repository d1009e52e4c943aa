"""What an Ascend host has: driver, device nodes, the vendor's packages, or their stand-ins."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from cascadeport import targets
from cascadeport.engines import hosts, simulator
from cascadeport.engines.place import Place
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options
from cascadeport.schema import Strict, read_toml, validate

NODE = Path("/dev/davinci0")
DRIVER = Path("/usr/local/Ascend/driver")
_CANN = REPOSITORY / "images" / "ascend" / "cann.toml"
SUMS = "SHA256SUMS"


class Cann(Strict):
    """The CANN release of the images: images/ascend/cann.toml."""

    version: str
    driver_at_least: list[str]
    source: str
    packages: list[str]
    wheel: str
    tool: str


def cann() -> Cann:
    """Reads images/ascend/cann.toml."""
    return validate(Cann, read_toml(_CANN, "CANN release"), where=str(_CANN), what="CANN release")


def folder(variables: Mapping[str, str]) -> Path:
    """Where the vendor's packages, or the simulator's stand-ins, lie."""
    return REPOSITORY / variables.get("CANN", "images/ascend/cann")


def missing_packages(variables: Mapping[str, str], bins: bool = False) -> list[str]:
    """The files of the vendor's that are not in place or not recorded with a checksum.

    Args:
        bins: Whether ais_infer is one of them.
    """
    release = cann()
    arch = platform.machine()
    place = folder(variables)
    found = []
    sums = place / SUMS
    recorded = sums.read_text(encoding="utf-8") if sums.exists() else ""
    for pattern in (*release.packages, release.wheel, *((release.tool,) if bins else ())):
        name = pattern.format(arch=arch)
        files = sorted(place.glob(name))
        if not files:
            found.append(name)
        elif recorded and files[0].name not in recorded:
            found.append(f"{files[0].name} in {SUMS}")
    if not recorded:
        found.append(SUMS)
    return found


def version_info(text: str) -> dict[str, str]:
    """The keys of a version.info file of driver, firmware or CANN."""
    return dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)


def release(version: str) -> tuple[int, int, int]:
    """A driver's release in order: 21.0.4 < 22.0.RC2 < 22.0 < 22.0.2."""
    found = re.findall(r"(rc)?(\d+)", version.lower())
    # A release candidate comes before its release.
    numbers = [int(number) - 1000 if candidate else int(number) for candidate, number in found]
    first, second, third = (*numbers, 0, 0, 0)[:3]
    return first, second, third


def driver_wanted(version: str) -> str:
    """The oldest driver that will do, in the series of numbers that a driver's version is of."""
    wanted = sorted(cann().driver_at_least, key=release)
    # Ascend HDK's series began at 21, far above CANN's own.
    return wanted[-1] if release(version)[0] > 20 else wanted[0]


def variables(
    options: Options, environ: Mapping[str, str], host: hosts.Host | None = None
) -> dict[str, str]:
    """Values for the compose files of Ascend targets.

    The device nodes belong to HwHiAiUser (often 0660), whose number differs from host to host:
    the container's user joins the group that the host's node has.

    Args:
        host: Where containers run, once it is to be asked; None while only a plan is made.
    """
    if options.simulate:
        return _stand_ins(_soc(options))
    target = targets.find(options.target, targets.load(options.targets))
    place = Place(host or hosts.Host(), environ.get("PATH", os.defpath))
    if target.soc is None or "ASCEND_GID" in environ or not place.reachable:
        return {}
    node = place.node(str(NODE))
    return {"ASCEND_GID": str(node.group)} if node is not None else {}


def _stand_ins(soc: str) -> dict[str, str]:
    """Stand-ins in place of everything that an Ascend host has."""
    place = simulator.folder(soc)
    nodes = ["DAVINCI_MANAGER", "DEVMM_SVM", "HISI_HDC", *(f"DAVINCI{i}" for i in range(4))]
    return {
        "CANN": (place / "cann").relative_to(REPOSITORY).as_posix(),
        "ASCEND_DRIVER": str(place / "driver"),
        "NPU_SMI": str(place / "npu-smi"),
        # Any device that every engine may hand in: nobody reads from it.
        **dict.fromkeys(nodes, "/dev/zero"),
    }


def _soc(options: Options) -> str:
    target = targets.find(options.target, targets.load(options.targets))
    if target.soc is None:
        raise CascadeportError(
            f"Target {options.target} has no simulator.",
            next="SIMULATE=1 is for Ascend targets; leave it out.",
        )
    return target.soc


def prepare(options: Options, chips: int, environ: Mapping[str, str]) -> None:
    """Puts in place what an image of CANN is built from: the stand-ins, or looks for the vendor's.

    Raises:
        CascadeportError: The vendor's packages are not there; with where to get them.
    """
    release = cann()
    if options.simulate:
        simulator.prepare(_soc(options), chips, release.version, environ)
        return
    missing = missing_packages(environ, options.bins)
    if missing:
        raise CascadeportError(
            f"{', '.join(missing)} missing: the vendor's packages may not be passed on, you put "
            "them in place yourself.",
            where=str(folder(environ)),
            next=f"Get them from {release.source} and record them as docs/containers.md says; "
            "without them, SIMULATE=1 runs the target on a stand-in.",
        )


def stand_in_digests(options: Options) -> dict[str, str]:
    """Digests of folders that a plan may name before they are made."""
    if not options.simulate:
        return {}
    place = (simulator.folder(_soc(options)) / "cann").relative_to(REPOSITORY).as_posix()
    return {place: simulator.sources_digest()}
