"""Computes the plan: a list of stages with the digests of their inputs, before anything runs."""

from __future__ import annotations

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards
from cascadeport.config.options import Options
from cascadeport.config.targets import Semantics, Target
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.pipeline import weights
from cascadeport.pipeline.stages import data, evaluate, export, infer, lower


def plan(context: Context) -> Plan:
    """Computes the plan. Reads files; starts nothing and writes nothing.

    Raises:
        CascadeportError: The options, the card or the data set have errors.
    """
    options, target = context.options, context.target
    semantics = chosen(options, target)
    card = weights.requested(_card(context), options)
    source = data.source(options, target)
    graphs = lower.stages(context, card, target.semantics.overridden(semantics), source)
    variant = backends.of(context.target).variant(options)
    inferring = infer.stage(context, card, source, graphs, semantics)
    evaluating = evaluate.stage(inferring, options, source)
    return Plan(
        target_name=context.name,
        target=target,
        card=card,
        source=source,
        engine=context.engine.name,
        folder=inferring.folder.parent.parent,
        row=inferring.folder.parent.name,
        semantics=semantics,
        stages=(*source.stages, *graphs.stages, inferring, evaluating),
        model_digest=export.model_digest(card, graphs.stages),
        notes=graphs.notes,
        variant=variant,
    )


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
