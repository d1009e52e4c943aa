"""The job that the orchestrator compiled from card, target and data set, checked once more."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from bundle.errors import BundleError

FORMAT = 3


@dataclass(frozen=True)
class Picture:
    """A picture of the data set, with its size in pixels according to the annotations."""

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
        shapes: The shapes of inputs, one for each network. A picture uses the first that it fits
            into.
        resize: The maximum of the long and of the short edge of a resized picture, in pixels. One
            of the two is reached.
        mean: The mean of each channel, in the order of `channels`.
        std: The standard deviation of each channel, in the order of `channels`.
        channels: `rgb` or `bgr`: the order of the network's channels.
        padding: `centre`, or `corner`: all padding is to the right and below.
    """

    dtype: str
    shapes: Tuple[Shape, ...]
    resize: Tuple[int, int]
    mean: Tuple[float, ...]
    std: Tuple[float, ...]
    channels: str
    padding: str

    def batch(self, shape: Shape) -> Tuple[int, int, int, int]:
        """The shape of the array that the network of this shape takes."""
        if self.dtype == "uint8":
            return (1, shape.height, shape.width, 3)
        return (1, 3, shape.height, shape.width)


class DataFile(NamedTuple):
    """A file in which a network keeps tensors, and its sha256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class NetworkFile:
    """A network's file, its sha256, and the shape of its input.

    `files` are those that it keeps tensors in, if there are any (ONNX external data).
    """

    path: str
    sha256: str
    shape: Shape
    files: Tuple[DataFile, ...] = ()


@dataclass(frozen=True)
class RunnerSettings:
    """The runner, its settings, and the names of the networks' input and outputs.

    Args:
        name: The runner's name: a folder below runners/.
        provider: What the runner should use; empty for its default. Its meaning is the runner's.
        threads: How many threads the runtime may use.
        options: More settings. Their meaning is the runner's, except for `devices` (see `lanes`)
            and `own_process` (see `runners.needs_own_process`).
        networks: One for each of the job's shapes.
        input: The name of the input.
        boxes: The name of the output with the boxes.
        labels: The name of the output with the labels.
    """

    name: str
    provider: str
    threads: int
    options: Dict[str, Any]
    networks: Tuple[NetworkFile, ...]
    input: str
    boxes: str
    labels: str

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
    """A job that has been checked. Paths are absolute."""

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
    top = _Section(data, "", errors)
    job = _build(top, folder)
    if errors:
        raise BundleError(
            "The job is invalid: {}.".format("; ".join(errors)),
            where,
            "The orchestrator writes this file; run it again.",
        )
    return job


class _Section:
    """A JSON object to check. Errors are collected, so that all can be reported at once."""

    def __init__(self, data: Dict[str, Any], name: str, errors: List[str]) -> None:
        self._data = data
        self._name = name
        self.errors = errors

    def section(self, key: str) -> _Section:
        value = self._get(key, dict, "an object")
        return _Section({} if value is None else value, self._name + key + ".", self.errors)

    def text(self, key: str, choices: Sequence[str] = ()) -> str:
        value = self._get(key, str, "a string")
        if value is not None and choices and value not in choices:
            self._error(key, "is {!r}, not one of {}".format(value, ", ".join(choices)))
        return value or ""

    def integer(self, key: str, minimum: int) -> int:
        value = self._get(key, int, "an integer")
        if value is not None and value < minimum:
            self._error(key, "is {}, less than {}".format(value, minimum))
        return value or 0

    def number(self, key: str) -> float:
        value = self._get(key, (int, float), "a number")
        return float(value or 0.0)

    def numbers(self, key: str, count: int) -> Tuple[float, ...]:
        values = self._get(key, list, "a list")
        if values is None:
            return ()
        if len(values) != count or not all(_is_finite(value) for value in values):
            self._error(key, "is not {} numbers".format(count))
            return ()
        return tuple(float(value) for value in values)

    def edges(self, key: str) -> Tuple[int, int]:
        """Two lengths in pixels, (1, 1) if they are invalid."""
        values = self._get(key, list, "a list")
        if values is None:
            return (1, 1)
        if not _are_edges(values):
            self._error(key, "is not two integers above 0")
            return (1, 1)
        return (values[0], values[1])

    def shapes(self, key: str) -> Tuple[Shape, ...]:
        values = self._get(key, list, "a list")
        if values is None:
            return ()
        if not values or not all(_are_edges(value) for value in values):
            self._error(key, "is not a list of [height, width], integers above 0")
            return ()
        if len({tuple(value) for value in values}) != len(values):
            self._error(key, "contains a shape twice")
        return tuple(Shape(height, width) for height, width in values)

    def objects(self, key: str) -> List[_Section]:
        values = self._get(key, list, "a list")
        sections = []
        for index, value in enumerate(values or []):
            name = "{}{}[{}]".format(self._name, key, index)
            if isinstance(value, dict):
                sections.append(_Section(value, name + ".", self.errors))
            else:
                self.errors.append(name + " is not an object")
        return sections

    def flag(self, key: str) -> bool:
        return bool(self._get(key, bool, "true or false"))

    def has(self, key: str) -> bool:
        return key in self._data

    def optional(self, key: str, default: Any) -> Any:
        return self._data.get(key, default)

    def _get(self, key: str, kind: Any, description: str) -> Any:
        value = self._data.get(key)
        if key not in self._data:
            self._error(key, "is missing")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._error(key, "is not " + description)
        elif isinstance(value, (int, float)) and not _is_finite(value):
            self._error(key, "is not finite")
        else:
            return value
        return None

    def _error(self, key: str, text: str) -> None:
        self.errors.append("{}{} {}".format(self._name, key, text))


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _are_edges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(edge, int) and edge is not True and edge > 0 for edge in value)
    )


def _build(top: _Section, folder: str) -> Job:
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
    return Job(
        preprocess=preprocess,
        runner=_runner(top, network_input, preprocess.shapes, folder),
        score_threshold=post.number("score_threshold"),
        max_detections=post.integer("max_detections", 1),
        class_names=tuple(name for name, _ in classes),
        category_ids=tuple(category for _, category in classes),
        root=os.path.join(folder, pictures.text("root")),
        pictures=tuple(items),
        workers=stream.integer("workers", 1),
        queue=stream.integer("queue", 1),
        warmup=measure.integer("warmup", 0),
        repeats=measure.integer("repeats", 1),
        repeat_pictures=measure.integer("repeat_pictures", 1),
        keep_going=top.flag("keep_going"),
        draw=top.integer("draw", 0),
    )


def _picture(item: _Section) -> Picture:
    return Picture(
        id=item.integer("id", 0),
        file=item.text("file"),
        width=item.integer("width", 1),
        height=item.integer("height", 1),
    )


def _preprocess(network_input: _Section, section: _Section) -> Preprocess:
    std = section.numbers("std", 3)
    if any(value <= 0 for value in std):
        section.errors.append("preprocess.std is not positive")
    shapes, resize = network_input.shapes("shapes"), network_input.edges("resize")
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
    )


def _runner(
    top: _Section, network_input: _Section, shapes: Sequence[Shape], folder: str
) -> RunnerSettings:
    networks, outputs = top.objects("networks"), top.section("outputs")
    runner = top.section("runner")
    entries = [_network(item, folder) for item in networks]
    if shapes and len(entries) != len(shapes):
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
    )


def _network(item: _Section, folder: str) -> Tuple[str, str, Tuple[DataFile, ...]]:
    files = item.objects("files") if item.has("files") else []
    return (
        os.path.join(folder, item.text("path")),
        item.text("sha256"),
        tuple(
            DataFile(os.path.join(folder, file.text("path")), file.text("sha256")) for file in files
        ),
    )
