"""The plan: a list of stages with the digests of their inputs, computed before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeport import cards, digest, store, targets
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run
    from cascadeport.stages.data import Source


@dataclass(frozen=True)
class Stage:
    """One step: what it makes, from what, and under which key.

    Args:
        name: `fetch`, `export`, `lower`, `convert`, `infer` or `evaluate`.
        title: What it does, for people.
        folder: Where its product stands.
        parameters: Everything besides its inputs that its product depends on (JSON).
        inputs: Digests of what it reads: files by content, other stages by their keys.
        work: Does it: `work(run, folder)` fills a temporary folder.
    """

    name: str
    title: str
    folder: Path
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    work: Callable[[Run, Path], None] = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        """The digest of the stage's name, parameters and inputs."""
        return digest.of_value(
            {
                "stage": self.name,
                "format": store.FORMAT,
                "parameters": self.parameters,
                "inputs": self.inputs,
            }
        )

    @property
    def standing(self) -> store.Standing:
        """Whether its product can be used as it stands."""
        return store.standing(self.folder, self.key)

    def facts(self) -> dict[str, Any]:
        """What the stage's record says beside its key."""
        return {
            "stage": self.name,
            "title": self.title,
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
        }


@dataclass(frozen=True)
class Plan:
    """Everything that one target's run will do.

    Args:
        folder: results/<model>-<data>, which all targets share.
        stages: In the order in which they run.
    """

    target_name: str
    target: Target
    card: cards.Card
    source: Source
    engine: str
    folder: Path
    stages: tuple[Stage, ...]
    notes: tuple[str, ...] = ()

    @property
    def data_name(self) -> str:
        """How the user names the data set."""
        return self.source.name

    @property
    def results(self) -> Path:
        """The target's own folder."""
        return self.folder / self.target_name

    def stage(self, name: str) -> Stage:
        """The stage of a name."""
        return next(stage for stage in self.stages if stage.name == name)


def plan(options: Options) -> Plan:
    """Computes the plan. Reads files; starts nothing and writes nothing.

    Raises:
        CascadeportError: The options, the card, the target or the data set have faults.
    """
    # Imported here because each stage needs the classes above.
    from cascadeport.engines import choose
    from cascadeport.stages import data, evaluate, graph, infer

    if options.limit is not None and options.limit < 1:
        raise CascadeportError(
            "LIMIT must be at least 1.",
            where=f"LIMIT={options.limit}",
            next="Leave it out for all.",
        )
    target = targets.find(options.target, targets.load(options.targets))
    card = cards.load(cards.find(options.model or target.model, options.models))
    engine = options.engine or target.engine
    runtime = choose.identity(engine, "infer", target, options)

    source = data.source(options, target)
    chosen, notes = graph.lowering_for(target, engine)
    graphs = graph.stages(card, target, chosen, engine, source, options)
    network = graph.network(card, graphs)
    inferring = infer.stage(card, target, options, source, network, runtime)
    evaluating = evaluate.stage(inferring, options, source)
    return Plan(
        target_name=options.target,
        target=target,
        card=card,
        source=source,
        engine=engine,
        folder=inferring.folder.parent.parent,
        stages=(*source.stages, *graphs, inferring, evaluating),
        notes=notes,
    )
