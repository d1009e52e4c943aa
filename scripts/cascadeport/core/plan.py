"""A plan: everything that one target's run will do, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascadeport import datasets
from cascadeport.config.cards import Card
from cascadeport.config.gate import Gate
from cascadeport.config.options import Options
from cascadeport.config.targets import Semantics, Target
from cascadeport.core.stage import Network, Stage
from cascadeport.core.store import Freshness


@dataclass(frozen=True)
class DataSource:
    """A data set as the plan sees it.

    Args:
        name: How results name it.
        root: Its folder; it may not exist before its stages are done.
        pictures: The folder of pictures below `root`.
        annotations: The annotation file below `root`.
        stages: What makes or downloads it; empty for a folder of the user's.
        digests: What stages that read it take as inputs.
    """

    name: str
    root: Path
    pictures: str
    annotations: str
    stages: tuple[Stage, ...]
    digests: Mapping[str, str]

    def load(self, options: Options) -> datasets.Dataset:
        """Reads and checks the data set, or the pictures of it that the options ask for."""
        return datasets.load(
            self.root,
            pictures=self.pictures,
            annotations=self.annotations,
            limit=options.limit,
            part=options.part,
            keep_going=options.keep_going,
            name=self.name,
        )


@dataclass(frozen=True)
class Variant:
    """Another way of running a target, whose result is a row of its own.

    Args:
        name: For the row's name; empty: the usual way.
        title: For the row's title.
    """

    name: str = ""
    title: str = ""

    def also(self, other: Variant) -> Variant:
        """Both at once."""
        return Variant(
            name="-".join(filter(None, (self.name, other.name))),
            title=", ".join(filter(None, (self.title, other.title))),
        )


@dataclass(frozen=True)
class Plan:
    """Everything that one target's run will do.

    Args:
        target_name: The target's name in targets.toml.
        source: Where the pictures come from.
        engine: `local` or `docker`.
        folder: results/<model>-<data>, which all targets share.
        row: The name of the result's folder and row.
        stages: In the order in which they run.
        semantics: What the user chose instead of the target's own.
        model_digest: The digest of the card's graph, else of its checkpoint as far as the card has
            it; of random weights, of what they are drawn from.
        variant: How the pass differs from the target's usual one, if it does.
        networks: What the pass loads, one for every shape of the card.
        notes: What has to be said about the plan.
    """

    target_name: str
    target: Target
    card: Card
    source: DataSource
    engine: str
    folder: Path
    row: str
    stages: tuple[Stage, ...]
    semantics: Semantics
    model_digest: str
    variant: Variant = Variant()
    networks: tuple[Network, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def data_name(self) -> str:
        """How the user names the data set."""
        return self.source.name

    @property
    def gate(self) -> Gate:
        """What is good enough: the card's, but what the target's row says."""
        return self.card.gate.overridden(self.target.gate)

    @property
    def results(self) -> Path:
        """The target's own folder, or that of the target with the requested semantics."""
        return self.folder / self.row

    @property
    def title(self) -> str:
        """How tables name the result."""
        return row_title(self.target.title, self.semantics, self.card.seed, self.variant)

    def stage(self, name: str) -> Stage:
        """The stage of a name."""
        return next(stage for stage in self.stages if stage.name == name)

    def outlook(self) -> list[tuple[Stage, Freshness]]:
        """Every stage, and whether it is up to date as far as that is known before a run.

        A stage that reads what another one will make again may turn out to be up to date: that
        depends on whether the product is the same.
        """
        found: list[tuple[Stage, Freshness]] = []
        for stage in self.stages:
            freshness = stage.freshness
            again = [one for one, state in found if not state.is_up_to_date and stage.awaits(one)]
            if again and freshness.is_up_to_date:
                freshness = Freshness(False, f"unless '{again[0].name}' makes the same again")
            found.append((stage, freshness))
        return found

    def is_shared(self, stage: Stage) -> bool:
        """Whether runs of other targets make the same product."""
        return self.results not in stage.folder.parents


def row_name(target: str, semantics: Semantics, variant: Variant) -> str:
    """The name of a result's folder, so that results of different semantics stand side by side."""
    return "-".join(filter(None, (target, semantics.name, variant.name)))


def row_title(target: str, semantics: Semantics, seed: int | None, variant: Variant) -> str:
    """How tables name a result.

    Args:
        target: The target's title.
        seed: Of random weights; None: the card's own.
    """
    drawn = "" if seed is None else f"random weights, seed {seed}"
    notes = ", ".join(filter(None, (semantics.title, drawn, variant.title)))
    return f"{target} ({notes})" if notes else target
