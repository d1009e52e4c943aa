"""The exporter in the export environment: a verified graph, and explained errors."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.graph import verify

from tests.helpers.lowering import lower, session

pytestmark = pytest.mark.export

SHAPE = (128, 160)
Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def python(export_python: Path) -> Path:
    return export_python


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five pictures of other aspect ratios, with something in them."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    files = []
    for index, (height, width) in enumerate([(120, 160), (200, 90), (64, 64), (90, 250), (60, 61)]):
        picture = np.full((height, width, 3), 90, np.uint8)
        for _ in range(12):
            x, y = (int(draw.integers(side)) for side in (width, height))
            colour = tuple(int(c) for c in draw.integers(0, 256, 3))
            cv2.circle(picture, (x, y), int(draw.integers(4, 25)), colour, -1)
        files.append(folder / f"{index}.png")
        cv2.imwrite(str(files[-1]), picture)
    return files


@pytest.fixture(scope="module")
def run(repository: Path, python: Path, pictures: list[Path]) -> Run:
    """Runs the exporter; gives its exit code and the events it printed."""

    def call(out: Path, *arguments: str, **changes: str | None) -> tuple[int, list[dict[str, Any]]]:
        options = {
            "config": str(repository / "images/export/configs/demo.py"),
            "shape": " ".join(map(str, SHAPE)),
            "pictures": " ".join(map(str, pictures)),
            "out": str(out),
            "threads": "1",
            **changes,
        }
        words = [str(python), "-m", "exporter", *arguments]
        for name, value in options.items():
            words += [f"--{name}", *value.split()] if value is not None else []
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(repository / "images/export"), "PATH": "/usr/bin:/bin"},
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done.returncode, [
            json.loads(line) for line in done.stdout.splitlines() if line[:1] == "{"
        ]

    return call


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    code, events = run(out, "--random-weights", "7")
    assert code == 0, events
    assert events[-1]["event"] == "done"
    return out


@pytest.fixture(scope="module")
def checkpoint(
    python: Path,
    repository: Path,
    pictures: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A checkpoint of the demo's model, as mmcv's runner would save it."""
    path = tmp_path_factory.mktemp("checkpoint") / "demo.pth"
    code = (
        "import sys, torch; sys.path.insert(0, 'images/export')\n"
        "from exporter import model, pictures, randomise\n"
        "cfg = model.load_config('images/export/configs/demo.py')\n"
        "built, how = model.build(cfg), model.normalisation(cfg)\n"
        f"loud = pictures.read({str(pictures[0])!r}, {SHAPE}, how)\n"
        f"randomise.randomise(built, 8, loud, next(pictures.quiet({SHAPE}, how))[1])\n"
        f"torch.save(dict(meta=dict(), state_dict=built.state_dict()), {str(path)!r})\n"
    )
    subprocess.run([str(python), "-c", code], cwd=repository, check=True, capture_output=True)
    return path


def test_the_record_says_what_was_exported_from_what(exported: Path, repository: Path) -> None:
    record = json.loads((exported / "export.json").read_text())
    assert record["input"]["shape"] == [1, 3, *SHAPE]
    assert record["model"]["random_weights_seed"] == 7
    assert record["model"]["classes"] == 8
    neutral = (exported / "neutral.onnx").read_bytes()
    assert record["neutral"]["sha256"] == hashlib.sha256(neutral).hexdigest()
    config = (repository / "images/export/configs/demo.py").read_bytes()
    assert record["model"]["config_sha256"] == hashlib.sha256(config).hexdigest()
    counts = [each["detections"] for each in record["pictures"]]
    assert max(counts) > 20
    assert min(counts) == 0
    assert [each["traced"] for each in record["pictures"]] == [True] + [False] * (len(counts) - 1)


@pytest.mark.parametrize("target", ["onnxruntime", "onnxruntime-1.9"])
def test_every_lowering_detects_what_pytorch_detects(
    exported: Path, tmp_path: Path, target: str
) -> None:
    path = lower(exported / "neutral.onnx", tmp_path / "lowered.onnx", target).path
    report = verify(session(path), path.name, exported)
    report.require_passed()
    report.write(tmp_path / "verification.json")
    written = json.loads((tmp_path / "verification.json").read_text())
    assert written["passed"]
    assert len(written["noise"]) == 3
    for picture in written["pictures"]:
        noise = picture["boxes"]["noise"]
        assert (noise is None) == (picture["expected"] == 0)
        assert noise is None or 0 < noise["median"] < noise["max"] < 0.01


