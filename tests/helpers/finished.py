"""Finished results of several targets on generated pictures, laid out as stages write them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from cascadeport import datasets, evaluation
from cascadeport.base import digest
from cascadeport.config.gate import Gate
from cascadeport.config.targets import Semantics
from cascadeport.core import store
from cascadeport.core.stage import key_of
from cascadeport.datasets import Dataset
from cascadeport.pipeline.pictures import joint_digest as joint_digest_of_pictures
from cascadeport.pipeline.subject import Subject
from cascadeport.results import collate
from cascadeport.results import result as results
from cascadeport.results.collate import Known
from cascadeport.results.result import ModelFacts, Result

from bundle.conditions import HEADER as HEADER_OF_CONDITIONS
from bundle.conditions import NAME as CONDITIONS
from bundle.conditions import Sample
from bundle.device import proof
from bundle.digest import joint_digest
from bundle.files import Lines
from bundle.measure import HEADER, Pass, Times, summarise

_TITLES = "titles.json"
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


def times(images: Sequence[int], milliseconds: float) -> list[list[tuple[Times, float]]]:
    """The times of a pass over pictures and of a slow repeat, and when pictures were finished."""
    passes = []
    for late in (0.0, 500.0):
        pictures = []
        for number in range(len(images)):
            # Around the mean, which therefore is exact.
            away = (number // 2 % 20 + 1) * 0.25 * (-1) ** number
            if number == len(images) - 1 and len(images) % 2:
                away = 0.0
            one = Times(1.5, 2.0, None, late + milliseconds + away, None, 0.3)
            pictures.append((one, (number + 1) * (late + milliseconds) / 990))
        passes.append(pictures)
    return passes


def run_record(
    images: int | Sequence[int], *, milliseconds: float = 20.0, **more: Any
) -> dict[str, Any]:
    """run.json as the bundle writes it.

    Args:
        images: The ids of the pictures that have results, or how many there are.
    """
    ids = range(images) if isinstance(images, int) else images
    passes = []
    for pictures in times(ids, milliseconds):
        passes.append(Pass())
        for one, finished in pictures:
            passes[-1].add(one, finished)
    name = "a <b>processor</b>"
    device = proof("stand-in" if more.get("simulated") else "processor", name, "the system")
    return {
        "format": 2,
        "status": "complete",
        "problems": [],
        "skipped": [],
        "pictures": len(ids),
        "simulated": False,
        "environment": {
            "python": "3.11.7",
            "runtime": "onnxruntime",
            "provider": "CPUExecutionProvider",
            "providers": ["CPUExecutionProvider"],
            "cpu": name,
            "device_proof": [device],
        },
        "summary": summarise(passes, workers=1),
        "digests": {"bundle": "b" * 64, "network": "c" * 64},
        "warmup": 3,
        "peak_rss_bytes": 150 << 20,
        **more,
    }


def known(folder: Path, of: Dataset) -> Known:
    """What the rows of a folder are checked against."""
    path = folder / _TITLES
    titles = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    model = ModelFacts(name="rectangles", title="Rectangles & <others>")
    return Known(titles=titles, model=model, dataset=of, data_name=of.name)


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
    dataset_digest: str | None = None,
    bundle_digest: str = "b" * 64,
    shapes: Sequence[tuple[int, int]] = ((1216, 1216),),
    resize: tuple[int, int] = (1216, 1216),
    milliseconds: float = 20.0,
    settings: Mapping[str, Any] | None = None,
    others: float | None = 0.0,
    gate: Gate | None = Gate(),  # noqa: B008  a value that never changes
    **run: Any,
) -> Result:
    """Writes infer/, evaluate/ and result.json of a target into `folder`/`target`.

    Args:
        settings: Settings of the job that are not the usual ones.
        others: How many of 2 cores others kept busy during the pass; None: nothing tells.
        gate: What was declared to be good enough.
        run: Other values of run.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    titles = folder / _TITLES
    named = json.loads(titles.read_text(encoding="utf-8")) if titles.exists() else {}
    titles.write_text(json.dumps({**named, target: title}), encoding="utf-8")
    networks = [f"{number:x}" * 64 for number in range(12, 12 + len(shapes))]
    common = {
        "input": {
            "name": "input",
            "dtype": "float32",
            "shapes": [list(shape) for shape in shapes],
            "resize": list(resize),
        },
        "preprocess": {
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            "channels": "rgb",
            "padding": "centre",
        },
        "postprocess": {"score_threshold": 0.05, "max_detections": 100},
        "classes": [
            {"name": name, "category_id": one}
            for one, name in zip((2, 3, 5, 8), CLASSES, strict=True)
        ],
        "runner": {
            "threads": 1,
            "name": "onnxruntime",
            "provider": "CPUExecutionProvider",
            "options": {},
        },
        "stream": {"workers": 1, "queue": 4},
        **(settings or {}),
    }
    skipped = {one["id"] for one in run.get("skipped", [])}
    ids = [item.id for item in of.items if item.id not in skipped]
    record = run_record(ids, milliseconds=milliseconds, **run)
    record["digests"] = {"bundle": bundle_digest, "network": joint_digest(networks)}
    read = {item.id: digest.of_file(of.pictures_dir / item.file) for item in of.items}
    read = {number: one for number, one in read.items() if number in ids}
    record["subject"] = Subject(
        target=target,
        semantics=Semantics(),
        model="rectangles",
        model_digest=model_digest,
        dataset_digest=dataset_digest or of.digest,
        pictures=len(of.items),
        pictures_digest=joint_digest_of_pictures(read),
        changes=tuple(semantics),
        gate=gate,
    ).model_dump(mode="json")

    def infer(out: Path) -> None:
        (out / "detections.json").write_text(json.dumps(detections(of, seed, spread)))
        (out / "run.json").write_text(json.dumps(record))
        with Lines(str(out / "times.csv"), HEADER) as lines:
            for number, pictures in enumerate(times(ids, milliseconds), 1):
                for image, (one, finished) in zip(ids, pictures, strict=True):
                    lines.write(one.row(number, image, finished))
        finished_s = sum(pictures[-1][1] for pictures in times(ids, milliseconds) if pictures)
        with Lines(str(out / CONDITIONS), HEADER_OF_CONDITIONS) as lines:
            for share in (0.0, 0.5, 1.0):
                lines.write(sample(share * finished_s, others).line())
        with Lines(str(out / "pictures.jsonl")) as lines:
            for image, one in read.items():
                lines.write(json.dumps({"id": image, "file": "", "sha256": one}) + "\n")
        job = {**common, "networks": [{"path": "/model", "sha256": one} for one in networks]}
        (out / "job.json").write_text(json.dumps(job))

    def evaluate(out: Path) -> None:
        path = home / "infer" / "detections.json"
        done = evaluation.evaluate(of.annotations_path, path, [item.id for item in of.items])
        evaluation.write(done, out / "evaluation.json")

    home = folder / target
    parameters = {
        "target": target,
        "semantics": Semantics().model_dump(),
        "simulate": bool(run.get("simulated", False)),
        "settings": common,
    }
    inputs = {f"network{number}": one for number, one in enumerate(networks)}
    _stage("infer", home, parameters, {**inputs, "bundle": bundle_digest}, infer)
    found = digest.of_file(home / "infer" / "detections.json")
    _stage("evaluate", home, {}, {"detections": found}, evaluate)
    facts = known(folder, of)
    if dataset_digest is not None:
        facts = replace(facts, dataset=replace(of, digest=dataset_digest))
    result = collate.compute(home, facts)
    return results.load(results.write(result, home))


