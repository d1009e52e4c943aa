"""Ascend: device nodes, driver, what npu-smi says, and the vendor's packages.

`npu-smi info` prints a table whose columns differ between driver releases (22.0 added hugepages,
a later release the table of processes). Only columns that all of them have are read.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from cascadeport.backends.ascend import host, releases
from cascadeport.backends.ascend.releases import Release
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.config import compose
from cascadeport.containers import refusals
from cascadeport.core.check import Check, Finding, idle, not_checked_remotely
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceState


@dataclass(frozen=True)
class NpuProcess:
    """A process on a chip."""

    npu: int
    chip: int
    pid: int
    name: str
    memory_mb: int


@dataclass(frozen=True)
class Chip:
    """A chip as npu-smi reports it; `device` is the number that programs use.

    A value that npu-smi does not report is None.
    """

    npu: int
    chip: int
    device: int
    name: str
    health: str
    power_w: float | None
    temperature_c: float | None
    ai_core_percent: float | None
    memory_used_mb: int | None
    memory_total_mb: int | None


@dataclass(frozen=True)
class NpuSmiReport:
    """The output of `npu-smi info`."""

    tool: str
    driver: str
    chips: tuple[Chip, ...]
    processes: tuple[NpuProcess, ...]


def parse_npu_smi(text: str) -> NpuSmiReport:
    """Parses the table that `npu-smi info` prints.

    Raises:
        CascadeportError: The text is not that table.
    """
    versions = re.search(r"npu-smi\s+([\w.]+).*Version:\s*([\w.]+)", text)
    if versions is None:
        raise CascadeportError(
            "The output of npu-smi is not its table.",
            where=" ".join(text.split())[:300],
            next="Run npu-smi info by hand; `dcmi module initialize failed` means that the driver "
            "or the firmware does not work.",
        )
    chips: list[Chip] = []
    processes: list[NpuProcess] = []
    upper: list[str] | None = None
    in_processes = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Process id" in line:
            in_processes = True
        elif in_processes and len(cells) == 4:
            found = _process(cells)
            if found:
                processes.append(found)
        elif len(cells) == 3 and re.match(r"\d{1,6}\s+[A-Za-z0-9]", cells[0]):
            first = cells[0].split()
            # A chip is two rows: NPU, name, health, power; then chip, device, bus, load.
            if upper is None:
                upper = [*first, cells[1], *cells[2].split()]
            else:
                chip = _chip(upper, first, cells[2])
                if chip is None:
                    raise CascadeportError(
                        "npu-smi prints its table in a form that is not known here.",
                        where=" ".join(line.split())[:300],
                        next="Report this with the output of npu-smi info.",
                    )
                chips.append(chip)
                upper = None
    return NpuSmiReport(versions[1], versions[2], tuple(chips), tuple(processes))


def _chip(upper: list[str], lower: list[str], usage: str) -> Chip | None:
    """A chip of its two rows; None: they have another form."""
    if len(upper) < 5 or len(lower) < 2 or not usage.split():
        return None
    if not all(text.isdecimal() and len(text) < 7 for text in (upper[0], *lower[:2])):
        return None
    npu, name, health, power, temperature = upper[:5]
    memory = re.search(r"(\d{1,12})\s*/\s*(\d{1,12})", usage)
    return Chip(
        npu=int(npu),
        chip=int(lower[0]),
        device=int(lower[1]),
        name=name,
        health=health,
        power_w=_number(power),
        temperature_c=_number(temperature),
        ai_core_percent=_number(usage.split()[0]),
        memory_used_mb=int(memory[1]) if memory else None,
        memory_total_mb=int(memory[2]) if memory else None,
    )


def _process(cells: list[str]) -> NpuProcess | None:
    position = cells[0].split()
    numbers = [*position, cells[1]]
    if len(numbers) != 3 or not all(text.isdecimal() and len(text) < 12 for text in numbers):
        return None
    memory = int(cells[3]) if cells[3].isdecimal() and len(cells[3]) < 12 else 0
    return NpuProcess(int(position[0]), int(position[1]), int(cells[1]), cells[2], memory)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def npu_smi(context: Context) -> NpuSmiReport:
    """Runs the host's npu-smi."""
    answer = context.machine.run(context.variables.get("NPU_SMI", "npu-smi"), "info")
    if answer is None:
        raise CascadeportError(
            f"npu-smi is not installed on {context.machine.name}.",
            next="It comes with the Ascend driver; without an NPU, --simulate runs the target on a "
            "stand-in for CANN.",
        )
    return parse_npu_smi(answer.output)


def states(context: Context) -> list[DeviceState]:
    """How the chips of the target are at this moment; npu-smi tells neither clock nor throttling.

    Raises:
        CascadeportError: npu-smi does not answer.
    """
    report = npu_smi(context)
    own = [chip for chip in report.chips if chip.device in _row(context).devices]
    return [
        DeviceState(
            device=f"chip {chip.device}",
            temperature_c=chip.temperature_c,
            power_w=chip.power_w,
            processes=sum((one.npu, one.chip) == (chip.npu, chip.chip) for one in report.processes)
            # Releases without the table of processes tell nothing about them.
            or None,
        )
        for chip in own
    ]