def test_the_ascend_graph_detects_nearly_that(exported: Path, tmp_path: Path) -> None:
    """Its RoIs are never thinner than a cell: a few detections differ, most are PyTorch's."""
    faithful = {"proposals": 1000, "across_levels": False}
    path = lower(exported / "neutral.onnx", tmp_path / "ascend.onnx", "ascend", **faithful).path
    path = executable(path, tmp_path / "executable.onnx", "fp32")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    same = total = 0
    for file in sorted((exported / "reference").glob("*.npz")):
        stored = np.load(file)
        boxes, labels = session.run(None, {"input": stored["input"]})
        assert (boxes.shape, labels.shape) == ((100, 5), (100,))
        assert (boxes[:, 4] > 0).any() == bool(len(stored["boxes"]))
        for box, label in zip(stored["boxes"], stored["labels"], strict=True):
            near = (np.abs(boxes - box) <= [0.1, 0.1, 0.1, 0.1, 1e-3]).all(axis=1)
            same += bool((near & (labels == label)).any())
            total += 1
    assert total > 200
    assert same > 0.9 * total


def test_the_old_onnxruntime_detects_what_pytorch_detects(
    exported: Path, tmp_path: Path, python: Path
) -> None:
    path = lower(exported / "neutral.onnx", tmp_path / "lowered.onnx", "onnxruntime-1.9").path
    code = (
        "import json, sys, numpy, onnxruntime\n"
        "assert onnxruntime.__version__ == '1.9.0'\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "for index, file in enumerate(sys.argv[2:]):\n"
        "    feed = {'input': numpy.load(file)['input']}\n"
        "    boxes, labels = session.run(['boxes', 'labels'], feed)\n"
        "    numpy.savez(sys.argv[1] + '.%d.npz' % index, boxes=boxes, labels=labels)\n"
    )
    stored = sorted((exported / "reference").glob("*.npz"))
    subprocess.run([str(python), "-c", code, str(path), *map(str, stored)], check=True)
    from cascadeport.graph.verify import compare

    for index, file in enumerate(stored):
        expected, found = np.load(file), np.load(f"{path}.{index}.npz")
        pair = [(each["boxes"], each["labels"]) for each in (expected, found)]
        assert compare(file.name, False, pair[0], pair[1]).passed


def test_too_few_pictures_prove_nothing(exported: Path, tmp_path: Path) -> None:
    path = lower(exported / "neutral.onnx", tmp_path / "lowered.onnx", "onnxruntime").path
    shutil.copytree(exported, tmp_path / "few")
    record = json.loads((exported / "export.json").read_text())
    record["pictures"] = [each for each in record["pictures"][:3] if each["detections"]]
    (tmp_path / "few" / "export.json").write_text(json.dumps(record))
    report = verify(session(path), path.name, tmp_path / "few")
    assert any("too few" in problem for problem in report.problems)
    assert any("without detections" in problem for problem in report.problems)


def test_a_checkpoint_is_loaded_key_by_key(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    code, events = run(
        tmp_path / "out", "--checkpoint", str(checkpoint), "--sha256", digest[:8].upper()
    )
    assert code == 0, events
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["model"]["checkpoint_sha256"] == digest


def error(events: list[dict[str, Any]]) -> dict[str, str]:
    assert events[-1]["event"] == "error", events
    assert events[-1]["what"].endswith((".", "!", ")")), events[-1]["what"]
    return events[-1]


def changed(python: Path, source: Path, target: Path, code: str) -> Path:
    """A copy of a checkpoint whose `state` has been changed by `code`."""
    script = (
        "import sys, torch\n"
        "saved = torch.load(sys.argv[1]); state = saved['state_dict']\n"
        f"{code}\n"
        "torch.save(saved, sys.argv[2])\n"
    )
    subprocess.run([str(python), "-c", script, str(source), str(target)], check=True)
    return target


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("del state['neck.lateral_convs.0.conv.weight']", "1 missing (neck.lateral_convs.0.conv"),
        ("state['mask_head.x'] = torch.zeros(1)", "1 unexpected (mask_head.x)"),
        (
            "state['rpn_head.rpn_cls.bias'] = torch.zeros(9)",
            "rpn_head.rpn_cls.bias is (9,), the model has (3,)",
        ),
        ("state['rpn_head.rpn_cls.bias'][0] = float('nan')", "not finite"),
        ("for key in list(state): state.pop(key)", "contains no weights"),
    ],
)
def test_a_checkpoint_of_another_model(
    run: Run, python: Path, checkpoint: Path, tmp_path: Path, code: str, words: str
) -> None:
    other = changed(python, checkpoint, tmp_path / "other.pth", code)
    status, events = run(tmp_path / "out", "--checkpoint", str(other))
    assert status == 2
    assert words in error(events)["what"]
    assert not (tmp_path / "out").exists()


