"""The manifests' Jobs, run here: the containers' arguments and environment as they are written."""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cascadeport.manifests import folder as manifests

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder, frozen_server, kubernetes
from tests.helpers.kubernetes import Cluster

SHARDS = 3
FILES = ("detections.jsonl", "detections.json", "pictures.json", "infer.json")


def read(part: str) -> dict[str, Any]:
    """A manifest."""
    value = yaml.safe_load(manifests.content(kubernetes.subject("cpu", shards=SHARDS))[part])
    assert isinstance(value, dict)
    return value


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """A frozen folder, and 450 pictures in `tmp_path / "in"`."""
    found = frozen_folder.small(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(450):
        shutil.copy(
            tmp_path / "pictures" / f"{number % 5}.png", tmp_path / "in" / f"{number:03}.png"
        )
    return found


class Containers:
    """Runs containers as processes. The first one of an index may find its disk full."""

    def __init__(self, frozen: Path, full: int | None = None) -> None:
        self._frozen, self._full = frozen, full
        self.ended: list[tuple[int, str]] = []

    def __call__(self, words: list[str], environment: dict[str, str]) -> int:
        is_full = self._full is not None and environment.get("JOB_COMPLETION_INDEX") == str(
            self._full
        )
        if is_full:
            self._full = None
        done = subprocess.run(
            frozen_folder.command(self._frozen, *words),
            env={**jobs.environment(), **environment},
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_small_files if is_full else None,
        )
        self.ended.append((done.returncode, done.stderr))
        return done.returncode


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20480, 20480))


def test_a_failed_shard_is_tried_again_and_the_merged_job_is_the_whole(
    frozen: Path, tmp_path: Path
) -> None:
    claims = {"pictures": tmp_path / "in", "found": tmp_path / "found"}
    containers = Containers(frozen, full=1)
    cluster = Cluster(containers, claims)
    assert cluster.job(read("infer/job.yaml")) == ({0, 1, 2}, set())
    assert cluster.started == [0, 1, 2, 1]
    assert [code for code, _ in containers.ended] == [0, 2, 0, 0]
    assert "A result cannot be written: File too large." in containers.ended[1][1]
    assert "going on: " in containers.ended[-1][1]
    assert cluster.job(read("merge/job.yaml")) == ({0}, set())
    whole = frozen_folder.call(
        frozen, "infer", claims["pictures"], tmp_path / "whole", "--format", "coco"
    )
    assert whole.returncode == 0
    for name in FILES:
        assert (claims["found"] / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_volcano_s_job_does_the_same(frozen: Path, tmp_path: Path) -> None:
    claims = {"pictures": tmp_path / "in", "found": tmp_path / "found"}
    containers = Containers(frozen, full=1)
    cluster = Cluster(containers, claims)
    assert cluster.volcano(read("volcano/infer/job.yaml")) == {0, 1, 2}
    assert cluster.started == [0, 1, 0, 1, 2]
    assert [code for code, _ in containers.ended] == [0, 2, 0, 0, 0]
    assert cluster.job(read("merge/job.yaml")) == ({0}, set())
    whole = frozen_folder.call(frozen, "infer", claims["pictures"], tmp_path / "whole")
    assert whole.returncode == 0
    found, wanted = (
        folder / "detections.jsonl" for folder in (claims["found"], tmp_path / "whole")
    )
    assert found.read_bytes() == wanted.read_bytes()


def test_a_skipped_picture_fails_its_index_once_and_no_other(frozen: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "004.png").write_bytes(b"no picture")
    claims = {"pictures": tmp_path / "in", "found": tmp_path / "found"}
    cluster = Cluster(Containers(frozen), claims)
    assert cluster.job(read("infer/job.yaml")) == ({0, 2}, {1})
    assert cluster.started == [0, 1, 2]


def test_a_server_answers_its_probes_and_has_the_autoscaler_s_metric(tmp_path: Path) -> None:
    (container,) = read("serve/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == 8000
    assert read("serve/service.yaml")["spec"]["ports"][0]["targetPort"] == port["name"]
    metrics = read("serve/autoscaler.yaml")["spec"]["metrics"]
    with frozen_server.serving(frozen_folder.complete(tmp_path)) as server:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert server.ask(container[name]["httpGet"]["path"]).status == 200
        text = server.ask("/metrics").content.decode()
    assert f"\n{metrics[0]['pods']['metric']['name']} 0.0\n" in text
