"""Runs a job by ais_infer, the vendor's command line: `.bin` files in, its run, `.bin` files out.

For comparison with the vendor's way: it needs 17 MB of disk for a picture of 1216 x 1216, and its
detections are those of the streaming pass. tools.py says which revisions of it there are.
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
from bundle.errors import BundleError
from bundle.files import make_folder
from bundle.geometry import fit
from bundle.job import Job, NetworkFile
from bundle.measure import PERCENTILES
from bundle.record import remove_record
from bundle.run import check_network_files
from bundle.runners import EXECUTION
from bundle.runners.aclruntime import version
from bundle.runners.aclruntime.bins import network_folder, read_bins, write_bins
from bundle.runners.aclruntime.chip import proofs
from bundle.runners.aclruntime.tools import (
    Tool,
    close_to_others,
    find_tool,
    output_files,
    own_copy,
)

_POLL_S = 0.2


class Share(NamedTuple):
    """What one chip does with one network.

    Args:
        device: The chip's number.
        network: The network's file.
        inputs: The folder of its `.bin` files.
        output: The folder that ais_infer writes to.
        log: The file for what it prints.
    """

    device: int
    network: str
    inputs: str
    output: str
    log: str


def run_bins(job: Job, out: str) -> None:
    """Runs a job by the command line in the folder `runner.options.ais_infer`.

    Writes what `read_bins` writes, with ais_infer's own times in run.json, and what each of its
    processes printed to `ais_infer-<chip>.log`. The `.bin` files are removed.

    Raises:
        BundleError: The tool is missing, fails or writes no summary; the disk is too small; or a
            picture cannot be used.
    """
    out = os.path.abspath(out)  # a tool may start in a folder of its own
    make_folder(out)
    remove_record(out)
    tool = find_tool(str(job.runner.options.get("ais_infer", "")))
    for network in job.runner.networks:
        check_network_files(network)
    bins, work = os.path.join(out, "bins"), os.path.join(out, "ais_infer")
    results = os.path.join(work, "results")
    try:
        make_folder(work)
        _check_disk_space(job, work)
        write_bins(job, out)
        progress = _OutputCounter(len(job.pictures))
        shares: List[Share] = []
        summaries: List[Dict[str, Any]] = []
        for network in job.runner.networks:
            inputs = network_folder(bins, network.shape, job)
            new_shares = _share_inputs(tool, job, network, inputs, out, work)
            _run_all(tool, new_shares, progress)
            shares += new_shares
            outputs = network_folder(results, network.shape, job)
            make_folder(outputs)
            for share in new_shares:
                summaries.append(_read_summary(share))
                _collect(share, summaries[-1], outputs)
        read_bins(job, results, out, _environment(tool, shares), _summarise(shares, summaries))
    finally:
        # After a failure too: these are many gigabytes, and from a remote host all that is in
        # the folder is copied back.
        for folder in (work, bins):
            shutil.rmtree(folder, ignore_errors=True)


def _check_disk_space(job: Job, folder: str) -> None:
    settings = job.preprocess
    values = sum(int(np.prod(settings.batch(fit(one, settings).shape))) for one in job.pictures)
    needed = values * np.dtype(settings.dtype).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            "The inputs of ais_infer need {:.1f} GB, and the disk has {:.1f} GB.".format(
                needed / 1e9, free / 1e9
            ),
            folder,
            "Run without --bins (the streaming pass needs no disk), or set --limit.",
        )


def _share_inputs(
    tool: Tool, job: Job, network: NetworkFile, inputs: str, out: str, work: str
) -> List[Share]:
    """Divides a network's inputs between the chips of the card: ais_infer uses only one."""
    devices = [int(lane.options.get("device", 0)) for lane in job.runner.lanes]
    names = sorted(os.listdir(inputs))
    shape = network_folder("", network.shape, job)
    shares = []
    for number, device in enumerate(devices[: len(names)]):
        folder = os.path.join(work, "-".join(filter(None, ("chip", str(device), shape))))
        log = "-".join(filter(None, ("ais_infer", str(device), shape))) + ".log"
        make_folder(folder)
        share = Share(
            device,
            own_copy(tool, network.path, folder),
            os.path.join(folder, "in"),
            os.path.join(folder, "out"),
            os.path.join(out, log),
        )
        make_folder(share.inputs)
        # ais_infer creates a folder below this one, but not this one.
        make_folder(share.output)
        for name in names[number :: len(devices)]:
            os.replace(os.path.join(inputs, name), os.path.join(share.inputs, name))
        close_to_others(tool, share.inputs, share.output)
        shares.append(share)
    return shares


class _OutputCounter:
    """Reports progress by the number of outputs on disk."""

    def __init__(self, total: int) -> None:
        self._progress = events.Progress("ais_infer", total)

    def advance(self, before: int, now: int) -> int:
        for _ in range(before, now):
            self._progress.step()
        return now


