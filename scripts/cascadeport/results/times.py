"""The figures of a pass, derived again from its raw times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.job import AUTO
from bundle.measure import Recorded, read_times, summarise
from cascadeport.pipeline import companions
from cascadeport.results import overlaps
from cascadeport.results.differences import differences
from cascadeport.results.run_record import RunRecord, Summary

TIMES = "times.csv"
# The vendor's tools keep no times of single pictures; their own summary is all that there is.
WITHOUT_TIMES = frozenset({"ais_infer", "ais_bench"})
# The option of a job that asks for either.
_TOOL = "ais_infer"
# More threads than any machine has.
_MANY = 1 << 16


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
    if has_none(folder / TIMES, run, settings):
        return run.summary, list(impossible(run.summary))
    try:
        passes = read_times(str(folder / TIMES))
    except BundleError as error:
        return Summary(), [f"infer/{TIMES}: {error.what}"]
    problems = wrong_pictures(passes, run, expected)
    if not passes:
        return Summary(), [*problems, f"infer/{TIMES} has no times"]
    try:
        runner = settings["runner"]
        lanes = len(runner.get("options", {}).get("devices") or (0,))
        asked = {"workers": settings["stream"]["workers"], "streams": runner.get("streams", 1)}
        found = {name: _number(name, value, run) for name, value in asked.items()}
    except (KeyError, TypeError, AttributeError):
        return Summary(), [*problems, "infer/stage.json: the settings have no workers or runner"]
    except ValueError as error:
        return Summary(), [*problems, str(error)]
    timed = [one.times for one in passes]
    problems += overlaps.problems(timed, found["streams"], companions.at_once(settings))
    if asked["streams"] == AUTO:
        problems += overlaps.chosen_otherwise(run.environment)
    derived = summarise([one.times for one in passes], found["workers"], lanes)
    summary = Summary.model_validate(derived)
    found_otherwise = differences(
        run.summary.model_dump(mode="json"), summary.model_dump(mode="json"), "summary"
    )
    problems += [f"infer/run.json: {one} by infer/{TIMES}" for one in found_otherwise]
    return summary, [*problems, *impossible(summary)]


def _number(name: str, asked: Any, run: RunRecord) -> int:
    """How many there were: what the job says, or what the pass chose where the job left it open.

    Raises:
        ValueError: There can be no such number.
    """
    value = run.environment.get(name, 1) if asked == AUTO else asked
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _MANY:
        raise ValueError(f"infer/run.json: {name} cannot be {value!r}")
    return value


def has_none(path: Path, run: RunRecord, settings: Mapping[str, Any]) -> bool:
    """Whether a file is missing because the vendor's tool ran, which keeps no times of pictures.

    That is what the job asked for, not only what the record of the pass says: else any pass could
    do without its times.
    """
    runner = settings.get("runner")
    options = runner.get("options") if isinstance(runner, Mapping) else None
    asked = isinstance(options, Mapping) and bool(options.get(_TOOL))
    return asked and run.environment.get("runtime") in WITHOUT_TIMES and not path.exists()


def wrong_pictures(passes: list[Recorded], run: RunRecord, expected: list[int]) -> list[str]:
    """Whether the times are those of the pictures that a pass was to process, a clause each."""
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


def impossible(summary: Summary) -> Iterator[str]:
    """Rates that no pass can have, a clause each."""
    rates = (summary.chip_ips, summary.device_ips, summary.end_to_end_ips)
    for value in rates:
        if value is not None and not 0 < value < math.inf:
            yield f"{value} pictures per second are not possible"
