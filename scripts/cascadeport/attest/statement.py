"""The in-toto statement of a row: predicate test-result v0.1, and what was measured.

Formats: github.com/in-toto/attestation, spec/v1/statement.md and spec/predicates/test-result.md.
The predicate's own fields say how it ended; `cascadeport`, a field that the specification lets
producers add, says what was measured (docs/attest.md).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bundle.measure import PERCENTILES
from cascadeport.attest import subjects
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_record
from cascadeport.evaluation.agreement import TOLERANCE
from cascadeport.results.result import Result

PAYLOAD_TYPE = "application/vnd.in-toto+json"
TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
OWN = "cascadeport"
FORMAT = 1
_METRIC = "COCO detection: AP is the mean over IoU 0.50:0.95, all areas, 100 detections per picture"
_CONFIGURATION = ("infer/job.json", "infer/stage.json", "evaluate/stage.json")

Statement = dict[str, Any]


def of(result: Result, folder: Path, annotations: Path) -> Statement:
    """The statement of a row.

    Args:
        result: What was computed from its files.
        folder: Its folder.
        annotations: The annotation file that it was evaluated by.
    """
    job = read_record(folder / "infer" / "job.json", "job")
    files = subjects.files(folder)
    return {
        "_type": TYPE,
        "subject": [*files, *subjects.sources(result, job, annotations)],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            **_ended(result),
            "configuration": [one for one in files if one["name"] in _CONFIGURATION],
            OWN: _measured(result, folder),
        },
    }


def _ended(result: Result) -> dict[str, Any]:
    """in-toto's own fields: how it ended, and what passed, was warned of, and failed."""
    failed = result.reason.split("; ") if result.status == "invalid" else []
    passed = [] if failed else ["every figure is what its files give when computed again"]
    warned = list(result.semantics)
    if result.status == "simulated":
        warned.append("a simulator of the device ran the network: there is no throughput")
    warned += result.remarks
    return {
        "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


def _measured(result: Result, folder: Path) -> dict[str, Any]:
    run, evaluation = result.run, result.evaluation
    extra = run.model_extra or {}
    subject = run.subject.model_dump(mode="json") if run.subject else {}
    settings = {key: value for key, value in result.settings.items() if key != "classes"}
    return {
        "format": FORMAT,
        "row": {
            "model": result.model.name,
            "data": result.dataset.name,
            "name": folder.name,
            "target": result.target,
            "status": result.status,
            "reason": result.reason,
            "seed": subject.get("seed"),
        },
        "accuracy": {
            "metric": _METRIC,
            "evaluators": evaluation.evaluators.model_dump(mode="json"),
            "pictures": evaluation.pictures,
            "detections": evaluation.detections,
            "stats": evaluation.stats,
        },
        "speed": {
            "chip_ips": result.chip_ips,
            "device_ips": result.device_ips,
            "end_to_end_ips": result.end_to_end_ips,
            "latency_ms": result.latency_ms.model_dump(mode="json") if result.latency_ms else None,
            "repeats": [one.model_dump(mode="json") for one in run.summary.repeats],
            "warmup": run.warmup,
        },
        # What was fixed before the run: by the job, by what the card and the target's row declare
        # (`gate`), and by this program.
        "thresholds": {
            "settings": settings,
            "settings_digest": result.settings_digest,
            "gate": subject.get("gate"),
            "evaluators_differ_by_at_most": TOLERANCE,
            "samples_for_percentiles": {name: needed for name, (_, needed) in PERCENTILES.items()},
        },
        "device": {"environment": run.environment, "engine": extra.get("engine")},
        "conditions": result.conditions.model_dump(mode="json") if result.conditions else None,
        "remarks": result.remarks,
        "semantics": result.semantics,
    }


def encoded(statement: Statement) -> bytes:
    """The statement as bytes; equal statements give equal bytes."""
    text = json.dumps(statement, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def decoded(payload: bytes, where: str) -> Statement:
    """Reads a statement of this program.

    Raises:
        CascadeportError: It is another kind of statement, or of another version.
    """
    try:
        found = json.loads(payload)
        _Statement.model_validate(found)
    except (ValueError, RecursionError):
        raise CascadeportError(
            "The signed statement is not one of this version.",
            where=where,
            next="Verify it with the version of Cascadeport that signed it.",
        ) from None
    return dict(found)


# What is read of a statement before it is compared with what its row gives.


class _Subject(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    digest: dict[str, str]


class _Signed(BaseModel):
    model_config = ConfigDict(strict=True)

    time: str
    key: str
    forced: bool


class _Accuracy(BaseModel):
    stats: dict[str, float | None]


class _Own(BaseModel):
    format: Literal[1]
    accuracy: _Accuracy
    signed: _Signed


class _Predicate(BaseModel):
    cascadeport: _Own


class _Statement(BaseModel):
    kind: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")]
    subject: list[_Subject]
    predicate_type: Annotated[
        Literal["https://in-toto.io/attestation/test-result/v0.1"], Field(alias="predicateType")
    ]
    predicate: _Predicate
