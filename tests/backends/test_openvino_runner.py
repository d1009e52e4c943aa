"""The OpenVINO runner: the contract, float32, one device, and operators as ONNX means them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.graph.verify import compare
from onnx import TensorProto, helper, numpy_helper

from bundle.errors import BundleError
from bundle.job import Job, NetworkFile, Shape
from bundle.run import run
from bundle.runners import open_runner
from tests.helpers import bundle_jobs as jobs
from tests.helpers import contexts, graph_models, tiny_model
from tests.helpers.lowering import lower

SIZE = jobs.SIZE
_ENVIRONMENT = backends.of(contexts.context("openvino").target).environment
assert _ENVIRONMENT is not None
INSTALLED = _ENVIRONMENT.is_installed
needed = pytest.mark.skipif(not INSTALLED, reason="OpenVINO is not installed in .venv-openvino")

if INSTALLED:
    # Behind this environment's own packages, which are of the same versions.
    sys.path.extend(str(path) for path in _ENVIRONMENT.folder.glob("lib/python*/site-packages"))
    # The runner keeps openvino from reporting its import.
    from bundle.runners.openvino import session as runner
    from bundle.runners.openvino.session import openvino


def job_for(path: Path, **changes: Any) -> Job:
    changes["runner"] = {"name": "openvino", "provider": "CPU", **changes.get("runner", {})}
    return jobs.checked(jobs.job(Path("/p"), [jobs.item(1, "a", 1, 1)], path, **changes))


def tiny(tmp_path: Path, **changes: Any) -> Path:
    return tiny_model.save(tmp_path / "tiny.onnx", size=SIZE, **changes)


def changed(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    path = tiny(tmp_path)
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def model_of(
    nodes: list[onnx.NodeProto],
    feeds: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    opset: int = 19,
) -> onnx.ModelProto:
    """A network with the output `y` of unknown shape. A size of 0 stands for any."""
    inputs = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(array.dtype),
            [edge or "n" for edge in array.shape],
        )
        for name, array in feeds.items()
    ]
    kind = TensorProto.INT64 if nodes[-1].op_type == "NonMaxSuppression" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "test",
        inputs,
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def computed(model: onnx.ModelProto, feeds: dict[str, np.ndarray], folder: Path) -> np.ndarray:
    """What OpenVINO makes of a network, once the runner has read it."""
    onnx.save(model, str(folder / "model.onnx"))
    read = runner._read(NetworkFile(str(folder / "model.onnx"), "", Shape(1, 1)))
    core = openvino.Core()
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(list(feeds.values()))[0])


@needed
@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_the_description(tmp_path: Path, kind: int) -> None:
    loaded = open_runner(job_for(tiny(tmp_path, label_type=kind)))
    outputs = loaded.run(np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert outputs.boxes.dtype == np.float32
    assert outputs.labels.dtype == helper.tensor_dtype_to_np_dtype(kind)
    assert outputs.device_ms > 0
    assert (outputs.h2d_ms, outputs.d2h_ms) == (None, None)
    description = loaded.describe()
    assert description["runtime"] == "openvino"
    assert openvino.__version__.startswith(description["runtime_version"] + "-")
    assert (description["provider"], description["providers"]) == ("CPU", ["CPU"])
    assert (description["precision"], description["threads"], description["problems"]) == (
        "float32",
        1,
        [],
    )
    assert description["device"]
    loaded.close()


@needed
def test_the_cpu_is_the_default(tmp_path: Path) -> None:
    description = open_runner(job_for(tiny(tmp_path), runner={"provider": ""})).describe()
    assert description["provider"] == "CPU"


@needed
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("job", [jobs.small, jobs.oriented])
def test_a_run_finds_what_onnxruntime_finds(tmp_path: Path, job: Any, dtype: str) -> None:
    for name in ("openvino", "onnxruntime"):
        content = job(tmp_path, input={"dtype": dtype}, runner={"name": name, "provider": ""})
        run(jobs.checked(content), str(tmp_path / name))
    for file in ("detections.json", "geometry.jsonl"):
        here, there = (tmp_path / name / file for name in ("openvino", "onnxruntime"))
        assert here.read_bytes() == there.read_bytes()


@needed
def test_streams_find_the_same_and_share_the_network(tmp_path: Path) -> None:
    """On this machine's cores: as many streams as there may be at least, two."""
    found = []
    for number in (1, 2):
        chosen = {"name": "openvino", "provider": "CPU", "threads": 2, "streams": number}
        out = tmp_path / str(number)
        run(jobs.checked(jobs.small(tmp_path, runner=chosen)), str(out))
        found.append((out / "detections.json").read_bytes())
    assert found[0] == found[1]
    first = open_runner(job_for(tiny(tmp_path), runner={"threads": 2, "streams": 2}))
    other = first.twin()
    assert other._compiled is first._compiled  # type: ignore[attr-defined]
    assert other._request is not first._request  # type: ignore[attr-defined]


