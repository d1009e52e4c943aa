"""The figures of a pass, derived again from its raw times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.measure import Recorded, read_times, summarise
from cascadeport.results.differences import differences
from cascadeport.results.run_record import RunRecord, Summary

TIMES = "times.csv"
# The vendor's tool keeps no times of single pictures; its own summary is all that there is.
_WITHOUT_TIMES = "ais_infer"


def derive(
    folder: Path, run: RunRecord, settings: Mapping[str, Any], expected: list[int]
) -> tuple[Summary, list[str]]:
    """Derives the summary of a pass again and compares it with run.json's.

    Args:
        folder: The pass's folder.
        run: Its run.json.
        settings: Its job, without networks and pictures.
        expected: The ids of the pictures, in the order of the job.

    Returns:
        The summary, and what is wrong with the times or with run.json's summary, a clause each.
    """
    if run.environment.get("runtime") == _WITHOUT_TIMES and not (folder / TIMES).exists():
        return run.summary, list(_impossible(run.summary))
    try:
        passes = read_times(str(folder / TIMES))
    except BundleError as error:
        return Summary(), [f"infer/{TIMES}: {error.what}"]
    problems = _wrong_pictures(passes, run, expected)
    if not passes:
        return Summary(), [*problems, f"infer/{TIMES} has no times"]
    try:
        workers = int(settings["stream"]["workers"])
        lanes = len(settings["runner"].get("options", {}).get("devices") or (0,))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Summary(), [*problems, "infer/stage.json: the settings have no workers or runner"]
    derived = summarise([one.times for one in passes], max(1, workers), lanes)
    summary = Summary.model_validate(derived)
    found = differences(
        run.summary.model_dump(mode="json"), summary.model_dump(mode="json"), "summary"
    )
    problems += [f"infer/run.json: {one} by infer/{TIMES}" for one in found]
    return summary, [*problems, *_impossible(summary)]


def _wrong_pictures(passes: list[Recorded], run: RunRecord, expected: list[int]) -> list[str]:
    skipped = {one.id for one in run.skipped}
    wanted = [one for one in expected if one not in skipped]
    scored = passes[0].ids if passes else []
    problems = []
    if scored != wanted:
        problems.append(f"infer/{TIMES} has times of other pictures than the job's")
    if len(scored) != run.pictures:
        problems.append(f"infer/run.json: {run.pictures} pictures, infer/{TIMES} has {len(scored)}")
    if not all(one.times.is_ordered for one in passes):
        problems.append(f"infer/{TIMES}: a picture was finished before the one ahead of it")
    return problems


def _impossible(summary: Summary) -> Iterator[str]:
    rates = (summary.chip_ips, summary.device_ips, summary.end_to_end_ips)
    for value in rates:
        if value is not None and not 0 < value < math.inf:
            yield f"{value} pictures per second are not possible"
