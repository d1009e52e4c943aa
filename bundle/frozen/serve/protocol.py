"""The models of the Open Inference Protocol v2, and its inference requests.

https://github.com/kserve/open-inference-protocol describes the protocol. There are two models:
NAME takes a picture's file and returns what was found in it, in the picture's pixels; NAME-network
takes the network's input and returns its outputs as they are.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from bundle.frozen.layout import Frozen
from bundle.frozen.serve.messages import Answer, HttpError
from bundle.frozen.serve.tensors import (
    BYTES,
    Tensor,
    bad,
    parse_body,
    read_array,
    read_bytes_element,
    split_binary,
    wants_binary,
    write_outputs,
)
from bundle.frozen.serve.work import PictureResult, PictureWork, Result, TensorWork, Work
from bundle.job import Shape

HEADER_LENGTH = "Inference-Header-Content-Length"
_PICTURE = "picture"
_NETWORK_SUFFIX = "-network"


class InferRequest(NamedTuple):
    """A checked inference request.

    Args:
        work: What the engine is asked for.
        id: The request's id, if it has one.
        outputs: Which outputs are wanted, and which of them as binary data.
    """

    work: Work
    id: Optional[str]
    outputs: List[Tuple[str, bool]]


class Models:
    """The two models of a frozen folder."""

    def __init__(self, frozen: Frozen) -> None:
        self._frozen = frozen
        preprocess = frozen.job.preprocess
        self.picture, self.network = frozen.name, frozen.name + _NETWORK_SUFFIX
        self._preprocess = preprocess
        self._batches = [preprocess.batch(shape) for shape in preprocess.shapes]
        self._datatype = "UINT8" if preprocess.dtype == "uint8" else "FP32"
        self._outputs = {
            self.picture: ("boxes", "scores", "categories", "names"),
            self.network: (frozen.job.runner.boxes, frozen.job.runner.labels),
        }

    def check(self, name: str, version: Optional[str]) -> None:
        """Raises HttpError if there is no such model or version."""
        if name not in self._outputs:
            raise HttpError(404, "There is no model of that name.")
        if version is not None and version != self._frozen.version:
            raise HttpError(404, "There is no such version of the model.")

    def metadata(self, name: str) -> Dict[str, Any]:
        """A model's metadata."""
        if name == self.picture:
            inputs = [{"name": _PICTURE, "datatype": BYTES, "shape": [1]}]
            outputs = [("boxes", "FP64", [-1, 4]), ("scores", "FP32", [-1])]
            outputs += [("categories", "INT64", [-1]), ("names", BYTES, [-1])]
        else:
            runner = self._frozen.job.runner
            inputs = [{"name": runner.input, "datatype": self._datatype, "shape": self._shape()}]
            outputs = [(runner.boxes, "FP32", [-1, 5]), (runner.labels, "INT64", [-1])]
        return {
            "name": name,
            "versions": [self._frozen.version],
            "platform": "cascadeport_{}".format(self._frozen.job.runner.name),
            "inputs": inputs,
            "outputs": [
                {"name": one, "datatype": datatype, "shape": shape}
                for one, datatype, shape in outputs
            ],
        }

    def _shape(self) -> List[int]:
        """The input's shape; -1 for a size that has several values."""
        if self._preprocess.multiple:
            return [size or -1 for size in self._preprocess.batch(Shape(0, 0))]
        return [sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*self._batches)]

    def read(self, name: str, body: bytes, header_length: Optional[str]) -> InferRequest:
        """Checks an inference request.

        Raises:
            HttpError: It is wrong.
        """
        content, data = parse_body(body, header_length)
        inputs = content.get("inputs")
        if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
            raise bad("The request does not have exactly one input. A batch is one picture.")
        identity = content.get("id")
        if identity is not None and not isinstance(identity, str):
            raise bad("The request's id is not a string.")
        (binary,) = split_binary(inputs, data)
        if name == self.picture:
            work: Work = self._picture(inputs[0], binary)
        else:
            work = self._tensor(inputs[0], binary)
        return InferRequest(work, identity, self._wanted(name, content))

    def _picture(self, one: Dict[str, Any], binary: Optional[memoryview]) -> PictureWork:
        _check_input(one, _PICTURE, BYTES)
        if one.get("shape") not in ([1], [1, 1]):
            raise bad("The shape of '{}' is not [1]. A batch is one picture.".format(_PICTURE))
        return PictureWork(read_bytes_element(one, binary))

    def _tensor(self, one: Dict[str, Any], binary: Optional[memoryview]) -> TensorWork:
        name = self._frozen.job.runner.input
        _check_input(one, name, self._datatype)
        shape = one.get("shape")
        if not _is_shape(shape) or self._preprocess.shape_of(shape) is None:
            shapes = " or ".join(str(list(batch)) for batch in self._batches)
            if self._preprocess.multiple:
                shapes += ", or smaller by multiples of {}".format(self._preprocess.multiple)
            raise bad("The shape of '{}' is not {}.".format(name, shapes))
        return TensorWork(read_array(one, binary, self._datatype, shape))

    def _wanted(self, name: str, content: Dict[str, Any]) -> List[Tuple[str, bool]]:
        known = self._outputs[name]
        parameters = content.get("parameters", {})
        if not isinstance(parameters, dict):
            raise bad("The request's parameters are not an object.")
        default = bool(parameters.get("binary_data_output", False))
        outputs = content.get("outputs")
        if outputs is None:
            return [(one, default) for one in known]
        if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
            raise bad("The request's outputs are not a list of objects.")
        wanted = []
        for one in outputs:
            if one.get("name") not in known:
                raise bad("The model has no such output; it has {}.".format(", ".join(known)))
            wanted.append((str(one["name"]), wants_binary(one, default)))
        if len({name for name, _ in wanted}) != len(wanted):
            raise bad("The request names an output twice.")
        return wanted or [(one, default) for one in known]

    def answer(self, name: str, request: InferRequest, result: Result) -> Answer:
        """The response to an inference request."""
        tensors = {tensor.name: tensor for tensor in self._tensors(result)}
        content: Dict[str, Any] = {"model_name": name, "model_version": self._frozen.version}
        if request.id is not None:
            content["id"] = request.id
        body, length = write_outputs(
            content,
            [tensors[wanted] for wanted, _ in request.outputs],
            [binary for _, binary in request.outputs],
        )
        if length is None:
            return Answer(200, body)
        fields = ((HEADER_LENGTH, str(length)),)
        return Answer(200, body, "application/octet-stream", fields)

    def _tensors(self, result: Result) -> Sequence[Tensor]:
        if not isinstance(result, PictureResult):
            names = self._outputs[self.network]
            labels = result.labels.astype(np.int64)
            return [Tensor(names[0], "FP32", result.boxes), Tensor(names[1], "INT64", labels)]
        found = result.detections
        boxes = np.array([one["bbox"] for one in found], np.float64).reshape(-1, 4)
        return [
            Tensor("boxes", "FP64", boxes),
            Tensor("scores", "FP32", np.array([one["score"] for one in found], np.float32)),
            Tensor(
                "categories", "INT64", np.array([one["category_id"] for one in found], np.int64)
            ),
            Tensor("names", BYTES, [one["name"] for one in found]),
        ]


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and size > 0 for size in value)


def _check_input(one: Dict[str, Any], name: str, datatype: str) -> None:
    if one.get("name") != name:
        raise bad("The model's input is called '{}'.".format(name))
    if one.get("datatype") != datatype:
        raise bad("The datatype of '{}' is not {}.".format(name, datatype))
