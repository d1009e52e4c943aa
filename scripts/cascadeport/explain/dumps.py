"""Tensors that an NPU dumped, and msprobe's comparison of them: what a real device computed.

CANN's dump of a model is a folder per run, with a file per operator:

    {time}/{device_id}/{model_name}/{model_id}/{data_index}/
        {op_type}.{op_name}.{task_id}.{stream_id}.{timestamp}

Letters of names other than A-Za-z0-9_- are underscores. `msaccucmp.py convert` makes
`FILE.output.{index}.npy` of each, or `FILE.output.{index}.{shape}.npy` where it changed the format.
Sources: Ascend's documentation of CANN 8.0, "Data Format Requirements" and "Converting Dump File
Formats" (hiascend.com, canncommercial/800/devaids/modelaccuracy, atlasaccuracy_16_0062 and _0054).

An operator that atc fused has the names of its parts, one after the other (`Sub_26Mul_28` in
msprobe's documentation: gitcode.com Ascend/msprobe, docs/zh/accuracy_compare); its output is the
last part's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import is_dir
from cascadeport.explain.values import Arrays, How
from cascadeport.graph.editing import EditableGraph, load

_RAW = re.compile(r"(?P<type>[\w-]+)\.(?P<name>[\w-]+)(?:\.\d+){2}\.\d{16}")
_NPY = re.compile(_RAW.pattern + r"\.output\.(?P<index>\d+)(?:\.[\dx]+)?\.npy")
_CONVERT = (
    "python3 msaccucmp.py convert -d FOLDER -out FOLDER, from CANN's tools/operator_cmp/compare"
)
#: The largest tensor that is read, in bytes.
_LIMIT = 4 << 30


class Names:
    """The values of a graph by the names that its operators have on the device.

    Args:
        lowered: The graph that was converted.
    """

    def __init__(self, lowered: Path) -> None:
        graph = EditableGraph(load(lowered))
        self.outputs = graph.outputs
        self._made = {plain(node.name): list(node.output) for node in graph.nodes if node.name}

    def value(self, operator: str, index: int) -> str | None:
        """The value of an operator's output; None: it is none of the graph's.

        Args:
            operator: Its name, or the names of all that were fused into it.
        """
        made = self._made.get(operator) or self._made.get(self._last(operator), [])
        return made[index] if index < len(made) else None

    def _last(self, fused: str) -> str:
        """The last of several names that stand one after the other; empty if they do not."""
        found = ""
        rest = fused
        while rest:
            ends = (end for end in range(len(rest), 0, -1) if rest[:end] in self._made)
            end = next(ends, 0)
            if not end:
                return ""
            found, rest = rest[:end], rest[end:]
        return found


def plain(name: str) -> str:
    """A name as dump files have it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


@dataclass(frozen=True)
class _File:
    path: Path
    value: str


class Dump:
    """The tensors of one picture that an NPU dumped, in place of a graph that computes them.

    Attributes:
        nodes: The values that there are.
        facts: Their types and shapes, as a graph states them.
        outputs: The graph's outputs.
        takes_floats: Whether it takes a float32 picture; it takes none.
        foreign: The operators in the dump that are none of the graph's.
    """

    takes_floats = True

    def __init__(self, folder: Path, lowered: Path) -> None:
        names = Names(lowered)
        self.path = folder
        self.outputs = names.outputs
        self._files: dict[str, _File] = {}
        self.foreign: list[str] = []
        for path in _tensors(folder):
            match = _NPY.fullmatch(path.name)
            assert match is not None
            value = names.value(match["name"], int(match["index"]))
            if value is None:
                self.foreign.append(match["name"])
            else:
                self._files[value] = _File(path, value)
        if not self._files:
            raise CascadeportError(
                "None of the dumped operators is one of the graph that the row ran.",
                where=str(folder),
                details=sorted(set(self.foreign))[:5],
                next="Give the dump of the network that this row ran.",
            )
        self.nodes: Mapping[str, Any] = dict(self._files)
        self.facts = {name: _facts(one.path) for name, one in self._files.items()}

    def expect(self, shapes: Mapping[str, Sequence[int | None]]) -> None:
        """Says which shapes the values have in the graph: devices keep five dimensions of four."""
        for name, (kind, shape) in list(self.facts.items()):
            wanted = [side or 0 for side in shapes.get(name, ())]
            if None not in shapes.get(name, (None,)) and _unpacked(shape, wanted):
                self.facts[name] = (kind, wanted)

    def run(self, picture: NDArray[Any], names: Sequence[str], how: How | None = None) -> Arrays:
        """The dumped values; the picture is the one that was dumped."""
        return {name: self._array(name) for name in names if name in self._files}

    def _array(self, name: str) -> NDArray[Any]:
        array = _load(self._files[name].path)
        wanted = self.facts[name][1]
        if list(array.shape) == wanted:
            return array
        if array.ndim == 5 and len(wanted) == 4:
            # NC1HWC0: channels in groups, the last one filled up.
            count, groups, height, width, size = array.shape
            array = array.transpose(0, 1, 4, 2, 3).reshape(count, groups * size, height, width)
            return np.ascontiguousarray(array[:, : wanted[1]])
        return array.reshape(wanted)


def _unpacked(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a dumped shape holds a tensor of the wanted one."""
    if len(shape) == 5 and len(wanted) == 4:
        count, groups, height, width, size = shape
        fits = (groups - 1) * size < wanted[1] <= groups * size
        return fits and [count, height, width] == [wanted[0], wanted[2], wanted[3]]
    return int(np.prod(shape)) == int(np.prod(wanted))


def _tensors(folder: Path) -> list[Path]:
    """The converted tensors below a folder, of one run of the model."""
    if not is_dir(folder):
        raise CascadeportError(
            "There is no such folder of dumped tensors.", where=f"--dump {folder}"
        )
    found = sorted(path for path in folder.rglob("*.npy") if _NPY.fullmatch(path.name))
    if not found:
        raw = next((path for path in folder.rglob("*") if _RAW.fullmatch(path.name)), None)
        if raw is not None:
            raise CascadeportError(
                "The dump has not been converted to NumPy's format.",
                where=str(raw),
                next=f"Convert it: {_CONVERT}.",
            )
        raise CascadeportError(
            "There are no dumped tensors in this folder.",
            where=str(folder),
            next="Files are named OP_TYPE.OP_NAME.TASK.STREAM.TIME.output.0.npy.",
        )
    runs = sorted({path.parent for path in found})
    if len(runs) > 1:
        raise CascadeportError(
            f"There are the tensors of {len(runs)} runs in this folder.",
            where=str(folder),
            details=[str(run.relative_to(folder)) for run in runs[:5]],
            next="Give the folder of one: …/{time}/{device}/{model}/{model id}/{number}.",
        )
    return found


def _facts(path: Path) -> tuple[int, list[int]]:
    array = _load(path, mapped=True)
    return helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)


def _load(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"it has more than {_LIMIT >> 30} GiB")
        array: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CascadeportError(
            f"A dumped tensor cannot be read: {error}.",
            where=str(path),
            next=f"Convert the dump again: {_CONVERT}.",
        ) from None
    if array.dtype == np.float64 or array.dtype.kind not in "fiub":
        raise CascadeportError(
            f"A dumped tensor has the type {array.dtype}, which no tensor of the graph has.",
            where=str(path),
            next=f"Convert the dump again: {_CONVERT}.",
        )
    return array
