"""Which weights a run is about: the card's, the user's own checkpoint, or random ones."""

from __future__ import annotations

from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import Card
from cascadeport.config.options import Options

_SEEDS = 1 << 31


def requested(card: Card, options: Options) -> Card:
    """The card, with the weights that the user asked for.

    Raises:
        CascadeportError: Two kinds of weights, a seed out of range, or a card that cannot be
            exported.
    """
    seed = options.random_weights
    if seed is None:
        return card if options.checkpoint is None else card.to_be_exported()
    if options.checkpoint is not None:
        raise CascadeportError(
            "A checkpoint and random weights exclude each other.",
            where=f"--checkpoint {options.checkpoint} --random-weights {seed}",
            next="Leave one of them out.",
        )
    if not 0 <= seed < _SEEDS:
        raise CascadeportError(
            f"The seed of random weights must be from 0 to {_SEEDS - 1}.",
            where=f"--random-weights {seed}",
        )
    return card.with_random_weights(seed)
