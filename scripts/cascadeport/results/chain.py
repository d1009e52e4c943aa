"""The records of a row's stages: do they say what lies beside them, and do they fit together?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bundle.digest import joint_digest
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_record
from cascadeport.core import store
from cascadeport.core.stage import key_of
from cascadeport.pipeline.stages.evaluate import DETECTIONS
from cascadeport.results.run_record import RunRecord

_STAGES = ("infer", "evaluate")


class StageRecord(BaseModel):
    """The part of stage.json that the product is explained by."""

    model_config = ConfigDict(strict=True, frozen=True)

    stage: str
    key: str
    parameters: dict[str, Any]
    inputs: dict[str, str]


@dataclass(frozen=True)
class Chain:
    """The two stages that make a row.

    Args:
        infer: The pass.
        evaluate: Its evaluation.
        problems: What does not fit together, a clause each.
    """

    infer: StageRecord
    evaluate: StageRecord
    problems: tuple[str, ...]

    @property
    def settings(self) -> dict[str, Any]:
        """The job, without networks and pictures."""
        found = self.infer.parameters.get("settings", {})
        return found if isinstance(found, dict) else {}


def read(folder: Path, run: RunRecord) -> Chain:
    """Reads and compares the records of a row's stages, and every file that they name.

    Args:
        folder: The row's folder.
        run: Its run.json.

    Raises:
        CascadeportError: A record cannot be read.
    """
    infer, evaluate = (_record(folder / name / store.RECORD) for name in _STAGES)
    problems = []
    for name, record in zip(_STAGES, (infer, evaluate), strict=True):
        where = f"{name}/{store.RECORD}"
        problems += [f"{name}/{found}" for found in store.damage(folder / name)]
        if record.stage != name:
            problems.append(f"{where} is the record of '{record.stage}'")
        if record.key != key_of(record.stage, record.parameters, record.inputs):
            problems.append(f"{where}: the key is not that of its parameters and inputs")
    problems += _evaluated(folder, evaluate)
    problems += _ran(folder, infer, run)
    return Chain(infer, evaluate, tuple(problems))


def _record(path: Path) -> StageRecord:
    remedy = "Run the target again."
    values = read_record(path, "record of a stage", next=remedy)
    try:
        return StageRecord.model_validate(values)
    except ValidationError as error:
        raise CascadeportError(
            "The record of a stage is not in the format of this version.",
            where=str(path),
            details=[".".join(map(str, found["loc"])) for found in error.errors()],
            next=remedy,
        ) from None


def _evaluated(folder: Path, evaluate: StageRecord) -> list[str]:
    path = folder / "infer" / DETECTIONS
    if not path.is_file() or evaluate.inputs.get("detections") == digest.of_file(path):
        return []  # A missing file is a problem already.
    return [f"evaluate/{store.RECORD}: it evaluated other detections than infer/{DETECTIONS}"]


def _ran(folder: Path, infer: StageRecord, run: RunRecord) -> list[str]:
    """Whether job, records and run.json are about the same networks, bundle and target."""
    where, problems = f"infer/{store.RECORD}", []
    job = read_record(folder / "infer" / "job.json", "job", next="Run the target again.")
    try:
        networks = [str(one["sha256"]) for one in job["networks"]]
        single = {str(one["sha256"]) for one in job.get("single", [])}
    except (KeyError, TypeError, AttributeError):
        networks, single = [], set()
    inputs = {digest for name, digest in infer.inputs.items() if name.startswith("network")}
    alone = {digest for name, digest in infer.inputs.items() if name.startswith("single")}
    if set(networks) != inputs or single != alone:
        problems.append(f"infer/job.json names other networks than {where}")
    if not networks or run.digests.network != joint_digest(networks):
        problems.append("infer/run.json: other networks ran than infer/job.json names")
    settings = infer.parameters.get("settings")
    if not isinstance(settings, dict) or any(
        job.get(name) != value for name, value in settings.items()
    ):
        problems.append(f"infer/job.json: the settings are not those of {where}")
    if run.digests.bundle != infer.inputs.get("bundle"):
        problems.append(f"infer/run.json: another bundle ran than {where} names")
    if run.simulated != bool(infer.parameters.get("simulate")):
        problems.append(
            f"infer/run.json: a {'simulated' if run.simulated else 'real'} device ran, but the run "
            f"was started {'without' if run.simulated else 'with'} --simulate"
        )
    if not run.environment.get("providers"):
        problems.append("infer/run.json: nothing says which device ran the network")
    subject = run.subject
    if subject is not None and (
        subject.target != infer.parameters.get("target")
        or subject.semantics.model_dump() != infer.parameters.get("semantics")
    ):
        problems.append(f"infer/run.json is about another target than {where}")
    return problems
