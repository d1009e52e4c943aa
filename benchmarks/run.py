"""Runs benchmarks and writes their sections of docs/benchmarks.md.

`make bench` runs all, ONLY="a b" some. Each benchmark is a script beside this one that prints
Markdown. The figures of a section come from one run of its script; there are no ratios across
sections. Each section names its commit and the load before it.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
OUT = REPOSITORY / "docs" / "benchmarks.md"
# The order of the sections; scripts that are not named follow by name.
FIRST = ("preprocess", "stream", "evaluate", "pipeline", "arithmetic", "r101", "batch")
NAMES = sorted(
    {path.stem for path in HERE.glob("[a-z]*.py")} - {"run"},
    key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name),
)
MARK = re.compile(r"^<!-- (\w+) -->$", re.MULTILINE)
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "hotcoco", "pycocotools")

HEAD = """# Benchmarks

Written by `make bench`; do not edit. Each section is the output of one script in `benchmarks/`,
taken in one run. Times on a shared machine vary: trust the ratios.
"""


def facts(name: str, load: tuple[float, float, float]) -> dict[str, str]:
    """The machine and versions on which a section's figures depend."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "command": f"`ONLY={name} make bench`",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit,
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES),
        "load before": "{:.2f} {:.2f} {:.2f}".format(*load),
    }


def sections() -> dict[str, str]:
    """The sections of docs/benchmarks.md, by the name in the mark before each."""
    if not OUT.exists():
        return {}
    parts = MARK.split(OUT.read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def write(name: str, text: str, about: dict[str, str]) -> None:
    """Replaces one section, or adds it."""
    lines = "\n".join(f"| {key} | {value} |" for key, value in about.items())
    held = sections()
    held[name] = f"{text.strip()}\n\n| taken | |\n| --- | --- |\n{lines}"
    ordered = [key for key in NAMES if key in held]
    body = "\n".join(f"\n<!-- {key} -->\n\n{held[key]}\n" for key in ordered)
    OUT.write_text(HEAD + body, encoding="utf-8")


def main() -> int:
    path = os.pathsep.join([str(REPOSITORY / "scripts"), str(REPOSITORY)])
    for name in os.environ.get("ONLY", "").split() or NAMES:
        print(f"bench    {name}", file=sys.stderr)
        load = os.getloadavg()
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py")],
            env={**os.environ, "PYTHONPATH": path},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"benchmark {name} failed; its section is unchanged", file=sys.stderr)
            return 1
        print(done.stdout)
        write(name, done.stdout, facts(name, load))
    print(f"written  {OUT.relative_to(REPOSITORY)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
