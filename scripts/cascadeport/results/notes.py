"""What has to be said about the rows of a comparison, each sentence once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cascadeport.results.columns import one_line
from cascadeport.results.comparison import Comparison, Row


@dataclass(frozen=True)
class Notes:
    """Sentences about the same rows.

    Args:
        about: The rows' titles; none: the whole table.
        sentences: What is said.
    """

    about: tuple[str, ...]
    sentences: tuple[str, ...]


def of(comparison: Comparison) -> list[Notes]:
    """The notes: about the table, then by row; rows of which the same is said stand together."""
    about: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        for sentence in _about(row, comparison):
            about.setdefault(one_line(sentence), {})[one_line(row.title)] = None
    groups: dict[tuple[str, ...], list[str]] = {}
    for sentence, titles in about.items():
        groups.setdefault(tuple(titles), []).append(sentence)
    notes = [Notes(titles, tuple(sentences)) for titles, sentences in groups.items()]
    general = tuple(one_line(sentence) for sentence in _general(comparison))
    return [Notes((), general), *notes] if general else notes


def _general(comparison: Comparison) -> Iterator[str]:
    rows = comparison.rows
    for name in sorted({row.against for row in rows if row.against}):
        yield f"Δ mAP is relative to {name}."
    if any(row.delta_low is not None for row in rows):
        yield (
            "The interval is that of the difference from what the verdict holds a row against, "
            "over pictures."
        )
    for name in sorted({row.evaluators for row in rows if row.evaluators}):
        yield f"mAP is evaluated by {name}."
    if len({row.device_time for row in rows if row.device_time}) > 1:
        yield "Device times differ in what they are of: some include copies to and from the device."
    machines: dict[str, list[str]] = {}
    for row in rows:
        if row.machine:
            machines.setdefault(row.machine, []).append(row.title)
    if len(machines) > 1:
        each = "; ".join(f"{name}: {', '.join(titles)}" for name, titles in machines.items())
        yield (
            f"The rows come from hosts of different architectures ({each}). Network inputs and the "
            "boxes made of the same outputs have the same bytes on both; times of the host do not "
            "compare."
        )
    if any(row.published_ratio is not None for row in rows):
        yield "Measured / published is of pictures per second on the device."


def _about(row: Row, comparison: Comparison) -> Iterator[str]:
    if row.status == "invalid":
        yield _ended(f"INVALID: {row.reason}")
    elif row.status == "published":
        yield f"Not measured here; from {row.reason}"
    elif row.status == "simulated":
        yield "It ran on a simulator: its accuracy counts, it has no throughput."
    if row.verdict is not None and row.status != "invalid":
        yield _ended(f"{row.verdict.upper()}: {row.verdict_reason}")
    elif row.checks and row.verdict_reason and row.status != "invalid":
        yield _ended(f"{row.verdict_reason[0].upper()}{row.verdict_reason[1:]}")
    if row.input and len(comparison.inputs) > 1:
        yield f"Input {row.input}; other rows have another input."
    yield from row.semantics
    yield from row.remarks


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else f"{sentence}."
