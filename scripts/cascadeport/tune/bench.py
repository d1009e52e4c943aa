"""Runs points: each a full, honest run of the pipeline with a row of its own, kept and resumed."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from cascadeport import backends, doctor
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.datasets import Dataset, parts
from cascadeport.pipeline.executor import execute
from cascadeport.pipeline.planner import plan
from cascadeport.pipeline.stages import export
from cascadeport.results import collate, failure, intervals, resampling, speed
from cascadeport.results.intervals import Accuracies, Interval
from cascadeport.results.result import Result
from cascadeport.tune.outcome import Failed, Measured, Outcome
from cascadeport.tune.search import HELD_OUT, Step
from cascadeport.tune.space import Point

Opener = Callable[[Options, Reporter], contextlib.AbstractContextManager[Context]]
"""Opens the context of options (commands/opening.py, which is above this package)."""
AGAIN = "again"
"""The folder, beside the record, of what was measured again at the end of a search."""
_QUIET = ("skip", "done", "verified", "")
# As few pictures as a step begins with, and how often their number may double after it.
_FEWEST, _DOUBLINGS = 50, 2


def steps(count: int) -> list[int]:
    """The numbers of pictures that a search of `count` pictures goes through.

    The last is all of them; each one before has half as many, as long as those are enough to say
    something.
    """
    found = [count]
    while len(found) <= _DOUBLINGS and found[0] // 2 >= _FEWEST:
        found.insert(0, found[0] // 2)
    return found


@dataclass(frozen=True)
class _Row:
    """A row, computed from what its stages left."""

    result: Result
    dataset: Dataset
    folder: Path

    @property
    def accuracies(self) -> Accuracies:
        return resampling.of_result(self.result, self.dataset)


class Bench:
    """Runs points on the pictures of a search, and computes what their rows say.

    Args:
        options: The user's; every point differs from them by its changes.
        targets: All rows of targets.toml.
        open_context: Opens the context of options.
        reporter: Tells the user what happens.
        reference: The point that the others are compared with.
        steps: How many pictures each step has.
    """

    def __init__(
        self,
        options: Options,
        targets: Mapping[str, Target],
        open_context: Opener,
        reporter: Reporter,
        reference: Point,
        steps: list[int],
    ) -> None:
        self._options = options
        self._targets = targets
        self._open = open_context
        self._reporter = _Inner(reporter)
        self._reference = reference
        self._steps = steps
        self._rows: dict[tuple[Point, Step], _Row] = {}
        self._checked: set[str] = set()
        self.ran = 0
        """How many passes were made now, and not found finished."""

    def __call__(self, point: Point, step: Step) -> Outcome:
        """Runs a point on the pictures of a step; see `Evaluate`."""
        try:
            row = self._row(point, self.of_step(point, step))
        except CascadeportError as error:
            # What stops every point stops the search.
            if isinstance(error, store.BusyError) or error.exit_code == ExitCode.OUTPUT:
                raise
            where = f" ({error.where})" if error.where else ""
            return Failed(f"{error.what.rstrip('.')}{where}", error.exit_code)
        if row.result.status == "invalid":
            return Failed(f"its row is INVALID: {row.result.reason}", ExitCode.INVALID)
        self._rows[point, step] = row
        reference = self._rows.get((self._reference, step), row)
        return measured(row.result, row.dataset, reference.result, self._name(row.folder))

    def of_step(self, point: Point, step: Step) -> Options:
        """The options that run a point on the pictures of a step."""
        options = self.alone(point)
        if step == HELD_OUT:
            return replace(options, part=parts.HELD_OUT)
        # All pictures of the search are as many as the user's limit says, or simply all.
        limit = options.limit if step == len(self._steps) - 1 else self._steps[step]
        return replace(options, part=parts.SEARCH, limit=limit)

    def alone(self, point: Point) -> Options:
        """The options that run a point on all pictures, as a user would."""
        return own(self._options, point, self._targets)

    def again(self, folder: Path) -> speed.Speed | None:
        """Measures the reference once more, to tell how the machine drifted meanwhile.

        Args:
            folder: Of the record. What is found there is taken where nothing was run since.

        Returns:
            Its speed against that of the reference's row; None: it has none.
        """
        step = max((step for _, step in self._rows if isinstance(step, int)), default=0)
        options = replace(self.of_step(self._reference, step), results=folder / AGAIN)
        if self.ran:
            shutil.rmtree(folder / AGAIN, ignore_errors=True)
        row = self._row(self._reference, options)
        first = self._rows[self._reference, step].result
        if row.result.status != "measured" or first.status != "measured":
            return None
        return speed.compare(row.result.run.summary, first.run.summary)

    def _name(self, folder: Path) -> str:
        return folder.relative_to(self._options.results).as_posix()

    def _row(self, point: Point, options: Options) -> _Row:
        """Runs the pipeline where it is not finished, and computes the row.

        Raises:
            CascadeportError: Something about it failed.
        """
        with self._open(options, self._reporter) as context:
            made = plan(context)
            try:
                self._run(made, context)
                with store.locked(made.folder, wait=True):
                    failure.clear(made.results)
                    known = collate.known(made, context)
                    result = collate.collate(made, known)
            except CascadeportError as error:
                if not isinstance(error, store.BusyError):
                    with contextlib.suppress(CascadeportError):
                        failure.mark(made.results, error)
                raise
        placed = result.model_copy(update={"folder": made.results})
        return _Row(placed, known.dataset, made.results)

    def _run(self, made: Plan, context: Context) -> None:
        if all(stage.freshness.is_up_to_date for stage in made.stages):
            return
        if context.name not in self._checked:
            for finding in doctor.require(context):
                if finding.status == "warn":
                    context.reporter.note(f"{finding.check}: {finding.finding} {finding.remedy}")
            self._checked.add(context.name)
        export.require(made, context)
        environment = backends.of(context.target).environment
        if environment is not None and not context.engine.in_containers:
            environment.install(context.reporter)
        passing = not made.stage("infer").freshness.is_up_to_date
        execute(made, context)
        self.ran += passing


def own(options: Options, point: Point, targets: Mapping[str, Target]) -> Options:
    """The options that run a point: without those that its target does not understand."""
    particular = {name for each in backends.every() for name in each.supported}
    foreign = particular - backends.load(targets[point.target].backend).supported
    return point.applied(options, foreign)


def measured(result: Result, dataset: Dataset, reference: Result, row: str) -> Measured:
    """What a row says, against the reference's row on the same pictures."""
    own, other = resampling.of_result(result, dataset), resampling.of_result(reference, dataset)
    return Measured(
        row=row,
        pictures=result.pictures,
        map=result.map,
        own=intervals.interval(own.map),
        delta=_difference(result.map, reference.map),
        difference=_paired(own, other),
        ips=_mean(result, "device_ips"),
        ips_end_to_end=_mean(result, "end_to_end_ips"),
        device_ips=result.device_ips,
        end_to_end_ips=result.end_to_end_ips,
        speed=speed.compare(result.run.summary, reference.run.summary)
        if result.status == reference.status == "measured"
        else None,
        simulated=result.status == "simulated",
    )


