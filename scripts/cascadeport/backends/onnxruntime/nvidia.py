"""NVIDIA GPUs: what nvidia-smi reports, and other processes on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.core.check import Check, Finding, idle, not_checked_remotely
from cascadeport.core.context import Context

_GPUS = "--query-gpu=index,name,driver_version,memory.used,memory.total,utilization.gpu"
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


def _query(context: Context, query: str) -> str:
    answer = context.machine.run("nvidia-smi", query, _FORMAT)
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
            "fail",
            f"The NVIDIA driver is {driver}.",
            reason=f"The image's CUDA 13 needs {_DRIVER} or newer.",
            remedy="Install a newer driver on the host.",
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


def refusal(text: str, address: str) -> CascadeportError | None:
    """Explains a Docker Engine's refusal to pass a GPU to a container; None: another refusal."""
    if "could not select device driver" not in text and "nvidia-container" not in text:
        return None
    return CascadeportError(
        "The Docker Engine cannot pass a GPU to a container.",
        where=f"{address}: {text[:300]}",
        next="Install the NVIDIA container toolkit on that host and restart its engine; "
        "nvidia-smi must work there.",
    )
