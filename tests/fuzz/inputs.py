"""Subjects: what users bring. Pictures, annotation files, cards and archives."""

from __future__ import annotations

import io
import json
import math
import random
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
from cascadeport import datasets, evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards
from cascadeport.download import Limits, Packed, unpack
from PIL import Image

from bundle.job import Picture
from bundle.picture import read_picture
from tests.fuzz import mutate
from tests.fuzz.subject import Subject, require
from tests.helpers import small_world


class Pictures(Subject):
    """Nonsense: pixels of another shape or type than the annotations promise."""

    WIDTH, HEIGHT = 64, 48

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        pixels = np.random.default_rng(0).integers(0, 256, (self.HEIGHT, self.WIDTH, 3), np.uint8)
        self.originals = []
        for suffix, settings in (
            (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]), (".png", []), (".bmp", []),
            (".webp", []), (".tiff", []), (".jp2", []),
        ):  # fmt: skip
            done, data = cv2.imencode(suffix, pixels, settings)
            if done:
                self.originals.append(data.tobytes())
        image = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = 6
        for form, mode, more in (
            ("JPEG", "RGB", {"exif": exif}), ("JPEG", "CMYK", {}), ("PNG", "P", {}),
            ("PNG", "LA", {}), ("GIF", "P", {}),
        ):  # fmt: skip
            stream = io.BytesIO()
            image.convert(mode).save(stream, form, **more)
            self.originals.append(stream.getvalue())

    def make(self, draw: random.Random) -> None:
        data = draw.choice(self.originals)
        if data.startswith(b"\x89PNG") and draw.random() < 0.3:
            # Sizes with a right checksum, which random changes would never find.
            size = struct.pack(">II", *(draw.choice((0, 1, 64, 30000, 2**31 - 1)) for _ in "wh"))
            head = b"IHDR" + size + data[24:29]
            data = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
        else:
            data = mutate.content(data, draw)
        (self.case / "picture").write_bytes(data)

    def run(self) -> None:
        found = read_picture(
            str(self.case / "picture"), Picture(1, "picture", self.WIDTH, self.HEIGHT)
        )
        require(found.shape == (self.HEIGHT, self.WIDTH, 3), f"its pixels are {found.shape}")
        require(found.dtype == np.uint8, f"its pixels are {found.dtype}")


class Annotations(Subject):
    """Nonsense: ids that are not unique, boxes or sizes that cannot be, files elsewhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.data = small_world.dataset(folder / "data")
        self.original = small_world.annotations()

    def make(self, draw: random.Random) -> None:
        text = json.dumps(mutate.value(self.original, draw))
        data = text.encode("utf-8", "surrogatepass")
        if draw.random() < 0.2:
            data = mutate.content(data, draw)
        (self.case / "annotations.json").write_bytes(data)

    def run(self) -> None:
        path = self.case / "annotations.json"
        found = datasets.load(self.data, annotations=str(path))
        ids = [item.id for item in found.items]
        require(len(set(ids)) == len(ids), "ids of pictures come twice")
        for item in found.items:
            require(0 <= item.id < 2**63, f"a picture has the id {item.id}")
            require(item.width > 0 and item.height > 0, f"a picture of {item.width}x{item.height}")
            inside = (found.pictures_dir / item.file).resolve()
            require(inside.is_relative_to(found.pictures_dir.resolve()), f"{item.file} is outside")
        detections = self.out / "detections.json"
        detections.write_text("[]")
        plain = datasets.for_evaluation(found, self.out)
        done = evaluation.evaluate(plain, detections, ids)
        require(done.pictures == len(ids), f"{done.pictures} of {len(ids)} pictures were evaluated")


class Cards(Subject):
    """Nonsense: settings outside what the documentation allows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        small_world.card(folder)
        self.graph = (folder / "small.onnx").read_bytes()
        self.original = (folder / "small.toml").read_text() + (
            '[output]\nscore_threshold = 0.05\nmax_detections = 100\n'
            '[checkpoint]\nurls = ["https://example.org/net-1234abcd.pth"]\nconfig = "demo"\n'
            'sha256_prefix = "1234abcd"\n'
        )  # fmt: skip

    def make(self, draw: random.Random) -> None:
        (self.case / "small.onnx").write_bytes(self.graph)
        data = mutate.text(self.original, draw).encode("utf-8", "surrogatepass")
        if draw.random() < 0.1:
            data = mutate.content(data, draw)
        (self.case / "card.toml").write_bytes(data)

    def run(self) -> None:
        card = cards.load(self.case / "card.toml")
        numbers = [*card.input.mean, *card.input.std]
        require(all(map(math.isfinite, numbers)), f"mean and std are {numbers}")
        require(min(card.input.std) > 0, f"std is {card.input.std}")
        require(all(0 < side <= 1 << 16 for shape in card.input.canvases for side in shape), "size")
        require(0 <= card.output.score_threshold <= 1, "score_threshold")
        require(1 <= card.output.max_detections <= 1000, "max_detections")
        names = [one.name for one in card.classes]
        require(0 < len(set(names)) == len(names), f"classes are {names}")
        for name in (card.title, *names):
            require(name.isprintable() and bool(name.strip()), f"a name is {name!r}")


