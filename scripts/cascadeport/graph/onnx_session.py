"""Loads a float32 graph in this environment's onnxruntime, to verify it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import Version

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.batching import batches, outputs
from cascadeport.graph.verify import Session

#: The first onnxruntime whose CPU provider is known to run DeformConv.
DEFORM_CONV_SINCE = Version("1.32")


def has_deform_conv() -> bool:
    """Whether this environment's onnxruntime runs DeformConv."""
    return Version(metadata.version("onnxruntime")) >= DEFORM_CONV_SINCE


def load_session(network: Path) -> Session:
    """A graph on the CPU provider; the file is no longer needed once this returns.

    Args:
        network: Its input is `input` float32 (N,3,H,W), its outputs `boxes` and `labels`, or with
            N pictures at once `boxes_0`, `labels_0`, and so on.

    Raises:
        CascadeportError: This onnxruntime cannot load it.
    """
    import onnxruntime  # type: ignore[import-untyped]

    try:
        session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise CascadeportError(
            f"onnxruntime {onnxruntime.__version__} cannot load the graph: "
            f"{str(error).splitlines()[0]}",
            where=str(network),
        ) from error

    pictures = session.get_inputs()[0].shape[0]
    names = outputs("boxes", "labels", pictures)

    def run(inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        found: dict[int, tuple[Any, Any]] = {}
        for own, batch in batches(inputs, pictures):
            arrays = session.run(names, {"input": batch})
            pairs = zip(arrays[0::2], arrays[1::2], strict=True)
            found.update(zip(own, pairs, strict=False))
        return [found[index] for index in range(len(inputs))]

    return Session(f"onnxruntime {onnxruntime.__version__}", run)
