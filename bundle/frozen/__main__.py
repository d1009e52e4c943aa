"""python -m bundle.frozen: the command line of a frozen image.

Exit codes: 0 success; 1 finished, but a picture was skipped or a self-test differs; 2 error;
128+n after signal n.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from typing import Any, List, Optional

from bundle.errors import BundleError, Interrupted, explain
from bundle.frozen import console
from bundle.frozen.commands import COMMANDS
from bundle.frozen.layout import default_folder

_INCOMPLETE, _ERROR = 1, 2


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    console.claim_standard_output()
    try:
        return 0 if options.run(options) else _INCOMPLETE
    except BrokenPipeError:
        raise
    except Exception as failure:
        explained = explain(
            failure,
            "Raise the container's memory limit.",
            "This is a bug; run again with --debug before the command and report the output.",
        )
        return _fail(explained, options.debug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bundle.frozen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--debug", action="store_true", help="print tracebacks to standard error")
    parser.add_argument(
        "--frozen",
        metavar="FOLDER",
        default=default_folder(),
        help="the frozen folder, if it is not the image's",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    subparsers.required = True
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _fail(failure: BundleError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    console.note("error: {}".format(failure))
    return _ERROR


def _interrupt(number: int, frame: Any) -> None:
    raise Interrupted(number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        code = main()
        sys.stdout.flush()
    except Interrupted as interruption:
        console.note("stopped by signal {}".format(interruption.exit_code - 128))
        code = interruption.exit_code
    except BrokenPipeError:
        code = 128 + signal.SIGPIPE  # whoever read the results is gone
    # At once: a normal exit would wait for threads that are stuck in a runtime.
    os._exit(code)
