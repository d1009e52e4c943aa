"""A job by way of ais_infer, the vendor's command line: `.bin` files in, its run, `.bin` files out.

For those who must: it takes 17 MB of disk for a picture of 1216 x 1216; the detections are those of
the streaming pass. Flags, names of files and the place of its summary are those of Ascend/tools,
ais-bench_workload/tool/ais_infer, from 2022-07-18 on.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple

import aclruntime
import numpy as np

from bundle import events
from bundle.bins import below, read_bins, write_bins
from bundle.errors import BundleError
from bundle.files import make_folder
from bundle.geometry import fit
from bundle.job import Job, Network
from bundle.record import forget
from bundle.run import check_file

# From how many times on a percentile is told: see measure.py.
_P99_FROM = 662
_POLL_S = 0.2


class Share(NamedTuple):
    """What one chip does with one network."""

    device: int
    model: str
    bins: str
    output: str
    log: str


def run_bins(job: Job, out: str) -> None:
    """Runs a job by the command line in `runner.options.ais_infer`.

    Leaves what `read_bins` leaves, with ais_infer's own times in run.json, and what each process
    printed in `ais_infer-<chip>.log`. The `.bin` files are removed.

    Raises:
        BundleError: The tool is not there, fails or leaves no summary; the disk is too small; a
            picture cannot be used.
    """
    make_folder(out)
    forget(out)
    tool = str(job.runner.options.get("ais_infer", ""))
    if not os.path.isfile(tool):
        raise BundleError(
            "ais_infer is not there.",
            tool,
            "Put ais_infer.tar.gz beside the vendor's packages: docs/containers.md.",
        )
    for network in job.runner.networks:
        check_file(network)
    bins, work = os.path.join(out, "bins"), os.path.join(out, "ais_infer")
    results = os.path.join(work, "results")
    try:
        make_folder(work)
        _check_room(job, work)
        write_bins(job, out)
        progress = _Progress(len(job.pictures))
        shares: List[Share] = []
        for network in job.runner.networks:
            mine = _shares(job, network, below(bins, network.shape, job), out, work)
            _run_all(tool, mine, progress)
            shares += mine
            outputs = below(results, network.shape, job)
            make_folder(outputs)
            for share in mine:
                for path in glob.glob(os.path.join(share.output, "*", "*.bin")):
                    os.replace(path, os.path.join(outputs, os.path.basename(path)))
        times = _times(shares, [_summary(share) for share in shares])
        read_bins(job, results, out, _environment(shares), times)
    finally:
        # Also after a failure: they are many gigabytes, and would travel back from another host.
        for folder in (work, bins):
            shutil.rmtree(folder, ignore_errors=True)


def _check_room(job: Job, folder: str) -> None:
    settings = job.preprocess
    values = sum(int(np.prod(settings.batch(fit(one, settings).shape))) for one in job.pictures)
    needed = values * np.dtype(settings.dtype).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            "The inputs of ais_infer take {:.1f} GB and the disk has {:.1f} GB.".format(
                needed / 1e9, free / 1e9
            ),
            folder,
            "Leave BINS=1 out (the streaming pass needs no disk), or use LIMIT=.",
        )


def _shares(job: Job, network: Network, bins: str, out: str, work: str) -> List[Share]:
    """Shares a network's inputs out to the card's chips: ais_infer knows one."""
    lanes = [int(lane.options.get("device", 0)) for lane in job.runner.lanes]
    names = sorted(os.listdir(bins))
    shape = below("", network.shape, job)
    shares = []
    for place, device in enumerate(lanes[: len(names)]):
        folder = os.path.join(work, "-".join(filter(None, ("chip", str(device), shape))))
        log = "-".join(filter(None, ("ais_infer", str(device), shape))) + ".log"
        share = Share(
            device,
            network.path,
            os.path.join(folder, "in"),
            os.path.join(folder, "out"),
            os.path.join(out, log),
        )
        make_folder(share.bins)
        # The tool makes a folder below it, and not this one.
        make_folder(share.output)
        for name in names[place :: len(lanes)]:
            os.replace(os.path.join(bins, name), os.path.join(share.bins, name))
        shares.append(share)
    return shares


class _Progress:
    """Counts the outputs that there are."""

    def __init__(self, total: int) -> None:
        self._told = events.Progress("ais_infer", total)

    def more(self, before: int, now: int) -> int:
        for _ in range(before, now):
            self._told.step()
        return now


def _run_all(tool: str, shares: List[Share], progress: _Progress) -> None:
    """Runs a process per chip, side by side, until all are done or one has failed."""
    running = []
    done = 0
    try:
        for share in shares:
            words = [sys.executable, tool, "--model", share.model]
            words += ["--input", share.bins, "--output", share.output]
            words += ["--outfmt", "BIN", "--device", str(share.device)]
            with open(share.log, "wb") as log:
                running.append(subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT))
        while True:
            codes = [process.poll() for process in running]
            for share, code in zip(shares, codes):
                if code:
                    raise _failed(share, code)
            ended = all(code == 0 for code in codes)
            done = progress.more(done, sum(_outputs(share) for share in shares))
            if ended:
                return
            time.sleep(_POLL_S)
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait()


def _outputs(share: Share) -> int:
    return len(glob.glob(os.path.join(share.output, "*", "*_0.bin")))


def _failed(share: Share, code: int) -> BundleError:
    with open(share.log, encoding="utf-8", errors="replace") as stream:
        lines = [line.strip() for line in stream if line.strip()]
    telling = [line for line in lines if "ERROR" in line or "Error" in line or "EE" in line]
    sys.stderr.write("\n".join(lines[-40:]) + "\n")
    return BundleError(
        "ais_infer ended with code {} on chip {}: {}".format(
            code, share.device, " | ".join((telling or lines)[-3:]) or "it said nothing"
        ),
        share.log,
        "If it cannot load the network: is this chip the one that it was converted for "
        "(npu-smi info)? Without BINS=1 the same job explains more.",
    )


def _summary(share: Share) -> Dict[str, Any]:
    """What ais_infer says of its times: in its folder, or beside it from 2022-11-14 on."""
    found = glob.glob(os.path.join(share.output, "*", "sumary.json"))
    found += glob.glob(os.path.join(share.output, "*_summary.json"))
    try:
        with open(found[0], encoding="utf-8") as stream:
            summary: Dict[str, Any] = json.load(stream)
        float(summary["NPU_compute_time"]["mean"])
    except (IndexError, OSError, ValueError, KeyError, TypeError) as failure:
        raise BundleError(
            "ais_infer left no summary that can be read: {!r}.".format(failure),
            found[0] if found else share.output,
            "Read its log {}.".format(share.log),
        ) from None
    return summary


def _environment(shares: List[Share]) -> Dict[str, Any]:
    devices = sorted({share.device for share in shares})
    chips = "1 chip" if len(devices) == 1 else "{} chips".format(len(devices))
    return {
        "runtime": "ais_infer",
        "runtime_version": getattr(aclruntime, "__version__", "unknown"),
        "provider": "Ascend, {} of this card".format(chips),
        "providers": ["Ascend device {}".format(device) for device in devices],
        "chips": len(devices),
        "simulated": bool(getattr(aclruntime, "SIMULATED", False)),
    }


def _times(shares: List[Share], summaries: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The summary of run.json from ais_infer's own: execution on the chip alone.

    The whole device's rate is the sum of what each chip reached beside the others. End to end is
    not told: files in between are no part of a detector.
    """
    counts: Dict[int, int] = {}
    spent: Dict[int, float] = {}
    for share, summary in zip(shares, summaries):
        count = len(os.listdir(share.bins))
        counts[share.device] = counts.get(share.device, 0) + count
        took = count * float(summary["NPU_compute_time"]["mean"])
        spent[share.device] = spent.get(share.device, 0.0) + took
    total, whole = sum(counts.values()), sum(spent.values())
    if not whole:
        return {}
    steps: Dict[str, Any] = {"n": total, "mean": whole / total}
    steps.update(p50=None, p90=None, p99=None)
    if len(summaries) == 1:
        # What several processes' percentiles are together, nobody can tell.
        told = summaries[0]["NPU_compute_time"]
        steps["p50"] = told.get("median")
        steps["p99"] = told.get("percentile(99%)") if total >= _P99_FROM else None
    return {
        "chip_ips": 1000.0 * total / whole,
        "device_ips": sum(1000.0 * counts[one] / spent[one] for one in counts),
        "steps_ms": {"device": steps},
        "latency_ms": steps,
        "percentiles": "those of ais_infer: numpy, linear",
    }
