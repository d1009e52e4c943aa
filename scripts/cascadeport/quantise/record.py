"""quantise.json: how a network became int8, and every layer that did not, with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cascadeport.quantise import selection
from cascadeport.quantise.calibration import CalibrationPicture
from cascadeport.quantise.search import BUDGET, Outcome
from cascadeport.quantise.selection import Selection

NAME = "quantise.json"
FORMAT = 1

_SHORT = {
    selection.DEFORMABLE: "deformable convolutions",
    selection.OFFSETS: "layers of offsets",
    selection.OUTPUT: "outputs of heads",
}


def content(
    tool: Mapping[str, str],
    source: str,
    pictures: Sequence[CalibrationPicture],
    selected: Selection,
    outcome: Outcome,
    budget: float,
) -> dict[str, Any]:
    """The record.

    Args:
        tool: Name and version of the tool, and of the runtime that measured.
        source: How results name the calibration pictures.
        pictures: Those that ranges were measured on.
        selected: What of the graph may be int8.
        outcome: What the search found.
        budget: The drift that was allowed.
    """
    kept = [
        {"name": layer.name, "operator": layer.operator, "reason": layer.kept}
        for layer in selected.layers
        if layer.kept
    ]
    measured = set(outcome.chosen.kept)
    operators = {layer.name: layer.operator for layer in selected.layers}
    kept += [
        {
            "name": name,
            "operator": operators[name],
            "reason": "measured: with its group in float32 the drift is "
            f"{outcome.gains[name]:+.4f} less",
        }
        for name in selected.candidates
        if name in measured
    ]
    return {
        "format": FORMAT,
        "tool": dict(tool),
        "calibration": {
            "source": source,
            "pictures": [{"file": one.name, "sha256": one.sha256} for one in pictures],
        },
        "int8": [name for name in selected.candidates if name not in measured],
        "float32": kept,
        "never": "RoIs, box arithmetic, scores and NMS are no layers and stay in float32",
        "budget": budget,
        "within_budget": outcome.met,
        "drift": outcome.chosen.drift.record,
        "tried": [{"float32": list(one.kept), "drift": one.drift.record} for one in outcome.tried],
    }


def change(
    tool: Mapping[str, str], source: str, count: int, selected: Selection, outcome: Outcome
) -> str:
    """What all of it changes in the network's meaning, in a sentence for the table."""
    measured = len(outcome.chosen.kept)
    int8 = len(selected.candidates) - measured
    reasons = Counter(_SHORT[layer.kept] for layer in selected.layers if layer.kept)
    kept = [f"{number} {name}" for name, number in reasons.items()]
    if measured:
        kept.append(f"{measured} layers by measured drift")
    text = (
        f"int8 in {int8} of {len(selected.layers)} layers by {tool['name']} {tool['version']}, "
        f"calibrated on {count} pictures of {source}; in float32: "
        f"{', '.join([*kept, 'RoIs', 'boxes', 'scores and NMS'])}; {outcome.chosen.drift.text}"
    )
    if outcome.met or not outcome.chosen.drift.is_measured:
        return text
    return f"{text}, MORE than the budget of {100 * BUDGET:.0f} %"


def prepared(
    tool: str, source: str, pictures: Sequence[CalibrationPicture], selected: Selection
) -> dict[str, Any]:
    """The record of files that were prepared for a tool which nobody ran here."""
    return {
        "format": FORMAT,
        "tool": {"name": tool},
        "status": "prepared, not run",
        "calibration": {
            "source": source,
            "pictures": [{"file": one.name, "sha256": one.sha256} for one in pictures],
        },
        "int8": list(selected.candidates),
        "float32": [
            {"name": layer.name, "operator": layer.operator, "reason": layer.kept}
            for layer in selected.layers
            if layer.kept
        ],
        "never": "RoIs, box arithmetic, scores and NMS are no layers and stay in float",
    }
