"""Packs what somebody needs who is to find a problem on a host that they cannot see.

One zip file: what the doctor says, the plan, versions, and the ends of the logs. No picture, no
detection, no weight; passwords, tokens and keys are masked, as far as they can be told from text.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from cascadeport import doctor
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors
from cascadeport.base.text import MASK, printable, redacted
from cascadeport.core.context import Context
from cascadeport.pipeline.planner import plan

# The end of a log says what went wrong; the beginning, what was run.
_MOST_OF_A_FILE = 256 << 10
_MOST_FILES = 400
# Records and logs. Everything else in the folders of a run is pictures, weights or results.
_SUFFIXES = (".log", ".err")
_RECORDS = ("run.json", "stage.json", "export.json", "verification.json", "job.json", "image.json")
_SECRET_NAME = re.compile(r"(?i)(pass(word|wd)?|secret|token|api_?key|credential|authorization)")
# Without anything unbounded before the word: a log may be one long line.
_ASSIGNED = re.compile(
    r"(?i)(?P<name>(?:passwd|password|secret|token|api_?key|credential)[\w-]{0,40}[\"']?\s{0,3}[=:]"
    r"\s{0,3}[\"']?)[^\s\"',;]+"
)
_HEADER = re.compile(r"(?i)(?P<name>authorization:\s{0,3}(?:basic|bearer)?\s{0,3})\S+")
_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)

_README = """\
What this is: a report about a problem, made by `cascadeport report-problem`.

doctor.json    what the doctor found, and what the host is like
plan.json      what `make all` would do here, or why it cannot
versions.json  the packages of the program's own environment
logs/          logs and records of exports, image builds and runs

Not in it: pictures, detections, weights, checkpoints, reports. Passwords in addresses, values of
variables whose names say that they are secret, and private keys are masked; your home folder is
`~`. Names of your pictures, of folders and of hosts are in it: look through it before you send it.
"""


def pack(context: Context, out: Path) -> list[str]:
    """Writes the report.

    Args:
        context: Of the target that the problem is with.
        out: The zip file to write. It must not exist.

    Returns:
        The names of the files in it.

    Raises:
        CascadeportError: It cannot be written.
    """
    clean = Cleaner(os.environ)
    parts: dict[str, Callable[[], Any]] = {
        "doctor.json": lambda: doctor.as_values(doctor.run_checks(context), context),
        "plan.json": lambda: _plan(context),
        "versions.json": _versions,
    }
    names = ["README.txt"]
    with disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(out, "x", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", _README)
            for name, make in parts.items():
                context.reporter.line("pack", name)
                text = json.dumps(_made(make), indent=1, ensure_ascii=False, default=str)
                archive.writestr(name, clean(text))
                names.append(name)
            for name, path in _logs(context):
                archive.writestr(name, clean(_end(path)))
                names.append(name)
    return names


def _made(make: Callable[[], Any]) -> Any:
    """A part; one that cannot be made is what the report is about, and never ends it."""
    try:
        return make()
    except CascadeportError as error:
        return {"error": str(error)}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _plan(context: Context) -> dict[str, Any]:
    made = plan(context)
    return {
        "target": made.target_name,
        "engine": made.engine,
        "model": made.card.name,
        "data": made.data_name,
        "notes": list(made.notes),
        "stages": [
            {**stage.facts(), "is_up_to_date": now.is_up_to_date, "reason": now.reason}
            for stage, now in made.outlook()
        ],
    }


def _versions() -> dict[str, str]:
    return dict(sorted((one.metadata["Name"], one.version) for one in metadata.distributions()))


def _logs(context: Context) -> Iterator[tuple[str, Path]]:
    """Logs and records of builds and results, the newest first: their names in the report."""
    found: list[tuple[float, str, Path]] = []
    options = context.options
    roots = {
        "models": options.build / "models",
        "images": options.build / "images",
        "results": options.results,
    }
    for title, root in roots.items():
        for folder, _, files in os.walk(root):
            for file in files:
                path = Path(folder, file)
                if path.suffix not in _SUFFIXES and file not in _RECORDS:
                    continue
                if path.is_file() and not path.is_symlink():
                    name = f"logs/{title}/{path.relative_to(root).as_posix()}"
                    found.append((path.stat().st_mtime, printable(name), path))
    for _, name, path in sorted(found, reverse=True)[:_MOST_FILES]:
        yield name, path


def _end(path: Path) -> str:
    """A file's text; of a long one, the end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _MOST_OF_A_FILE))
        text = file.read().decode("utf-8", "replace")
    left_out = size - _MOST_OF_A_FILE
    return f"... {left_out} bytes left out ...\n{text}" if left_out > 0 else text


class Cleaner:
    """Masks what is secret in texts.

    Args:
        environ: Values of its variables with secret names are masked wherever they stand.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        secrets = {
            value for key, value in environ.items() if _SECRET_NAME.search(key) and len(value) >= 6
        }
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._home = environ.get("HOME", "").rstrip("/")

    def __call__(self, text: str) -> str:
        """The text without secrets, and without what a terminal would obey."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = _KEY.sub(f"{MASK} (a private key)", text)
        text = _HEADER.sub(rf"\g<name>{MASK}", text)
        text = _ASSIGNED.sub(rf"\g<name>{MASK}", text)
        if len(self._home) > 1:
            text = text.replace(self._home + "/", "~/")
        return printable(redacted(text), lines=True)
