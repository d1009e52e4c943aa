"""NVIDIA GPUs: what nvidia-smi reports, and other processes on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.core.check import Check, Finding, idle, not_checked_remotely
from cascadeport.core.cluster import PlugIn
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceProof, DeviceState

_GPUS = "--query-gpu=index,name,driver_version,memory.used,memory.total,utilization.gpu"
# Every driver that this project supports knows the last one by this name.
_STATES = (
    "--query-gpu=index,clocks.current.sm,clocks.max.sm,temperature.gpu,power.draw,"
    "clocks_throttle_reasons.active"
)
# Why a GPU is slower than it could be while it works (nvml.h, nvmlClocksEventReason*).
_THROTTLED = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "temperature",
    0x40: "temperature, hardware",
    0x80: "power brake",
}
_PROCESSES = "--query-compute-apps=pid,process_name,used_memory"
# The image's onnxruntime is built for CUDA 13, which requires this driver or a newer one.
_DRIVER = 580
_FORMAT = "--format=csv,noheader,nounits"


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi reports it; values that it does not report are None."""

    index: int
    name: str
    driver: str
    memory_used_mb: int | None
    memory_total_mb: int | None
    busy_percent: int | None


@dataclass(frozen=True)
class Process:
    """A process on a GPU."""

    pid: int
    name: str
    memory_mb: int | None


def parse_gpus(text: str) -> list[Gpu]:
    """Parses the GPUs in the output of nvidia-smi."""
    return [
        Gpu(int(row[0]), row[1], row[2], _number(row[3]), _number(row[4]), _number(row[5]))
        for row in _rows(text, 6)
    ]


def parse_processes(text: str) -> list[Process]:
    """Parses the processes in the output of nvidia-smi."""
    return [Process(int(row[0]), row[1], _number(row[2])) for row in _rows(text, 3)]


def _rows(text: str, columns: int) -> list[list[str]]:
    """Rows that begin with a number; commas of a name (the second column) stay in it."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        rest = columns - 2
        if len(cells) >= columns and _number(cells[0]) is not None:
            found.append([cells[0], ", ".join(cells[1 : len(cells) - rest]), *cells[-rest:]])
    return found


def _number(text: str) -> int | None:
    # isdigit would accept superscripts, and int refuses thousands of digits.
    return int(text) if text.isdecimal() and len(text) < 12 else None


def _query(context: Context, query: str, *more: str) -> str:
    answer = context.machine.run("nvidia-smi", *more, query, _FORMAT)
    if answer is None:
        raise CascadeportError(
            f"nvidia-smi is not installed: {context.machine.name} has no NVIDIA driver.",
            next="Install the driver, or name the host that has the GPU in hosts.toml.",
        )
    if answer.code != 0:
        raise CascadeportError(
            "nvidia-smi cannot reach the driver.",
            where=" ".join(answer.output.split())[:300],
            next="Load or reinstall the driver; after an update, reboot.",
        )
    return answer.output


def device(context: Context) -> str:
    """The GPU that compose/t4.yaml passes to the container."""
    return f"gpu{context.variables.get('GPU', '0')}"


def states(context: Context) -> list[DeviceState]:
    """How that GPU is at this moment; none where its machine runs no commands for us.

    Raises:
        CascadeportError: nvidia-smi does not answer.
    """
    if not context.machine.reachable:
        return []
    own = f"--id={context.variables.get('GPU', '0')}"
    processes = len(parse_processes(_query(context, _PROCESSES, own)))
    return parse_states(_query(context, _STATES, own), processes)


def unproved(proof: DeviceProof) -> str | None:
    """Why a device is not a GPU of NVIDIA's driver; None: it is one."""
    if proof.kind != "gpu":
        return f"{proof.name}, a device of kind {proof.kind}, ran the network, not a GPU"
    if not (proof.serial or "").startswith("GPU-"):
        return f"NVIDIA's driver gave no UUID for {proof.name}, so nothing proves that GPU"
    return None