class Archives(Subject):
    """Nonsense: anything but plain files within the folder, or more than the limits allow."""

    LIMITS = Limits(bytes=1 << 20, files=50)
    NAMES = ("a.txt", "b/c.txt", "b/c.txt", "../out", "/etc/x", "a/../../y", "b", "b/", "A.TXT",
             "x" * 300, "a\\b", "a\0b", ".", "é", "\ud83d", "con", "a.txt/d")  # fmt: skip

    def make(self, draw: random.Random) -> None:
        path = self.case / "archive"
        make = self._zip if draw.random() < 0.5 else self._tar
        make(path, draw)
        if draw.random() < 0.4:
            path.write_bytes(mutate.content(path.read_bytes(), draw))

    def _entries(self, draw: random.Random) -> list[tuple[str, bytes]]:
        sizes = (0, 3, 500, 1 << 16, 1 << 21)
        count = draw.choice((0, 1, 3, 60))
        weights = (4, 4, 4, 1, 1)
        return [
            (draw.choice(self.NAMES), b"x" * draw.choices(sizes, weights)[0]) for _ in range(count)
        ]

    def _zip(self, path: Path, draw: random.Random) -> None:
        with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, 8))) as archive:
            for name, data in self._entries(draw):
                info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
                info.external_attr = draw.choice((0, 0o644, 0o120777, 0o020666, 0o4755)) << 16
                info.compress_type = archive.compression
                archive.writestr(info, data)

    def _tar(self, path: Path, draw: random.Random) -> None:
        with tarfile.open(path, draw.choice(("w", "w:gz", "w:xz"))) as archive:
            for name, data in self._entries(draw):
                info = tarfile.TarInfo(name.encode("utf-8", "replace").decode())
                info.type = draw.choice(
                    (b"0", b"0", b"0", b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"S", b"x")
                )
                info.linkname = draw.choice(("", "/etc/passwd", "../..", "a.txt"))
                info.size = len(data) if info.isreg() else 0
                archive.addfile(info, io.BytesIO(data))

    def run(self) -> None:
        before = set(self.case.parent.rglob("*"))
        out = self.out / "unpacked"
        try:
            unpack([Packed(self.case / "archive")], out, limits=self.LIMITS)
        except CascadeportError:
            require(set(self.case.parent.rglob("*")) == before, "a refused archive left something")
            raise
        made = set(self.case.parent.rglob("*")) - before
        outside = [path for path in made if path != out and not path.is_relative_to(out)]
        require(not outside, f"it wrote {outside}")
        files = [path for path in made if not path.is_dir()]
        odd = [path for path in files if path.is_symlink() or not path.is_file()]
        require(not odd, f"it made something else than files: {odd}")
        require(not any(path.stat().st_mode & 0o7000 for path in files), "set-user-id")
        require(sum(path.stat().st_size for path in files) <= self.LIMITS.bytes, "its size")
