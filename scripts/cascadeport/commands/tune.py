"""`cascadeport tune`: the frontier of accuracy and speed, and the fastest point within a budget."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascadeport import backends
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.files import write_json, write_text
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config import targets
from cascadeport.config.options import Options, of
from cascadeport.config.targets import Target
from cascadeport.core import store
from cascadeport.core.plan import Plan
from cascadeport.datasets import parts
from cascadeport.graph.semantics import proposals_of
from cascadeport.pipeline.executor import execute
from cascadeport.pipeline.planner import plan
from cascadeport.pipeline.stages import export
from cascadeport.quantise.environment import ENVIRONMENT
from cascadeport.report import files as comparison_files
from cascadeport.results import collate
from cascadeport.tune import assemble, bench, picture, record, text
from cascadeport.tune.progress import Progress
from cascadeport.tune.record import Frontier
from cascadeport.tune.search import Search, Space
from cascadeport.tune.space import Facts, Point, axes, cores, refusing

_FOLDER = "tune"


@dataclass(frozen=True)
class Wanted:
    """What is asked of a search.

    Attributes:
        budget: How many points of mAP may be lost.
        targets: Those whose recipes are searched; None: the one of the options, and what else runs
            on the same device of this machine.
        json: Whether to print the record.
        worded: Puts what is printed into the language of the door that the user came in by.
    """

    budget: float
    targets: str | None = None
    json: bool = False
    worded: Callable[[str], str] = str


def tune(options: Options, reporter: Reporter, wanted: Wanted) -> ExitCode:
    """Searches, writes frontier.json and frontier.svg, and prints what was found."""
    _check(options, wanted)
    names, left_out = _targets(options, wanted, reporter)
    known = targets.load(options.targets, backends.row)
    options = _of_one_model(replace(options, target=names[0]), [known[name] for name in names])
    with opened(bench.own(options, Point(names[0]), known), reporter) as context:
        made = plan(context)
    with store.locked(made.folder / _FOLDER):
        return _Tuning(options, reporter, wanted, names, left_out, known, made).run()


def _check(options: Options, wanted: Wanted) -> None:
    if not 0 < wanted.budget <= 100:
        raise CascadeportError(
            f"The budget is {wanted.budget:g} points; mAP has 100, and less than nothing cannot "
            "be lost.",
            where=f"--budget {wanted.budget:g}",
            next="For example --budget 0.5.",
        )
    for given, why in (
        (options.part, "tune divides the pictures itself"),
        (options.random_weights, "the accuracy of random weights means nothing"),
    ):
        if given is not None:
            raise CascadeportError(
                f"A search cannot be limited that way: {why}.",
                where=str(given),
                next="Leave --part and --random-weights out.",
            )
    if options.keep_going:
        raise CascadeportError(
            "With --keep-going every row is INVALID, and nothing could be chosen.",
            next="Leave --keep-going out.",
        )


def _of_one_model(options: Options, rows: Sequence[Target]) -> Options:
    """The options with model and data named, where the targets' own differ: the first one's."""
    first = rows[0]
    if options.model is None and any(one.model != first.model for one in rows):
        options = replace(options, model=first.model, data=options.data or first.data)
    if options.data is None and any(one.data != first.data for one in rows):
        options = replace(options, data=first.data if options.model is None else None)
    return options


def _targets(
    options: Options, wanted: Wanted, reporter: Reporter
) -> tuple[tuple[str, ...], list[str]]:
    """The targets of the search, the reference's first, and which are left out, and why."""
    if wanted.targets is not None:
        from cascadeport.commands import several

        return several.names(wanted.targets, options), []
    known = targets.load(options.targets, backends.row)
    own = targets.find(options.target, known)
    found, left_out = [options.target], list[str]()
    with opened(options, reporter) as context:
        here, devices = not context.engine.in_containers, backends.of(own).devices(context)
    if not here or not devices:
        return tuple(found), left_out
    for name, row in known.items():
        if name == options.target or row.engine != "local":
            continue
        with opened(bench.own(options, Point(name), known), reporter) as context:
            backend = backends.of(row)
            if backend.devices(context) != devices:
                continue
        environment = backend.environment
        if environment is not None and not environment.is_installed:
            left_out.append(
                f"the runtime {name}: it is not installed on this machine; "
                f"`cascadeport install --target {name}` does that"
            )
            continue
        found.append(name)
    return tuple(found), left_out


