"""Model cards: everything about a detector that its graph does not say. See docs/model-cards.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import is_dir, is_file, user_path
from cascadeport.base.suggest import suggest
from cascadeport.base.text import printable
from cascadeport.config.gate import Gate
from cascadeport.config.published import Published, Reference
from cascadeport.config.schema import (
    Line,
    Number,
    Sha256,
    Strict,
    as_tuple,
    counted,
    read_toml,
    validate,
)

Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Triple = Annotated[tuple[Number, Number, Number], BeforeValidator(as_tuple)]
Edge = Annotated[int, Field(gt=0, le=8192)]
Pair = Annotated[tuple[Edge, Edge], BeforeValidator(as_tuple)]
Shape = tuple[int, int]
"""Rows and columns, in pixels."""
# Every stride of a backbone with a pyramid of five levels divides this.
MULTIPLE = 32


def bounds(edges: tuple[int, int]) -> tuple[Shape, ...]:
    """The smallest shapes for the widest and the highest picture with these edges."""
    long, short = (-(-edge // MULTIPLE) * MULTIPLE for edge in edges)
    return tuple(dict.fromkeys([(short, long), (long, short)]))


class Class(Strict):
    """A class of the network: its name and the category id that the data set gives it."""

    name: Line
    category_id: Id


class Input(Strict):
    """The network's input and the preprocessing that leads to it.

    `size` is in pixels, a square that the long edge fills. Or there are `shapes` (rows, columns),
    and pictures are resized so that long and short edge are at most `resize`. With `own_shapes`
    every picture has a shape of its own instead: its edges, rounded up to multiples of 32. `mean`
    and `std` are in the units of a byte (0-255) and in the order of `channels`.
    """

    name: str = "input"
    dtype: Literal["float32", "uint8"] = "float32"
    own_shapes: bool = False
    shapes: Annotated[tuple[Pair, ...], BeforeValidator(as_tuple)] | None = None
    resize: Pair | None = Field(default=None, validate_default=True)
    size: Edge | None = Field(default=None, validate_default=True)
    mean: Triple
    std: Triple
    channels: Literal["rgb", "bgr"]
    padding: Literal["centre", "corner"] = "centre"

    @property
    def canvases(self) -> tuple[Shape, ...]:
        """The shapes that networks take, in the order in which pictures try them.

        Where every picture has a shape of its own, the largest of them.
        """
        if self.own_shapes:
            return bounds(self.edges)
        return ((self.size, self.size),) if self.size else self.shapes or ()

    @property
    def edges(self) -> tuple[int, int]:
        """What the long and the short edge of a picture are at most."""
        return (self.size, self.size) if self.size else self.resize or (0, 0)

    def suffix(self, shape: Shape) -> str:
        """What file names of this shape end in; empty if there is only one shape."""
        return f"-{shape[0]}x{shape[1]}" if len(self.canvases) > 1 else ""

    @property
    def described(self) -> str:
        """How tables name the input: `1216x1216`, or every shape and what pictures become."""
        if self.own_shapes:
            return "own shapes, pictures to {}x{}".format(*self.edges)
        shapes = ", ".join(f"{height}x{width}" for height, width in self.canvases)
        return shapes if self.size else "{}, pictures to {}x{}".format(shapes, *self.edges)

    @field_validator("shapes")
    @classmethod
    def _shapes(
        cls, value: tuple[Shape, ...] | None, info: ValidationInfo
    ) -> tuple[Shape, ...] | None:
        if value is None:
            return None
        if info.data.get("own_shapes"):
            raise ValueError("with 'own_shapes' every picture has its own; leave one of them out")
        if not value:
            raise ValueError("empty; give [rows, columns] of each shape")
        if len(set(value)) != len(value):
            raise ValueError("a shape is listed twice")
        wrong = [list(shape) for shape in value if any(edge % MULTIPLE for edge in shape)]
        if wrong:
            raise ValueError(f"{wrong[0]}: rows and columns must be multiples of {MULTIPLE}")
        return value

    @field_validator("resize")
    @classmethod
    def _resize(cls, value: Shape | None, info: ValidationInfo) -> Shape | None:
        shapes = info.data.get("shapes")
        if value is None:
            if shapes:
                raise ValueError("missing; [long edge, short edge] of pictures in these shapes")
            return None
        if info.data.get("shapes", ()) is None and not info.data.get("own_shapes"):
            raise ValueError("it belongs to 'shapes'; the long edge of a picture fills 'size'")
        long, short = value
        if long < short:
            raise ValueError("the long edge comes first")
        for kind, height, width in (("wide", short, long), ("high", long, short)):
            if shapes and not any(h >= height and w >= width for h, w in shapes):
                raise ValueError(
                    f"{kind} pictures become up to {width} wide and {height} high, and fit into "
                    "none of the shapes"
                )
        return value

    @field_validator("size")
    @classmethod
    def _size(cls, value: int | None, info: ValidationInfo) -> int | None:
        if info.data.get("own_shapes"):
            if (value is None) == (info.data.get("resize") is None):
                raise ValueError("with 'own_shapes', either 'size' or 'resize' says how large")
            return value
        if value is None and info.data.get("shapes", ()) is None:
            raise ValueError("missing; or give 'shapes' and 'resize'")
        if value is not None and info.data.get("shapes"):
            raise ValueError("'size' and 'shapes' exclude each other; give one of them")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _finite(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(math.isfinite(number) for number in value):
            raise ValueError("every number must be finite")
        return value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(value) <= 0:
            raise ValueError("every number must be above zero: the picture is divided by it")
        return value


class Output(Strict):
    """The names of the network's outputs and what is kept of them."""

    boxes: str = "boxes"
    labels: str = "labels"
    score_threshold: Number = Field(default=0.05, ge=0, le=1)
    max_detections: int = Field(default=100, gt=0, le=1000)