def _mean(result: Result, rate: str) -> float | None:
    """The geometric mean of a rate over the passes, as `results.speed` compares them."""
    rates = [value for one in result.run.summary.repeats if (value := getattr(one, rate))]
    if result.status != "measured" or not rates:
        return None
    return math.exp(fmean(map(math.log, rates)))


def _paired(own: Accuracies, reference: Accuracies) -> Interval | None:
    return intervals.paired(own, reference).map


def _difference(own: float | None, reference: float | None) -> float | None:
    return None if own is None or reference is None else own - reference


class _Inner(Reporter):
    """What the pipeline says while points are run: without what is said for every point again."""

    def __init__(self, outer: Reporter) -> None:
        super().__init__()
        self._outer = outer
        self._noted: set[str] = set()

    @property
    def terminal(self) -> bool:
        """See `Reporter`."""
        return self._outer.terminal

    def line(self, mark: str, text: str, style: str = "") -> None:
        """See `Reporter`."""
        if mark not in _QUIET:
            self._outer.line(mark, text, style)

    def note(self, text: str) -> None:
        """See `Reporter`."""
        if text not in self._noted:
            self._noted.add(text)
            self._outer.note(text)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """See `Reporter`."""
        with self._outer.stage(title):
            yield

    def update(self, done: int, total: int, phase: str = "pictures") -> None:
        """See `Reporter`: bars on a terminal; elsewhere a point is over in a moment."""
        if self.terminal:
            self._outer.update(done, total, phase)


__all__ = ["AGAIN", "Bench", "Opener", "measured", "steps"]
