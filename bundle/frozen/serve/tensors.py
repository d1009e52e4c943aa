"""Tensors of the Open Inference Protocol: JSON and binary, into numpy arrays and out of them.

The binary extension is Triton's (triton-inference-server/server,
docs/protocol/extension_binary_data.md): after `Inference-Header-Content-Length` bytes of JSON, the
tensors follow one after the other, little-endian, without padding. An element of BYTES is preceded
by its length in 4 bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from bundle.frozen.serve.limits import JSON_BYTES
from bundle.frozen.serve.messages import HttpError

DATATYPES: Dict[str, np.dtype] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "UINT8": np.dtype("u1"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
BYTES = "BYTES"
_BINARY_SIZE = "binary_data_size"
_LENGTH = re.compile(r"[0-9]{1,18}\Z")


class Tensor(NamedTuple):
    """A tensor that is given out: an array, or a list of texts (BYTES)."""

    name: str
    datatype: str
    values: Any

    @property
    def shape(self) -> List[int]:
        """Its sizes."""
        return [len(self.values)] if self.datatype == BYTES else list(self.values.shape)


def bad(text: str) -> HttpError:
    """The request is wrong."""
    return HttpError(400, text)


def parse_body(body: bytes, header_length: Optional[str]) -> Tuple[Dict[str, Any], memoryview]:
    """Splits a body into its JSON object and the binary data behind it.

    Args:
        body: The body.
        header_length: The field Inference-Header-Content-Length, if there is one.

    Raises:
        HttpError: It is not such a body.
    """
    length = len(body)
    if header_length is not None:
        if not _LENGTH.match(header_length) or int(header_length) > length:
            raise bad("Inference-Header-Content-Length is not a length within the body.")
        length = int(header_length)
    if length > JSON_BYTES:
        raise HttpError(
            413,
            "The request has {} bytes of JSON; at most {} are accepted. Send tensors as binary "
            "data.".format(length, JSON_BYTES),
        )
    try:
        text = body[:length].decode("utf-8")
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as failure:
        raise bad("The request is not JSON: {}.".format(_first_line(failure))) from None
    if not isinstance(found, dict):
        raise bad("The request is not a JSON object.")
    return found, memoryview(body)[length:]


def _refuse_constant(name: str) -> Any:
    raise ValueError("{} is not a number of JSON".format(name))


def _first_line(failure: BaseException) -> str:
    return (str(failure).splitlines() or [type(failure).__name__])[0]


def split_binary(inputs: Sequence[Dict[str, Any]], data: memoryview) -> List[Optional[memoryview]]:
    """The binary data of every input, None where its data are JSON.

    Raises:
        HttpError: Sizes do not fit the data.
    """
    parts: List[Optional[memoryview]] = []
    start = 0
    for one in inputs:
        size = _parameters(one).get(_BINARY_SIZE)
        if size is None:
            parts.append(None)
            continue
        if type(size) is not int or not 0 <= size <= len(data) - start:
            raise bad("The binary_data_size of an input does not fit the body.")
        if "data" in one:
            raise bad("An input has both data and binary_data_size.")
        parts.append(data[start : start + size])
        start += size
    if start != len(data):
        raise bad("The body has {} bytes that belong to no input.".format(len(data) - start))
    return parts


def read_array(
    one: Dict[str, Any], binary: Optional[memoryview], datatype: str, shape: Sequence[int]
) -> np.ndarray:
    """An input as an array of that shape.

    Args:
        one: The input.
        binary: Its binary data, if it has some.
        datatype: What it must be.
        shape: Its shape, which has been checked.

    Raises:
        HttpError: Its data are of another type, count or range.
    """
    kind = DATATYPES[datatype]
    count = int(np.prod(shape, dtype=np.int64))
    if binary is not None:
        if len(binary) != count * kind.itemsize:
            raise bad(
                "The input has {} bytes; {} of {} have {}.".format(
                    len(binary), list(shape), datatype, count * kind.itemsize
                )
            )
        array = np.frombuffer(binary, kind)
    else:
        array = _from_json(one.get("data"), kind, count)
    if kind.kind == "f" and not np.isfinite(array).all():
        raise bad("The input has NaN or infinity.")
    return array.reshape(shape)


def _from_json(data: Any, kind: np.dtype, count: int) -> np.ndarray:
    if not isinstance(data, list):
        raise bad("The input has no data.")
    try:
        found = np.array(data)
    except (ValueError, OverflowError, RecursionError, MemoryError):
        raise bad("The input's data are not numbers in rows of one length.") from None
    allowed = "iu" if kind.kind in "iu" else "iuf"
    if found.size != count or found.dtype.kind not in allowed:
        raise bad("The input's data are not {} numbers of its type.".format(count))
    if kind.kind in "iu" and found.size:
        limits = np.iinfo(kind)
        if found.min() < limits.min or found.max() > limits.max:
            raise bad("The input's data are out of range.")
    with np.errstate(over="ignore"):
        return found.astype(kind).reshape(-1)


def read_bytes_element(one: Dict[str, Any], binary: Optional[memoryview]) -> bytes:
    """The only element of a BYTES input. In JSON it is base64, because JSON has no bytes.

    Raises:
        HttpError: It is not one element.
    """
    if binary is not None:
        if len(binary) < 4 or struct.unpack("<I", binary[:4])[0] != len(binary) - 4:
            raise bad("The input's binary data are not one element: 4 bytes of length, content.")
        return bytes(binary[4:])
    data = one.get("data")
    while isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, str):
        raise bad("The input's data are not one text.")
    try:
        return base64.b64decode(data.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise bad("The input's text is not base64.") from None


def write_outputs(
    content: Dict[str, Any], tensors: Sequence[Tensor], binary: Sequence[bool]
) -> Tuple[bytes, Optional[int]]:
    """A response's body, and the length of its JSON if binary data follow.

    Args:
        content: The response without outputs.
        tensors: The outputs.
        binary: For each of them whether it is wanted as binary data.
    """
    outputs: List[Dict[str, Any]] = []
    tail: List[bytes] = []
    for tensor, is_binary in zip(tensors, binary):
        entry: Dict[str, Any] = {
            "name": tensor.name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
        }
        if is_binary:
            data = _to_bytes(tensor)
            entry["parameters"] = {_BINARY_SIZE: len(data)}
            tail.append(data)
        elif tensor.datatype == BYTES:
            entry["data"] = list(tensor.values)
        else:
            entry["data"] = tensor.values.reshape(-1).tolist()
        outputs.append(entry)
    text = json.dumps(dict(content, outputs=outputs), allow_nan=False).encode("ascii")
    return text + b"".join(tail), len(text) if tail else None


def _to_bytes(tensor: Tensor) -> bytes:
    if tensor.datatype == BYTES:
        elements = [value.encode("utf-8") for value in tensor.values]
        return b"".join(struct.pack("<I", len(one)) + one for one in elements)
    return np.ascontiguousarray(tensor.values, DATATYPES[tensor.datatype]).tobytes()


def _parameters(one: Dict[str, Any]) -> Dict[str, Any]:
    found = one.get("parameters", {})
    if not isinstance(found, dict):
        raise bad("The parameters of an input or output are not an object.")
    return found


def wants_binary(one: Dict[str, Any], default: bool) -> bool:
    """Whether an output is wanted as binary data."""
    return bool(_parameters(one).get("binary_data", default))