class _Tuning:
    """One search on this machine, from its space to its files."""

    def __init__(
        self,
        options: Options,
        reporter: Reporter,
        wanted: Wanted,
        names: Sequence[str],
        left_out: Sequence[str],
        known: Mapping[str, Target],
        made: Plan,
    ) -> None:
        self._options = options
        self._reporter = reporter
        self._wanted = wanted
        self._names = names
        self._left_out = list(left_out)
        self._known = known
        self._made = made
        self._reference = Point(names[0])

    def run(self) -> ExitCode:
        """Searches, writes what was found, and says it."""
        steps, held_out = self._divided()
        say = self._reporter.line
        say(
            "tune",
            f"budget {self._wanted.budget:g} points; {steps[-1]} pictures to search on, "
            f"{held_out} held out; {', '.join(self._names)}",
            "bold",
        )
        runner = bench.Bench(
            self._options, self._known, opened, self._reporter, self._reference, steps
        )
        progress = Progress(self._reporter, steps, self._names[0])
        search = Search(
            self._space(runner),
            progress.timed(runner),
            len(steps),
            self._wanted.budget,
            progress.tell,
        )
        search.run()
        if runner.ran:
            say("point", "the reference again: did the machine change meanwhile?", "bold")
        found = assemble.assemble(
            search,
            model=self._made.card.name,
            data=self._made.data_name,
            targets=self._names,
            budget=self._wanted.budget,
            steps=steps,
            held_out=held_out,
            commands={point: command(runner.alone(point)) for point in search.entries},
            drift=runner.again(self._made.folder / _FOLDER),
            left_out=self._left_out,
        )
        self._written(found)
        if search.chosen is None:
            return ExitCode.OK
        waiting = search.undecided and search.chosen.status == "reference"
        return ExitCode.UNDECIDED if waiting else ExitCode.OK

    def _divided(self) -> tuple[list[int], int]:
        """How many pictures each step of the search has, and how many are held out."""
        first = bench.own(self._options, self._reference, self._known)
        with opened(first, self._reporter) as context:
            fetching = self._made.source.stages
            if not all(stage.freshness.is_up_to_date for stage in fetching):
                execute(replace(self._made, stages=fetching), context)
            count = len(self._made.source.load(replace(first, limit=None)).items)
        most = count if first.limit is None else first.limit
        searched, held_out = (min(size, most) for size in parts.sizes(count))
        if not searched:
            raise CascadeportError(
                f"{count} picture cannot be divided.",
                where=str(self._made.source.root),
                next="Give a data set with more pictures.",
            )
        return bench.steps(searched), held_out

    def _space(self, runner: bench.Bench) -> Space:
        """What can vary on each target."""
        graph = self._made.card.graph
        ready = graph is not None and graph.kind == "ready"
        neutral = self._neutral()
        if not ready and not neutral.is_file():
            # How many proposals there are is known once the network is exported.
            runner(self._reference, 0)
        exported = None if ready else proposals_of(neutral)
        found, known = {}, {}
        for name in self._names:
            row = self._known[name]
            options = runner.alone(Point(name))
            backend = backends.of(row)
            kept = [
                backend.chosen_lowering(options, options.engine or row.engine).lowering.proposals,
                row.semantics.proposals,
                options.proposals,
                exported,
            ]
            facts = known[name] = Facts(
                proposals=min((one for one in kept if one is not None), default=None),
                edges=self._made.card.input.edges,
                cores=cores(),
                levels=options.nms_levels or row.semantics.nms_levels or "within",
                options=options,
                offered=self._offered(name, backend.varies(options)),
            )
            found[name] = list(axes(facts, ready=ready))
            without: dict[str, list[str]] = {}
            for axis, values, reason in found[name]:
                if not values:
                    without.setdefault(reason, []).append(axis.option.replace("_", " "))
            self._left_out += [
                f"{', '.join(options)} on {name}: {reason}" for reason, options in without.items()
            ]
        peers = [Point(name) for name in self._names[1:]]
        return Space(self._reference, peers, found, refusing(known))

    def _offered(
        self, name: str, offered: Mapping[str, Sequence[Any]]
    ) -> Mapping[str, Sequence[Any]]:
        """What a target can vary with the tools that are installed here."""
        precisions = offered.get("precision", ())
        if "int8" not in precisions or ENVIRONMENT.is_installed:
            return offered
        # A search is no reason to download hundreds of megabytes without being asked.
        self._left_out.append(
            f"precision int8 on {name}: the tools that quantise are not installed here; "
            "`cascadeport install --precision int8` does that"
        )
        return {**offered, "precision": [one for one in precisions if one != "int8"]}

    def _neutral(self) -> Path:
        """Where the neutral graph of the model is, or will be."""
        card = self._made.card
        if card.graph is not None:
            return card.file(card.graph.all[0].path)
        return self._made.stage("export").folder / export.NEUTRAL

    def _written(self, found: Frontier) -> None:
        folder, say = self._made.folder, self._reporter.line
        write_json(folder / record.NAME, found.model_dump(mode="json"))
        write_text(folder / record.PICTURE, picture.svg(found))
        first = bench.own(self._options, self._reference, self._known)
        # A page about rows needs rows; those of the search are in folders of their own.
        with (
            contextlib.suppress(CascadeportError),
            opened(first, self._reporter) as context,
            store.locked(folder, wait=True),
        ):
            comparison_files.update(self._made, context, collate.known(self._made, context))
        if self._wanted.json:
            print(json.dumps(found.model_dump(mode="json"), indent=1, ensure_ascii=False))
        else:
            text.write(found, worded=self._wanted.worded)
        say("frontier", f"{folder / record.PICTURE}, {folder / record.NAME}")
        if (folder / "comparison.html").is_file():
            say("report", str(folder / "comparison.html"))


def command(options: Options) -> str:
    """The command that runs a point, as make's user types it."""
    words = ["make", "all", f"TARGET={shlex.quote(options.target)}"]
    for option in of(Options):
        value = getattr(options, option.field)
        if option.field != "target" and option.words(value):
            words.append(f"{option.variable}={shlex.quote('1' if value is True else str(value))}")
    return " ".join(words)
