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
from bundle.errors import BundleError, Interrupted
from bundle.job import read_job


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one command; returns the exit code. Standard output is JSON lines and nothing else."""
    options = _parser().parse_args(arguments)
    events.claim_standard_output()
    try:
        if options.command is None:
            return _selfcheck()
        command: BundleCommand = options.command
        command.run(*(getattr(options, name) for name in command.arguments))
        events.emit("done")
        return 0
    except BundleError as failure:
        return _fail(failure, options.debug)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _fail(
            BundleError(
                "Out of memory.",
                "",
                "Lower stream.queue or stream.workers, or raise the container's memory limit.",
            ),
            options.debug,
        )
    except Exception as failure:
        return _fail(
            BundleError(
                "Internal error: {}: {}".format(type(failure).__name__, failure),
                "",
                "This is a bug in the bundle; run again with --debug and report the output.",
            ),
            options.debug,
        )


def _run(job: str, out: str) -> None:
    from bundle.run import run

    run(read_job(job), out)


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
        BundleCommand("run", "run a job", ("job", "out"), _run),
        BundleCommand(
            "tensors", "run arrays through a network", ("settings", "inputs", "out"), _tensors
        ),
    ]
    for command in [*own, *runner_commands()]:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        for name in command.arguments:
            subparser.add_argument(name)
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