class GraphFile(Strict):
    """The graph of one shape."""

    path: str
    sha256: Sha256 | None = None


class Graph(Strict):
    """A graph on disk: a network that obeys the contract, or a neutral graph to be lowered.

    For several shapes `files` has one for each, in the order of `input.shapes`.
    """

    path: str | None = None
    sha256: Sha256 | None = None
    files: Annotated[tuple[GraphFile, ...], BeforeValidator(as_tuple)] = ()
    kind: Literal["ready", "neutral"] = "ready"

    @property
    def all(self) -> tuple[GraphFile, ...]:
        """A file for each shape."""
        return self.files or (GraphFile(path=self.path or "", sha256=self.sha256),)

    @model_validator(mode="after")
    def _one_way(self) -> Graph:
        if bool(self.files) == bool(self.path):
            raise ValueError("either 'path' (one shape) or 'files' (one for each) must be given")
        if self.files and self.sha256:
            raise ValueError("'sha256' is that of 'path'; each of 'files' has its own")
        return self


class Checkpoint(Strict):
    """The trained weights, where they are published, and how they become a graph."""

    path: str | None = None
    urls: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = ()
    sha256: Sha256 | None = None
    sha256_prefix: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")] | None = None
    config: str | None = None
    size_bytes: int | None = Field(default=None, gt=0, lt=2**63)

    @model_validator(mode="after")
    def _found_somewhere(self) -> Checkpoint:
        if self.path is None and not self.urls:
            raise ValueError("either 'path' or 'urls' must say where the checkpoint is")
        return self


class Contents(Strict):
    """What is written in a model card."""

    title: Line
    input: Input
    output: Output = Output()
    classes: Annotated[tuple[Class, ...], BeforeValidator(as_tuple)]
    graph: Graph | None = None
    checkpoint: Checkpoint | None = None
    reference: Reference | None = None
    published: Annotated[tuple[Published, ...], BeforeValidator(as_tuple)] = ()
    gate: Gate = Gate()
    data: str | None = None

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[Class, ...]) -> tuple[Class, ...]:
        if not value:
            raise ValueError("a detector has at least one class")
        for what in ("name", "category_id"):
            seen: set[Any] = set()
            for index, item in enumerate(value):
                key = getattr(item, what)
                if key in seen:
                    raise ValueError(f"class {index} repeats the {what} {key!r}")
                seen.add(key)
        return value

    @model_validator(mode="after")
    def _has_a_source(self) -> Contents:
        if self.graph is None and self.checkpoint is None:
            raise ValueError("the card needs a [graph] or a [checkpoint]")
        graphs, shapes = self.graph.all if self.graph else (), self.input.canvases
        # A neutral graph can be given every shape.
        one_for_all = self.graph is not None and self.graph.path and self.graph.kind == "neutral"
        if graphs and len(graphs) != len(shapes) and not one_for_all:
            raise ValueError(f"[graph] has {len(graphs)} files, input.shapes {len(shapes)} shapes")
        if self.graph is None and self.checkpoint and self.checkpoint.config is None:
            raise ValueError("without a [graph], [checkpoint] needs 'config' to export from")
        return self


