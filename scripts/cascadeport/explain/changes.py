"""The changes of meaning that a row's target declares, each of which can be left out.

Some are made by the lowering (fewer proposals, NMS across levels or in float16, float16
throughout), others by the device (`Backend.rules`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from cascadeport import backends
from cascadeport.explain.graphs import Source
from cascadeport.explain.rows import Row
from cascadeport.graph.lowering import LoweringRequest

# A change that a stage of its own makes after the lowering (docs/int8.md).
_INT8 = "int8"
# What a request for a lowering can change, by the names of its fields.
_FIELDS = ("proposals", "across_levels", "half_nms", "precision")


@dataclass(frozen=True)
class Change:
    """One declared change of meaning.

    Attributes:
        name: A field of the lowering's request, or a rule of the backend.
        title: What it changes, a clause.
    """

    name: str
    title: str


class Variants:
    """The graphs of a row with some of its changes only.

    Args:
        scratch: A folder for graphs.
    """

    def __init__(self, row: Row, source: Source, scratch: Path) -> None:
        self.row, self.source = row, source
        self._scratch = scratch
        self._rules = dict(row.rules)
        self._values = self._requested()
        self.changes = tuple(self._found())

    def graph(self, kept: Collection[str]) -> Path:
        """A graph for onnxruntime with only these changes, by name."""
        if _INT8 in kept:
            # It exists with all changes of the row, and the row has no others.
            return self.source.lowered
        stem = "-".join(["with", *sorted(kept)])
        lowered, out = (self._scratch / f"{stem}.{kind}.onnx" for kind in ("lowered", "run"))
        if self.source.lowering is None or self.source.neutral is None:
            lowered = self.source.lowered
        else:
            self.source.lowering.lower(self.source.neutral, lowered, self._request(kept))
        return self.row.emulated(lowered, out, [one for one in self._rules if one in kept])

    def _requested(self) -> dict[str, object]:
        """What the row's lowering was asked for, or does by default, by the request's fields."""
        lowering, request = self.source.lowering, self.source.request
        if lowering is None:
            return {}
        across = request.across_levels
        found = {
            "proposals": request.proposals or lowering.proposals,
            "across_levels": lowering.across_levels if across is None else across,
            "half_nms": request.half_nms,
            "precision": request.precision if request.precision != "float32" else None,
        }
        return {name: value for name, value in found.items() if value}

    def _request(self, kept: Collection[str]) -> LoweringRequest:
        """The faithful request with some of the row's own wishes."""
        request = self.source.request
        faithful = replace(
            self.row.backend.faithful, dtype=request.dtype, mean=request.mean, std=request.std
        )
        wishes = {
            name: self._values[name] for name in _FIELDS if name in kept and name in self._values
        }
        return replace(faithful, **wishes)  # type: ignore[arg-type]

    def _found(self) -> list[Change]:
        found = []
        if self.source.lowering is not None and self.source.neutral is not None:
            out = self._scratch / "changes.onnx"
            lower = self.source.lowering.lower
            own = set(lower(self.source.neutral, out, self._request(())).changes)
            for name in self._values:
                said = lower(self.source.neutral, out, self._request([name])).changes
                # A wish that changes nothing of this model, such as more proposals than it has, is
                # no change.
                found += [Change(name, one) for one in said if one not in own][:1]
            out.unlink(missing_ok=True)
        if not found:
            # With other changes, int8 alone is a network that nobody made: what it costs is then
            # in what no change explains.
            said = self.row.result.semantics
            found += [Change(_INT8, one) for one in said if one.startswith(f"{_INT8} in ")]
        return [*found, *(Change(name, clause) for name, clause in self._rules.items())]


def apart(first: Variants, second: Variants) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """The changes that only one of two rows declares.

    Those of one backend are the same where their words are.
    """
    if first.row.target.backend != second.row.target.backend:
        return first.changes, second.changes
    return (
        tuple(one for one in first.changes if one not in second.changes),
        tuple(one for one in second.changes if one not in first.changes),
    )


def emulation(row: Row, runtime: str) -> str:
    """What runs a row's graph here, in words."""
    rules = row.rules
    if rules:
        told = "; ".join(rules.values())
        return f"its device's arithmetic, emulated by {runtime} on this CPU: {told}"
    if row.backend.values(row.folder) is not None:
        return f"its own runtime on this CPU, {row.target.backend}"
    if row.target.backend == backends.reference(row.target).target.backend:
        providers = row.result.run.environment.get("providers")
        where = "" if providers == ["CPUExecutionProvider"] else ", not on the row's own device"
        return f"{runtime} on this CPU{where}"
    return f"its graph in {runtime} on this CPU, not in its own runtime"
