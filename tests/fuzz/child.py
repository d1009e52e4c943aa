"""The child process that runs cases: python -m tests.fuzz.child SUBJECT SEED FIRST FOLDER

It says, a JSON line each, which case it begins and what came of it, and goes on until it is ended
or has found something.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

from tests.fuzz.subject import Subject

# Beyond this, an allocation fails instead of filling the machine.
_CEILING = 6 << 30


def status(key: str) -> int:
    """A size in /proc/self/status, in bytes; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(one.split()[1]) << 10 for one in lines if one.startswith(f"{key}:")), 0)


def reset_peak() -> None:
    """From here on, VmHWM counts anew."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def examine(subject: Subject, name: str) -> dict[str, str]:
    """What came of a case: `outcome`, and for a finding `finding` and its `details`."""
    subject.prepare(name)
    reset_peak()
    before = status("VmRSS")
    # Ends the process by SIGPROF, whatever it is doing, and however busy the machine is.
    signal.setitimer(signal.ITIMER_PROF, subject.CPU_S)
    try:
        outcome = subject.outcome()
    except Exception as error:
        first = str(error).splitlines()[:1]
        finding = f"{type(error).__name__}: {''.join(first)[:300]}"
        return {"outcome": "finding", "finding": finding, "details": traceback.format_exc()}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    needed = status("VmHWM") - before
    if needed > subject.MEMORY:
        return {"outcome": "finding", "finding": f"it needed {needed >> 20} MiB", "details": ""}
    return {"outcome": outcome}


def main() -> None:
    """Runs cases until it is ended or has found something."""
    place, seed, first, folder = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (_CEILING, _CEILING))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What libraries print is nobody's business; ours goes where standard output went.
    told = os.fdopen(os.dup(1), "w", encoding="ascii", buffering=1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    module, _, name = place.partition(":")
    subject: Subject = getattr(importlib.import_module(module), name)(Path(folder))
    label = name.lower()
    for number in itertools.count(int(first)):
        print(json.dumps({"begins": number}), file=told)
        found = examine(subject, f"{label}-{seed}-{number}")
        print(json.dumps({"number": number, **found}), file=told)
        if found["outcome"] == "finding":
            return  # its files stay, and what it broke in this process ends


if __name__ == "__main__":
    main()
