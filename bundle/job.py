"""The job that the orchestrator compiled from card, target and data set, checked once more."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from bundle.errors import BundleError
from bundle.section import Section

FORMAT = 3
#: What a job says where the machine decides by measuring.
AUTO = "auto"


@dataclass(frozen=True)
class Picture:
    """A picture, with its size in pixels according to the annotations.

    Where there are none (a frozen image's user has pictures, not annotations) both are 0, and its
    size is that of its pixels.
    """

    id: int
    file: str
    width: int
    height: int


class Shape(NamedTuple):
    """The size of a network's input in pixels."""

    height: int
    width: int

    @property
    def name(self) -> str:
        """Its name in files and messages, such as `800x1344`."""
        return "{}x{}".format(self.height, self.width)


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input.

    Args:
        dtype: `float32` (1,3,H,W) normalised here, or `uint8` (1,H,W,3) normalised inside the
            network.
        shapes: The shapes of inputs. A picture uses the first that it fits into.
        multiple: If it is not 0, a picture's input has a shape of its own instead: the picture's
            edges, each rounded up to a multiple of this. `shapes` are then the largest ones.
        resize: The maximum of the long and of the short edge of a resized picture, in pixels. One
            of the two is reached.
        mean: The mean of each channel, in the order of `channels`.
        std: The standard deviation of each channel, in the order of `channels`.
        channels: `rgb` or `bgr`: the order of the network's channels.
        padding: `centre`, or `corner`: all padding is to the right and below.
        pictures: How many pictures a network takes at once.
    """

    dtype: str
    shapes: Tuple[Shape, ...]
    resize: Tuple[int, int]
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    channels: str
    padding: str
    multiple: int = 0
    pictures: int = 1

    def shape_for(self, height: int, width: int) -> Shape:
        """The shape of the input for a resized picture of that size."""
        if self.multiple:
            return Shape(*(-(-edge // self.multiple) * self.multiple for edge in (height, width)))
        return next(one for one in self.shapes if height <= one.height and width <= one.width)

    def shape_of(self, batch: Sequence[int]) -> Optional[Shape]:
        """The shape of the input that an array of this shape is; None: it is none."""
        if len(batch) != 4:
            return None
        found = Shape(*(batch[1:3] if self.dtype == "uint8" else batch[2:4]))
        if self.batch(found) != tuple(batch) or min(found) < 1:
            return None
        if not self.multiple:
            return found if found in self.shapes else None
        if any(edge % self.multiple for edge in found):
            return None
        fits = (found.height <= one.height and found.width <= one.width for one in self.shapes)
        return found if any(fits) else None

    def batch(self, shape: Shape) -> Tuple[int, int, int, int]:
        """The shape of the array that the network of this shape takes."""
        return (self.pictures,) + self.picture(shape)

    def picture(self, shape: Shape) -> Tuple[int, int, int]:
        """The shape of one picture in it."""
        if self.dtype == "uint8":
            return (shape.height, shape.width, 3)
        return (3, shape.height, shape.width)


class DataFile(NamedTuple):
    """A file in which a network keeps tensors, and its sha256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class NetworkFile:
    """A network's file, its sha256, and the shape of its input; None: it takes every shape.

    `files` are those that it keeps tensors in, if there are any (ONNX external data).
    """

    path: str
    sha256: str
    shape: Optional[Shape]
    files: Tuple[DataFile, ...] = ()


@dataclass(frozen=True)
class RunnerSettings:
    """The runner, its settings, and the names of the networks' input and outputs.

    Args:
        name: The runner's name: a folder below runners/.
        provider: What the runner should use; empty for its default. Its meaning is the runner's.
        threads: How many threads the runtime may use, all streams together.
        options: More settings. Their meaning is the runner's, except for `devices` (see `lanes`)
            and `own_process` (see `runners.needs_own_process`).
        networks: One for each of the job's shapes, or one that takes them all.
        input: The name of the input.
        boxes: The name of the output with the boxes.
        labels: The name of the output with the labels.
        single: Networks that detect the same in one picture at a time, if there are any: one for
            each of `networks`.
        streams: How many pictures a processor works on at once; 0: to be found by measuring.
    """

    name: str
    provider: str
    threads: int
    options: Dict[str, Any]
    networks: Tuple[NetworkFile, ...]
    input: str
    boxes: str
    labels: str
    streams: int = 1
    single: Tuple[NetworkFile, ...] = ()

    @property
    def files(self) -> str:
        """The paths of the networks, for messages."""
        return ", ".join(network.path for network in self.networks)

    @property
    def lanes(self) -> Tuple[RunnerSettings, ...]:
        """One copy of these settings for each of `options.devices`, with `options.device` set.

        Without `options.devices`, the settings themselves. Lanes share the pictures of a pass.
        """
        devices = self.options.get("devices") or ()
        lanes = (replace(self, options=dict(self.options, device=one)) for one in devices)
        return tuple(lanes) or (self,)


@dataclass(frozen=True)
class Job:
    """A job that has been checked. Paths are absolute.

    `workers` decode and preprocess; with `workers_grow` more are added where a device waits for
    them.
    """

    preprocess: Preprocess
    runner: RunnerSettings
    score_threshold: float
    max_detections: int
    class_names: Tuple[str, ...]
    category_ids: Tuple[int, ...]
    root: str
    pictures: Tuple[Picture, ...]
    workers: int
    queue: int
    warmup: int
    repeats: int
    repeat_pictures: int
    keep_going: bool
    draw: int
    workers_grow: bool = False

    def path(self, picture: Picture) -> str:
        """The path of a picture's file."""
        return os.path.join(self.root, picture.file)


def read_job(path: str) -> Job:
    """Reads and checks `job.json` (docs/architecture.md).

    Raises:
        BundleError: The file cannot be read, is not JSON, or is invalid: all errors are listed.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError, RecursionError) as failure:
        raise BundleError(
            "The job cannot be read: {}.".format(failure),
            path,
            "The orchestrator writes this file; run it again.",
        ) from None
    return check_job(data, os.path.dirname(os.path.abspath(path)), path)


def check_job(data: Any, folder: str, where: str = "job") -> Job:
    """Checks a job.

    Args:
        data: The parsed JSON.
        folder: What relative paths are relative to.
        where: What error messages call the job.

    Raises:
        BundleError: Something is missing or invalid: all errors are listed.
    """
    errors: List[str] = []
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise BundleError(
            "The job's format is {!r}, but this bundle reads format {}.".format(found, FORMAT),
            where,
            "Use bundle and orchestrator from the same release.",
        )
    top = Section(data, "", errors)
    job = _build(top, folder)
    if errors:
        raise BundleError(
            "The job is invalid: {}.".format("; ".join(errors)),
            where,
            "The orchestrator writes this file; run it again.",
        )
    return job


def _build(top: Section, folder: str) -> Job:
    errors = top.errors
    network_input, pictures = top.section("input"), top.section("pictures")
    classes = [
        (item.text("name"), item.integer("category_id", 0)) for item in top.objects("classes")
    ]
    items = [_picture(item) for item in pictures.objects("items")]
    if not classes and not errors:
        errors.append("classes is empty")
    if not items and not errors:
        errors.append("pictures.items is empty")
    if len({item.id for item in items}) != len(items):
        errors.append("pictures.items contains an id twice")
    post, stream, measure = (
        top.section("postprocess"),
        top.section("stream"),
        top.section("measure"),
    )
    preprocess = _preprocess(network_input, top.section("preprocess"))
    grow = stream.optional("workers", None) == AUTO
    return Job(
        preprocess=preprocess,
        runner=_runner(top, network_input, preprocess, folder),
        score_threshold=post.number("score_threshold"),
        max_detections=post.integer("max_detections", 1),
        class_names=tuple(name for name, _ in classes),
        category_ids=tuple(category for _, category in classes),
        root=os.path.join(folder, pictures.text("root")),
        pictures=tuple(items),
        workers=1 if grow else stream.integer("workers", 1),
        queue=stream.integer("queue", 1),
        warmup=measure.integer("warmup", 0),
        repeats=measure.integer("repeats", 1),
        repeat_pictures=measure.integer("repeat_pictures", 1),
        keep_going=top.flag("keep_going"),
        draw=top.integer("draw", 0),
        workers_grow=grow,
    )


def _picture(item: Section) -> Picture:
    return Picture(
        id=item.integer("id", 0),
        file=item.text("file"),
        width=item.integer("width", 1),
        height=item.integer("height", 1),
    )


def _preprocess(network_input: Section, section: Section) -> Preprocess:
    std = section.numbers("std", 3)
    if any(value <= 0 for value in std):
        section.errors.append("preprocess.std is not positive")
    shapes = tuple(Shape(*one) for one in network_input.shapes("shapes"))
    resize = network_input.edges("resize")
    long, short = max(resize), min(resize)
    if shapes and not any(one.height >= short and one.width >= long for one in shapes):
        section.errors.append(
            "input.shapes has no shape for a picture of {}x{}".format(short, long)
        )
    if shapes and not any(one.height >= long and one.width >= short for one in shapes):
        section.errors.append(
            "input.shapes has no shape for a picture of {}x{}".format(long, short)
        )
    return Preprocess(
        dtype=network_input.text("dtype", ("float32", "uint8")),
        shapes=shapes,
        resize=(long, short),
        mean=section.numbers("mean", 3),
        std=std,
        channels=section.text("channels", ("rgb", "bgr")),
        padding=section.text("padding", ("centre", "corner")),
        multiple=network_input.integer("multiple", 1) if network_input.has("multiple") else 0,
        pictures=network_input.integer("pictures", 1) if network_input.has("pictures") else 1,
    )


def _runner(
    top: Section, network_input: Section, preprocess: Preprocess, folder: str
) -> RunnerSettings:
    networks, outputs = top.objects("networks"), top.section("outputs")
    runner = top.section("runner")
    entries = [_network(item, folder) for item in networks]
    shapes: Sequence[Optional[Shape]] = preprocess.shapes
    if len(entries) == 1 and (len(shapes) > 1 or preprocess.multiple):
        shapes = (None,)
    elif preprocess.multiple:
        top.errors.append("networks has {} items; one takes every shape".format(len(entries)))
    elif shapes and len(entries) != len(shapes):
        top.errors.append(
            "networks has {} items, input.shapes {} shapes".format(len(entries), len(shapes))
        )
    options = runner.optional("options", {})
    if not isinstance(options, dict):
        top.errors.append("runner.options is not an object")
    return RunnerSettings(
        name=runner.text("name"),
        provider=str(runner.optional("provider", "")),
        threads=runner.integer("threads", 1),
        options=options,
        networks=tuple(
            NetworkFile(path, sha256, shape, files)
            for (path, sha256, files), shape in zip(entries, shapes)
        ),
        input=network_input.text("name"),
        boxes=outputs.text("boxes"),
        labels=outputs.text("labels"),
        streams=_streams(runner),
        single=_single(top, entries, shapes, folder),
    )


def _single(
    top: Section, entries: Sequence[Any], shapes: Sequence[Optional[Shape]], folder: str
) -> Tuple[NetworkFile, ...]:
    if not top.has("single"):
        return ()
    found = [_network(item, folder) for item in top.objects("single")]
    if len(found) != len(entries):
        top.errors.append("single has {} items, networks {}".format(len(found), len(entries)))
    return tuple(
        NetworkFile(path, sha256, shape, files)
        for (path, sha256, files), shape in zip(found, shapes)
    )


def _streams(runner: Section) -> int:
    if runner.optional("streams", None) == AUTO:
        return 0
    return runner.integer("streams", 1) if runner.has("streams") else 1


def _network(item: Section, folder: str) -> Tuple[str, str, Tuple[DataFile, ...]]:
    files = item.objects("files") if item.has("files") else []
    return (
        os.path.join(folder, item.text("path")),
        item.text("sha256"),
        tuple(
            DataFile(os.path.join(folder, file.text("path")), file.text("sha256")) for file in files
        ),
    )
