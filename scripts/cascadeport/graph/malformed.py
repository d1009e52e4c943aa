"""What a malformed graph makes fail deep inside, as a sentence.

ONNX's checker lets many broken graphs through: tensors whose values do not fill their shape,
attributes of another type, nodes without outputs. The tools behind this package answer them with
exceptions of every kind, so the boundary is drawn here, once, around them all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cascadeport.base.errors import CascadeportError


@contextlib.contextmanager
def explained(what: str, where: str, next: str = "Export the model again.") -> Iterator[None]:
    """Turns whatever a graph makes fail into a `CascadeportError`; `--debug` shows its cause.

    Args:
        what: What could not be done: "The neutral graph cannot be lowered".
        where: The file or the node.
        next: What the user can do.

    Raises:
        CascadeportError: The block failed.
    """
    try:
        yield
    except CascadeportError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = type(error).__name__ + (f": {lines[0][:200]}" if lines else "")
        raise CascadeportError(f"{what}: {reason}.", where=where, next=next) from error
