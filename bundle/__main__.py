"""python -m bundle: the bundle's command line. Exit codes: 0 done, 2 error, 128+n signal n."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from typing import Any, List, Optional

from bundle import events
from bundle.errors import BundleError, Interrupted
from bundle.job import read_job


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one command. What it says on standard output is JSON lines."""
    options = _parser().parse_args(arguments)
    events.claim_standard_output()
    try:
        return options.command(options)
    except BundleError as failure:
        return _fail(failure, options.debug)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _fail(
            BundleError(
                "The memory does not suffice.",
                "",
                "Lower stream.queue or stream.workers, or raise the container's limit.",
            ),
            options.debug,
        )
    except Exception as failure:
        return _fail(
            BundleError(
                "Unexpected: {}: {}".format(type(failure).__name__, failure),
                "",
                "This is a fault of the bundle; run again with --debug and report what it prints.",
            ),
            options.debug,
        )


def _run(options: Any) -> int:
    from bundle.run import run

    run(read_job(options.job), options.out)
    events.emit("done")
    return 0


def _bins_write(options: Any) -> int:
    from bundle.bins import write_bins

    write_bins(read_job(options.job), options.out)
    events.emit("done")
    return 0


def _bins_read(options: Any) -> int:
    from bundle.bins import read_bins

    read_bins(read_job(options.job), options.results, options.out)
    events.emit("done")
    return 0


def _bins_run(options: Any) -> int:
    from bundle.ais_infer import run_bins

    run_bins(read_job(options.job), options.out)
    events.emit("done")
    return 0


def _selfcheck(options: Any) -> int:
    from bundle.selfcheck import selfcheck

    result = selfcheck()
    events.emit("selfcheck", **result)
    return 0 if result["ok"] else 2


def _fail(failure: BundleError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    events.error(failure)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bundle", description=__doc__)
    parser.add_argument("--debug", action="store_true", help="print tracebacks on standard error")
    commands = parser.add_subparsers(dest="name")
    commands.required = True
    _add(commands, "run", _run, "run a job", ("job", "out"))
    _add(commands, "selfcheck", _selfcheck, "check this installation", ())
    write = ("job", "out")
    _add(commands, "bins-write", _bins_write, "write the input files of ais_infer", write)
    read = ("job", "results", "out")
    _add(commands, "bins-read", _bins_read, "read the output files of ais_infer", read)
    _add(commands, "bins-run", _bins_run, "run a job by ais_infer", ("job", "out"))
    return parser


def _add(commands: Any, name: str, command: Any, text: str, arguments: Any) -> None:
    parser = commands.add_parser(name, help=text, description=text)
    for argument in arguments:
        parser.add_argument(argument)
    parser.set_defaults(command=command)


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(number)


def _end(code: int) -> None:
    """Ends at once: the interpreter would wait for threads that a signal does not wait for."""
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
        _end(interruption.exit_code)
    except BrokenPipeError:
        os._exit(128 + signal.SIGPIPE)  # nobody listens any more
