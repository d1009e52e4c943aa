"""Writes pictures in different encodings and orientations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cascadeport.scenes.paint import Picture

_EXIF_ORIENTATION = 0x0112
_UNDO = {
    # The transposition that the reader's own transposition undoes.
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Storage:
    """How a picture is stored."""

    suffix: str = ".jpg"
    mode: str = "RGB"
    orientation: int = 1
    quality: int = 92


def write(picture: Picture, path: Path, storage: Storage) -> None:
    """Write an upright RGB picture (h,w,3) so that a reader that applies EXIF sees it upright."""
    image = Image.fromarray(picture).convert(storage.mode)
    if storage.suffix == ".png":
        image.save(path, "PNG", compress_level=6)
        return
    if storage.orientation == 1:
        image.save(path, "JPEG", quality=storage.quality)
        return
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = storage.orientation
    turned = image.transpose(_UNDO[storage.orientation])
    turned.save(path, "JPEG", quality=storage.quality, exif=exif.tobytes())