def test_a_truncated_checkpoint(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pth"
    cut.write_bytes(checkpoint.read_bytes()[:-1000])
    status, events = run(tmp_path / "out", "--checkpoint", str(cut))
    assert status == 2
    assert "truncated, or not a PyTorch checkpoint" in error(events)["what"]


def test_a_wrong_checksum_is_reported_before_anything_is_loaded(run: Run, tmp_path: Path) -> None:
    trap = tmp_path / "trap.pth"
    trap.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    status, events = run(tmp_path / "out", "--checkpoint", str(trap), "--sha256", "3b2f0594")
    assert status == 2
    assert "sha256" in error(events)["what"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": "128 150"}, "multiple of 32"),
        ({"shape": "0 128"}, "multiple of 32"),
        ({"config": "nowhere.py"}, "config does not exist"),
        ({"pictures": "nowhere/*.jpg"}, "No picture"),
    ],
)
def test_other_bad_input(
    run: Run, tmp_path: Path, changes: dict[str, str | None], words: str
) -> None:
    status, events = run(tmp_path / "out", "--random-weights", "1", **changes)
    assert status == 2
    assert words in error(events)["what"]


def test_too_few_pictures(run: Run, tmp_path: Path, pictures: list[Path]) -> None:
    few = " ".join(map(str, pictures[:3]))
    status, events = run(tmp_path / "out", "--random-weights", "1", pictures=few)
    assert status == 2
    assert "too few" in error(events)["what"]


@pytest.mark.parametrize(
    ("edit", "where"),
    [
        ("model['backbone']['dcn']['type'] = 'DCNv2'", "backbone.layer2.0.conv2"),
        ("test_cfg['rcnn']['nms']['type'] = 'soft_nms'", "test_cfg.rcnn.nms"),
        ("test_cfg['rpn']['min_bbox_size'] = 4", "test_cfg.rpn"),
    ],
)
def test_an_unsupported_config_is_refused_naming_the_module(
    run: Run, repository: Path, tmp_path: Path, edit: str, where: str
) -> None:
    config = tmp_path / "config.py"
    source = (repository / "images/export/configs/demo.py").read_text()
    config.write_text(f"{source}\n{edit}\n")
    status, events = run(tmp_path / "out", "--random-weights", "1", config=str(config))
    assert status == 2
    assert error(events)["where"] == where


@pytest.mark.parametrize("text", ["model = (", "x = 1", "model = dict(type='RetinaNet')"])
def test_an_invalid_config(run: Run, tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.py"
    config.write_text(text + "\n")
    status, events = run(tmp_path / "out", "--random-weights", "1", config=str(config))
    assert status == 2
    assert error(events)["where"] == str(config)


@pytest.mark.parametrize(("scarce", "words"), [("memory", "of memory"), ("disk", "are free")])
def test_scarce_memory_and_disk_are_reported_before(
    repository: Path, python: Path, tmp_path: Path, scarce: str, words: str
) -> None:
    code = (
        "import collections, sys; sys.path.insert(0, 'images/export')\n"
        "from exporter import resources\n"
        "usage = collections.namedtuple('usage', 'total used free')\n"
        f"if {scarce!r} == 'memory': resources.available_memory = lambda: 1 << 29\n"
        "else: resources.shutil.disk_usage = lambda path: usage(1, 1, 1 << 20)\n"
        "try: resources.check(359 << 20, (1216, 1216), 5, sys.argv[1])\n"
        "except resources.ExportError as error: print(error.what)\n"
    )
    done = subprocess.run(
        [str(python), "-c", code, str(tmp_path / "out")],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert words in done.stdout


def test_no_installed_module_stays_patched(repository: Path, python: Path) -> None:
    code = (
        "import importlib, sys; sys.path.insert(0, 'images/export')\n"
        "from torch.nn import functional\n"
        "module = importlib.import_module('mmcv.ops.deform_conv')\n"
        "before = module.deform_conv2d, functional.interpolate\n"
        "from exporter import deform, detector\n"
        "try:\n"
        "    with deform.deform_conv_as(deform.deform_conv2d), detector.nearest_by_two():\n"
        "        assert module.deform_conv2d is not before[0]\n"
        "        assert functional.interpolate is not before[1]\n"
        "        raise KeyboardInterrupt\n"
        "except KeyboardInterrupt: pass\n"
        "assert (module.deform_conv2d, functional.interpolate) == before\n"
    )
    subprocess.run([str(python), "-c", code], cwd=repository, check=True, capture_output=True)
