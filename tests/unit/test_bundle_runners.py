"""Runners are found by the names of their folders, and a new one needs nothing but its folder."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bundle
from bundle.errors import BundleError
from bundle.job import Job, NetworkFile
from bundle.runners import needs_own_process, open_runner, runner_module, runner_names
from bundle.runners.contract import TensorInfo, check_contract
from tests.helpers import bundle_jobs as jobs

BUNDLE = Path(bundle.__file__).parent
SIZE = jobs.SIZE


def job_for(name: str) -> Job:
    content = jobs.job(Path("/p"), [jobs.item(1, "a", 1, 1)], runner={"name": name})
    return jobs.checked(content)


@pytest.mark.parametrize(
    "name",
    ["tpu", "", ".", "..", "contract", "process", "__pycache__", "onnxruntime.session", "../draw"],
)
def test_a_name_that_is_no_runner_s_folder(name: str) -> None:
    with pytest.raises(BundleError, match="There is no runner") as caught:
        open_runner(job_for(name))
    folders = sorted(path.parent.name for path in (BUNDLE / "runners").glob("*/__init__.py"))
    assert {"aclruntime", "onnxruntime"} <= set(folders)
    assert caught.value.next == "Available runners: {}.".format(", ".join(folders))
    assert not needs_own_process(job_for(name))


@pytest.mark.parametrize("name", runner_names())
def test_every_runner_has_what_a_runner_must_have(name: str) -> None:
    module = runner_module(name)
    assert isinstance(module.KEEPS_GIL, bool)
    assert callable(module.load)
    assert callable(module.version)


def test_no_runner_is_named_outside_its_folder() -> None:
    """The bundle knows no runner by its name, except in texts for people."""
    for path in BUNDLE.rglob("*.py"):
        if path.relative_to(BUNDLE).parts[:2] in {("runners", name) for name in runner_names()}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in runner_names(), path


RUNNER = """\
import numpy as np
from bundle.errors import BundleError
from bundle.runners import Outputs, Runner

KEEPS_GIL = {keeps_gil}

def version():
    return "1.2"

def load(job, network):
    return Constant(job.runner.options["score"])

class Constant(Runner):
    def __init__(self, score):
        self.score = score
    def describe(self):
        import os
        return {{"runtime": "constant", "process": os.getpid()}}
    def run(self, batch):
        boxes = np.array([[0, 0, 9, 9, self.score]], np.float32)
        return Outputs(boxes, np.zeros(1, np.int64), device_ms=1.0)
"""
COMMANDS = """\
from bundle.commands import BundleCommand

def greet(name):
    from bundle import events
    events.note("hello " + name)

COMMANDS = [BundleCommand("constant-greet", "greet somebody", ("name",), greet)]
"""


@pytest.mark.parametrize("keeps_gil", [False, True])
def test_a_new_folder_is_a_new_runner(tmp_path: Path, keeps_gil: bool) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / "bundle" / "runners" / "constant"
    folder.mkdir()
    (folder / "__init__.py").write_text(RUNNER.format(keeps_gil=keeps_gil))
    (folder / "commands.py").write_text(COMMANDS)
    content = jobs.small(tmp_path)
    content["runner"] = {"name": "constant", "threads": 1, "options": {"score": 0.5}}
    path = jobs.write(tmp_path / "job.json", content)

    def call(*arguments: object) -> list[dict[str, object]]:
        done = subprocess.run(
            jobs.command(*arguments), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return jobs.events(done.stdout)

    call("run", path, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["environment"]["runtime"] == "constant"
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {row["score"] for row in rows} == {0.5}
    (event,) = call("selfcheck")
    assert event["runtimes"]["constant"] == "1.2"  # type: ignore[index]
    assert call("constant-greet", "you")[0] == {"event": "note", "text": "hello you"}


def test_the_command_line_asks_every_runner_without_importing_a_runtime() -> None:
    script = (
        "import sys; from bundle.__main__ import _parser; print(_parser().format_help());"
        "print(sorted({'numpy', 'cv2', 'onnxruntime', 'aclruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=jobs.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    for name in ("run", "selfcheck", "bins-write", "bins-read", "bins-run"):
        assert f"    {name} " in done.stdout


INPUT = TensorInfo("input", "float32", (1, 3, SIZE, SIZE))
BOXES = TensorInfo("boxes", "float32", (None, 5))
LABELS = TensorInfo("labels", "int64", None)


def check(
    inputs: list[TensorInfo], outputs: list[TensorInfo], by_name: bool = True
) -> BundleError | None:
    job = job_for("onnxruntime")
    try:
        check_contract(job, job.runner.networks[0], inputs, outputs, "advice", by_name)
    except BundleError as failure:
        return failure
    return None


def test_a_network_that_obeys_the_contract() -> None:
    assert check([INPUT], [BOXES, LABELS]) is None
    assert check([INPUT], [LABELS, BOXES, BOXES._replace(name="more")]) is None
    assert check([INPUT._replace(shape=("n", 3, None, None))], [BOXES, LABELS]) is None
    others = [BOXES._replace(name="a:0"), LABELS._replace(name="b:0", dtype="int32")]
    assert check([INPUT._replace(name="x")], others, by_name=False) is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "by_name", "message"),
    [
        ([], [BOXES, LABELS], True, "it has 0 inputs, not one."),
        ([INPUT, INPUT], [BOXES, LABELS], False, "it has 2 inputs, not one."),
        ([INPUT._replace(name="x")], [BOXES, LABELS], True, "its input is not called 'input'."),
        (
            [INPUT._replace(dtype="float16")],
            [LABELS],
            True,
            "input 'input' is not float32 (1,3,96,96); there is no output 'boxes'.",
        ),
        ([INPUT], [LABELS, BOXES], False, "output 'labels' is not float32 (n,5); output 'boxes'"),
        ([INPUT], [BOXES], False, "it has 1 outputs, not boxes and labels."),
        (
            [INPUT],
            [BOXES._replace(shape=(5, 4)), LABELS],
            True,
            "output 'boxes' is not float32 (n,5).",
        ),
    ],
)
def test_a_network_that_violates_the_contract(
    inputs: list[TensorInfo], outputs: list[TensorInfo], by_name: bool, message: str
) -> None:
    failure = check(inputs, outputs, by_name)
    assert failure is not None
    assert f"The network violates the contract: {message}" in failure.what
    assert "It has inputs " in failure.what
    assert (failure.where, failure.next) == ("/none.onnx", "advice")


def test_the_job_s_networks_are_what_the_runner_is_given() -> None:
    job = job_for("onnxruntime")
    assert job.runner.networks == (NetworkFile("/none.onnx", "0", (SIZE, SIZE)),)
