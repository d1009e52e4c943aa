"""python -m bundle: the command line. Exit codes: 0 success, 2 error, 128+n after signal n."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from typing import Any, List, Optional

from bundle import events
from bundle.commands import BundleCommand, runner_commands
from bundle.errors import BundleError, Interrupted, explain
from bundle.job import read_job

_SHARD = {
    "metavar": "i/n",
    "default": "",
    "help": "run share i of n, into a folder below OUT; '/n' takes i from JOB_COMPLETION_INDEX, "
    "which counts from 0, or from CASCADEPORT_SLOT, the slot of a task of Docker Swarm",
}
_SHARDS = {
    "nargs": "*",
    "metavar": "SHARD",
    "help": "the folders of the shards; those below OUT unless given",
}


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one command; returns the exit code. Standard output is JSON lines and nothing else."""
    options = _parser().parse_args(arguments)
    events.claim_standard_output()
    try:
        if options.command is None:
            return _selfcheck()
        command: BundleCommand = options.command
        command.run(*(getattr(options, name) for name in command.names))
        events.emit("done")
        return 0
    except BrokenPipeError:
        raise
    except Exception as failure:
        explained = explain(
            failure,
            "Lower stream.queue or stream.workers, or raise the container's memory limit.",
            "This is a bug in the bundle; run again with --debug and report the output.",
        )
        return _fail(explained, options.debug)


def _run(job: str, out: str, shard: str) -> None:
    from bundle.environment import process_began

    if shard:
        from bundle.sharded.work import run_shard
        from bundle.shards import parse_shard

        run_shard(job, out, parse_shard(shard), start=process_began())
        return
    from bundle.run import run

    run(read_job(job), out, start=process_began())


def _merge(job: str, out: str, shards: List[str]) -> None:
    from bundle.sharded.merge import merge

    merged = merge(job, out, shards)
    devices = len(merged["summary"]["devices"])
    events.note("{} shards on {} devices are merged.".format(len(merged["shards"]), devices))


def _selfcheck() -> int:
    from bundle.selfcheck import selfcheck

    result = selfcheck()
    events.emit("selfcheck", **result)
    return 0 if result["ok"] else 2


def _tensors(settings: str, inputs: str, out: str) -> None:
    from bundle.tensors import run_tensors

    run_tensors(settings, inputs, out)


def _fail(failure: BundleError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    events.error(failure)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bundle", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="print tracebacks to standard error")
    subparsers = parser.add_subparsers(dest="name")
    subparsers.required = True
    text = "check this installation"
    subparsers.add_parser("selfcheck", help=text, description=text).set_defaults(command=None)
    own = [
        BundleCommand("run", "run a job", ("job", "out"), _run, (("--shard", _SHARD),)),
        BundleCommand(
            "merge",
            "merge the shards of a job into what one run would have given",
            ("job", "out"),
            _merge,
            (("shards", _SHARDS),),
        ),
        BundleCommand(
            "tensors", "run arrays through a network", ("settings", "inputs", "out"), _tensors
        ),
    ]
    for command in [*own, *runner_commands()]:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        for name in command.arguments:
            subparser.add_argument(name)
        for name, settings in command.options:
            subparser.add_argument(name, **settings)
        subparser.set_defaults(command=command)
    return parser


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(number)


def _exit(code: int) -> None:
    """Exits at once. A normal exit would wait for threads that are stuck in a runtime."""
    try:
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        sys.exit(main())
    except Interrupted as interruption:
        _exit(interruption.exit_code)
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)  # whoever read the events is gone
