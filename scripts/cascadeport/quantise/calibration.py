"""Calibration pictures: which, whether they are evaluated as well, and as the network's input."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
#: Fewer say too little of a value's range.
FEWEST = 4
_SHOWN = 3


@dataclass(frozen=True)
class CalibrationPicture:
    """A picture that ranges are measured on.

    Args:
        path: Its file.
        name: Its name below the folder of pictures.
        sha256: Of its content.
    """

    path: Path
    name: str
    sha256: str


def choose(folder: Path, count: int) -> list[CalibrationPicture]:
    """Pictures of a folder, spread evenly over the order of their names.

    Raises:
        CascadeportError: It has too few, or one cannot be read.
    """
    found = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    if len(found) < FEWEST:
        raise CascadeportError(
            f"The folder has {len(found)} pictures to calibrate on; at least {FEWEST} are needed.",
            where=str(folder),
            next="--calibration names a folder of pictures like those that will be detected in.",
        )
    step = max(1.0, len(found) / count)
    chosen = [found[int(index * step)] for index in range(min(count, len(found)))]
    try:
        return [
            CalibrationPicture(path, path.relative_to(folder).as_posix(), digest.of_file(path))
            for path in chosen
        ]
    except OSError as error:
        raise CascadeportError(
            f"A picture to calibrate on cannot be read: {error.strerror}.",
            where=str(error.filename),
            next="Make it readable, or remove it from the folder.",
        ) from error


def refuse_evaluated(
    pictures: Sequence[CalibrationPicture], evaluated: Mapping[str, str], where: Path
) -> None:
    """Refuses pictures that are evaluated as well, by their content, whatever they are called.

    Args:
        evaluated: The names of the evaluated pictures by the sha256 of their content.

    Raises:
        CascadeportError: Some are.
    """
    both = [one for one in pictures if one.sha256 in evaluated]
    if not both:
        return
    more = len(both) - _SHOWN
    raise CascadeportError(
        f"{len(both)} of the {len(pictures)} pictures to calibrate on are among those that are "
        "evaluated: the accuracy would be that of pictures which the network has seen.",
        where=str(where),
        details=[f"{one.name} is {evaluated[one.sha256]}" for one in both[:_SHOWN]]
        + ([f"and {more} more"] if more > 0 else []),
        next="--calibration names other pictures, of the same kind.",
    )


def prepare(
    pictures: Sequence[CalibrationPicture],
    job: Mapping[str, Any],
    out: Path,
    progress: Callable[[int, int, str], None],
) -> list[Path]:
    """Writes pictures as the network's input, by the bundle's own code.

    Args:
        job: The job's settings (`jobs.settings`): input, preprocess and the rest.
        out: A folder for NNNN.npy, each float32 (1,3,H,W).

    Returns:
        The files, in the order of the pictures.

    Raises:
        CascadeportError: A picture cannot be decoded.
    """
    from bundle.errors import BundleError, PictureError

    written = []
    try:
        for index, array in enumerate(_arrays(pictures, job)):
            progress(index, len(pictures), "calibration pictures")
            path = out / f"{index:04}.npy"
            np.save(path, array)
            written.append(path)
    except (BundleError, PictureError) as error:
        raise CascadeportError(
            f"A picture to calibrate on cannot be used. {error.what}",
            where=error.where,
            next="Remove it from the folder of --calibration, or replace it.",
        ) from error
    progress(len(pictures), len(pictures), "calibration pictures")
    return written


def _arrays(pictures: Sequence[CalibrationPicture], job: Mapping[str, Any]) -> Iterator[Any]:
    from bundle.geometry import fit
    from bundle.job import Picture, check_job
    from bundle.picture import decode, read_bytes, sized
    from bundle.preprocess import Canvas, Preprocessor

    nothing = {"id": 0, "file": "calibration", "width": 1, "height": 1}
    settings = check_job(
        {
            **job,
            # One may take every shape; its pictures are prepared like those of several.
            "networks": [{"path": "", "sha256": ""}],
            "pictures": {"root": "", "items": [nothing]},
        },
        "",
    ).preprocess
    canvas, preprocessor = Canvas(settings), Preprocessor(settings)
    for number, one in enumerate(pictures):
        path = str(one.path)
        unknown = Picture(number, one.name, 0, 0)
        image = decode(read_bytes(path), unknown, path)
        preprocessor.prepare(image, fit(sized(unknown, image), settings), canvas)
        yield canvas.array.copy()


def of_shape(paths: Collection[Path], shape: Sequence[int]) -> list[Path]:
    """The inputs that have a shape (rows, columns); all networks of a card share the pictures."""
    return [path for path in paths if np.load(path, mmap_mode="r").shape[2:] == tuple(shape)]
