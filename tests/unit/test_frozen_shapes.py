"""A frozen network in which every picture has a shape of its own: infer, serve, selftest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Server, serving

INFER = "/v2/models/tiny-network/infer"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    content = jobs.own(root, 8)
    frozen_folder.freeze(root / "frozen", content)
    frozen_folder.add_golden(root / "frozen", content, root / "run")
    jobs.write(root / "frozen" / "about.json", frozen_folder.ABOUT)
    jobs.write(root / "job.json", content)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with serving(root / "frozen") as server:
        yield server


def tensor(*shape: int) -> bytes:
    values = np.zeros(shape, np.float32).ravel().tolist()
    one = {"name": "input", "datatype": "FP32", "shape": list(shape), "data": values}
    return json.dumps({"inputs": [one]}).encode()


def test_infer_finds_what_the_run_found(root: Path) -> None:
    done = frozen_folder.call(root / "frozen", "infer", root / "pictures", root / "out")
    assert done.returncode == 0, done.stderr
    lines = (root / "out" / "detections.jsonl").read_text().splitlines()
    found = {line["file"]: line["detections"] for line in map(json.loads, lines)}
    expected: dict[int, list[Any]] = {}
    for row in json.loads((root / "run" / "detections.json").read_text()):
        expected.setdefault(row["image_id"], []).append(row)
    assert len(found) == len(expected) > 3
    items = json.loads((root / "job.json").read_text())["pictures"]["items"]
    for item in items:
        for one, row in zip(found[item["file"]], expected[item["id"]], strict=True):
            assert one["bbox"] == pytest.approx(row["bbox"])


def test_it_passes_its_own_test(root: Path) -> None:
    done = frozen_folder.call(root / "frozen", "selftest")
    assert done.returncode == 0, done.stderr


def test_the_server_takes_every_shape_and_says_so(server: Server) -> None:
    described = server.ask("/v2/models/tiny-network").json
    assert described["inputs"][0]["shape"] == [1, 3, -1, -1]
    for shape in [(1, 3, 64, 96), (1, 3, 96, 64), (1, 3, 8, 16)]:
        assert server.ask(INFER, tensor(*shape)).status == 200


@pytest.mark.parametrize("shape", [(1, 3, 96, 96), (1, 3, 64, 90), (1, 3, 0, 8), (2, 3, 8, 8)])
def test_other_shapes_are_refused(server: Server, shape: tuple[int, ...]) -> None:
    reply = server.ask(INFER, tensor(*shape))
    assert reply.status == 400
    assert "or smaller by multiples of 8" in reply.json["error"]
