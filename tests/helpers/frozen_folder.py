"""A frozen folder as docs/frozen-image.md describes it, made from a job of the tests."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bundle.digest import bundle_digest
from bundle.frozen.layout import read_frozen
from bundle.frozen.recording import record
from bundle.run import run
from bundle.runners import open_runner
from tests.helpers import bundle_jobs as jobs

KEPT = (
    "format",
    "networks",
    "input",
    "outputs",
    "preprocess",
    "postprocess",
    "classes",
    "runner",
    "stream",
)


def freeze(folder: Path, job: dict[str, Any], **changes: Any) -> Path:
    """Writes frozen.json and the networks of a job."""
    (folder / "networks").mkdir(parents=True)
    skeleton = json.loads(json.dumps({key: job[key] for key in KEPT}))
    for network in skeleton["networks"]:
        path = Path(network["path"])
        shutil.copy(path, folder / "networks" / path.name)
        network["path"] = f"networks/{path.name}"
    content = {
        "format": 1,
        "name": "tiny",
        "title": "A tiny detector",
        "version": "1.2.3",
        "target": "cpu",
        "target_title": "CPU, onnxruntime",
        "labels": [],
        "digests": {"bundle": bundle_digest()},
        "job": skeleton,
        **changes,
    }
    jobs.write(folder / "frozen.json", content)
    return folder


def small(tmp_path: Path, **changes: Any) -> Path:
    """The folder of `bundle_jobs.small`, whose pictures are in `tmp_path / "pictures"`."""
    return freeze(tmp_path / "frozen", jobs.small(tmp_path), **changes)


ABOUT = {
    "format": 1,
    "cascadeport": "0.2.0",
    "digests": {"image": "sha256:" + "1" * 64, "dataset": "2" * 64},
    "run": {
        "date": "2026-11-29T10:00:00Z",
        "device": "a processor",
        "map": 0.7125,
        "latency_ms": {"n": 200, "mean": 12.5},
        "chip_ips": None,
    },
    "licences": [{"what": "the network", "licence": "Apache-2.0", "source": "drawn for tests"}],
    "semantics": [],
    "verify": ["cascadeport verify SHIPMENT"],
}


def complete(tmp_path: Path, **changes: Any) -> Path:
    """The folder of `small` with golden pictures, recorded, and about.json."""
    content = jobs.small(tmp_path)
    folder = freeze(tmp_path / "frozen", content, **changes)
    add_golden(folder, content, tmp_path / "run")
    jobs.write(folder / "about.json", ABOUT)
    return folder


def add_golden(folder: Path, content: dict[str, Any], out: Path, count: int = 3) -> None:
    """Runs a job, and writes the first pictures and what was found in them as golden ones."""
    job = jobs.checked(content)
    run(job, str(out))
    (folder / "golden").mkdir()
    lines = [json.loads(line) for line in (out / "pictures.jsonl").read_text().splitlines()]
    digests = {line["id"]: line["sha256"] for line in lines}
    pictures = [
        {**item, "sha256": digests[item["id"]]} for item in content["pictures"]["items"][:count]
    ]
    for item in pictures:
        shutil.copy(Path(job.root) / item["file"], folder / "golden" / item["file"])
    known = {item["id"] for item in pictures}
    rows = json.loads((out / "detections.json").read_text())
    kept = [row for row in rows if row["image_id"] in known]
    golden = {"format": 1, "pictures": pictures, "detections": kept}
    jobs.write(folder / "golden" / "run.json", golden)
    record(read_frozen(str(folder)), open_runner)


def call(
    folder: Path, *arguments: object, stdin: bytes = b"", python: object = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Runs the program's command line on a frozen folder."""
    done = subprocess.run(
        command(folder, *arguments, python=python),
        input=stdin,
        env=jobs.environment(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def command(folder: Path, *arguments: object, python: object = sys.executable) -> list[str]:
    """The program's command line."""
    return [str(python), "-m", "bundle.frozen", "--frozen", str(folder), *map(str, arguments)]