def sample(seconds: float, others: float | None = 0.0) -> Sample:
    """What the bundle samples after a time in which the pass kept one of 2 cores busy."""
    busy = None if others is None else 1000.0 + seconds * (1.0 + others)
    return Sample(seconds, 2, busy, 5.0 + seconds, 0.0, 0.5, None, None)


def _stage(
    name: str,
    home: Path,
    parameters: dict[str, Any],
    inputs: dict[str, str],
    work: Callable[[Path], None],
) -> None:
    facts = {"stage": name, "title": name, "parameters": parameters, "inputs": inputs}
    key = key_of(name, parameters, inputs)
    with store.writing(home / name, key, facts, hashed=True) as out:
        work(out)


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    """Edits a JSON file, as somebody with an editor does."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def seal(home: Path) -> None:
    """Makes both stage records of a row fit its files again, as a more careful forger does."""
    for name in ("infer", "evaluate"):
        record = json.loads((home / name / store.RECORD).read_text(encoding="utf-8"))
        if name == "evaluate":
            found = digest.of_file(home / "infer" / "detections.json")
            record["inputs"]["detections"] = found
        files = [home / name / file for file in record["files"]]
        facts = {key: record[key] for key in ("stage", "title", "parameters", "inputs")}
        key = key_of(name, record["parameters"], record["inputs"])
        store.write_record(home / name, key, files, facts, hashed=True)


def reevaluate(folder: Path, of: Dataset, target: str) -> Result:
    """Evaluates the detections of a finished result again, as a run that had found them would.

    Args:
        folder: The folder of all targets.
    """
    home = folder / target
    path = home / "infer" / "detections.json"
    ids = [item.id for item in of.items]
    done = evaluation.evaluate(of.annotations_path, path, ids)
    evaluation.write(done, home / "evaluate" / "evaluation.json")
    seal(home)
    result = collate.compute(home, known(folder, of))
    return results.load(results.write(result, home))


def rewrite_apart(path: Path, change: Callable[[Any], None]) -> None:
    """Replaces a JSON file with an edited one, as a run does: links to the old one keep it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.unlink()
    path.write_text(json.dumps(content), encoding="utf-8")
