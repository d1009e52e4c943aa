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

_SEEDS = 1 << 31


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
        semantics: What the user chose instead of the target's own.
        stages: In the order in which they run.
    """

    target_name: str
    target: Target
    card: cards.Card
    source: Source
    engine: str
    folder: Path
    stages: tuple[Stage, ...]
    semantics: targets.Semantics
    notes: tuple[str, ...] = ()
    bins: bool = False

    @property
    def data_name(self) -> str:
        """How the user names the data set."""
        return self.source.name

    @property
    def results(self) -> Path:
        """The target's own folder, or that of the target under the semantics asked for."""
        return self.folder / self.row

    @property
    def row(self) -> str:
        """The name of the result: the target's, and what the user chose instead of its own."""
        return row(self.target_name, self.semantics, self.bins)

    @property
    def title(self) -> str:
        """How tables name the result."""
        seed = self.card.seed
        drawn = "" if seed is None else f"random weights, seed {seed}"
        tool = "by ais_infer" if self.bins else ""
        told = ", ".join(filter(None, (self.semantics.title, drawn, tool)))
        return f"{self.target.title} ({told})" if told else self.target.title

    @property
    def model_digest(self) -> str:
        """The digest of what was trained; of random weights, of what they are drawn from."""
        from cascadeport.stages import export

        if self.card.seed is None:
            return self.card.model_digest
        return export.drawn_digest(self.stage("export"))

    def stage(self, name: str) -> Stage:
        """The stage of a name."""
        return next(stage for stage in self.stages if stage.name == name)


def row(target: str, semantics: targets.Semantics, bins: bool = False) -> str:
    """The name of a result's folder, so that results of different semantics stand side by side."""
    return "-".join(filter(None, (target, semantics.name, "bins" if bins else "")))


def chosen(options: Options, target: Target) -> targets.Semantics:
    """What the user chose and the target does not do by itself.

    Raises:
        CascadeportError: PROPOSALS has no meaning.
    """
    if options.proposals is not None and options.proposals < 1:
        raise CascadeportError(
            "PROPOSALS must be at least 1.", where=f"PROPOSALS={options.proposals}"
        )
    asked = {
        key: getattr(options, key)
        for key, own in target.semantics.model_dump().items()
        if getattr(options, key) not in (None, own)
    }
    return targets.Semantics(**asked)


def asked_for(card: cards.Card, options: Options) -> cards.Card:
    """The card, with the weights that the user asked for.

    Raises:
        CascadeportError: Two kinds of weights, a seed without a meaning, or a card that cannot be
            exported.
    """
    seed = options.random_weights
    if seed is None:
        return card if options.checkpoint is None else card.to_be_exported()
    if options.checkpoint is not None:
        raise CascadeportError(
            "CHECKPOINT and RANDOM_WEIGHTS exclude each other.",
            where=f"CHECKPOINT={options.checkpoint} RANDOM_WEIGHTS={seed}",
            next="Leave one of them out.",
        )
    if not 0 <= seed < _SEEDS:
        raise CascadeportError(
            "RANDOM_WEIGHTS takes a seed: 0 or a number above.", where=f"RANDOM_WEIGHTS={seed}"
        )
    return card.with_random_weights(seed)


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
    if options.bins and target.runner.name != "aclruntime":
        raise CascadeportError(
            f"BINS=1 is the way of Ascend's ais_infer; {options.target} is none of its targets.",
            next="Leave it out, or take TARGET=310 or 310P3.",
        )
    semantics = chosen(options, target)
    card = cards.load(cards.find(options.model or target.model, options.models))
    card = asked_for(card, options)
    engine = options.engine or target.engine
    runtime = choose.identity(engine, "infer", target, options)

    source = data.source(options, target)
    lowering, notes = graph.lowering_for(target, engine)
    graphs = graph.stages(
        card, target, lowering, target.semantics.overridden(semantics), engine, source, options
    )
    networks = graph.networks(card, graphs)
    name = row(options.target, semantics, options.bins)
    inferring = infer.stage(card, target, options, source, networks, runtime, name)
    evaluating = evaluate.stage(inferring, options, source)
    return Plan(
        target_name=options.target,
        target=target,
        card=card,
        source=source,
        engine=engine,
        folder=inferring.folder.parent.parent,
        semantics=semantics,
        stages=(*source.stages, *graphs, inferring, evaluating),
        notes=notes,
        bins=options.bins,
    )