def parse_states(text: str, processes: int) -> list[DeviceState]:
    """Parses clocks, heat, power and reasons for throttling in the output of nvidia-smi."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != 6 or _number(cells[0]) is None:
            continue
        reasons = int(cells[5], 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", cells[5]) else 0
        clock, highest, heat, power = (_decimal(cell) for cell in cells[1:5])
        found.append(
            DeviceState(
                device=f"GPU {cells[0]}",
                clock_mhz=clock,
                clock_max_mhz=highest,
                temperature_c=heat,
                power_w=power,
                throttled=tuple(name for bit, name in _THROTTLED.items() if reasons & bit),
                processes=processes,
            )
        )
    return found


def _decimal(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text) else None


def _gpu(context: Context) -> Finding:
    gpus = parse_gpus(_query(context, _GPUS))
    if not gpus:
        return Finding(
            "gpu", "fail", "nvidia-smi shows no GPU.", remedy="Check that the card is seated."
        )
    driver = gpus[0].driver
    series = _number(driver.split(".")[0])
    if series is None:
        return Finding(
            "gpu",
            "warn",
            f"The version of the NVIDIA driver cannot be read: {driver}.",
            reason=f"The image's CUDA 13 needs {_DRIVER} or newer.",
            remedy="Run nvidia-smi by hand and see what it says.",
        )
    if series < _DRIVER:
        return Finding(
            "gpu",
            "warn",
            f"The NVIDIA driver is {driver}.",
            reason=f"The image's CUDA 13 came with {_DRIVER}. Data-centre GPUs such as the T4 may "
            "run it on an older driver, by NVIDIA's forward compatibility: it is tried "
            "(docs/nvidia.md).",
            remedy=f"If the run fails, install driver {_DRIVER} or newer on the host.",
        )
    names = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in gpus)
    if not any(context.name.lower() in gpu.name.lower().split() for gpu in gpus):
        return Finding(
            "gpu",
            "warn",
            f"{names}; driver {gpus[0].driver}.",
            reason=f"This is not a {context.name}: results name the GPU that ran.",
            remedy="Nothing to do, unless another GPU was meant.",
        )
    return Finding("gpu", "ok", f"{names}; driver {gpus[0].driver}.")


def _idle(context: Context) -> Finding:
    gpus = parse_gpus(_query(context, _GPUS))
    processes = parse_processes(_query(context, _PROCESSES))
    return judge_idle(gpus, processes)


def judge_idle(gpus: Sequence[Gpu], processes: Sequence[Process]) -> Finding:
    """Whether anybody else uses the GPUs."""
    busy = [gpu for gpu in gpus if (gpu.busy_percent or 0) > 0]
    names = [f"{process.name} ({process.pid})" for process in processes]
    names += [f"GPU {gpu.index} is {gpu.busy_percent} % busy" for gpu in busy]
    return idle(names)


def checks(concerns: Callable[[Context], bool]) -> tuple[Check, ...]:
    """The doctor's checks on a host with an NVIDIA GPU.

    Args:
        concerns: Whether the command's target runs on one.
    """

    def reachable(context: Context) -> bool:
        return concerns(context) and context.machine.reachable

    def remote(context: Context) -> bool:
        return concerns(context) and not context.machine.reachable

    return (
        Check("gpu", reachable, _gpu),
        Check("idle", reachable, _idle, during_run=True),
        Check("devices", remote, not_checked_remotely),
    )


def plug_in(service: Service) -> PlugIn:
    """NVIDIA's device plug-in (NVIDIA/k8s-device-plugin), for the GPUs that a service reserves."""
    requests = service.deploy.resources.reservations.devices
    count = sum(len(one.device_ids or ()) or one.count or 1 for one in requests)
    return PlugIn("nvidia.com/gpu", count)


def refusal(text: str, address: str) -> CascadeportError | None:
    """Explains a Docker Engine's refusal to pass a GPU to a container; None: another refusal."""
    if "unsatisfied condition" in text:
        return CascadeportError(
            "The NVIDIA driver of that host is too old for the image's CUDA 13.",
            where=f"{address}: {text[:300]}",
            next=f"Install driver {_DRIVER} or newer there (docs/nvidia.md).",
        )
    if "could not select device driver" not in text and "nvidia-container" not in text:
        return None
    return CascadeportError(
        "The Docker Engine cannot pass a GPU to a container.",
        where=f"{address}: {text[:300]}",
        next="Install the NVIDIA container toolkit on that host and restart its engine; "
        "nvidia-smi must work there.",
    )
