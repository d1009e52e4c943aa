"""Finds the files that an ONNX network keeps tensors in, besides its own.

The digest of such a network says nothing about its weights. ONNX is not installed where the bundle
runs, but its files are protobuf, and of that format it takes little to find these names: messages
are sequences of fields, and the fields that can lead to a tensor are listed below. Everything else
is skipped by its length, so weights are not read.
"""

from __future__ import annotations

import mmap
import os
from typing import Any, Dict, List, Tuple

# Messages, by the numbers of those fields that contain messages of interest (see onnx.proto).
_TENSOR: Dict[int, Any] = {}
_SPARSE_TENSOR = {1: _TENSOR, 2: _TENSOR}  # values, indices
_GRAPH: Dict[int, Any] = {5: _TENSOR, 15: _SPARSE_TENSOR}  # initializer, sparse_initializer
_ATTRIBUTE = {
    5: _TENSOR,  # t
    6: _GRAPH,  # g
    10: _TENSOR,  # tensors
    11: _GRAPH,  # graphs
    22: _SPARSE_TENSOR,  # sparse_tensor
    23: _SPARSE_TENSOR,  # sparse_tensors
}
_NODE = {5: _ATTRIBUTE}
_GRAPH[1] = _NODE
_TRAINING = {1: _GRAPH, 2: _GRAPH}  # initialization, algorithm
_FUNCTION = {7: _NODE, 11: _ATTRIBUTE}  # node, attribute_proto
_MODEL = {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION}  # graph, training_info, functions
# Fields of a tensor, and of an entry of its external_data.
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_KEY, _VALUE = 1, 2
_VARINT, _FIXED64, _BYTES, _START_GROUP, _END_GROUP, _FIXED32 = range(6)


class _NotProtobufError(Exception):
    """The bytes are not a protobuf message."""


def external_files(path: str) -> List[str]:
    """The files that a network keeps tensors in, sorted.

    A tensor counts if it says that its data are elsewhere, or where they are: one without the other
    is either refused or ignored by runtimes.

    Args:
        path: An ONNX file. Of any other file the result is empty, and runtimes that read ONNX
            refuse it.

    Returns:
        The names as the network has them, relative to its folder. The name is empty if a tensor
        does not say where its data are.

    Raises:
        OSError: The file cannot be read.
    """
    if os.path.getsize(path) == 0:
        return []
    with open(path, "rb") as stream:
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return sorted(set(_locations(data)))
            except _NotProtobufError:
                return []


def _locations(data: Any) -> List[str]:
    found = []
    # Not recursive: a hostile file can nest graphs as deep as it likes.
    pending: List[Tuple[int, int, Dict[int, Any]]] = [(0, len(data), _MODEL)]
    while pending:
        start, end, message = pending.pop()
        if message is _TENSOR:
            found += _tensor_locations(data, start, end)
            continue
        for number, kind, first, last in _fields(data, start, end):
            if kind == _BYTES and number in message:
                pending.append((first, last, message[number]))
    return found


def _tensor_locations(data: Any, start: int, end: int) -> List[str]:
    names = []
    is_external = False
    for number, kind, first, last in _fields(data, start, end):
        if number == _EXTERNAL_DATA and kind == _BYTES:
            key, value = b"", b""
            for field, field_kind, begin, stop in _fields(data, first, last):
                if field == _KEY and field_kind == _BYTES:
                    key = data[begin:stop]
                elif field == _VALUE and field_kind == _BYTES:
                    value = data[begin:stop]
            if key == b"location":
                names.append(os.fsdecode(value))
        elif number == _DATA_LOCATION and kind == _VARINT:
            is_external = _varint(data, first, last)[0] == _EXTERNAL
    return names or [""] * is_external


def _fields(data: Any, start: int, end: int) -> List[Tuple[int, int, int, int]]:
    """The number, type, start and end of each field of a message."""
    fields = []
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        number, kind = (tag & 0xFFFFFFFF) >> 3, tag & 7
        first = position
        if kind == _BYTES:
            length, first = _varint(data, position, end)
            position = first + length
        elif kind == _VARINT:
            _, position = _varint(data, position, end)
        elif kind == _FIXED64:
            position += 8
        elif kind == _FIXED32:
            position += 4
        elif kind not in (_START_GROUP, _END_GROUP):
            raise _NotProtobufError
        # Groups are not used by ONNX. What is in one is taken for fields of the message itself.
        if number == 0 or position > end:
            raise _NotProtobufError
        fields.append((number, kind, first, position))
    return fields


def _varint(data: Any, position: int, end: int) -> Tuple[int, int]:
    """The integer at `position`, and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _NotProtobufError