@needed
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"input": {"name": "image"}},
            "its input is not called 'image'. It has inputs 'input' float32",
        ),
        ({"input": jobs.square(64)}, "'input' is not float32 (1,3,64,64)"),
        ({"input": {"dtype": "uint8"}}, "'input' is not uint8 (1,96,96,3)"),
        ({"outputs": {"boxes": "dets"}}, "there is no output 'dets'"),
        ({"outputs": {"labels": "classes"}}, "there is no output 'classes'"),
        ({"outputs": {"boxes": "labels"}}, "'labels' is not float32 (n,5)"),
        ({"outputs": {"labels": "boxes"}}, "'boxes' is not int64 (n,)"),
    ],
)
def test_a_network_that_breaks_the_contract(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    path = tiny(tmp_path)
    with pytest.raises(BundleError) as caught:
        open_runner(job_for(path, **changes))
    assert told in caught.value.what
    assert "outputs 'boxes' float32 (5,5), 'labels' int64 (5)" in caught.value.what
    assert caught.value.where == str(path)


@needed
def test_sizes_that_the_graph_leaves_open_are_taken(tmp_path: Path) -> None:
    def open_sizes(model: onnx.ModelProto) -> None:
        for value in [*model.graph.input, *model.graph.output]:
            for edge in value.type.tensor_type.shape.dim:
                edge.Clear()
                edge.dim_param = "n"

    loaded = open_runner(job_for(changed(tmp_path, open_sizes)))
    batch = np.ones((1, 3, SIZE, SIZE), np.float32)
    assert loaded.run(batch).boxes[0].tolist() == pytest.approx([0, 0, SIZE, SIZE, 0.9])


@needed
def test_a_second_input_is_refused(tmp_path: Path) -> None:
    def add(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("im_info", TensorProto.FLOAT, [3]))

    with pytest.raises(BundleError, match=r"2 inputs, not one.* has inputs .*'im_info' float32 .3"):
        open_runner(job_for(changed(tmp_path, add)))


@needed
@pytest.mark.parametrize("content", [b"not a network", b""])
def test_what_is_no_network(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"cannot read the network|has inputs none") as caught:
        open_runner(job_for(path))
    assert caught.value.where == str(path)
    assert "\n" not in caught.value.what


@needed
def test_an_operator_that_openvino_does_not_know_is_named(tmp_path: Path) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Brighten"

    with pytest.raises(BundleError, match=r"cannot read the network: .*Brighten") as caught:
        open_runner(job_for(changed(tmp_path, rename)))
    assert "\n" not in caught.value.what


@needed
@pytest.mark.parametrize("threads", [1, 2])
def test_a_network_that_fails_while_it_runs(tmp_path: Path, threads: int) -> None:
    """A Reshape whose rows the picture tells. With one thread `infer` would answer the second
    picture with the boxes of the first."""
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["most"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "one"], ["rows"]),
        helper.make_node("Concat", ["rows", "five"], ["shape"], axis=0),
        helper.make_node("Reshape", ["values", "shape"], ["boxes"]),
        helper.make_node("Identity", ["label"], ["labels"]),
    ]
    constants = {
        "one": np.array([1]),
        "five": np.array([5]),
        "label": np.array([0]),
        "values": np.ones(35, np.float32),
    }
    made = helper.make_graph(
        nodes,
        "fails",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.save(model, str(tmp_path / "fails.onnx"))
    loaded = open_runner(job_for(tmp_path / "fails.onnx", runner={"threads": threads}))
    batch = np.full((1, 3, SIZE, SIZE), 7, np.float32)
    assert loaded.run(batch).boxes.shape == (7, 5)
    with pytest.raises(BundleError, match=r"could not run the network: .*reshape") as caught:
        loaded.run(batch - 1)
    assert "\n" not in caught.value.what
    assert "on CPU" in caught.value.next


@needed
@pytest.mark.parametrize("device", ["GPU.7", "AUTO", "HETERO:CPU", "AUTO:CPU", "CPUs"])
def test_what_is_no_device_here_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(BundleError, match=f"has no device '{device}'") as caught:
        open_runner(job_for(tiny(tmp_path), runner={"provider": device}))
    assert caught.value.where == "runner.provider"
    assert "CPU" in caught.value.next


@needed
def test_threads_precision_and_properties_reach_openvino(tmp_path: Path) -> None:
    options = {"properties": {"CPU_DENORMALS_OPTIMIZATION": True}}
    loaded = open_runner(job_for(tiny(tmp_path), runner={"threads": 1, "options": options}))
    used = loaded._request.get_compiled_model().get_property
    assert used("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert used("EXECUTION_MODE_HINT").name == "ACCURACY"
    assert used("PERFORMANCE_HINT") == "LATENCY"
    assert used("INFERENCE_NUM_THREADS") == 1
    assert used("NUM_STREAMS") == 1
    assert used("CPU_DENORMALS_OPTIMIZATION") is True


@needed
def test_threads_that_ran_are_told_not_those_asked_for(tmp_path: Path) -> None:
    description = open_runner(job_for(tiny(tmp_path), runner={"threads": 4096})).describe()
    assert description["threads"] <= os.cpu_count()


@needed
def test_a_property_that_openvino_does_not_know(tmp_path: Path) -> None:
    options = {"properties": {"NONSENSE": "1"}}
    with pytest.raises(BundleError, match=r"onto CPU: .*NONSENSE") as caught:
        open_runner(job_for(tiny(tmp_path), runner={"options": options}))
    assert "runner.options.properties" in caught.value.next


def compiled_as(devices: list[str], precision: str) -> Any:
    """A stand-in for a network that OpenVINO put elsewhere than was requested."""
    properties = {
        "EXECUTION_DEVICES": devices,
        "INFERENCE_PRECISION_HINT": SimpleNamespace(get_type_name=lambda: precision),
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
    }
    return SimpleNamespace(get_property=properties.__getitem__)


@needed
@pytest.mark.parametrize(
    ("devices", "precision", "told"),
    [
        (["CPU"], "f32", "GPU was requested, but the network runs on CPU."),
        (["GPU.1"], "f32", "GPU was requested, but the network runs on GPU.1."),
        (["GPU.0", "CPU"], "f32", "but the network runs on GPU.0, CPU."),
        ([], "f32", "but the network runs on nothing."),
        (["GPU.0"], "f16", "f32 was requested, but GPU computes in f16."),
    ],
)
def test_a_network_that_falls_back_is_refused(devices: Any, precision: str, told: str) -> None:
    compiled = compiled_as(devices, precision)
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    with pytest.raises(BundleError) as caught:
        runner._describe(None, compiled, "GPU", properties, NetworkFile("a", "", Shape(1, 1)))
    assert told in caught.value.what


@needed
def test_the_first_gpu_has_two_names() -> None:
    core = SimpleNamespace(get_property=lambda device, name: f"{device}: {name}")
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    network = NetworkFile("a", "", Shape(1, 1))
    for asked, ran in (("GPU", "GPU.0"), ("GPU.0", "GPU")):
        description = runner._describe(core, compiled_as([ran], "f32"), asked, properties, network)
        assert description["device"] == f"{ran}: FULL_DEVICE_NAME"
        assert "threads" not in description


@needed
def test_outputs_stay_and_the_input_may_go(tmp_path: Path) -> None:
    loaded = open_runner(job_for(tiny(tmp_path)))
    batch = np.ones((1, 3, SIZE, SIZE), np.float32)
    first = loaded.run(batch)
    kept = first.boxes.copy()
    batch[:] = 0
    second = loaded.run(batch)
    assert np.array_equal(first.boxes, kept)
    assert not np.array_equal(second.boxes, kept)


def deform_conv(
    x: np.ndarray,
    w: np.ndarray,
    o: np.ndarray,
    b: np.ndarray | None = None,
    m: np.ndarray | None = None,
    *,
    pads: tuple[int, ...] = (0, 0, 0, 0),
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
    offset_group: int = 1,
) -> np.ndarray:
    """ONNX's DeformConv of one picture, by its definition."""
    (channels, *size), (out, part, *kernel) = x.shape[1:], w.shape
    corner = np.floor(o).astype(int)
    framed = np.pad(x[0].astype(np.float64), ((0, 0), (1, 1), (1, 1)))
    result = np.zeros((out, *o.shape[2:]))
    grid = np.meshgrid(*(np.arange(edge) for edge in o.shape[2:]), indexing="ij")
    for c in range(channels):
        own = c * offset_group // channels
        for k, (i, j) in enumerate(np.ndindex(*kernel)):
            at = own * kernel[0] * kernel[1] + k
            value = np.zeros(o.shape[2:])
            for far in np.ndindex(2, 2):
                share, place = np.ones(o.shape[2:]), []
                for axis, tap in enumerate((i, j)):
                    whole = corner[0, 2 * at + axis]
                    rest = o[0, 2 * at + axis] - whole
                    share = share * (rest if far[axis] else 1 - rest)
                    start = grid[axis] * strides[axis] - pads[axis] + tap * dilations[axis]
                    # The frame of zeros stands for all that is outside.
                    place.append(np.clip(start + whole + far[axis] + 1, 0, size[axis] + 1))
                value += share * framed[c][tuple(place)]
            if m is not None:
                value *= m[0, at]
            filters = slice(c // part * out // group, (c // part + 1) * out // group)
            result[filters] += w[filters, c % part, i, j][:, None, None] * value
    return (result if b is None else result + b[:, None, None])[None]


@needed
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 2, 1, 0], "strides": [2, 1], "dilations": [1, 2]},
        {"pads": [1, 1, 1, 1], "offset_group": 2},
        {"pads": [1, 1, 1, 1], "group": 2, "offset_group": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("optional", ["", "b", "m", "bm"])
def test_deformable_convolution_as_onnx_defines_it(
    tmp_path: Path, attributes: dict[str, Any], optional: str
) -> None:
    draw = np.random.default_rng(7)
    pads, strides, dilations, groups = (
        attributes.get(name, default)
        for name, default in (
            ("pads", [0] * 4),
            ("strides", [1, 1]),
            ("dilations", [1, 1]),
            ("offset_group", 1),
        )
    )
    out = [
        (edge + pads[axis] + pads[axis + 2] - 2 * dilations[axis] - 1) // strides[axis] + 1
        for axis, edge in enumerate((8, 9))
    ]
    # Whole, half and other places; inside, at the edge and far outside.
    parts = draw.choice([1, 2, 3], (1, 18 * groups, *out))
    feeds = {
        "x": draw.normal(size=(1, 8, 8, 9)),
        "o": draw.integers(-8, 9, parts.shape) / parts,
        "m": draw.uniform(size=(1, 9 * groups, *out)),
    }
    constants = {
        "w": draw.normal(size=(4, 8 // attributes.get("group", 1), 3, 3)),
        "b": draw.normal(size=4),
    }
    feeds, constants = (
        {name: each.astype(np.float32) for name, each in arrays.items() if name in "xow" + optional}
        for arrays in (feeds, constants)
    )
    inputs = ["x", "w", "o", *{"": [], "b": ["b"], "m": ["", "m"], "bm": ["b", "m"]}[optional]]
    node = helper.make_node("DeformConv", inputs, ["y"], **attributes)
    found = computed(model_of([node], feeds, constants), feeds, tmp_path)
    expected = deform_conv(**feeds, **constants, **attributes)
    assert found.shape == expected.shape == (1, 4, *out)
    assert np.abs(found - expected).max() < 1e-4


ROIS = {
    "ordinary": [10.0, 20.0, 90.5, 70.25],
    "beyond the edges": [-30.0, -9.0, 300.0, 170.0],
    "thin": [10.0, 20.0, 90.0, 20.25],
    "no height": [10.0, 0.0, 90.0, 0.0],
    "no width": [128.0, 10.0, 128.0, 90.0],
    "a point": [64.0, 64.0, 64.0, 64.0],
    "turned round": [90.0, 70.0, 10.0, 20.0],
    "gone when it is rounded": [1e-9, 0.0, 2e-9, 90.0],
}


@needed
@pytest.mark.parametrize("rois", [*([name] for name in ROIS), list(ROIS), []], ids=" and ".join)
@pytest.mark.parametrize(("mode", "opset"), [("half_pixel", 19), ("output_half_pixel", 16)])
def test_crops_are_as_in_onnxruntime(
    tmp_path: Path, rois: list[str], mode: str, opset: int
) -> None:
    draw = np.random.default_rng(3)
    feeds = {
        "x": draw.normal(size=(1, 3, 32, 32)).astype(np.float32),
        "rois": np.array([ROIS[name] for name in rois], np.float32).reshape(-1, 4),
        "index": np.zeros(len(rois), np.int64),
    }
    node = helper.make_node(
        "RoiAlign",
        list(feeds),
        ["y"],
        coordinate_transformation_mode=mode,
        output_height=7,
        output_width=7,
        sampling_ratio=0,
        spatial_scale=0.25,
    )
    model = model_of([node], feeds, {}, opset)
    (expected,) = graph_models.run(model, feeds)
    found = computed(model, feeds, tmp_path)
    assert found.shape == (len(rois), 3, 7, 7)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max(initial=0) < 1e-5


@needed
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_boxes_that_overlap_by_the_threshold_stay(tmp_path: Path, threshold: float) -> None:
    """Boxes on a grid have overlaps of exactly 0, one half and 1; scores come in ties."""
    draw = np.random.default_rng(5)
    corner = draw.integers(0, 8, (60, 2))
    boxes = np.concatenate([corner, corner + draw.integers(1, 4, (60, 2))], axis=1)
    feeds = {
        "boxes": boxes.astype(np.float32)[None],
        "scores": (draw.integers(1, 9, (1, 1, 60)) / 8).astype(np.float32),
    }
    constants = {"most": np.array([40]), "threshold": np.array([threshold], np.float32)}
    node = helper.make_node("NonMaxSuppression", [*feeds, *constants], ["y"])
    model = model_of([node], feeds, constants)
    (expected,) = graph_models.run(model, feeds)
    assert computed(model, feeds, tmp_path).tolist() == expected.tolist()


def lowered(tmp_path: Path, target: str, threshold: float = 0.05, **changes: Any) -> Path:
    neutral, path = tmp_path / "neutral.onnx", tmp_path / f"{target}.onnx"
    model = graph_models.tiny_detector(max_detections=40)
    for attribute in model.graph.node[-1].attribute:
        if attribute.name == "score_threshold":
            attribute.f = threshold
    onnx.save(model, str(neutral))
    lower(neutral, path, target, **changes)
    return path


@needed
@pytest.mark.parametrize(("threshold", "counts"), [(0.6, range(4, 10)), (0.8, range(3))])
def test_a_whole_detector_whatever_it_finds(
    tmp_path: Path, threshold: float, counts: range
) -> None:
    """Deformable convolution, crops and both NMS; the other side has them in older operators."""
    path = lowered(tmp_path, "onnxruntime", threshold)
    loaded = open_runner(job_for(path, input=jobs.square(64)))
    other = lowered(tmp_path, "onnxruntime-1.9", threshold)
    found = set()
    for seed in range(8):
        feeds = graph_models.picture_for(onnx.load(str(other)), seed)
        boxes, labels = graph_models.run(other, feeds)
        outputs = loaded.run(feeds["input"])
        compared = compare("", False, (boxes, labels), (outputs.boxes, outputs.labels))
        assert compared.passed, compared
        found.add(len(labels))
    assert found == set(counts)


@needed
@pytest.mark.parametrize("changes", [{"precision": "float16"}, {"half_nms": True}])
def test_a_graph_that_rounds_to_float16_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    job = job_for(lowered(tmp_path, "onnxruntime", **changes), input=jobs.square(64))
    with pytest.raises(BundleError, match=r"in float16; OpenVINO would compute them in f32"):
        open_runner(job)


@needed
def test_openvino_does_not_report_its_import(tmp_path: Path) -> None:
    """Also where its telemetry package is installed: a stand-in would leave a file here."""
    package = tmp_path / "packages" / "openvino_telemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("open('reported', 'w').close()\n")
    code = "import bundle.runners.openvino.session as r; print(r.openvino.__version__)"
    own = [path for path in sys.path if ".venv-openvino" in path]
    path = os.pathsep.join([str(package.parent), str(jobs.REPOSITORY), *own])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["packages"]


def test_without_openvino_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("bundle.runners.openvino")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BundleError, match="openvino cannot be imported") as caught:
        importlib.import_module("bundle.runners.openvino.session")
    assert "Install openvino" in caught.value.next
