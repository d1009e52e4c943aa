"""Rejects ONNX files with tensors in other files, which the ONNX file's digest does not cover."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from cascadeport.base.errors import CascadeportError


def refuse_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Checks that no tensor's values are in another file.

    Raises:
        CascadeportError: Some are. They could change while the ONNX file, whose digest identifies
            the model in results, stays the same.
    """
    files = sorted({_location(tensor) for tensor in _tensors(model) if _is_external(tensor)})
    if not files:
        return
    shown = ", ".join(files[:3]) + (", …" if len(files) > 3 else "")
    raise CascadeportError(
        f"The tensors of this ONNX file are in other files ({shown}), which its digest does not "
        "cover.",
        where=str(path),
        next="Save it as one file: onnx.save(onnx.load('model.onnx'), 'one-file.onnx', "
        "save_as_external_data=False), and name that file on the model card.",
    )


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)


def _location(tensor: onnx.TensorProto) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "unnamed")


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
    for training in model.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from _of_graph(graph)
