"""Compares two graphs value by value: where do they begin to differ, and who makes the errors?

A value's difference is what reaches it from all operators before. Its own error is what remains
when the operators that lead to it from the values before are given equal inputs: the second
graph's values are fed into the first graph's operators. An operator that reproduces the difference
from equal inputs made it itself; one that does not inherited it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from cascadeport.base.errors import CascadeportError
from cascadeport.explain import difference
from cascadeport.explain.anchors import FINAL, Anatomy, named
from cascadeport.explain.difference import Difference
from cascadeport.explain.values import Arrays, Graph, How, moved_by_an_ulp
from cascadeport.graph.matching import Matching, match

#: Elements of values that are kept at a time, of each run.
TOGETHER = 1 << 26
#: Rows that are assumed where their number depends on the picture.
_ROWS = 1000
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
#: How noise is measured; docs/explain.md says it in words.
NOISE = (How(optimised=True), How(optimised=False, threads=1))


@dataclass(frozen=True)
class Compared:
    """One value of both graphs.

    Attributes:
        value: Its name.
        stage: The detector's stage that computes it; empty if unknown.
        words: The operator that makes it.
        difference: Of both graphs, end to end; None where rows cannot be paired.
        noise: Of the first graph from itself.
        own: What remains with equal inputs; None where the operators could not be given the other
            graph's inputs.
        own_noise: The same of the first graph from itself.
    """

    value: str
    stage: str
    words: str
    difference: Difference | None
    noise: Difference
    own: Difference | None
    own_noise: Difference

    @property
    def made(self) -> bool:
        """Whether the operators before it make an error themselves."""
        return self.own is not None and self.own.beyond(self.own_noise)

    @property
    def differs(self) -> bool:
        """Whether the graphs differ in it beyond noise, whoever made the error."""
        return self.made or (self.difference is not None and self.difference.beyond(self.noise))


@dataclass(frozen=True)
class Comparison:
    """All common values of two graphs, in the order of computation.

    Attributes:
        values: The values.
        swapped: Whether the second graph's operators were given the first one's values, because
            the first takes a fixed number of proposals.
        notes: What could not be compared, in sentences.
    """

    values: tuple[Compared, ...]
    swapped: bool = False
    notes: tuple[str, ...] = ()

    @property
    def first(self) -> Compared | None:
        """The first value whose operators make an error beyond noise."""
        return next((one for one in self.values if one.made), None)

    @property
    def makers(self) -> list[Compared]:
        """Every value whose operators make an error beyond noise."""
        return [one for one in self.values if one.made]

    def at(self, value: str) -> Compared | None:
        """The comparison of a value."""
        return next((one for one in self.values if one.value == value), None)


class Values(Protocol):
    """Whatever has the values of a picture by name: a graph, or what a device dumped."""

    @property
    def nodes(self) -> Mapping[str, Any]:
        """The values that there are."""

    @property
    def facts(self) -> Mapping[str, tuple[int, list[int | None]] | tuple[int, list[int]]]:
        """Element type and shape of values."""

    def run(self, picture: NDArray[Any], names: Sequence[str], how: How | None = None) -> Arrays:
        """Values of a picture."""


def compare(
    graphs: tuple[Graph, Values],
    pictures: tuple[NDArray[Any], NDArray[Any]],
    anatomy: Anatomy | None,
) -> Comparison:
    """Compares two graphs on one picture.

    Args:
        pictures: The picture as each graph takes it.
        anatomy: Of the neutral graph that both come from; None: there is none.

    Raises:
        CascadeportError: onnxruntime cannot run one of them.
    """
    proposals = anatomy.proposals if anatomy else ""
    first, second = graphs
    swapped = False
    if isinstance(second, Graph) and _is_fixed(first, proposals):
        swapped = not _is_fixed(second, proposals)
        if swapped:
            first, second = second, first
            pictures = pictures[::-1]
    work = _Work(first, second, *pictures, anatomy)
    found = [one for part in work.parts() for one in work.compared(part)]
    return Comparison(tuple(found), swapped, tuple(work.notes))


def _is_fixed(graph: Graph, proposals: str) -> bool:
    _, shape = graph.facts.get(proposals, (0, [None]))
    return bool(shape) and shape[0] is not None


def common(first: Graph, second: Values, anatomy: Anatomy | None = None) -> list[str]:
    """The values that both graphs have with the same meaning, in the first one's order.

    Of graphs lowered from a neutral one, these are the neutral graph's: names that lowerings make
    up may be equal by chance. Values of another shape have another meaning, unless only their
    number of rows depends on what was selected before.
    """
    found = []
    for name in first.order:
        if name not in second.nodes or name not in first.facts or name not in second.facts:
            continue
        if anatomy is not None and not anatomy.stage(name):
            continue
        (kind, shape), (other_kind, other_shape) = first.facts[name], second.facts[name]
        if name in first.outputs:
            # Labels are compared with their boxes.
            both = all(one in second.nodes for one in first.outputs)
            found += [name] if name == first.outputs[0] and both else []
            continue
        if kind not in _FLOATS or other_kind not in _FLOATS or len(shape) != len(other_shape):
            continue
        if shape == other_shape or name in first.selected:
            found.append(name)
    return found


@dataclass
class _Work:
    """The comparison under way."""

    first: Graph
    second: Values
    picture: NDArray[Any]
    other_picture: NDArray[Any]
    anatomy: Anatomy | None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = common(self.first, self.second, self.anatomy)
        self.stops = set(self.names)
        self.proposals = self.anatomy.proposals if self.anatomy else ""
        if self.proposals not in self.stops:
            self.proposals = ""
        self.pairings: list[Matching] = []
        self.kept: NDArray[Any] | None = None

    def _pair(self, mine: Arrays, theirs: Arrays, noisy: Sequence[Arrays]) -> None:
        """Pairs the proposals of the second graph, and of each noisy run, with the first one's."""
        own = _labelled(mine[self.proposals])
        others = [run[self.proposals] for run in (theirs, *noisy)]
        self.pairings = [match(own, _labelled(one)) for one in others]
        self.kept = others[0][:, 4] > 0

    def _noisy_runs(self, names: Sequence[str]) -> Iterator[Arrays]:
        for seed, how in enumerate(NOISE):
            yield self.first.run(moved_by_an_ulp(self.picture, seed), names, how)

    def parts(self) -> Iterator[list[str]]:
        """The values in parts that fit into memory."""
        part: list[str] = []
        size = 0
        for name in self.names:
            _, shape = self.first.facts[name]
            elements = int(np.prod([_ROWS if side is None else side for side in shape]))
            if part and size + elements > TOGETHER:
                yield part
                part, size = [], 0
            part.append(name)
            size += elements
        if part:
            yield part

    def compared(self, part: Sequence[str]) -> Iterator[Compared]:
        """Compares the values of one part."""
        before = {one for name in part for one in self.first.before(name, self.stops)}
        # Boxes are compared with their labels.
        part = [*part, *(self.first.outputs[1:] if self.first.outputs[0] in part else ())]
        names = sorted({*part, *before} - {self.first.input})
        mine = self.first.run(self.picture, names)
        theirs = self.second.run(self.other_picture, names)
        noisy = list(self._noisy_runs(part))
        if self.proposals in part:
            # Whatever has a row per proposal is computed later.
            self._pair(mine, theirs, noisy)
        given = {name: theirs[name].astype(mine[name].dtype) for name in before if name in theirs}
        given[self.first.input] = self.picture
        own = self._segments(given, part)
        own_noise = [
            self.first.segments(self._moved(mine, before, seed), part, how)
            for seed, how in enumerate(NOISE)
        ]
        for name in part:
            if name in self.first.outputs[1:]:
                continue
            yield self._one(
                name,
                mine,
                theirs,
                noisy,
                None if own is None or name not in own else own,
                own_noise,
            )

    def _moved(self, mine: Arrays, before: set[str], seed: int) -> Arrays:
        moved = {name: moved_by_an_ulp(mine[name], seed) for name in before if name in mine}
        moved[self.first.input] = moved_by_an_ulp(self.picture, seed)
        return moved

    def _segments(self, given: Arrays, part: Sequence[str]) -> Arrays | None:
        """What the first graph's operators make of given values.

        Graphs that take a fixed number of proposals cannot take another graph's, if it has another
        number: then only what comes before is computed, and a note says so.
        """
        try:
            return self.first.segments(given, part)
        except CascadeportError as error:
            dense = [name for name in part if name not in self.first.selected]
            if len(dense) == len(part):
                raise
            self.notes.append(
                f"{len(part) - len(dense)} values after the selection of proposals could not be "
                f"computed from the other graph's inputs: {error.what}"
            )
            return self.first.segments(given, dense) if dense else {}

    def _one(
        self,
        name: str,
        mine: Arrays,
        theirs: Arrays,
        noisy: Sequence[Arrays],
        own: Arrays | None,
        own_noise: Sequence[Arrays],
    ) -> Compared:
        stage = self.anatomy.stage(name) if self.anatomy else ""
        before = self.first.before(name, self.stops)
        words = self.anatomy.words(name, before) if self.anatomy else ""
        if not words:
            words = named(self.first.nodes[name])
        boxes = self._as_boxes(name, mine)
        apart: Difference | None
        if boxes:
            apart = difference.of_boxes(boxes, self._boxes(name, theirs))
            noise = [difference.of_boxes(boxes, self._boxes(name, run)) for run in noisy]
            own_apart = (
                None
                if own is None
                else difference.of_boxes(self._boxes(name, own), self._boxes(name, theirs))
            )
            own_apart_noise = [
                difference.of_boxes(boxes, self._boxes(name, run)) for run in own_noise
            ]
        else:
            apart, noise = self._end_to_end(name, mine[name], theirs[name], noisy)
            rows = name in self.first.selected
            own_apart = None
            if own is not None:
                keep = self._real_rows(theirs[name]) if rows else None
                own_apart = difference.between(own[name], theirs[name], by_rows=rows, keep=keep)
            own_apart_noise = [
                difference.between(mine[name], run[name], by_rows=rows) for run in own_noise
            ]
        return Compared(
            value=name,
            stage=stage or (FINAL if name in self.first.outputs else ""),
            words=words,
            difference=apart,
            noise=difference.largest(noise),
            own=own_apart,
            own_noise=difference.largest(own_apart_noise),
        )

    def _end_to_end(
        self, name: str, mine: NDArray[Any], theirs: NDArray[Any], noisy: Sequence[Arrays]
    ) -> tuple[Difference | None, list[Difference]]:
        if name not in self.first.selected:
            return (
                difference.between(mine, theirs),
                [difference.between(mine, run[name]) for run in noisy],
            )
        if not self.pairings or not self._is_of_proposals(name, mine):
            return None, []
        found = []
        for pairing, other in zip(
            self.pairings, [theirs, *(run[name] for run in noisy)], strict=True
        ):
            if max(pairing.rows, default=0) >= len(mine) or max(pairing.partners, default=0) >= len(
                other
            ):
                return None, []
            found.append(
                difference.between(mine[pairing.rows], other[pairing.partners], by_rows=True)
            )
        return found[0], found[1:]

    def _is_of_proposals(self, name: str, mine: NDArray[Any]) -> bool:
        """Whether a value has a row for every proposal."""
        if not mine.ndim or not self.pairings:
            return False
        return self.proposals in self.first.before(name, {self.proposals})

    def _real_rows(self, theirs: NDArray[Any]) -> NDArray[Any] | None:
        """The rows that are no padding, of a value with a row for every proposal."""
        if self.kept is None or not theirs.ndim or len(theirs) != len(self.kept):
            return None
        return self.kept

    def _as_boxes(self, name: str, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """A value that is a list of boxes in any order: proposals or detections."""
        if name == self.proposals or name in self.first.outputs:
            return self._boxes(name, arrays)
        return None

    def _boxes(self, name: str, arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
        if name == self.proposals:
            return _labelled(arrays[name])
        boxes, labels = self.first.outputs[:2]
        return arrays[boxes], arrays[labels]


def _labelled(boxes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return boxes, np.zeros(len(boxes), np.int64)
