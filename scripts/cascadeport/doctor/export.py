"""The export: whether one is asked for, and where it would run."""

from __future__ import annotations

from cascadeport import cards
from cascadeport.doctor.findings import Check, Context, Finding
from cascadeport.plan import asked_for
from cascadeport.stages import export


def _environment(context: Context) -> Finding:
    options = context.options
    card = cards.load(cards.find(options.model or context.target.model, options.models))
    if asked_for(card, options).graph is not None:
        return Finding("export", "ok", f"The graph of {card.name} is there; nothing is exported.")
    return Finding("export", "ok", f"{card.name} is exported in {export.environment()}.")


# In a container, the export brings its environment along.
CHECKS = (Check("export", lambda context: context.engine == "local", _environment),)
