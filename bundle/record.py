"""run.json: what a pass was, and whether it is valid."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from bundle.digest import bundle_digest, joint_digest
from bundle.environment import peak_rss_bytes
from bundle.files import write_errors
from bundle.job import Job
from bundle.measure import Pass, summarise
from bundle.picture import SkippedPicture

FORMAT = 2
NAME = "run.json"


def record(
    job: Job,
    environment: Dict[str, Any],
    passes: Sequence[Pass],
    pictures: int,
    skipped: Sequence[SkippedPicture],
    warmup: int = 0,
) -> Dict[str, Any]:
    """The content of run.json (docs/architecture.md).

    Args:
        job: The job. The digests of its networks are taken from it: either they have been
            verified, or the networks ran elsewhere and nothing else is known.
        environment: What the pass ran on. Its `simulated` and `problems` move to the top level.
        passes: The scored pass, then the repeats.
        pictures: How many pictures have results.
        skipped: Those that were skipped.
        warmup: How many pictures ran before the first pass.
    """
    networks = [
        joint_digest([network.sha256, *(file.sha256 for file in network.files)])
        for network in job.runner.networks
    ]
    simulated = bool(environment.get("simulated", False))
    problems = list(environment.get("problems", [])) + _skip_problem(job, skipped)
    top_level = ("simulated", "problems")
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
        "environment": {key: value for key, value in environment.items() if key not in top_level},
        "summary": summarise(passes, job.workers, len(job.runner.lanes)),
        "digests": {"bundle": bundle_digest(), "network": joint_digest(networks)},
        "warmup": warmup,
        "peak_rss_bytes": peak_rss_bytes(),
    }


def remove_record(out: str) -> None:
    """Removes an earlier run.json: as long as it exists, the results beside it are complete.

    Raises:
        BundleError: It cannot be removed.
    """
    path = os.path.join(out, NAME)
    with write_errors(path):
        if os.path.lexists(path):
            os.remove(path)


def _skip_problem(job: Job, skipped: Sequence[SkippedPicture]) -> List[str]:
    if not skipped:
        return []
    names = [one.picture.file for one in skipped[:3]] + ["..."] * (len(skipped) > 3)
    return [
        "{} of {} pictures were skipped: {}".format(
            len(skipped), len(job.pictures), ", ".join(names)
        )
    ]
