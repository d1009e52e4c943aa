"""The files that a pass writes. A full disk is an error that names the file."""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, TextIO

from bundle.errors import BundleError

_PART = ".part"


@contextmanager
def write_errors(path: str) -> Iterator[None]:
    """Turns an OSError raised while writing `path` into a BundleError."""
    try:
        yield
    except OSError as failure:
        if failure.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "Free space on that disk, or use another folder; then run again."
        else:
            advice = "Use a folder that can be written to."
        raise BundleError(
            "A result cannot be written: {}.".format(failure.strerror or failure), path, advice
        ) from None


def make_folder(path: str) -> None:
    """Creates a folder, and its parents, if it does not exist.

    Raises:
        BundleError: It cannot be created.
    """
    with write_errors(path):
        os.makedirs(path, exist_ok=True)


def write_json(path: str, data: Any) -> None:
    """Writes a JSON file atomically.

    Raises:
        BundleError: It cannot be written.
    """
    with write_errors(path):
        with open(path + _PART, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, allow_nan=False)
            stream.write("\n")
        os.replace(path + _PART, path)


class Lines:
    """A text file that is written line by line. Use it as a context manager.

    Args:
        path: The file.
        header: What it starts with.

    Raises:
        BundleError: It cannot be written; so do `write` and the end of the context.
    """

    def __init__(self, path: str, header: str = "") -> None:
        self._path = path
        with write_errors(path):
            self._stream: TextIO = open(path, "w", encoding="utf-8")  # noqa: SIM115
            self._stream.write(header)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        with write_errors(self._path):
            self._stream.close()

    def write(self, line: str) -> None:
        """Adds a line. It must end with a newline."""
        with write_errors(self._path):
            self._stream.write(line)


class JsonRows:
    """A JSON array of objects that is never held in memory. Use it as a context manager.

    It is written atomically: until the context ends without an exception, the file's name ends in
    `.part`.

    Args:
        path: The file.

    Raises:
        BundleError: It cannot be written; so do `write` and the end of the context.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines = Lines(path + _PART, "[")
        self._separator = "\n"

    def __enter__(self) -> JsonRows:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self._lines.write("\n]\n")
        self._lines.__exit__(kind, error, traceback)
        if kind is None:
            with write_errors(self._path):
                os.replace(self._path + _PART, self._path)

    def write(self, rows: Iterable[Dict[str, Any]]) -> None:
        """Adds objects."""
        for row in rows:
            self._lines.write(self._separator + json.dumps(row))
            self._separator = ",\n"