def _nodes(context: Context) -> Finding:
    service = context.engine.service("infer")
    assert service is not None
    machine = context.machine
    nodes = {path: machine.node(path) for path in compose.device_paths(service)}
    missing = [path for path, node in nodes.items() if node is None]
    if missing:
        error = refusals.no_device(", ".join(missing), machine.name, host.DEVICE_REMEDY)
        return Finding("devices", "fail", error.what, remedy=error.next)
    if context.options.simulate:
        return Finding("devices", "ok", "This run is simulated: the device nodes are stand-ins.")
    for path, node in nodes.items():
        assert node is not None
        group = str(node.group) in service.group_add and node.mode & stat.S_IRGRP
        if not (group and node.mode & stat.S_IWGRP) and not node.mode & stat.S_IWOTH:
            return Finding(
                "devices",
                "fail",
                f"The container's user has no access to {path} (mode {node.mode & 0o777:o}, "
                f"group {node.group}).",
                reason=f"The container runs with HwHiAiUser's uid and the group of {host.NODE}.",
                remedy="Give all nodes one group with read and write access: chgrp HwHiAiUser, "
                "chmod 660, and a udev rule that makes it permanent.",
            )
    return Finding("devices", "ok", f"{len(nodes)} nodes: {', '.join(nodes)}.")


def _driver(context: Context) -> Finding:
    cann = _cann(context)
    path = Path(context.variables.get("ASCEND_DRIVER", str(host.DRIVER))) / "version.info"
    text = context.machine.text(str(path))
    if text is None:
        return Finding(
            "driver",
            "fail",
            f"{path} does not exist on {context.machine.name}.",
            reason="The container uses the host's driver.",
            remedy="Install the driver and firmware of the card, so that `npu-smi info` works.",
        )
    known = host.version_info(text)
    version = known.get("Version", "unknown")
    wanted = host.driver_wanted(version, cann)
    if wanted is not None and host.release(version) < host.release(wanted):
        return Finding(
            "driver",
            "fail",
            f"The driver is {version}, older than CANN {cann.name} requires.",
            reason="With it, CANN cannot open the device (error 507033).",
            remedy=f"Install driver and firmware {wanted} or newer.",
        )
    if host.is_years_newer(version, cann):
        # Drivers of today say which older interfaces they keep.
        says = known.get("compatible_version")
        return Finding(
            "driver",
            "warn",
            f"The driver is {version}, years newer than CANN {cann.name}"
            + (f"; it says that it is compatible with {says}." if says else "."),
            reason="Nobody has tried this pair here; if CANN cannot open the device, it ends with "
            "error 507033.",
            remedy="Go on and see. If it fails: --cann-release with a release of the driver's "
            f"time, or a driver before {cann.driver.warn_from}.",
        )
    return Finding("driver", "ok", f"Driver {version} for CANN {cann.name}.")


def _chips(context: Context) -> Finding:
    report = npu_smi(context)
    soc = _row(context).soc
    wrong = [chip for chip in report.chips if f"Ascend{chip.name}" != soc]
    if not report.chips or wrong:
        seen = ", ".join(sorted({chip.name for chip in wrong})) or "no chip"
        return Finding(
            "chips",
            "fail",
            f"npu-smi shows {seen}; this target is for {soc}.",
            reason="A model converted for one soc does not load on another.",
            remedy="Choose the target for this chip; `npu-smi info` names it.",
        )
    unhealthy = [chip for chip in report.chips if chip.health != "OK"]
    if unhealthy:
        return Finding(
            "chips",
            "fail",
            f"Chip {unhealthy[0].device} is unhealthy: {unhealthy[0].health}.",
            reason="An unhealthy chip throttles, or fails during the run.",
            remedy="See `npu-smi info -t health -i 0`; check temperature and power.",
        )
    names = ", ".join(f"{chip.device}: {chip.name}" for chip in report.chips)
    return Finding("chips", "ok", f"npu-smi {report.tool}, driver {report.driver}; {names}.")


def _idle(context: Context) -> Finding:
    report = npu_smi(context)
    busy = [chip for chip in report.chips if (chip.ai_core_percent or 0) > 0]
    names = [f"{p.name or 'a process'} ({p.pid}) on chip {p.chip}" for p in report.processes]
    names += [f"chip {chip.device} is {chip.ai_core_percent:.0f} % busy" for chip in busy]
    return idle(names)


def _packages(context: Context) -> Finding:
    cann = _cann(context)
    missing = host.missing_packages(
        {**context.variables, architecture.VARIABLE: context.architecture},
        cann,
        context.options.bins,
    )
    if missing:
        return Finding(
            "CANN",
            "fail",
            f"{', '.join(missing)} missing in {host.folder(context.variables)}.",
            reason="The vendor's packages are not redistributable: you have to add them yourself.",
            remedy=f"Get them from {cann.source} and record their checksums (docs/containers.md).",
        )
    return Finding("CANN", "ok", f"The packages of CANN {cann.name} are in place.")


def _cann(context: Context) -> Release:
    return releases.find(context.options.cann_release)


def _row(context: Context) -> AscendTarget:
    assert isinstance(context.target, AscendTarget)
    return context.target


def _is_ascend(context: Context) -> bool:
    return isinstance(context.target, AscendTarget)


def _on_docker(context: Context) -> bool:
    return _is_ascend(context) and context.engine.in_containers


def _reachable(context: Context) -> bool:
    return _on_docker(context) and context.machine.reachable


def _real(context: Context) -> bool:
    return _reachable(context) and not context.options.simulate


def _remote(context: Context) -> bool:
    simulated = context.options.simulate
    return _is_ascend(context) and not context.machine.reachable and not simulated


CHECKS = (
    Check("devices", _reachable, _nodes),
    Check("devices", _remote, not_checked_remotely),
    Check("driver", _real, _driver),
    Check("chips", _real, _chips),
    Check("idle", _real, _idle, during_run=True),
    Check("CANN", lambda c: _on_docker(c) and not c.options.simulate, _packages),
)
