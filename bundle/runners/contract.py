"""Checks what a loaded network takes and returns against the contract. Shared by all runners.

The contract: one input, of the type and shape that the job specifies, and two outputs, boxes
(n, 5) float32 and labels (n,) int32 or int64. A network for several pictures has two for each:
`boxes_0`, `labels_0`, `boxes_1`, ...
"""

from __future__ import annotations

import itertools
from typing import Any, List, NamedTuple, Optional, Sequence

from bundle.errors import BundleError
from bundle.job import Job, NetworkFile, Shape

#: A size that a network must leave open.
OPEN = "?"
_BOXES = ("float32",), (None, 5), "float32 (n,5)"
_LABELS = ("int64", "int32"), (None,), "int64 (n,)"


class TensorInfo(NamedTuple):
    """What a runtime says about an input or output of a network.

    Args:
        name: Its name.
        dtype: Its type: numpy's name for it, or the runtime's own if numpy has none.
        shape: Its dimensions, in which anything but an int stands for an unknown size. None if
            not even their number is known.
    """

    name: str
    dtype: str
    shape: Optional[Sequence[Any]]


def check_contract(
    job: Job,
    network: NetworkFile,
    inputs: Sequence[TensorInfo],
    outputs: Sequence[TensorInfo],
    advice: str,
    by_name: bool = True,
) -> None:
    """Checks names, types and shapes of a network's input and outputs.

    Args:
        job: The job.
        network: The network.
        inputs: Its inputs.
        outputs: Its outputs.
        advice: What the user can do if the contract is violated.
        by_name: Whether names matter. If not, the first output is boxes and the second labels.

    Raises:
        BundleError: The contract is violated. All violations are listed.
    """
    errors: List[str] = []
    found: List[Optional[TensorInfo]] = []
    if len(inputs) != 1:
        errors.append("it has {} inputs, not one".format(len(inputs)))
    elif by_name and inputs[0].name != job.runner.input:
        errors.append("its input is not called '{}'".format(job.runner.input))
    else:
        shape, dtype = _input_shape(job, network), job.preprocess.dtype
        open_sizes = ", with open sizes: it is to take every shape" if OPEN in shape else ""
        expected = (dtype,), shape, "{} {}{}".format(dtype, _format_shape(shape), open_sizes)
        errors += _mismatch("input", inputs[0], expected)
    if by_name:
        by_names = {output.name: output for output in outputs}
        wanted = output_names(job)
        found = [by_names.get(name) for name in wanted]
        errors += [
            "there is no output '{}'".format(name) for name in wanted if name not in by_names
        ]
    elif len(outputs) == 2:
        found = list(outputs)
    else:
        errors.append("it has {} outputs, not boxes and labels".format(len(outputs)))
    for tensor, expected in zip(found, itertools.cycle((_BOXES, _LABELS))):
        errors += _mismatch("output", tensor, expected)
    if errors:
        raise BundleError(
            "The network violates the contract: {}. It has inputs {} and outputs {}.".format(
                "; ".join(errors), _format(inputs), _format(outputs)
            ),
            network.path,
            advice,
        )


def output_names(job: Job) -> List[str]:
    """The names of a network's outputs: boxes and labels, of one picture after the other."""
    pictures = job.preprocess.pictures
    names = (job.runner.boxes, job.runner.labels)
    if pictures == 1:
        return list(names)
    return ["{}_{}".format(name, number) for number in range(pictures) for name in names]


def _input_shape(job: Job, network: NetworkFile) -> Sequence[Any]:
    if network.shape is not None:
        return job.preprocess.batch(network.shape)
    return [OPEN if size == 0 else size for size in job.preprocess.batch(Shape(0, 0))]


def _mismatch(kind: str, tensor: Optional[TensorInfo], expected: Any) -> List[str]:
    dtypes, shape, text = expected
    if tensor is None or (tensor.dtype in dtypes and _matches(tensor.shape, shape)):
        return []
    return ["{} '{}' is not {}".format(kind, tensor.name, text)]


def _matches(shape: Optional[Sequence[Any]], expected: Sequence[Any]) -> bool:
    """Whether a declared shape can turn out to be the expected one."""
    if shape is None:
        return True  # what it really returns is checked after every run
    return len(shape) == len(expected) and all(
        not isinstance(size, int) or wanted is None or size == wanted  # OPEN is no int's equal
        for size, wanted in zip(shape, expected)
    )


def _format(tensors: Sequence[TensorInfo]) -> str:
    texts = ["'{}' {} {}".format(one.name, one.dtype, _format_shape(one.shape)) for one in tensors]
    return ", ".join(texts) or "none"


def _format_shape(shape: Optional[Sequence[Any]]) -> str:
    return "(?)" if shape is None else "({})".format(",".join(str(size) for size in shape))
