"""Exports small networks with random weights, and tries lowerings of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from cascadeport import backends
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.graph import Session, Verification, verify

from tests.helpers.planted import Plant

REPOSITORY = Path(__file__).resolve().parents[2]
# Without these, glibc gives large blocks back to the kernel and fetches them again, for each layer.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
SIZES = [(120, 160), (200, 90), (64, 64), (90, 250), (60, 61)]


def draw_pictures(folder: Path) -> list[Path]:
    """Five pictures of different aspect ratios, with something in them."""
    draw = np.random.default_rng(0)
    files = []
    for index, (height, width) in enumerate(SIZES):
        picture = np.full((height, width, 3), 90, np.uint8)
        for _ in range(12):
            x, y = (int(draw.integers(side)) for side in (width, height))
            colour = tuple(int(c) for c in draw.integers(0, 256, 3))
            cv2.circle(picture, (x, y), int(draw.integers(4, 25)), colour, -1)
        files.append(folder / f"{index}.png")
        cv2.imwrite(str(files[-1]), picture)
    return files


def export(
    python: Path,
    config: str,
    seed: int,
    shape: tuple[int, int],
    pictures: Sequence[Path],
    out: Path,
    threads: int = 1,
) -> str:
    """Runs the exporter with random weights.

    Returns:
        Why it refused the seed or the pictures; empty if the export is in `out`.
    """
    environment = {**os.environ, **MALLOC, "PYTHONPATH": str(REPOSITORY / "images" / "export")}
    done = subprocess.run(
        [str(python), "-m", "exporter", "--random-weights", str(seed), "--out", str(out),
         "--config", str(REPOSITORY / "images" / "export" / "configs" / f"{config}.py"),
         "--shape", *map(str, shape), "--pictures", *map(str, pictures),
         "--threads", str(threads)],
        env={**environment, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode not in (0, 2):
        raise RuntimeError(done.stderr[-3000:])
    return "" if done.returncode == 0 else done.stdout.splitlines()[-1]


def labels_of(exported: Path) -> list[int]:
    """The labels of all detections of an export."""
    files = sorted((exported / "reference").glob("*.npz"))
    return [int(label) for file in files for label in np.load(file)["labels"]]


def part(exported: Path, out: Path, names: Sequence[str]) -> Path:
    """An export of fewer pictures.

    Args:
        exported: The exporter's folder.
        out: The folder to write, which refers to the first.
        names: The pictures it is to have.
    """
    record = json.loads((exported / "export.json").read_text())
    record["pictures"] = [one for one in record["pictures"] if one["name"] in names]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for entry in exported.iterdir():
        (out / entry.name).symlink_to(entry)
    (out / "export.json").unlink()
    (out / "export.json").write_text(json.dumps(record))
    return out


def tried(
    exported: Path,
    folder: Path,
    target: str,
    plant: Plant | None = None,
    lowering: str | None = None,
) -> Verification:
    """The verification of an export as a target lowers it, with an error in it or without.

    Args:
        exported: The exporter's folder.
        folder: Where graphs are written.
        target: A target of targets.toml.
        plant: Plants an error into the neutral graph.
        lowering: Another than the target's own.
    """
    return verify(lowered(exported, folder, target, plant, lowering), "lowered.onnx", exported)


def lowered(
    exported: Path,
    folder: Path,
    target: str,
    plant: Plant | None = None,
    lowering: str | None = None,
) -> Session:
    """An export as a target lowers it, loaded; the arguments are those of `tried`."""
    backend = backends.of(targets.load(REPOSITORY / "targets.toml", backends.row)[target])
    neutral = exported / "neutral.onnx"
    if plant is not None:
        model = onnx.load(str(neutral))
        plant(model)
        neutral = folder / "planted.onnx"
        onnx.save(model, str(neutral))
    choice = backend.chosen_lowering(Options(target=target, lowering=lowering), "local")
    product = choice.lowering.lower(neutral, folder / "lowered.onnx", backend.faithful)
    return loaded(target, product.path, product.lowering)


def loaded(target: str, network: Path, lowering: str) -> Session:
    """A lowered graph as the target's backend verifies it."""
    rows = targets.load(REPOSITORY / "targets.toml", backends.row)
    session = backends.of(rows[target]).session(network, lowering)
    assert session is not None, "this environment cannot run what was lowered"
    return session