class Card(Contents):
    """A validated model card.

    Args:
        name: How folders and results name the model: the file's stem, and the seed of random
            weights.
        stem: The file's stem.
        folder: Where relative paths in it start from.
        seed: Of random weights; None: the card's own.
        exported_at: The shapes at which it is exported and verified, where a run has others.
    """

    name: str
    stem: str
    folder: Path
    seed: int | None = None
    exported_at: tuple[Shape, ...] = ()

    @property
    def own_canvases(self) -> tuple[Shape, ...]:
        """The shapes of the card itself, whatever a run was asked for."""
        return self.exported_at or self.input.canvases

    @property
    def traced(self) -> Shape:
        """The shape at which its graph is exported."""
        return self.own_canvases[0]

    def is_of(self, figures: Reference | Published, data: str) -> bool:
        """Whether published figures are for a data set of this name.

        Where nothing says which one they are for, they are for the card's own, else for COCO.
        """
        return (figures.data or self.data or "coco") == data

    def file(self, path: str) -> Path:
        """The absolute path of a file that the card names.

        Raises:
            CascadeportError: There can be no such path.
        """
        return _resolved(self.folder, path, self.name)

    def to_be_exported(self) -> Card:
        """The card without its graph, so that the graph comes from the checkpoint.

        Raises:
            CascadeportError: The card does not say how that is done.
        """
        if self.checkpoint is None or self.checkpoint.config is None:
            raise CascadeportError(
                f"The card '{self.name}' does not say how its checkpoint is exported.",
                where="checkpoint.config",
                next="Name a configuration in images/export/configs/ there, or leave "
                "--checkpoint and --random-weights out.",
            )
        return self.model_copy(update={"graph": None})

    def with_random_weights(self, seed: int) -> Card:
        """The card of the same network with random weights: a model of its own.

        What was published of the trained one is not true of it.

        Raises:
            CascadeportError: The card does not say how the network is exported.
        """
        card = self.to_be_exported()
        assert card.checkpoint is not None
        drawn = {"path": None, "urls": (), "sha256": None, "sha256_prefix": None}
        return card.model_copy(
            update={
                "name": f"{self.stem}-random{seed}",
                "title": f"{self.title}, random weights, seed {seed}",
                "checkpoint": card.checkpoint.model_copy(update=drawn),
                "reference": None,
                "seed": seed,
            }
        )

    @property
    def model_digest(self) -> str:
        """The digest of what runs: the graph's, else the checkpoint's as far as the card has it.

        A card with a graph may name the checkpoint that it was exported from, but nothing proves
        that: its digest is not that of what runs.
        """
        if self.graph:
            found = [one.sha256 or digest.of_file(self.file(one.path)) for one in self.graph.all]
            return found[0] if len(found) == 1 else digest.of_value(found)
        assert self.checkpoint is not None
        if self.checkpoint.sha256:
            return self.checkpoint.sha256
        return self.checkpoint.sha256_prefix or digest.of_value(list(self.checkpoint.urls))


def _resolved(folder: Path, path: str, card: str) -> Path:
    try:
        return (folder / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        # A zero byte, or symbolic links that lead to each other.
        raise CascadeportError(
            f"The card '{card}' names a file that there cannot be: {error}.",
            where=path,
            next="Correct the path in the card.",
        ) from error


def find(model: str, models: Path) -> Path:
    """The card's path of a model given as a name in `models` or as a path to a card.

    Raises:
        CascadeportError: There is no such card; with the nearest name.
    """
    if model.endswith(".toml") or "/" in model:
        path = user_path(model, "model card")
        if is_dir(path):
            raise CascadeportError(
                "This is a folder, not a model card.",
                where=f"--model {path}",
                next="Give the path of the card's .toml file.",
            )
        return path
    path = models / f"{model}.toml"
    if is_file(path):
        return path
    names = [card.stem for card in models.glob("*.toml")]
    raise CascadeportError(
        f"There is no model named '{model}'; {suggest(model, names)}.",
        where=str(models),
        next="Give a name in models/ or the path of your own card.",
    )


def load(path: Path) -> Card:
    """Reads and validates a card, and checks the files it names against their digests.

    Raises:
        CascadeportError: With every error in the card and its location.
    """
    values = read_toml(path, "model card")
    folder = path.resolve().parent
    _check_line(path.stem, path)
    if isinstance(values.get("classes"), str):
        # Many detectors share one list of classes: a card may point to a file that holds it.
        shared = _resolved(folder, values["classes"], path.stem)
        values["classes"] = read_toml(shared, "list of classes").get("classes", [])
    for key in ("name", "folder"):
        if key in values:
            raise CascadeportError(
                "The model card has 1 error.",
                where=str(path),
                details=[f"{key}: unknown key; a card's name is its file name"],
            )
    card = validate(Contents, values, where=str(path), what="model card")
    result = Card(
        **{key: getattr(card, key) for key in Contents.model_fields},
        name=path.stem,
        stem=path.stem,
        folder=folder,
    )
    _check_files(result, path)
    return result


def _check_line(name: str, path: Path) -> None:
    if printable(name) != name:
        raise CascadeportError(
            "The card's file name has control characters in it.",
            where=str(path),
            next="Rename the file: its name is the model's name in folders and tables.",
        )


def _check_files(card: Card, path: Path) -> None:
    details = []
    named: list[tuple[str, str, str | None]] = []
    for number, one in enumerate(card.graph.all if card.graph else ()):
        table = "graph" if card.graph and card.graph.path else f"graph.files[{number}]"
        named.append((table, one.path, one.sha256))
    if card.checkpoint and card.checkpoint.path and not card.checkpoint.urls:
        named.append(("checkpoint", card.checkpoint.path, card.checkpoint.sha256))
    if card.reference and card.reference.detections:
        named.append(("reference", card.reference.detections, card.reference.sha256))
    for table, name, expected in named:
        file = card.file(name)
        if not is_file(file):
            key = "detections" if table == "reference" else "path"
            details.append(f"{table}.{key}: there is no file {file}")
        elif expected and (found := digest.of_file(file)) != expected:
            details.append(
                f"{table}.sha256: {file} has {found}, the card says {expected}; "
                "it is another file than the card describes"
            )
    if details:
        raise CascadeportError(
            f"The model card has {counted(details)}.",
            where=str(path),
            details=details,
            next="Put the right file in place, or correct the card.",
        )
