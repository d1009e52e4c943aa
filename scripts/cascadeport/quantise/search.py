"""Decides by measured drift which more layers stay in float32: the costliest first, greedily."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.quantise.drift import Drift

#: The drift that needs no more layers in float32.
BUDGET = 0.08
#: How many groups of consecutive layers are tried.
GROUPS = 8
#: The share of layers that must stay int8 for the rest to be worth it.
LEAST = 0.4

Measure = Callable[[Sequence[Sequence[str]]], list[Drift]]
"""Measures networks in which these layers stay in float32, a network for each list."""


@dataclass(frozen=True)
class Tried:
    """One network that was measured.

    Args:
        kept: The layers that it had in float32 besides those that always are.
        drift: What was measured.
    """

    kept: tuple[str, ...]
    drift: Drift


@dataclass(frozen=True)
class Outcome:
    """What the search found.

    Args:
        chosen: The network that is used.
        tried: Everything that was measured, in order; the first has every layer in int8.
        gains: By layer, how much less the drift is with its group alone in float32.
        met: Whether the chosen network was measured to be within the budget.
    """

    chosen: Tried
    tried: tuple[Tried, ...]
    gains: dict[str, float]
    met: bool


def search(layers: Sequence[str], measure: Measure, budget: float = BUDGET) -> Outcome:
    """Finds the network with the fewest float32 layers within the budget.

    Every group of consecutive layers is put back to float32 alone; then the groups are put back
    together, the one with the largest gain first, until the drift is within the budget.

    Args:
        layers: The layers that may be int8, in the order of computation.
        measure: Builds and measures networks.
        budget: The largest `Drift.disagreement`.

    Raises:
        CascadeportError: There is no layer that may be int8.
    """
    if not layers:
        raise CascadeportError(
            "The network has no layer that can compute in int8.",
            next="Leave --precision int8 out.",
        )
    everything = Tried((), measure([()])[0])
    if not everything.drift.is_measured:
        # There is nothing to decide by.
        return Outcome(everything, (everything,), {}, False)
    if everything.drift.disagreement <= budget:
        return Outcome(everything, (everything,), {}, True)
    groups = _groups(layers)
    alone = [Tried(group, drift) for group, drift in zip(groups, measure(groups), strict=True)]
    gain = {one.kept: everything.drift.disagreement - one.drift.disagreement for one in alone}
    tried = [everything, *alone]
    kept: tuple[str, ...] = ()
    for group in sorted(groups, key=lambda one: -gain[one]):
        more = {*kept, *group}
        if len(layers) - len(more) < LEAST * len(layers):
            break
        kept = tuple(layer for layer in layers if layer in more)
        known = next((one for one in tried if one.kept == kept), None)
        if known is None:
            known = Tried(kept, measure([kept])[0])
            tried.append(known)
        if known.drift.disagreement <= budget:
            break
    # More layers in float32 are no better by necessity: what is used is the best that was measured.
    within = [one for one in tried if one.drift.disagreement <= budget]
    chosen = (
        min(within, key=lambda one: len(one.kept))
        if within
        else min(tried, key=lambda one: one.drift.disagreement)
    )
    gains = {layer: gain[group] for group in groups for layer in group}
    return Outcome(chosen, tuple(tried), gains, bool(within))


def _groups(layers: Sequence[str]) -> list[tuple[str, ...]]:
    count = min(GROUPS, len(layers))
    edges = [round(index * len(layers) / count) for index in range(count + 1)]
    return [tuple(layers[a:b]) for a, b in itertools.pairwise(edges)]
