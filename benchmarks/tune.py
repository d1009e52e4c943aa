"""`make tune`: how long a search takes, and whether what it chose is within the budget elsewhere.

TUNE_FOLDER keeps the rows in a folder, so that a search that was stopped goes on there; its time is
then the sum of all parts.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cascadeport.base.paths import REPOSITORY

from tests.helpers import real_world

SHARED = REPOSITORY.parent / "shared" / "data"
BUDGET, WIDER = 0.5, 2.0
MOST_S = 600.0
SPENT = "spent.json"
_STATUSES = ("within", "beyond", "undecided", "skipped", "failed")


def search(folder: Path, *more: str, budget: float = BUDGET) -> dict[str, Any]:
    """One search, and its record. What it took is added to `spent.json` however it ends."""
    words = [sys.executable, "-m", "cascadeport", "tune", "--json", "--budget", str(budget)]
    words += ["--build", str(folder / "build"), "--results", str(folder / "results"), *more]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    finally:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        parts = [*spent(folder), {"wall": time.perf_counter() - began, "cpu": cpu}]
        (folder / SPENT).write_text(json.dumps(parts), encoding="utf-8")
    if done.returncode not in (0, 7):
        sys.exit(f"the search ended with exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def spent(folder: Path) -> list[dict[str, float]]:
    """The seconds that every part of a search took so far."""
    path = folder / SPENT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def row(one: dict[str, Any], record: dict[str, Any]) -> str:
    """A point as a row of a table."""
    is_chosen = record["points"][record["chosen"]["point"]] is one
    span = one["difference"]
    interval = f"{100 * span['low']:+.2f} to {100 * span['high']:+.2f}" if span else "–"
    points = "–" if one["delta"] is None else f"{100 * one['delta']:+.2f}"
    speed = one["speed"]
    times = "–"
    if speed and speed["low"] is not None:
        times = f"{speed['ratio']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}]"
    status = "**chosen**" if is_chosen else one["status"]
    cells = (one["title"], status, str(one["pictures"] or "–"), points, interval, times)
    return "| " + " | ".join(cells) + " |"


def section(title: str, record: dict[str, Any]) -> str:
    """What a search found."""
    counts = {
        status: sum(one["status"] == status for one in record["points"]) for status in _STATUSES
    }
    shown = [one for one in record["points"] if one["delta"] is not None]
    shown.sort(key=lambda one: -(one["ips"] or 0))
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    rows = "\n".join(row(one, record) for one in shown)
    pictures = record["pictures"]
    return f"""### {title}

{pictures["steps"][-1]} pictures to search on (steps of {", ".join(map(str, pictures["steps"]))}),
{pictures["held_out"]} held out. {len(record["points"])} points: {said}.

| recipe | | pictures | points of mAP | 95 % interval | times the reference's speed |
| --- | --- | ---: | ---: | ---: | ---: |
{rows}

{" ".join(record["sentences"])}

`{command(record)}`"""


def command(record: dict[str, Any]) -> str:
    """The command of the chosen point, without this machine's folders."""
    words = record["chosen"]["command"].split()
    return " ".join(word for word in words if "/" not in word)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("TUNE_FOLDER") or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        demo = search(folder)
        parts = spent(folder)
        began = time.perf_counter()
        search(folder)
        again = time.perf_counter() - began
        found = [section("The demo", demo)]
        wider = search(folder, budget=WIDER)
        found.append(section(f"The demo, with a budget of {WIDER:g} points", wider))
        if SHARED.is_dir():
            card = real_world.nanodet(SHARED, folder)
            more = ("--model", str(card), "--data", str(SHARED / "coco26"))
            found.append(section("NanoDet-m on 26 pictures of val2017", search(folder, *more)))
    wall, cpu = (sum(one[key] for one in parts) for key in ("wall", "cpu"))
    counted = "" if len(parts) == 1 else f", stopped and continued {len(parts) - 1} times"
    print(
        f"""## The fastest that is accurate enough

`make tune` with a budget of {BUDGET:g} points, each point a full run of the pipeline. The same
command again finds every row finished and computes them again.

| | seconds | target | |
| --- | ---: | ---: | --- |
| the demo's search{counted} | {wall:.0f} | {MOST_S:.0f} | {"met" if wall < MOST_S else "MISSED"} |
| processor time of it, on {os.cpu_count()} cores | {cpu:.0f} | | |
| the same command again | {again:.1f} | | |

"""
        + "\n\n".join(found)
    )


if __name__ == "__main__":
    main()
