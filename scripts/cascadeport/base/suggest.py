""" "Perhaps you meant": the nearest known name to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(name: str, known: Iterable[str]) -> str:
    """Returns `perhaps you meant 'x'`, or what is known when nothing is near.

    Args:
        name: What was written.
        known: The names that would have been accepted.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not near:
        lowered = {candidate.lower(): candidate for candidate in names}
        hits = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
        near = [lowered[hit] for hit in hits]
    if near:
        return f"perhaps you meant '{near[0]}'"
    return "available: " + ", ".join(names)
