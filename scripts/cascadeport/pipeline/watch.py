"""Asks the device of a pass how it is: before, every few seconds during, and after."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceState

FILE = "device.jsonl"
_PERIOD_S = 10.0


class Watch:
    """Watches the device while its block runs; a target whose device has no tool has no file.

    A line of the file is `{"seconds", "when", "devices"}`, or has `error` instead of `devices`
    where the tool did not answer: a pass does not fail because of that.

    Args:
        context: Whose device.
        folder: Where `device.jsonl` is written.
    """

    def __init__(self, context: Context, folder: Path) -> None:
        self._context = context
        self._path = folder / FILE
        self._over = threading.Event()
        self._file: IO[str] | None = None
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)

    def __enter__(self) -> Watch:
        self._began = time.monotonic()
        found = self._ask()
        if found:
            self._file = self._path.open("w", encoding="utf-8")
            self._write("before", found)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._file is None:
            return
        self._thread.join()
        if kind is None:
            self._write("after", self._ask())
        self._file.close()

    def _run(self) -> None:
        while not self._over.wait(_PERIOD_S):
            found = self._ask()
            # An answer that came when the pass was over says nothing about it.
            if not self._over.is_set():
                self._write("during", found)

    def _ask(self) -> Sequence[DeviceState] | str:
        try:
            return backends.of(self._context.target).device_states(self._context)
        except CascadeportError as error:
            return error.what
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            # A tool whose answer has another form than any release known here.
            return f"{type(error).__name__}: {error}"

    def _write(self, when: str, found: Sequence[DeviceState] | str) -> None:
        assert self._file is not None
        line: dict[str, object] = {
            "seconds": round(time.monotonic() - self._began, 1),
            "when": when,
        }
        if isinstance(found, str):
            line["error"] = found
        else:
            line["devices"] = [one.model_dump(mode="json") for one in found]
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
