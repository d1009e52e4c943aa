"""Lowers and loads graphs in one call each, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from cascadeport import backends
from cascadeport.graph import Lowered, LoweringRequest, Session


def lower(
    neutral: Path, out: Path, name: str, *, input_dtype: str = "float32", **request: Any
) -> Lowered:
    """Rewrites a neutral graph by the lowering of a name.

    Args:
        neutral: The exporter's graph.
        out: The file to write.
        name: A lowering of any backend.
        input_dtype: `float32` or `uint8`: the request's `dtype`.
        request: Further fields of `LoweringRequest`.
    """
    return backends.lowering(name).lower(
        neutral, out, LoweringRequest(dtype=input_dtype, **request)
    )


def session(path: Path) -> Session:
    """A lowered float32 graph in this environment's onnxruntime, whichever lowering made it."""
    loaded = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(inputs: Sequence[Any]) -> list[Any]:
        return [tuple(loaded.run(["boxes", "labels"], {"input": one})) for one in inputs]

    return Session(f"onnxruntime {onnxruntime.__version__}", run)
