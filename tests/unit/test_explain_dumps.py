"""What a device dumped, in the vendor's layout, and the vendor's own table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.base.errors import CascadeportError
from cascadeport.explain import msprobe, tensors
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.dumps import Dump, Names
from cascadeport.explain.values import Graph
from numpy.typing import NDArray

from tests.helpers.graph_models import picture_for, tiny_detector

RUN = Path("20261129083000", "0", "network", "1", "0")
STAMP = "3.5.1682067845380164"


class Device:
    """A device that computes the tiny detector with float16 products and dumps it."""

    def __init__(self, folder: Path) -> None:
        self.neutral = folder / "neutral.onnx"
        onnx.save(tiny_detector(), str(self.neutral))
        self.picture = picture_for(tiny_detector())["input"]
        faithful = backends.load("ascend").faithful
        lowered = folder / "lowered.onnx"
        self.lowered = backends.lowering("ascend").lower(self.neutral, lowered, faithful).path
        run = executable(self.lowered, folder / "run.onnx", "fp16", rules=("deformable",))
        graph = Graph(run)
        own = onnx.load(str(self.lowered))
        self.arrays = graph.run(
            self.picture,
            [name for node in own.graph.node for name in node.output if name in graph.nodes],
        )
        self.nodes = {node.name: node for node in own.graph.node}
        self.dump = folder / "dump"
        self.first = Graph(
            backends.lowering("onnxruntime").lower(self.neutral, folder / "a.onnx").path
        )
        self.anatomy = Anatomy.of(self.neutral)

    def write(self, *, fused: bool = True) -> None:
        """Dumps every operator's outputs; convolutions in five dimensions, some fused."""
        folder = self.dump / RUN
        folder.mkdir(parents=True)
        for name, node in self.nodes.items():
            for index, value in enumerate(node.output):
                if value not in self.arrays:
                    continue
                array = self.arrays[value]
                called = name
                if array.dtype == np.float32 and value in ("c0", "n0"):
                    array = packed(array)
                if fused and node.op_type == "Relu":
                    # atc fuses it into what comes before.
                    called = f"norm{name}"
                file = f"{node.op_type}.{called}.{STAMP}.output.{index}.npy"
                np.save(folder / file, array)

    def compared(self) -> tensors.Comparison:
        """A CPU's graph against the dump."""
        dump = Dump(self.dump, self.lowered)
        dump.expect({name: shape for name, (_, shape) in self.first.facts.items()})
        pictures = (self.picture, self.picture)
        return tensors.compare((self.first, dump), pictures, self.anatomy)


def packed(array: NDArray[np.float32]) -> NDArray[np.float16]:
    """NCHW as the device keeps it: NC1HWC0 with 16 channels in a group."""
    count, channels, height, width = array.shape
    groups = -(-channels // 16)
    filled = np.zeros((count, groups * 16, height, width), np.float16)
    filled[:, :channels] = array
    return np.ascontiguousarray(
        filled.reshape(count, groups, 16, height, width).transpose(0, 1, 3, 4, 2)
    )


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_dump_takes_the_place_of_a_graph(device: Device) -> None:
    device.write()
    found = device.compared()
    made = {one.value for one in found.makers}
    # `c0` was dumped in float16, and the deformable convolution computes in it.
    assert found.first is not None
    assert found.first.value == "c0"
    assert "n0" in made
    assert "classes" not in made
    assert {one.value for one in found.values} >= {"c0", "n0", "p0", "p1", "props", "boxes"}


def test_names_of_fused_operators_lead_to_the_last_part(device: Device) -> None:
    names = Names(device.lowered)
    assert names.value("stem", 0) == "c0"
    assert names.value("normrelu", 0) == "p0"
    assert names.value("stemnormrelupool", 0) == "p1"
    assert names.value("nothing", 0) is None
    assert names.value("stem", 1) is None


def test_a_dump_that_was_not_converted_says_how(device: Device) -> None:
    folder = device.dump / RUN
    folder.mkdir(parents=True)
    (folder / f"Conv2D.stem.{STAMP}").write_bytes(b"\0" * 64)
    with pytest.raises(CascadeportError, match="has not been converted") as caught:
        Dump(device.dump, device.lowered)
    assert "msaccucmp.py convert" in caught.value.next


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (f"Conv2D.stem.{STAMP}.output.0.npy", b"\x93NUMPY", "cannot be read"),
        (f"Conv2D.other.{STAMP}.output.0.npy", None, "None of the dumped operators"),
        ("notes.txt", b"", "no dumped tensors"),
    ],
)
def test_dumps_that_cannot_be_used(
    device: Device, name: str, content: bytes | None, told: str
) -> None:
    folder = device.dump / RUN
    folder.mkdir(parents=True)
    if content is None:
        np.save(folder / name, np.zeros(3, np.float32))
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(CascadeportError, match=told):
        Dump(device.dump, device.lowered)


