"""run.json: what a pass was, and whether it may be believed."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from bundle.digest import bundle_digest, joint_digest
from bundle.environment import peak_rss_bytes
from bundle.files import write_errors
from bundle.job import Job
from bundle.measure import Pass, summarise
from bundle.picture import Skipped

FORMAT = 2
NAME = "run.json"


def record(
    job: Job,
    environment: Dict[str, Any],
    passes: Sequence[Pass],
    pictures: int,
    skipped: Sequence[Skipped],
    warmup: int = 0,
) -> Dict[str, Any]:
    """What run.json holds (docs/architecture.md).

    Args:
        job: The job. The digests of its networks are taken from it: they have been checked, or
            the networks ran elsewhere and the job's word is all there is.
        environment: What the pass ran on; `simulated` and `problems` in it move to the top.
        passes: The scored pass, then the repeats.
        pictures: How many pictures have results.
        skipped: The others.
        warmup: How many pictures ran before anything was measured.
    """
    graphs = [network.sha256 for network in job.runner.networks]
    simulated = bool(environment.get("simulated", False))
    problems = list(environment.get("problems", [])) + _problems(job, skipped)
    above = ("simulated", "problems")
    return {
        "format": FORMAT,
        "status": "partial" if skipped else "complete",
        "problems": problems,
        "skipped": [
            {"id": one.picture.id, "file": one.picture.file, "reason": one.reason}
            for one in skipped
        ],
        "pictures": pictures,
        "simulated": simulated,
        "environment": {key: value for key, value in environment.items() if key not in above},
        "summary": summarise(passes, job.workers, len(job.runner.lanes)),
        "digests": {"bundle": bundle_digest(), "network": joint_digest(graphs)},
        "warmup": warmup,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def remove_record(out: str) -> None:
    """Removes an earlier record: while it is there, the results beside it are whole."""
    path = os.path.join(out, NAME)
    with write_errors(path):
        if os.path.lexists(path):
            os.remove(path)


def _problems(job: Job, skipped: Sequence[Skipped]) -> List[str]:
    if not skipped:
        return []
    names = [one.picture.file for one in skipped[:3]] + ["..."] * (len(skipped) > 3)
    return [
        "{} of {} pictures were skipped: {}".format(
            len(skipped), len(job.pictures), ", ".join(names)
        )
    ]
