"""Explains two rows: from their names to the record."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from cascadeport import __version__
from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.base.reading import is_file
from cascadeport.config.options import Options
from cascadeport.datasets import Dataset
from cascadeport.explain import (
    changes,
    graphs,
    msprobe,
    pictures,
    rows,
    sentences,
    shares,
    tensors,
)
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.changes import Variants
from cascadeport.explain.difference import Difference
from cascadeport.explain.dumps import Dump
from cascadeport.explain.pictures import Pictures
from cascadeport.explain.record import (
    Explanation,
    PictureFacts,
    RowFacts,
    Shares,
    Tensor,
    Tensors,
    Verdict,
)
from cascadeport.explain.rows import Row
from cascadeport.explain.tensors import Compared, Comparison
from cascadeport.explain.values import Elsewhere, Graph


@dataclass(frozen=True)
class Question:
    """What is to be explained.

    Attributes:
        first: The row that the other one is compared with.
        second: The other one.
        picture: The id of the picture to look at; None: the one that differs most.
        ablate: The number of pictures for the shares of points; 0: none; None: all, unless that
            takes too long.
        dump: What the second row's device dumped of that picture, a folder, or msprobe's table of
            it; None: its graph is run here.
    """

    first: Row
    second: Row
    picture: int | None = None
    ablate: int | None = None
    dump: Path | None = None


def explain(question: Question, options: Options, reporter: Reporter) -> Explanation:
    """Explains why two rows differ.

    Raises:
        CascadeportError: A graph, a picture or the data set is not there any more.
    """
    first, second = question.first, question.second
    if question.dump is not None and question.picture is None:
        raise CascadeportError(
            "A dump is that of one picture, and it does not say which.",
            where=f"--dump {question.dump}",
            next="Name the picture: --picture ID.",
        )
    dataset = rows.dataset(first, options)
    chosen = pictures.choose(dataset, first.detections(), second.detections(), question.picture)
    prepared = [Pictures(row.job, dataset) for row in (first, second)]
    runtime = f"onnxruntime {metadata.version('onnxruntime')}"
    with tempfile.TemporaryDirectory(prefix="cascadeport-explain-") as folder:
        # Rows of different folders may have the same name.
        scratch = [Path(folder) / "first", Path(folder) / "second"]
        for one in scratch:
            one.mkdir()
        shape = prepared[0].shape(chosen.id)
        sources = [
            graphs.find(row, options.build, one, shape)
            for row, one in zip((first, second), scratch, strict=True)
        ]
        with reporter.stage(f"compare the tensors of picture {chosen.id}"):
            anatomy = Anatomy.of(sources[0].neutral) if sources[0].neutral else None
            other = _dumped(question.dump, sources[1])
            found = _tensors((first, second), sources, scratch, prepared, chosen.id, anatomy, other)
            vendor = None
            if question.dump is not None and other is None:
                vendor = msprobe.load(question.dump, sources[1].lowered, anatomy)
        measured, reason = _shares(
            question, (first, second), sources, scratch, prepared[0], dataset, reporter
        )
    notes = [source.note for source in sources if source.note]
    if other is not None and other.foreign:
        some = ", ".join(sorted(set(other.foreign))[:3])
        notes.append(
            f"{len(other.foreign)} dumped tensors belong to operators that the graph does not have "
            f"by that name ({some}): atc split or fused them"
        )
    if different := rows.differences_of_settings(first, second):
        notes.append(
            f"the rows ran with other settings of the card ({', '.join(different)}), which no "
            "tensor shows"
        )
    record = Explanation(
        sentences=[],
        model=first.result.model.name,
        dataset=first.result.dataset.name,
        first=_row(first, runtime),
        second=_row(second, runtime, other),
        picture=PictureFacts(id=chosen.id, file=chosen.file, why=chosen.why),
        tensors=record_of(found, anatomy),
        vendor=vendor,
        shares=measured,
        shares_reason=reason,
        notes=notes,
        version=__version__,
    )
    return record.model_copy(update={"sentences": sentences.of(record)})


def _dumped(path: Path | None, source: graphs.Source) -> Dump | None:
    """The dump in a folder; None: there is none, or a table instead."""
    if path is None or is_file(path):
        return None
    return Dump(path, source.lowered)


def _row(row: Row, runtime: str, dump: Dump | None = None) -> RowFacts:
    return RowFacts(
        name=row.name,
        title=row.result.title,
        status=row.result.status,
        map=row.result.map,
        runs_as=f"tensors that its device dumped: {dump.path}"
        if dump
        else changes.emulation(row, runtime),
        semantics=list(row.result.semantics),
    )


def _tensors(
    both: tuple[Row, Row],
    sources: list[graphs.Source],
    scratch: list[Path],
    prepared: list[Pictures],
    picture: int,
    anatomy: Anatomy | None,
    dump: Dump | None,
) -> Comparison:
    loaded: list[Graph] = []
    taken = []
    for row, source, one, folder in zip(both, sources, prepared, scratch, strict=True):
        out = folder / "run.onnx"
        graph = Graph(row.emulated(source.lowered, out, list(row.rules)))
        array = one.read(picture)
        loaded.append(graph)
        taken.append(
            one.as_float(array) if array.dtype == "uint8" and graph.takes_floats else array
        )
    if dump is not None:
        dump.expect({name: shape for name, (_, shape) in loaded[0].facts.items()})
    other: tensors.Values = loaded[1] if dump is None else dump
    inside = both[1].backend.values(sources[1].lowered) if dump is None else None
    if inside is not None:
        other = Elsewhere(loaded[1], inside)
        other.settle(taken[1], [*tensors.common(loaded[0], other, anatomy), *other.outputs])
    return tensors.compare((loaded[0], other), (taken[0], taken[1]), anatomy)


def _shares(
    question: Question,
    both: tuple[Row, Row],
    sources: list[graphs.Source],
    scratch: list[Path],
    prepared: Pictures,
    dataset: Dataset,
    reporter: Reporter,
) -> tuple[Shares | None, str]:
    if question.ablate == 0:
        return None, "not measured: --ablate 0"
    if len(both[0].card.input.canvases) > 1:
        return None, "not measured: the model has several input shapes"
    variants = tuple(
        Variants(row, source, folder)
        for row, source, folder in zip(both, sources, scratch, strict=True)
    )
    found = changes.apart(variants[0], variants[1])
    if not any(found):
        return None, "neither row declares a change of meaning that the other does not"
    wanted = shares.Wanted((variants[0], variants[1]), found, question.ablate)
    update: Callable[[int, int], None] = reporter.update
    with reporter.stage("measure what each change of meaning costs"):
        try:
            maps = (both[0].result.map, both[1].result.map)
            return shares.measure(wanted, prepared, dataset, maps, update), ""
        except shares.TooLongError as error:
            return None, f"not measured: {error.what} {error.next}"


# --- the record of a comparison ------------------------------------------------------------------


def record_of(found: Comparison, anatomy: Anatomy | None) -> Tensors:
    """The record of a comparison of tensors."""
    first = found.first
    anchors = []
    for anchor in anatomy.anchors if anatomy else ():
        one = found.at(anchor.value)
        if one is not None:
            anchors.append(
                _tensor(one).model_copy(update={"stage": anchor.stage, "what": anchor.what})
            )
    return Tensors(
        compared=len(found.values),
        first=_tensor(first) if first else None,
        makers=[_tensor(one) for one in found.makers],
        anchors=anchors,
        notes=[*found.notes, *_swapped(found)],
    )


def _swapped(found: Comparison) -> list[str]:
    if not found.swapped:
        return []
    return [
        "the second row's operators were given the first row's values: the first takes a fixed "
        "number of proposals"
    ]


def _tensor(one: Compared) -> Tensor:
    verdict: Verdict = "same"
    if one.made:
        verdict = "made"
    elif one.differs:
        verdict = "inherited"
    elif one.difference is None and one.own is None:
        verdict = "not compared"
    judged = one.own if one.made else one.difference
    return Tensor(
        value=one.value,
        stage=one.stage,
        operator=one.words,
        verdict=verdict,
        difference=_size(one.difference),
        noise=_size(one.noise),
        own=_size(one.own),
        own_noise=_size(one.own_noise),
        reason=_reason(judged),
    )


def _size(one: Difference | None) -> float | None:
    if one is None or one.middle == float("inf"):
        return None
    return one.middle


def _reason(one: Difference | None) -> str:
    """What else is to be said of a difference."""
    if one is None:
        return ""
    if one.other_shape:
        return f"shapes {one.other_shape}"
    parts = []
    if one.strays:
        parts.append(f"{one.strays} boxes of {one.rows} in one row only")
    if one.gross:
        parts.append(f"{one.gross} of {one.rows} rows differ by more than a thousandth")
    if one.middle == float("inf"):
        parts.append("values that are not finite")
    return ", ".join(parts)
