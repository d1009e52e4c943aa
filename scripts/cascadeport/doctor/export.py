"""The export: whether one is needed, and where it would run."""

from __future__ import annotations

from cascadeport.config import cards
from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
from cascadeport.engines import sandbox
from cascadeport.pipeline import weights
from cascadeport.pipeline.stages import export


def _environment(context: Context) -> Finding:
    options = context.options
    card = cards.load(cards.find(options.model or context.target.model, options.models))
    if weights.requested(card, options).graph is not None:
        return Finding("export", "ok", f"The graph of {card.name} exists; nothing is exported.")
    where = f"{card.name} is exported in {export.environment(context)}"
    contained = context.engine.containment()
    if sandbox.is_weaker(contained):
        return Finding(
            "export",
            "warn",
            f"{where}; {contained}.",
            reason="A checkpoint is a pickle. Only tensors are read from it; a sandbox holds where "
            "that should fail.",
            remedy="Install the package bubblewrap, or use --engine docker.",
        )
    return Finding("export", "ok", f"{where}; {contained}.")


# In a container, the export environment is part of the image.
CHECKS = (Check("export", lambda context: not context.engine.in_containers, _environment),)
