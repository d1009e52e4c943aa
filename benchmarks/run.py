"""Runs every benchmark and writes docs/benchmarks.md. `make bench` calls it; ONLY="a b" picks some.

Each benchmark is a script beside this one that prints Markdown. Figures of one section come from
one run of its script; ratios are never taken across sections.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
OUT = REPOSITORY / "docs" / "benchmarks.md"
ORDER = ("preprocess", "stream", "evaluate", "pipeline")
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "hotcoco", "pycocotools")

HEAD = """# Benchmarks

Written by `make bench`; do not edit. Each section is the output of one script in `benchmarks/`,
taken in one run on the machine named here. Times in a shared machine vary: trust the ratios.

| | |
| --- | --- |
{facts}
"""


def facts() -> dict[str, str]:
    """The machine and the versions that the figures depend on."""
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
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit,
        "processor": f"{cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES),
        "load before": " ".join(f"{value:.2f}" for value in os.getloadavg()),
    }


def main() -> int:
    wanted = os.environ.get("ONLY", "").split() or list(ORDER)
    parts = [HEAD.format(facts="\n".join(f"| {key} | {value} |" for key, value in facts().items()))]
    path = os.pathsep.join([str(REPOSITORY / "scripts"), str(REPOSITORY)])
    for name in wanted:
        print(f"bench    {name}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py")],
            env={**os.environ, "PYTHONPATH": path},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"benchmark {name} failed; {OUT.name} is left as it was", file=sys.stderr)
            return 1
        print(done.stdout)
        parts.append(done.stdout.strip() + f"\n\nCommand: `ONLY={name} make bench`\n")
    if set(wanted) == set(ORDER):
        OUT.write_text("\n".join(parts), encoding="utf-8")
        print(f"written  {OUT.relative_to(REPOSITORY)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
