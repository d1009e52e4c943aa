"""The folders of ais_infer: `.bin` files in, `.bin` files out.

Names and formats are those of the vendor's guide (Ascend/ModelZoo-PyTorch, ACL_PyTorch/contrib/cv/
detection/Cascade-RCNN-Resnet101-FPN-DCN): `<stem>.bin` for the network, two `.info` files with a
line `{index} {path} {width} {height}` per file, and after the network `<stem>_0.bin` (boxes,
float32) and `<stem>_1.bin` (labels, int64). The stem of a name ends at its *first* dot, because
that is where ais_infer cuts it off.

ais_infer runs one network on one folder. If a job has several networks, each has a folder of its
own, such as `bins/800x1344/`, and its results are expected in one of the same name.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np

from bundle import events
from bundle.draw import draw_pictures
from bundle.environment import host, versions
from bundle.errors import BundleError, PictureError
from bundle.files import JsonRows, Lines, make_folder, write_errors, write_json
from bundle.geometry import PictureGeometry, fit, read_geometry
from bundle.job import Job, Picture, Shape
from bundle.measure import Pass
from bundle.picture import DIGESTS, SkippedPicture, decode, digest, digest_line, read_bytes
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.preprocess import Canvas, Preprocessor
from bundle.record import NAME, record, remove_record
from bundle.runners.aclruntime.tools import output_files

_ROW_BYTES = 5 * 4  # a box: five float32
_GEOMETRY = "geometry.jsonl"
_SUMMARY = "sumary.json"  # sic


def write_bins(job: Job, out: str) -> None:
    """Preprocesses every picture into `out/bins/<stem>.bin`, or `out/bins/<shape>/<stem>.bin`.

    Beside them it writes `bins.info` (with the width and height of the networks' inputs),
    `pictures.info` (of the pictures), `pictures.jsonl` (digests of the pictures) and
    `geometry.jsonl`, which `read_bins` needs.

    Raises:
        BundleError: Two pictures have the same stem, a picture cannot be used, or the disk is
            full.
    """
    stems = _stems(job)
    folder = os.path.join(out, "bins")
    for shape in job.preprocess.shapes:
        make_folder(network_folder(folder, shape, job))
    bins_info, pictures_info = os.path.join(out, "bins.info"), os.path.join(out, "pictures.info")
    geometry_path, digests_path = os.path.join(out, _GEOMETRY), os.path.join(out, DIGESTS)
    with Lines(bins_info) as bins, Lines(pictures_info) as pictures:
        with Lines(geometry_path) as geometries, Lines(digests_path) as digests:
            for index, (picture, sha256, geometry, batch) in enumerate(_preprocessed(job)):
                shape = geometry.shape
                name = stems[picture.id] + ".bin"
                target = os.path.join(network_folder(folder, shape, job), name)
                with write_errors(target), open(target, "wb") as stream:
                    stream.write(batch)
                path = job.path(picture)
                bins.write("{} {} {} {}\n".format(index, target, shape.width, shape.height))
                pictures.write("{} {} {} {}\n".format(index, path, picture.width, picture.height))
                geometries.write(geometry.to_line() + "\n")
                digests.write(digest_line(picture, sha256))
    if any(" " in path for path in [folder, job.root] + [one.file for one in job.pictures]):
        events.note(
            "Some paths contain spaces: to split the lines of the .info files, take the first "
            "field and the last two. bins-read does not need these files."
        )


def read_bins(
    job: Job,
    results: str,
    out: str,
    environment: Optional[Dict[str, Any]] = None,
    summary: Optional[Dict[str, Any]] = None,
) -> None:
    """Postprocesses what ais_infer wrote into the folder `results`.

    Writes into `out` `detections.json`, `txt/<stem>.txt` with a line `name score x1 y1 x2 y2` per
    detection, and `run.json`, which has times only if `summary` gives them.

    Args:
        job: The job.
        results: The folder of `<stem>_0.bin` and `<stem>_1.bin`. If there are several networks,
            it has a folder of these files for each, named after its shape.
        out: The folder that `write_bins` wrote to: its `geometry.jsonl` is used.
        environment: What is known of the run, for `environment` in run.json.
        summary: What is known of its times, for `summary` there.

    Raises:
        BundleError: Outputs are missing or violate the contract, or there is no geometry.
    """
    stems = _stems(job)
    geometries = read_geometry(os.path.join(out, _GEOMETRY))
    folders = {shape: network_folder(results, shape, job) for shape in job.preprocess.shapes}
    used = {geometry.shape for geometry in geometries.values()}
    names = {shape: _list_results(folder) for shape, folder in folders.items() if shape in used}
    skipped: List[SkippedPicture] = []
    to_draw: List[Tuple[Picture, Detections]] = []
    make_folder(os.path.join(out, "txt"))
    remove_record(out)
    progress = events.Progress("bins", len(job.pictures))
    with JsonRows(os.path.join(out, "detections.json")) as rows:
        for picture in job.pictures:
            progress.step()
            stem = stems[picture.id]
            try:
                if picture.id not in geometries:
                    raise PictureError(
                        "The picture has no geometry.", picture.file, "Run bins-write again."
                    )
                shape = geometries[picture.id].shape
                if shape not in names:
                    raise BundleError(
                        "The job has no network for {}.".format(shape.name),
                        os.path.join(out, _GEOMETRY),
                        "bins-write was given another job: run it again with this one.",
                    )
                boxes, labels = _read_outputs(folders[shape], stem, names[shape])
            except PictureError as failure:
                if not job.keep_going:
                    raise
                skipped.append(SkippedPicture(picture, failure.what))
                continue
            check_outputs(boxes, labels, job, os.path.join(folders[shape], stem + "_*.bin"))
            detections = locate(boxes, labels, geometries[picture.id], job)
            rows.write(coco_rows(detections, picture.id, job))
            _write_txt(os.path.join(out, "txt", stem + ".txt"), detections, job)
            if len(to_draw) < job.draw:
                to_draw.append((picture, detections))
    draw_pictures(job, to_draw, out)
    known = dict(versions(), **host())
    known.update(environment or {})
    result = record(job, known, [Pass()], len(job.pictures) - len(skipped), skipped)
    result["summary"].update(summary or {})
    write_json(os.path.join(out, NAME), result)


def network_folder(folder: str, shape: Shape, job: Job) -> str:
    """The folder for one network's files: one below `folder`, or itself if there is only one."""
    return os.path.join(folder, shape.name) if len(job.preprocess.shapes) > 1 else folder


def _preprocessed(job: Job) -> Iterator[Tuple[Picture, str, PictureGeometry, np.ndarray]]:
    """Every usable picture, its sha256, its geometry, and the network's input.

    The input is only valid until the next picture, which reuses its memory.
    """
    preprocessor, canvas = Preprocessor(job.preprocess), Canvas(job.preprocess)
    progress = events.Progress("bins", len(job.pictures))
    for picture in job.pictures:
        try:
            data = read_bytes(job.path(picture))
            image = decode(data, picture, job.path(picture))
        except PictureError as failure:
            if not job.keep_going:
                raise
            events.note("skipped {}: {}".format(picture.file, failure.what))
        else:
            geometry = fit(picture, job.preprocess)
            preprocessor.prepare(image, geometry, canvas)
            yield picture, digest(data), geometry, canvas.array
        progress.step()


def _stems(job: Job) -> Dict[int, str]:
    """The stem of every picture, by its id."""
    stems: Dict[int, str] = {}
    owners: Dict[str, str] = {}
    for picture in job.pictures:
        stem = os.path.basename(picture.file).split(".")[0]
        if not stem:
            raise BundleError(
                "The picture's name starts with a dot, so there is no stem to name its .bin after.",
                picture.file,
                "Rename the picture, or run without --bins.",
            )
        if stem in owners:
            raise BundleError(
                "Two pictures would share {}.bin, because ais_infer cuts names off at their first "
                "dot: {} and {}.".format(stem, owners[stem], picture.file),
                job.root,
                "Rename one of them, or run without --bins.",
            )
        owners[stem] = picture.file
        stems[picture.id] = stem
    return stems


def _list_results(folder: str) -> Dict[str, str]:
    """The files of the results, by the names that they have from 2022-07-18 on."""
    try:
        names = os.listdir(folder)
    except OSError as failure:
        raise BundleError(
            "The results of ais_infer cannot be read: {}.".format(failure.strerror or failure),
            folder,
            "Give the folder that ais_infer created below its --output.",
        ) from None
    if not any(name.startswith(("input0_output_", "sample_id_")) for name in names):
        return {name: name for name in names}
    # A tool from before 2022-07-18 numbers its outputs, and its summary says whose they are.
    path = os.path.join(folder, _SUMMARY)
    try:
        with open(path, encoding="utf-8") as stream:
            return output_files(json.load(stream), path)
    except (OSError, ValueError) as failure:
        raise BundleError(
            "These results are numbered instead of being named after their inputs, and there is no "
            "summary that says whose they are: {}.".format(failure),
            path,
            "Give the whole folder that ais_infer made, with its {}.".format(_SUMMARY),
        ) from None


def _read_outputs(folder: str, stem: str, names: Dict[str, str]) -> Tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 5) float32 and labels (n,) int64 or int32 of one picture."""
    for name in (stem + "_0.bin", stem + "_1.bin"):
        if name not in names:
            raise PictureError(
                "ais_infer wrote no {}.".format(name),
                folder,
                "Look for errors in its log; run it again on all of bins/.",
            )
    first, second = (_read(os.path.join(folder, names[stem + end])) for end in ("_0.bin", "_1.bin"))
    count = len(first) // _ROW_BYTES
    label_types = {count * 8: np.int64, count * 4: np.int32}
    if len(first) % _ROW_BYTES or len(second) not in label_types:
        raise BundleError(
            "Boxes of {} bytes and labels of {} bytes are not float32 (n,5) and int64 (n,).".format(
                len(first), len(second)
            ),
            os.path.join(folder, stem + "_*.bin"),
            "Check that the network's first output is boxes and its second labels.",
        )
    boxes = np.frombuffer(first, np.float32).reshape(count, 5)
    return boxes, np.frombuffer(second, label_types[len(second)])


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError as failure:
        raise PictureError(
            "An output cannot be read: {}.".format(failure.strerror or failure),
            path,
            "Run ais_infer again.",
        ) from None


def _write_txt(path: str, detections: Detections, job: Job) -> None:
    with Lines(path) as lines:
        for box, score, label in zip(detections.boxes, detections.scores, detections.labels):
            corners = " ".join("{:.4f}".format(value) for value in box)
            lines.write("{} {} {}\n".format(job.class_names[label], score, corners))
