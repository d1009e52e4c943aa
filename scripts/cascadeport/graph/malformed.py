"""Turns exceptions from processing a malformed graph into explained errors.

ONNX's checker accepts many malformed graphs: tensors with too few values for their shape,
attributes of the wrong type, nodes without outputs. Other tools then raise exceptions of all
kinds, which are caught here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cascadeport.base.errors import CascadeportError


@contextlib.contextmanager
def explained(what: str, where: str, next: str = "Export the model again.") -> Iterator[None]:
    """Turns any exception in the block into a `CascadeportError`; `--debug` shows its cause.

    Args:
        what: What failed, e.g. "The neutral graph cannot be lowered".
        where: The file or the node.
        next: What the user can do.

    Raises:
        CascadeportError: The block raised an exception.
    """
    try:
        yield
    except CascadeportError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = type(error).__name__ + (f": {lines[0][:200]}" if lines else "")
        raise CascadeportError(f"{what}: {reason}.", where=where, next=next) from error