def _run_all(tool: Tool, shares: List[Share], progress: _OutputCounter) -> None:
    """Runs a process for each chip, in parallel, until all are done or one has failed."""
    processes = []
    done = 0
    try:
        for share in shares:
            command = [*tool.command, "--model", share.network]
            command += ["--input", share.inputs, "--output", share.output]
            command += ["--outfmt", "BIN", "--device", str(share.device)]
            with open(share.log, "wb") as log:
                processes.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=subprocess.STDOUT, cwd=tool.folder or None
                    )
                )
        while True:
            codes = [process.poll() for process in processes]
            for share, code in zip(shares, codes):
                if code:
                    raise _error(share, code)
            finished = all(code == 0 for code in codes)
            done = progress.advance(done, sum(_count_outputs(share) for share in shares))
            if finished:
                return
            time.sleep(_POLL_S)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _count_outputs(share: Share) -> int:
    return len(glob.glob(os.path.join(share.output, "*", "*_0.bin")))


def _error(share: Share, code: int) -> BundleError:
    with open(share.log, encoding="utf-8", errors="replace") as stream:
        lines = [line.strip() for line in stream if line.strip()]
    error_lines = [line for line in lines if "ERROR" in line or "Error" in line or "EE" in line]
    sys.stderr.write("\n".join(lines[-40:]) + "\n")
    return BundleError(
        "ais_infer exited with code {} on chip {}: {}".format(
            code, share.device, " | ".join((error_lines or lines)[-3:]) or "it printed nothing"
        ),
        share.log,
        "If it cannot load the network: is this chip the one that it was converted for "
        "(npu-smi info)? Without --bins the same job gives better explanations.",
    )


def _read_summary(share: Share) -> Dict[str, Any]:
    """ais_infer's own summary: in its folder, or beside it from 2022-11-14 on."""
    found = glob.glob(os.path.join(share.output, "*", "sumary.json"))
    found += glob.glob(os.path.join(share.output, "*_summary.json"))
    try:
        with open(found[0], encoding="utf-8") as stream:
            summary: Dict[str, Any] = json.load(stream)
        float(summary["NPU_compute_time"]["mean"])
    except (IndexError, OSError, ValueError, KeyError, TypeError) as failure:
        raise BundleError(
            "ais_infer wrote no readable summary: {!r}.".format(failure),
            found[0] if found else share.output,
            "Read its log {}.".format(share.log),
        ) from None
    return summary


def _collect(share: Share, summary: Dict[str, Any], folder: str) -> None:
    """Moves a process's outputs into a folder, under the names that `read_bins` expects."""
    (made,) = glob.glob(os.path.join(share.output, "*", ""))
    for name, file in output_files(summary, share.log).items():
        try:
            os.replace(os.path.join(made, file), os.path.join(folder, name))
        except OSError as failure:
            raise BundleError(
                "An output of ais_infer is missing: {}.".format(failure.strerror or failure),
                os.path.join(made, file),
                "Read its log {}.".format(share.log),
            ) from None


def _environment(tool: Tool, shares: List[Share]) -> Dict[str, Any]:
    devices = sorted({share.device for share in shares})
    simulated = bool(getattr(aclruntime, "SIMULATED", False))
    chips = "1 chip" if len(devices) == 1 else "{} chips".format(len(devices))
    return {
        "runtime": tool.name,
        "runtime_version": version(),
        "provider": "Ascend, {} of this card".format(chips),
        "providers": ["Ascend device {}".format(device) for device in devices],
        "chips": len(devices),
        "device_time": EXECUTION,
        "device_proof": proofs(devices, simulated),
        "simulated": simulated,
    }


def _summarise(shares: List[Share], summaries: List[Dict[str, Any]]) -> Dict[str, Any]:
    """The summary of run.json, derived from ais_infer's: execution on the chips only.

    The card's rate is the sum of what each chip reached while the others were working too. There
    is no end-to-end rate: a detector does not write files in between.
    """
    counts: Dict[int, int] = {}
    milliseconds: Dict[int, float] = {}
    for share, summary in zip(shares, summaries):
        count = len(os.listdir(share.inputs))
        counts[share.device] = counts.get(share.device, 0) + count
        spent = count * float(summary["NPU_compute_time"]["mean"])
        milliseconds[share.device] = milliseconds.get(share.device, 0.0) + spent
    total, total_ms = sum(counts.values()), sum(milliseconds.values())
    if not total_ms:
        return {}
    latency: Dict[str, Any] = {"n": total, "mean": total_ms / total}
    latency.update(p50=None, p90=None, p99=None)
    if len(summaries) == 1:
        # The percentiles of several processes cannot be combined.
        times = summaries[0]["NPU_compute_time"]
        latency["p50"] = times.get("median")
        latency["p99"] = times.get("percentile(99%)") if total >= PERCENTILES["p99"][1] else None
    return {
        "chip_ips": 1000.0 * total / total_ms,
        "device_ips": sum(1000.0 * counts[one] / milliseconds[one] for one in counts),
        "steps_ms": {"device": latency},
        "latency_ms": latency,
        "percentiles": "those of ais_infer: numpy, linear",
    }
