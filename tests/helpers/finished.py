"""Finished results of several targets on generated pictures, laid out as stages write them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cascadeport import datasets, evaluation
from cascadeport.datasets import Dataset
from cascadeport.results import result as results
from cascadeport.results import run_record as run_records
from cascadeport.results.collate import assemble
from cascadeport.results.result import DatasetFacts, ModelFacts, Result

CLASSES = ("bird", "red kite", "<script>alert('class')</script>", 'say "Grüße" & 你好')


def dataset(folder: Path, pictures: int = 14, seed: int = 1) -> Dataset:
    """A data set of coloured rectangles; its first pictures have awkward names."""
    generator = random.Random(seed)
    names = ["a b.jpg", "<img src=x onerror=alert(1)>.jpg", "schöne Grüße.png", "'quoted'.jpg"]
    names += [f"{number:05}.jpg" for number in range(pictures - len(names))]
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, name in enumerate(names, 1):
        width, height = generator.choice([(320, 240), (240, 320), (200, 200), (640, 90)])
        pixels = np.full((height, width, 3), generator.randrange(60, 200), np.uint8)
        # The last picture has no object.
        for _ in range(generator.randint(1, 5) if number < len(names) else 0):
            w, h = generator.randint(12, width // 2), generator.randint(12, height // 2)
            x, y = generator.randint(0, width - w), generator.randint(0, height - h)
            colour = [generator.randrange(256) for _ in range(3)]
            cv2.rectangle(pixels, (x, y), (x + w, y + h), colour, -1)
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": generator.choice([2, 3, 5]),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(generator.random() < 0.1),
                }
            )
        encoded = cv2.imencode(Path(name).suffix, pixels)[1]
        (folder / "val2017" / name).write_bytes(encoded.tobytes())
        images.append({"id": number, "file_name": name, "width": width, "height": height})
    categories = [
        {"id": number, "name": name} for number, name in zip((2, 3, 5, 8), CLASSES, strict=True)
    ]
    document = {"images": images, "annotations": objects, "categories": categories}
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return datasets.load(folder, name="boxes")


def detections(of: Dataset, seed: int, spread: float) -> list[dict[str, Any]]:
    """Detections around the objects, some of another class, some false."""
    generator = random.Random(seed)
    document = json.loads(of.annotations_path.read_text(encoding="utf-8"))
    found = []
    for one in document["annotations"]:
        if generator.random() < 0.15:
            continue
        x, y, w, h = one["bbox"]
        category = one["category_id"] if generator.random() < 0.9 else 8
        box = [x + generator.gauss(0, spread), y + generator.gauss(0, spread), w, h]
        found.append(_detection(one["image_id"], category, box, generator))
    for item in of.items:
        if generator.random() < 0.4:
            found.append(_detection(item.id, 3, [5, 5, 40, 30], generator))
    return found


def _detection(
    image: int, category: int, box: Sequence[float], generator: random.Random
) -> dict[str, Any]:
    score = round(generator.uniform(0.2, 1), 4)
    return {"image_id": image, "category_id": category, "bbox": list(box), "score": score}


def run_record(images: int, *, milliseconds: float = 20.0, **more: Any) -> dict[str, Any]:
    """run.json as the bundle writes it."""
    device = {"n": images, "mean": milliseconds, "p50": milliseconds, "p90": None, "p99": None}
    chip = 1000 / milliseconds
    rate = {"chip_ips": chip, "device_ips": chip, "end_to_end_ips": 990 / milliseconds}
    return {
        "format": 2,
        "status": "complete",
        "problems": [],
        "skipped": [],
        "pictures": images,
        "simulated": False,
        "environment": {
            "python": "3.11.7",
            "runtime": "onnxruntime",
            "providers": ["CPUExecutionProvider"],
            "cpu": "a <b>processor</b>",
        },
        "summary": {
            **rate,
            "bound_by": "device",
            "repeats": [{**rate, "pictures": images}] * 3,
            "spread": {"chip_ips": 0.0, "device_ips": 0.0, "end_to_end_ips": 0.0},
            "steps_ms": {"decode": {**device, "mean": 1.5}, "h2d": None, "device": device},
            "latency_ms": device,
            "percentiles": "nearest rank",
        },
        "digests": {"bundle": "b" * 64, "network": "c" * 64},
        "warmup": 3,
        "peak_rss_bytes": 150 << 20,
        **more,
    }


def finish(
    folder: Path,
    of: Dataset,
    *,
    target: str = "cpu",
    title: str = "CPU, onnxruntime",
    seed: int = 1,
    spread: float = 1.0,
    semantics: Sequence[str] = (),
    model_digest: str = "m" * 64,
    input: str | None = None,
    **run: Any,
) -> Result:
    """Writes infer/, evaluate/ and result.json of a target into `folder`/`target`."""
    home = folder / target
    (home / "infer").mkdir(parents=True)
    (home / "evaluate").mkdir()
    found = detections(of, seed, spread)
    (home / "infer" / "detections.json").write_text(json.dumps(found))
    record = run_record(len(of.items), **run)
    (home / "infer" / "run.json").write_text(json.dumps(record))
    generator = random.Random(seed)
    rows = ["pass,id,chip,decode_ms,preprocess_ms,h2d_ms,device_ms,d2h_ms,postprocess_ms"]
    for number, late in ((1, 0), (2, 500)):
        rows += [
            f"{number},{item.id},0,1.5,2.0,,{late + generator.uniform(15, 30):.4f},,0.3"
            for item in of.items
        ]
    (home / "infer" / "times.csv").write_text("\n".join(rows) + "\n")
    done = evaluation.evaluate(
        of.annotations_path, home / "infer" / "detections.json", [item.id for item in of.items]
    )
    evaluation.write(done, home / "evaluate" / "evaluation.json")
    result = assemble(
        target=target,
        title=title,
        model=ModelFacts(name="rectangles", title="Rectangles & <others>", input=input),
        dataset=DatasetFacts(
            name=of.name,
            pictures=len(of.items),
            root=str(of.root),
            annotations=str(of.annotations_path),
        ),
        model_digest=model_digest,
        dataset_digest=of.digest,
        semantics=semantics,
        evaluation=evaluation.read(home / "evaluate" / "evaluation.json"),
        run=run_records.load(home / "infer" / "run.json"),
    )
    return results.load(results.write(result, home))