def test_a_pickled_array_is_not_loaded(device: Device) -> None:
    folder = device.dump / RUN
    folder.mkdir(parents=True)
    name = folder / f"Conv2D.stem.{STAMP}.output.0.npy"
    np.save(name, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(CascadeportError, match="cannot be read"):
        Dump(device.dump, device.lowered)


def test_the_dumps_of_two_runs_are_not_mixed(device: Device) -> None:
    device.write()
    (device.dump / RUN).parent.joinpath("1").mkdir()
    file = f"Conv2D.stem.{STAMP}.output.0.npy"
    np.save((device.dump / RUN).parent / "1" / file, np.zeros(3, np.float32))
    with pytest.raises(CascadeportError, match="tensors of 2 runs"):
        Dump(device.dump, device.lowered)


HEAD = (
    "Index,OpType,NPUDump,DataType,Address,GroundTruth,DataType,TensorIndex,Shape,OverFlow,"
    "CosineSimilarity,MaxAbsoluteError,AccumulatedRelativeError,RelativeEuclideanDistance,"
    "KullbackLeiblerDivergence,StandardDeviation,MeanAbsoluteError,RootMeanSquareError,"
    "MaxRelativeError,MeanRelativeError,CompareFailReason"
)


def row(index: int, kind: str, npu: str, truth: str, output: int, cosine: str, far: str) -> str:
    where = f"{npu}:output:{output}"
    rest = "0.0,(0;1),(0;1),0.0,0.0,0.0,0.0"
    return (
        f'{index},{kind},{npu},float16,NaN,"{truth}",float32,{where},"[1,8,16,16]",NO,{cosine},0.1,'
        f"0.0,{far},{rest},"
    )


def test_the_vendors_table_is_read(device: Device, tmp_path: Path) -> None:
    table = tmp_path / "result_20261129.csv"
    lines = [
        HEAD,
        row(0, "Conv2D", "stem", "stem", 0, "1.0", "0.001"),
        row(1, "DeformableConv2D", "dcn", "*", 0, "NaN", "NaN"),
        row(2, "BNInferenceRelu", "normrelu", "norm,relu", 0, "0.97", "0.02"),
        row(3, "MaxPool", "pool", "pool", 0, "0.999", "0.2"),
    ]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = msprobe.load(table, device.lowered, device.anatomy)
    assert (found.compared, found.failed) == (3, 1)
    assert found.first is not None
    assert (found.first.operator, found.first.value) == ("normrelu", "p0")
    assert found.first.stage == device.anatomy.stage("p0")
    assert [one.operator for one in found.suspects] == ["normrelu", "pool"]


def test_another_table_is_refused(device: Device, tmp_path: Path) -> None:
    table = tmp_path / "other.csv"
    table.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(CascadeportError, match="has no column NPUDump"):
        msprobe.load(table, device.lowered, None)
