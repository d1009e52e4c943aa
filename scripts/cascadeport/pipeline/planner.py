"""Computes the plan: a list of stages with the digests of their inputs, before anything runs."""

from __future__ import annotations

from dataclasses import replace

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards, frames
from cascadeport.config.options import Options
from cascadeport.config.targets import Semantics, Target
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, Plan
from cascadeport.pipeline import weights
from cascadeport.pipeline.stages import data, evaluate, export, infer, lower


def plan(context: Context) -> Plan:
    """Computes the plan. Reads files; starts nothing and writes nothing.

    Raises:
        CascadeportError: The options, the card or the data set have errors.
    """
    options, target = context.options, context.target
    semantics = chosen(options, target)
    source = data.source(options, target)
    requested = card(context, source)
    graphs = lower.stages(context, requested, target.semantics.overridden(semantics), source)
    variant = backends.of(context.target).variant(options)
    inferring = infer.stage(context, requested, source, graphs, semantics)
    evaluating = evaluate.stage(inferring, options, source)
    return Plan(
        target_name=context.name,
        target=target,
        card=requested,
        source=source,
        engine=context.engine.name,
        folder=inferring.folder.parent.parent,
        row=inferring.folder.parent.name,
        semantics=semantics,
        stages=(*source.stages, *graphs.stages, inferring, evaluating),
        model_digest=export.model_digest(requested, graphs.stages),
        networks=tuple(graphs.networks),
        notes=graphs.notes,
        variant=variant,
    )


def card(context: Context, source: DataSource) -> cards.Card:
    """The card that the options ask for: with random weights, or in other shapes.

    Raises:
        CascadeportError: There is none, or it has errors.
    """
    options = context.options
    found = weights.requested(_card(context), options)
    return frames.framed(found, options, lambda: _sizes(source, options))


def _sizes(source: DataSource, options: Options) -> list[tuple[int, int]]:
    """Width and height of every picture of the data set, also where a run takes only some."""
    if any(not stage.freshness.is_up_to_date for stage in source.stages):
        raise CascadeportError(
            f"Shapes are chosen from the pictures' sizes, and '{source.name}' is not here yet.",
            where=f"--shapes {options.shapes}",
            next="`make all` with the same options fetches it first.",
        )
    everything = replace(options, limit=None, part=None)
    return [(item.width, item.height) for item in source.load(everything).items]


def _card(context: Context) -> cards.Card:
    options = context.options
    return cards.load(cards.find(options.model or context.target.model, options.models))


def chosen(options: Options, target: Target) -> Semantics:
    """What the user chose and the target does not do by itself.

    Raises:
        CascadeportError: The number of proposals is below 1.
    """
    if options.proposals is not None and options.proposals < 1:
        raise CascadeportError(
            "The number of proposals must be at least 1.", where=f"--proposals {options.proposals}"
        )
    requested = {
        key: getattr(options, key)
        for key, own in target.semantics.model_dump().items()
        if getattr(options, key) not in (None, own)
    }
    return Semantics(**requested)
