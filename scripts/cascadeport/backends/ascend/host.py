"""What an Ascend host has: driver, device nodes, and the vendor's packages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from packaging.version import Version

from cascadeport.backends.ascend.releases import Release
from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.core.machine import Machine

NODE = Path("/dev/davinci0")
DRIVER = Path("/usr/local/Ascend/driver")
TOOL = "ais_infer.tar.gz"
SUMS = "SHA256SUMS"
DEVICE_REMEDY = (
    "Install the Ascend driver and firmware, see `npu-smi info`; without an NPU, --simulate runs "
    "the target on a stand-in for CANN."
)


def folder(variables: Mapping[str, str]) -> Path:
    """The folder of the vendor's packages, or of the simulator's stand-ins."""
    return REPOSITORY / variables.get("CANN", "images/ascend/cann")


def missing_packages(variables: Mapping[str, str], cann: Release, bins: bool = False) -> list[str]:
    """The vendor's files that are missing or have no recorded checksum.

    Args:
        cann: The release that is installed from them.
        bins: Whether ais_infer is needed too.
    """
    packages = folder(variables)
    found = []
    sums = packages / SUMS
    recorded = sums.read_text(encoding="utf-8") if sums.exists() else ""
    # Either of a line's names will do.
    wanted: list[tuple[str, ...]] = [(name,) for name in cann.packages]
    wanted.append((cann.aclruntime.sources, cann.aclruntime.wheel))
    if bins:
        # The sources of aclruntime come with the command line of the same revision.
        wanted.append((cann.aclruntime.sources, TOOL))
    for patterns in wanted:
        names = [cann.named(pattern, architecture.of(variables)) for pattern in patterns]
        files = [file for name in names for file in sorted(packages.glob(name))]
        if not files and " or ".join(names) not in found:
            found.append(" or ".join(names))
        elif files and recorded and files[0].name not in recorded:
            found.append(f"{files[0].name} in {SUMS}")
    if not recorded:
        found.append(SUMS)
    for line in recorded.splitlines():
        checksum, _, name = line.partition(" ")
        known = cann.sha256.get(name.lstrip(" *"))
        if known not in (None, checksum):
            found.append(f"the {name.lstrip(' *')} of checksum {known}")
    return found


def version_info(text: str) -> dict[str, str]:
    """The entries of a version.info file of the driver, the firmware or CANN."""
    return dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)


def release(version: str) -> Version:
    """A driver's release in order: 21.0.4 < 22.0.RC2 < 22.0 < 22.0.2.

    What a vendor appends to it (23.0.rc3.b060) does not count; without a number it is 0.
    """
    found = re.match(r"\d+(\.\d+)*(\.?rc\d+)?", version.strip().lower())
    return Version(found[0] if found else "0")


def driver_wanted(version: str, cann: Release) -> str | None:
    """The oldest supported driver, in the numbering series of the given version.

    Returns:
        None: cann.toml does not say.
    """
    wanted = sorted(cann.driver.at_least, key=release)
    if not wanted:
        return None
    # Ascend HDK's series began at 21, far above CANN's own.
    return wanted[-1] if release(version).major > 20 else wanted[0]


def is_years_newer(version: str, cann: Release) -> bool:
    """Whether a driver came years after a release of CANN."""
    newest = cann.driver.warn_from
    return newest is not None and release(version) >= release(newest)


def group(machine: Machine) -> str | None:
    """The gid of the host's device nodes; None: there is no device node.

    It is HwHiAiUser's (the nodes are often 0660) and differs between hosts: the container's user
    joins that group.
    """
    node = machine.node(str(NODE))
    return None if node is None else str(node.group)


def require_packages(environ: Mapping[str, str], cann: Release, bins: bool) -> None:
    """Checks that the vendor's packages are present.

    Raises:
        CascadeportError: They are missing; it says where to get them.
    """
    missing = missing_packages(environ, cann, bins)
    if missing:
        raise CascadeportError(
            f"{', '.join(missing)} missing: the vendor's packages are not redistributable, so you "
            "have to add them yourself.",
            where=str(folder(environ)),
            next=f"Get them from {cann.source} and record their checksums (docs/containers.md); "
            "without them, --simulate runs the target on a stand-in.",
        )
