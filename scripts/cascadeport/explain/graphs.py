"""Finds the graph that a row ran, and the neutral graph that it was lowered from.

What ran is known by its digest. The network of the pass leads to the stage that made it, and from
a device's own format to the graph that it was converted from. A graph that is not kept is lowered
again: lowering is deterministic, so the digest says whether it is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import is_file, read_record
from cascadeport.config.cards import Shape
from cascadeport.explain.rows import Row
from cascadeport.graph.editing import load, save
from cascadeport.graph.lowering import Lowering, LoweringRequest
from cascadeport.graph.reshaping import at_shape
from cascadeport.pipeline.stages import lower

_NEUTRAL = "neutral.onnx"


@dataclass(frozen=True)
class Source:
    """Where a row's graph comes from.

    Attributes:
        lowered: The graph that the target's runtime took, or that its network was converted from.
        neutral: The neutral graph it was lowered from; None: the card's graph ran as it is.
        lowering: What lowered it; None: nothing did.
        request: What the lowering was asked for.
        note: What has to be said about where it was found.
    """

    lowered: Path
    neutral: Path | None = None
    lowering: Lowering | None = None
    request: LoweringRequest = field(default_factory=LoweringRequest)
    note: str = ""


def find(row: Row, build: Path, scratch: Path, shape: Shape) -> Source:
    """The graph that a row ran on pictures of a shape.

    Args:
        build: Where products that several runs share are kept.
        scratch: A folder for a graph that has to be lowered again.
        shape: Rows and columns of the network's input.

    Raises:
        CascadeportError: It is not kept, and cannot be made again.
    """
    # One network for all shapes, or one for each.
    wanted = row.inputs.get("network") or row.inputs.get(f"network{row.card.input.suffix(shape)}")
    wanted = wanted or ""
    if row.card.graph is not None and row.card.graph.kind == "ready":
        return _ready(row, shape, wanted)
    folder = build / "models" / row.card.name
    neutral = _neutral(row, folder, shape)
    lowering = _lowering(row)
    kept = _kept(folder, wanted)
    own = backends.lowering(kept[1]) if kept is not None else lowering
    several = len(row.job["input"]["shapes"]) > 1 or row.job["input"].get("multiple")
    one_for_all = bool(several) and "network" in row.inputs
    request = lower.request(row.card, row.target.semantics, None if one_for_all else shape, own)
    if kept is not None:
        return Source(_of_shape(kept[0], request, shape, scratch), neutral, own, request)
    again = scratch / "lowered-again.onnx"
    lowering.lower(neutral, again, request)
    found = digest.of_file(again)
    if found == wanted:
        note = f"the graph of {row.name} was not kept; lowering it again gave the same"
    elif _is_graph(row, wanted):
        raise CascadeportError(
            f"The graph that {row.name} ran is not kept, and lowering it again gives another one.",
            where=str(folder),
            details=[f"ran: {wanted[:12]}", f"now: {found[:12]}"],
            next="Run the target again.",
        )
    else:
        note = (
            f"the graph that {row.name} was converted from was not kept; it was lowered again, and "
            "nothing proves that it is the same"
        )
    return Source(_of_shape(again, request, shape, scratch), neutral, lowering, request, note)


def _of_shape(lowered: Path, request: LoweringRequest, shape: Shape, scratch: Path) -> Path:
    """A graph with gears at one of them, which is what ran on pictures of that shape."""
    if not request.gears:
        return lowered
    out = scratch / "gear.onnx"
    save(at_shape(load(lowered), shape), out)
    return out


def _lowering(row: Row) -> Lowering:
    """The lowering that the user asked for, else the runtime's own."""
    asked = f"{row.subject.variant.name}-"
    chosen = [kind for kind in row.backend.lowerings if asked.startswith(f"{kind.name}-")]
    if not chosen:
        return row.backend.lowering(row.engine).lowering
    return max(chosen, key=lambda kind: len(kind.name))()


def _is_graph(row: Row, wanted: str) -> bool:
    """Whether what ran is the lowered graph itself, not a device's format of it."""
    return any(
        one.get("sha256") == wanted and str(one.get("path", "")).endswith(".onnx")
        for one in row.job.get("networks", [])
    )


def _ready(row: Row, shape: Shape, wanted: str) -> Source:
    assert row.card.graph is not None
    index = row.card.input.canvases.index(shape)
    path = row.card.file(row.card.graph.all[index].path)
    if digest.of_file(path) != wanted:
        raise CascadeportError(
            f"The card's graph is another one than {row.name} ran.",
            where=str(path),
            details=[f"ran: {wanted[:12]}", f"now: {digest.of_file(path)[:12]}"],
            next="Put the graph that ran back, or run the target again.",
        )
    return Source(path)


def _neutral(row: Row, folder: Path, shape: Shape) -> Path:
    """The neutral graph: the card's, or the export's."""
    card = row.card
    if card.graph is not None:
        files = card.graph.all
        return card.file(files[card.input.canvases.index(shape) if len(files) > 1 else 0].path)
    path = folder / "export" / _NEUTRAL
    if not is_file(path):
        raise CascadeportError(
            f"The neutral graph of {card.name} is not kept.",
            where=str(path),
            next="Run the target again, or name the build folder with --build.",
        )
    return path


def _kept(folder: Path, wanted: str) -> tuple[Path, str] | None:
    """The kept graph that a network is or was converted from, and the name of its lowering."""
    records = list(_records(folder))
    for path, record in records:
        if record.get("stage") == "convert" and _has(path, record, wanted):
            wanted = str(record.get("inputs", {}).get("graph", ""))
            break
    for path, record in records:
        if record.get("stage") in ("lower", "quantise") and _has(path, record, wanted):
            return path / lower.NETWORK, str(record["parameters"]["lowering"])
    return None


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*/stage.json")):
        try:
            yield path.parent, read_record(path, "record")
        except CascadeportError:
            continue


def _has(folder: Path, record: dict[str, Any], wanted: str) -> bool:
    """Whether a finished stage has a network of that digest, by its content."""
    for name, facts in record.get("files", {}).items():
        if not name.startswith("network"):
            continue
        known = facts.get("sha256") if isinstance(facts, dict) else None
        if known not in (None, wanted):
            continue
        path = folder / name
        if is_file(path) and digest.of_file(path) == wanted:
            return True
    return False
