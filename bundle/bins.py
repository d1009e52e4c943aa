"""The folders of those who run the network with ais_infer: `.bin` in, `.bin` out.

Names and formats are those of the vendor's guide (Ascend/ModelZoo-PyTorch, ACL_PyTorch/contrib/cv/
detection/Cascade-RCNN-Resnet101-FPN-DCN): `<stem>.bin` for the network, two `.info` files with a
line `{index} {path} {width} {height}` per file, and after the network `<stem>_0.bin` (boxes,
float32) and `<stem>_1.bin` (labels, int64). The stem of a name ends at its *first* dot: that is
where ais_infer cuts.

ais_infer runs one network over one folder. Where a job has several, each has a folder of its own,
`bins/800x1344/`, and its results are expected under the same name.
"""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import numpy as np

from bundle import events
from bundle.draw import draw_pictures
from bundle.environment import host, versions
from bundle.errors import BundleError, PictureError
from bundle.files import JsonRows, Lines, make_folder, write_json, writing
from bundle.geometry import Geometry, fit, read_geometry
from bundle.job import Job, Picture, Shape
from bundle.measure import Pass
from bundle.picture import Skipped, read_picture
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.preprocess import Canvas, Preprocessor
from bundle.record import NAME, forget, record

_ROW = 5 * 4  # bytes of a box: five float32
_GEOMETRY = "geometry.jsonl"


def write_bins(job: Job, out: str) -> None:
    """Preprocesses every picture into `out/bins/<stem>.bin`, or `out/bins/<shape>/<stem>.bin`.

    Leaves `bins.info` (width and height of the network), `pictures.info` (of the pictures) and
    `geometry.jsonl` beside them, which `read_bins` needs.

    Raises:
        BundleError: Two pictures would get one name, a picture cannot be used, the disk is full.
    """
    stems = _stems(job)
    folder = os.path.join(out, "bins")
    for shape in job.preprocess.shapes:
        make_folder(below(folder, shape, job))
    bins_info, pictures_info = os.path.join(out, "bins.info"), os.path.join(out, "pictures.info")
    with Lines(bins_info) as bins, Lines(pictures_info) as pictures:
        with Lines(os.path.join(out, _GEOMETRY)) as geometries:
            for index, (picture, geometry, batch) in enumerate(_prepared(job)):
                shape = geometry.shape
                target = os.path.join(below(folder, shape, job), stems[picture.id] + ".bin")
                with writing(target), open(target, "wb") as stream:
                    stream.write(batch)
                path = job.path(picture)
                bins.write("{} {} {} {}\n".format(index, target, shape.width, shape.height))
                pictures.write("{} {} {} {}\n".format(index, path, picture.width, picture.height))
                geometries.write(geometry.to_line() + "\n")
    if any(" " in path for path in [folder, job.root] + [one.file for one in job.pictures]):
        events.note(
            "Some paths hold spaces: whoever splits the lines of the .info files at spaces must "
            "take the first field and the last two. bins-read does not need them."
        )


def read_bins(
    job: Job,
    results: str,
    out: str,
    environment: Optional[Dict[str, Any]] = None,
    summary: Optional[Dict[str, Any]] = None,
) -> None:
    """Postprocesses what ais_infer left in the folder `results`.

    Leaves in `out` `detections.json`, `txt/<stem>.txt` with a line `name score x1 y1 x2 y2` per
    detection, and `run.json`, with times only where a `summary` gives them.

    Args:
        job: The job.
        results: The folder with `<stem>_0.bin` and `<stem>_1.bin`; with several networks, the
            one with a folder of those for each, named by its shape.
        out: The folder that `write_bins` wrote to: its `geometry.jsonl` is used.
        environment: What is known of the run, for `environment` in run.json.
        summary: What is known of its times, for `summary` there.

    Raises:
        BundleError: Outputs are missing or break the contract, or there is no geometry.
    """
    stems = _stems(job)
    geometries = read_geometry(os.path.join(out, _GEOMETRY))
    folders = {shape: below(results, shape, job) for shape in job.preprocess.shapes}
    used = {geometry.shape for geometry in geometries.values()}
    names = {shape: _list(folder) for shape, folder in folders.items() if shape in used}
    skipped: List[Skipped] = []
    drawable: List[Tuple[Picture, Detections]] = []
    make_folder(os.path.join(out, "txt"))
    forget(out)
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
                        "The job is another one than bins-write had: run that again.",
                    )
                boxes, labels = _outputs(folders[shape], stem, names[shape])
            except PictureError as failure:
                if not job.keep_going:
                    raise
                skipped.append(Skipped(picture, failure.what))
                continue
            check_outputs(boxes, labels, job, os.path.join(folders[shape], stem + "_*.bin"))
            found = locate(boxes, labels, geometries[picture.id], job)
            rows.write(coco_rows(found, picture.id, job))
            _write_txt(os.path.join(out, "txt", stem + ".txt"), found, job)
            if len(drawable) < job.draw:
                drawable.append((picture, found))
    draw_pictures(job, drawable, out)
    known = dict(versions(), **host())
    known.update(environment or {})
    result = record(job, known, [Pass()], len(job.pictures) - len(skipped), skipped)
    result["summary"].update(summary or {})
    write_json(os.path.join(out, NAME), result)


