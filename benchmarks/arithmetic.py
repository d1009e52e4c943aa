"""mAP of the demo with every lowering, and with the arithmetic of an Ascend chip.

The demo's 200 held-out pictures are preprocessed once, and all contenders get the same inputs:
PyTorch (mmdet's own inference in the export environment), the lowerings in onnxruntime, and the
Ascend graph in the reference executor. Postprocessing and evaluation are the same for all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY)]

from _jobs import make_job  # noqa: E402
from cascadeport import backends, datasets, evaluation, scenes  # noqa: E402
from cascadeport.backends.ascend.reference_executor import executable  # noqa: E402
from cascadeport.config import cards  # noqa: E402
from cascadeport.graph import LoweringRequest  # noqa: E402
from cascadeport.pipeline.job import network_input  # noqa: E402

from bundle.geometry import fit  # noqa: E402
from bundle.job import Job  # noqa: E402
from bundle.picture import read_picture  # noqa: E402
from bundle.postprocess import coco_rows, locate  # noqa: E402
from bundle.preprocess import Canvas, Preprocessor  # noqa: E402

PYTHON37 = REPOSITORY / ".venv-export" / "bin" / "python"
DATA = REPOSITORY / "models" / "data" / "demo.toml"
TORCH = """
import sys
import numpy
sys.path.insert(0, "images/export")
from exporter import checkpoint, model, reference
built = model.build(model.load_config(sys.argv[1]))
checkpoint.load(built, sys.argv[2])
inputs = numpy.load(sys.argv[3], mmap_mode="r")
found = {}
for index in range(len(inputs)):
    found["boxes_%d" % index], found["labels_%d" % index] = reference.detect(
        built, numpy.array(inputs[index][None]))
numpy.savez(sys.argv[4], **found)
"""


@dataclass(frozen=True)
class Contender:
    """A graph and its description."""

    name: str
    path: Path


def job_for(card: cards.Card, dataset: datasets.Dataset, folder: Path) -> Job:
    """The bundle's job, of which only preparing and locating is used."""
    return make_job(
        folder,
        networks=[{"path": "unused.onnx", "sha256": "0" * 64}],
        input=network_input(card),
        preprocess={
            "mean": list(card.input.mean),
            "std": list(card.input.std),
            "channels": card.input.channels,
            "padding": card.input.padding,
        },
        classes=[category.model_dump() for category in card.classes],
        pictures={
            "root": str(dataset.pictures_dir),
            "items": [
                {"id": item.id, "file": item.file, "width": item.width, "height": item.height}
                for item in dataset.items
            ],
        },
    )


def contenders(neutral: Path, folder: Path) -> Iterator[Contender]:
    """Every lowering, and the Ascend graph in each arithmetic, faithful or like the public port."""
    for name in ("onnxruntime", "onnxruntime-1.9"):
        done = backends.lowering(name).lower(neutral, folder / f"{name}.onnx")
        yield Contender(name, done.path)
    half = LoweringRequest(precision="float16")
    done = backends.lowering("onnxruntime").lower(neutral, folder / "half.onnx", half)
    yield Contender("onnxruntime, float16 (as a CPU computes it)", done.path)
    faithful = LoweringRequest(proposals=1000, across_levels=False)
    for how, request in (("faithful", faithful), ("like the public port", LoweringRequest())):
        done = backends.lowering("ascend").lower(neutral, folder / "ascend.onnx", request)
        for arithmetic in ("fp32", "fp16", "force_fp16"):
            name = f"ascend, {how}, {arithmetic}"
            path = folder / f"{how}-{arithmetic}.onnx"
            yield Contender(name, executable(done.path, path, arithmetic))


def main() -> None:
    card = cards.load(REPOSITORY / "models" / "demo.toml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = datasets.describe(DATA)
        assert isinstance(described, datasets.Scenes)
        scenes.generate(folder / "data", count=described.count, seed=described.seed)
        dataset = datasets.load(folder / "data")
        job = job_for(card, dataset, folder)
        canvas, preprocessor = Canvas(job.preprocess), Preprocessor(job.preprocess)
        geometries, inputs = [], []
        for picture in job.pictures:
            image = read_picture(str(Path(job.root) / picture.file), picture)
            geometries.append(fit(picture, job.preprocess))
            preprocessor.prepare(image, geometries[-1], canvas)
            inputs.append(canvas.array[0].copy())
        np.save(folder / "inputs.npy", np.stack(inputs))
        annotations = datasets.for_evaluation(dataset, folder)

        def ap(found: list[tuple[np.ndarray, np.ndarray]]) -> float:
            rows = []
            for picture, geometry, (boxes, labels) in zip(
                job.pictures, geometries, found, strict=True
            ):
                rows += coco_rows(locate(boxes, labels, geometry, job), picture.id, job)
            path = folder / "detections.json"
            path.write_text(json.dumps(rows))
            ids = [picture.id for picture in job.pictures]
            result = evaluation.evaluate(annotations, path, ids).stats["AP"]
            assert result is not None
            return result

        results: list[tuple[str, float]] = []
        if PYTHON37.exists():
            config = REPOSITORY / "images" / "export" / "configs" / "demo.py"
            weights = REPOSITORY / "models" / "demo" / "demo.pth"
            words = [str(PYTHON37), "-c", TORCH, str(config), str(weights)]
            words += [str(folder / "inputs.npy"), str(folder / "torch.npz")]
            subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True)
            with np.load(folder / "torch.npz") as stored:
                pairs = [
                    (stored[f"boxes_{index}"], stored[f"labels_{index}"])
                    for index in range(len(inputs))
                ]
            results.append(("PyTorch 1.7.0, mmdet 2.8.0", ap(pairs)))
        assert card.graph is not None
        for contender in contenders(card.file(card.graph.path), folder):
            session = onnxruntime.InferenceSession(
                str(contender.path), providers=["CPUExecutionProvider"]
            )
            pairs = [tuple(session.run(None, {"input": picture[None]})) for picture in inputs]
            results.append((contender.name, ap(pairs)))

    first = results[0][1]
    print("## mAP with each lowering\n")
    print(
        f"The demo, {len(inputs)} held-out pictures. Rows of the Ascend graph are simulated: they "
        "show the effect of its operators and number format, and nothing about throughput.\n"
    )
    print("| | mAP | difference |\n| --- | ---: | ---: |")
    for label, value in results:
        print(f"| {label} | {value:.4f} | {value - first:+.4f} |")
    print(
        "\nFaithful: 1000 proposals, NMS within each pyramid level. Like the public port: 500 "
        "proposals, NMS across levels. fp32: the operators' semantics alone; fp16: what the "
        "operators themselves compute in float16; force_fp16: every tensor too (docs/lowering.md)."
    )


if __name__ == "__main__":
    main()
