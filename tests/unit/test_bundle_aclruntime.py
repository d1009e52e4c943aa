"""The Ascend runner and networks that differ in nothing but which edge is the longer one."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from bundle.errors import BundleError
from bundle.runners import open_runner
from tests.helpers import bundle_jobs as jobs

FLOAT, INT32, UINT8 = 0, 3, 4  # TensorBase.h


class Tensor:
    """An array that goes to the device and comes back."""

    def __init__(self, array: Any) -> None:
        self.array = np.array(array)

    def to_device(self, device: int) -> None:
        pass

    def to_host(self) -> None:
        pass

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array


class Session:
    """A network that answers with the shape it was made for; the file's name says which."""

    layout = "first"
    summary: ClassVar[dict[str, Any]] = {"exec_time_list": [9.0, 1.5]}
    loaded: ClassVar[list[str]] = []

    def __init__(self, path: str, device: int, options: Any) -> None:
        self.loaded.append(Path(path).name)
        height, width = map(int, Path(path).stem.split("-")[1].split("x"))
        self.edges = height, width
        first, last = (1, 3, height, width), (1, height, width, 3)
        shape = first if self.layout == "first" else last
        kind, size = (FLOAT, 4) if self.layout == "first" else (UINT8, 1)
        self.input = SimpleNamespace(
            name="input", datatype=kind, shape=list(shape), size=size * 3 * height * width
        )

    def set_staticbatch(self) -> None:
        pass

    def get_inputs(self) -> list[Any]:
        return [self.input]

    def get_outputs(self) -> list[Any]:
        boxes = SimpleNamespace(name="a:0", datatype=FLOAT, shape=[100, 5], size=2000)
        return [boxes, SimpleNamespace(name="b:0", datatype=INT32, shape=[100], size=400)]

    def reset_sumaryinfo(self) -> None:
        pass

    def sumary(self) -> Any:
        return SimpleNamespace(**self.summary)

    def run(self, names: list[str], feeds: list[Tensor]) -> list[Tensor]:
        boxes = np.zeros((1, 5), np.float32)
        boxes[0, :2] = self.edges
        return [Tensor(boxes), Tensor(np.zeros(1, np.int32))]


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A job of two networks, whose inputs have equally many bytes."""
    module = ModuleType("aclruntime")
    module.session_options = SimpleNamespace  # type: ignore[attr-defined]
    module.InferenceSession = Session  # type: ignore[attr-defined]
    module.Tensor = Tensor  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aclruntime", module)
    sys.modules.pop("bundle.runners.aclruntime.session", None)
    monkeypatch.setattr(Session, "loaded", [])
    made = jobs.oriented(tmp_path)
    made["runner"] = {"name": "aclruntime", "threads": 1, "options": {}}
    yield made
    # It refers to the module above, which no other test must see.
    sys.modules.pop("bundle.runners.aclruntime.session", None)


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "first"), ("uint8", "last")])
def test_each_batch_goes_to_the_network_of_its_shape(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dtype: str, layout: str
) -> None:
    monkeypatch.setattr(Session, "layout", layout)
    content["input"]["dtype"] = dtype
    job = jobs.checked(content)
    runner = open_runner(job)
    assert Session.loaded == ["tiny-64x96.onnx", "tiny-96x64.onnx"]
    for shape in [*job.preprocess.shapes, job.preprocess.shapes[0]]:
        found = runner.run(np.zeros(job.preprocess.batch(shape), dtype))
        assert tuple(found.boxes[0, :2]) == shape
    runner.close()


@pytest.mark.parametrize(("dtype", "layout"), [("float32", "first"), ("uint8", "last")])
def test_networks_in_another_order_than_their_shapes(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dtype: str, layout: str
) -> None:
    """Their bytes are as many, so that only the shape tells."""
    monkeypatch.setattr(Session, "layout", layout)
    content["input"]["dtype"] = dtype
    content["networks"].reverse()
    with pytest.raises(BundleError, match="input 'input' is not ") as caught:
        open_runner(jobs.checked(content))
    assert caught.value.where == content["networks"][0]["path"]


@pytest.mark.parametrize(
    ("summary", "milliseconds"),
    [
        ({"exec_time_list": [9.0, 1.5]}, 1.5),
        ({"exec_time_list": [(1.0, 9.0), (10.25, 11.75)]}, 1.5),  # from 2024-02-01 on
        ({"exec_time_list": []}, None),
        ({}, None),  # before 2022-07-18
    ],
)
def test_the_time_of_execution_in_every_version_of_aclruntime(
    content: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    summary: dict[str, Any],
    milliseconds: float | None,
) -> None:
    monkeypatch.setattr(Session, "summary", summary)
    job = jobs.checked(content)
    runner = open_runner(job)
    outputs = runner.run(np.zeros(job.preprocess.batch(job.preprocess.shapes[0]), np.float32))
    clock = runner.describe()["device_clock"]
    if milliseconds is None:
        assert outputs.device_ms is not None
        assert "host's clock" in clock
    else:
        assert outputs.device_ms == milliseconds
        assert clock == "execution alone, by aclruntime"


def test_the_version_is_that_of_the_package(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundle.runners import aclruntime

    assert aclruntime.version() == "unknown"
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{name} 0.0.2")
    assert aclruntime.version() == "aclruntime 0.0.2"


class Geared(Session):
    """A network of two sizes: it answers with the one that is set, as `first, second`."""

    gears: ClassVar[list[tuple[int, int]]] = [(64, 96), (96, 64)]
    calls: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, path: str, device: int, options: Any) -> None:
        self.loaded.append(Path(path).name)
        self.edges: tuple[int, int] = (0, 0)
        size = 4 * 3 * 64 * 96
        self.input = SimpleNamespace(name="input", datatype=FLOAT, shape=[1, 3, -1, -1], size=size)

    def set_staticbatch(self) -> None:
        raise AssertionError("a network with gears is not static")

    def set_dynamic_hw(self, first: int, second: int) -> None:
        # Named width and height there; compared with the gears, whose first number is the height.
        if (first, second) not in self.gears:
            raise RuntimeError("[1][ACL: invalid parameter] ")
        self.calls.append((first, second))
        self.edges = first, second


@pytest.fixture
def geared(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job of one network for both shapes."""
    sys.modules["aclruntime"].InferenceSession = Geared  # type: ignore[attr-defined]
    monkeypatch.setattr(Geared, "calls", [])
    del content["networks"][1]
    return content


def test_the_size_is_set_whenever_it_changes(geared: dict[str, Any]) -> None:
    job = jobs.checked(geared)
    runner = open_runner(job)
    wide, high = job.preprocess.shapes
    del Geared.calls[:]
    for shape in [wide, wide, high, high, wide]:
        found = runner.run(np.zeros(job.preprocess.batch(shape), np.float32))
        assert tuple(found.boxes[0, :2]) == shape
    assert Geared.calls == [tuple(high), tuple(wide)]
    assert Geared.loaded == ["tiny-64x96.onnx"]


def test_a_size_that_atc_was_not_given_is_an_error_at_once(
    geared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Geared, "gears", [(64, 96)])
    with pytest.raises(BundleError, match="could not load the network"):
        open_runner(jobs.checked(geared))
