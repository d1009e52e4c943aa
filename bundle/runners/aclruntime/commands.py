"""Commands for those who run networks with the vendor's ais_infer."""

from __future__ import annotations

from bundle.commands import BundleCommand
from bundle.job import read_job


def _write(job: str, out: str) -> None:
    from bundle.runners.aclruntime.bins import write_bins

    write_bins(read_job(job), out)


def _read(job: str, results: str, out: str) -> None:
    from bundle.runners.aclruntime.bins import read_bins

    read_bins(read_job(job), results, out)


def _run(job: str, out: str) -> None:
    from bundle.runners.aclruntime.ais_infer import run_bins

    run_bins(read_job(job), out)


COMMANDS = [
    BundleCommand("bins-write", "write the input files of ais_infer", ("job", "out"), _write),
    BundleCommand(
        "bins-read", "read the output files of ais_infer", ("job", "results", "out"), _read
    ),
    BundleCommand("bins-run", "run a job by ais_infer", ("job", "out"), _run),
]
