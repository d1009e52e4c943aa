"""The command line from its start to its exit code. docs/command-line.md lists the codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.cli import parser
from cascadeport.cli.door import Door

_SIGNALS = {signal.SIGTERM: ExitCode.TERMINATED, signal.SIGHUP: ExitCode.HANGUP}
_UTF8 = "PYTHONUTF8"


def entry() -> int:
    """Runs the command line of this process, whatever its locale."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get(_UTF8) != "1":
        # In such a locale the names in annotation files would be other names on disk.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _UTF8: "1"})
    for stream in _streams():
        if hasattr(stream, "reconfigure"):
            # What a terminal cannot show is no reason to end without a table.
            stream.reconfigure(errors="backslashreplace")
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    door = Door.entered(os.environ)
    stopped = _Stopped()
    debug = "--debug" in words or door.debug
    try:
        with stopped.by_signals():
            code = _run(words, door)
            for stream in _streams():
                stream.flush()
            return code
    except BaseException as error:
        if debug and isinstance(error, Exception):
            with contextlib.suppress(OSError):
                traceback.print_exc()
        return _ended(error, stopped, door)
    finally:
        _silence()


def _run(words: Sequence[str], door: Door) -> int:
    try:
        parsed = parser.parse(words, door)
        if parsed is None:
            parser.top().print_help()
            return ExitCode.OK
    except SystemExit:
        # Help or version: printed.
        return ExitCode.OK
    command, call = parsed
    return command.run(call)


class _Stopped:
    """Which signal ended the command, if one did."""

    def __init__(self) -> None:
        self.code: ExitCode | None = None

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """Lets signals end the block like Ctrl-C, so that containers are removed."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in before.items():
            # Under nohup a hang-up is ignored, and stays so.
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.code = _SIGNALS[signal.Signals(number)]
        # A terminal that closes sends several; cleaning up is interrupted by none of them.
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt


def _ended(error: BaseException, stopped: _Stopped, door: Door) -> int:
    """Says how a command ended, and returns its exit code."""
    if stopped.code is not None:
        _say(f"cascadeport: {stopped.code.meaning}")
        return stopped.code
    if isinstance(error, KeyboardInterrupt):
        _say(f"cascadeport: {ExitCode.INTERRUPTED.meaning}")
        return ExitCode.INTERRUPTED
    if isinstance(error, CascadeportError):
        _say(f"cascadeport: {door.error(error)}")
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        return ExitCode.BROKEN_PIPE
    if isinstance(error, OSError) and _is_of_output():
        what = CascadeportError(
            f"The output could not be written: {error.strerror}.",
            where="standard output",
            next="Results that were finished are kept; `cascadeport compare` prints their table.",
        )
        _say(f"cascadeport: {door.error(what)}")
        return ExitCode.OUTPUT
    if not isinstance(error, Exception):
        raise error
    what = CascadeportError(
        f"internal error: {type(error).__name__}: {error}",
        next="Run the same command with --debug and report what it prints.",
    )
    _say(f"cascadeport: {door.error(what)}")
    return ExitCode.INTERNAL


def _streams() -> list[TextIO]:
    # A stream that was closed before the start is None.
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _is_of_output() -> bool:
    """Whether a stream cannot be written: what failed to be flushed fails again."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            return True
    return False


def _silence() -> None:
    """Gives up on a stream that cannot be written, so that the interpreter's end does not fail."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