def _prepared(job: Job) -> Iterator[Tuple[Picture, Geometry, np.ndarray]]:
    """Every picture that can be used, its geometry and the network's input, until the next one."""
    preprocessor, canvas = Preprocessor(job.preprocess), Canvas(job.preprocess)
    progress = events.Progress("bins", len(job.pictures))
    for picture in job.pictures:
        try:
            image = read_picture(job.path(picture), picture)
        except PictureError as failure:
            if not job.keep_going:
                raise
            events.note("skipped {}: {}".format(picture.file, failure.what))
        else:
            geometry = fit(picture, job.preprocess)
            preprocessor.prepare(image, geometry, canvas)
            yield picture, geometry, canvas.array
        progress.step()


def below(folder: str, shape: Shape, job: Job) -> str:
    """The folder of one network's files below `folder`, which it is while there is but one."""
    return os.path.join(folder, shape.name) if len(job.preprocess.shapes) > 1 else folder


def _stems(job: Job) -> Dict[int, str]:
    """The stem of every picture, by its id."""
    stems: Dict[int, str] = {}
    owners: Dict[str, str] = {}
    for picture in job.pictures:
        stem = os.path.basename(picture.file).split(".")[0]
        if not stem:
            raise BundleError(
                "The name of the picture starts with a dot: nothing is left to name a .bin by.",
                picture.file,
                "Rename the picture, or run without --bins.",
            )
        if stem in owners:
            raise BundleError(
                "Two pictures would share {}.bin, because ais_infer cuts names at their first "
                "dot: {} and {}.".format(stem, owners[stem], picture.file),
                job.root,
                "Rename one of them, or run without --bins.",
            )
        owners[stem] = picture.file
        stems[picture.id] = stem
    return stems


def _list(folder: str) -> Set[str]:
    try:
        names = set(os.listdir(folder))
    except OSError as failure:
        raise BundleError(
            "The results of ais_infer cannot be read: {}.".format(failure.strerror or failure),
            folder,
            "Give the folder that ais_infer made below its --output.",
        ) from None
    if any(name.startswith(("input0_output_", "sample_id_")) for name in names):
        raise BundleError(
            "These results are numbered, not named after their inputs.",
            folder,
            "This ais_infer is from before 2022-07-18; run a later one.",
        )
    return names


def _outputs(folder: str, stem: str, names: Set[str]) -> Tuple[np.ndarray, np.ndarray]:
    for name in (stem + "_0.bin", stem + "_1.bin"):
        if name not in names:
            raise PictureError(
                "ais_infer left no {}.".format(name),
                folder,
                "Look for errors in its log; run it again over all of bins/.",
            )
    first, second = (_read(os.path.join(folder, stem + end)) for end in ("_0.bin", "_1.bin"))
    count = len(first) // _ROW
    kinds = {count * 8: np.int64, count * 4: np.int32}
    if len(first) % _ROW or len(second) not in kinds:
        raise BundleError(
            "Boxes of {} bytes and labels of {} bytes do not make float32 (n,5) and int64 "
            "(n,).".format(len(first), len(second)),
            os.path.join(folder, stem + "_*.bin"),
            "Check that the network's first output is boxes and its second labels.",
        )
    boxes = np.frombuffer(first, np.float32).reshape(count, 5)
    return boxes, np.frombuffer(second, kinds[len(second)])


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


def _write_txt(path: str, found: Detections, job: Job) -> None:
    with Lines(path) as lines:
        for box, score, label in zip(found.boxes, found.scores, found.labels):
            corners = " ".join("{:.4f}".format(value) for value in box)
            lines.write("{} {} {}\n".format(job.class_names[label], score, corners))
