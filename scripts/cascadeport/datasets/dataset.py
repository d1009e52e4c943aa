"""A data set in COCO layout: loaded, checked, and named by its digest."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import MissingFileError, is_dir, read_bytes
from cascadeport.base.suggest import suggest
from cascadeport.base.text import has_surrogates
from cascadeport.datasets import annotations as annotation_file
from cascadeport.datasets import parts
from cascadeport.datasets import pictures as picture_files
from cascadeport.datasets.description import ANNOTATIONS, PICTURES
from cascadeport.datasets.findings import Findings
from cascadeport.datasets.records import Category, Item

ANNOTATIONS_LIMIT = 4 << 30
"""The largest annotation file that is read, in bytes; COCO's training annotations have 0.5 GB."""
HASHED_BELOW = 256 << 20
"""Bytes of pictures up to which the digest covers their content."""


@dataclass(frozen=True)
class Dataset:
    """A checked data set.

    Args:
        name: How results name it: its folder's name unless another is given.
        root: Its folder.
        pictures_dir: The folder that `Item.file` starts from.
        annotations_path: The annotation file, as the user gave it. Evaluators get
            `datasets.for_evaluation` instead.
        categories: By id.
        items: By id; with a limit only the first ones.
        digest: The sha256 of the annotation file's content and, of every picture, its id, name and
            size in bytes; and of its content where the pictures together have at most
            `HASHED_BELOW` bytes. Above that, pictures that were changed without changing
            their size are not noticed. The path of the data set does not matter.
        warnings: What was found and stopped nothing, a sentence each.
        plain: Whether evaluators can read the annotation file as it is.
    """

    name: str
    root: Path
    pictures_dir: Path
    annotations_path: Path
    categories: tuple[Category, ...]
    items: tuple[Item, ...]
    digest: str
    warnings: tuple[str, ...]
    plain: bool


def load(
    root: Path,
    *,
    pictures: str = PICTURES,
    annotations: str = ANNOTATIONS,
    limit: int | None = None,
    part: str | None = None,
    name: str | None = None,
    keep_going: bool = False,
) -> Dataset:
    """Reads and checks a data set.

    Args:
        root: Its folder.
        pictures: The folder of pictures, from `root`.
        annotations: The annotation file, from `root`.
        limit: Take only the first pictures by id; the others need not be on disk.
        part: Take only the pictures of this part (`datasets.parts`); `limit` then takes its first
            ones in the order that divides the pictures.
        name: How results name it.
        keep_going: Pictures that are missing on disk are warnings; they stay in `items`.

    Raises:
        CascadeportError: With every error in the annotation file, or else of the pictures.
    """
    if limit is not None and limit < 1:
        raise CascadeportError(
            f"The limit is {limit}; a run needs at least one picture.",
            next="--limit takes 1 or more.",
        )
    root = Path(root)
    if not is_dir(root):
        raise CascadeportError(
            "The data set's folder does not exist.", where=str(root), next="Check the path."
        )
    path, folder = root / annotations, root / pictures
    content = _content(path, root)
    if not is_dir(folder):
        known = _folders(root)
        raise CascadeportError(
            "The folder of pictures does not exist.",
            where=str(folder),
            next=f"--pictures names another one; {suggest(pictures, known)}.",
        )
    findings = Findings()
    document = annotation_file.read(path, content)
    checked = annotation_file.check(document, path, findings)
    among = checked.items if part is None else parts.of(checked.items, part)
    items = among[:limit]
    if limit is not None and limit > len(items):
        findings.warn(f"The limit is {limit}, and there are {len(items)} pictures")
    if part is not None:
        items = tuple(sorted(items, key=lambda item: item.id))
    if not items:
        raise CascadeportError(
            f"The part '{part}' of {len(checked.items)} pictures is empty.",
            where=str(path),
            next="Two pictures are the least that can be divided.",
        )
    sizes = picture_files.check(folder, items, findings, keep_going=keep_going)
    findings.stop(
        "The folder of pictures",
        where=str(folder),
        next="Put the pictures in place; --pictures names another folder, "
        "--keep-going continues without them.",
    )
    bom = content.startswith(b"\xef\xbb\xbf")
    return Dataset(
        name=name or root.resolve().name or "data",
        root=root,
        pictures_dir=folder,
        annotations_path=path,
        categories=checked.categories,
        items=items,
        digest=_digest(content, folder, items, sizes),
        warnings=findings.warnings,
        plain=checked.plain and not bom and not _has_surrogates(content, document),
    )


def _content(path: Path, root: Path) -> bytes:
    try:
        return read_bytes(path, "annotation file", limit=ANNOTATIONS_LIMIT)
    except MissingFileError:
        known = [found.relative_to(root).as_posix() for found in root.glob("*/*.json")]
        known += [found.name for found in root.glob("*.json")]
        near = suggest(path.name, known) if known else "there is no .json file"
        raise CascadeportError(
            "The annotation file does not exist.",
            where=str(path),
            next=f"--annotations names another one; {near}.",
        ) from None


def _has_surrogates(content: bytes, document: dict[str, Any]) -> bool:
    """Whether half a character is in some text of the file: evaluators refuse such JSON."""
    if not re.search(rb"\\u[dD][89a-fA-F]", content):
        return False
    return has_surrogates(json.dumps(document, ensure_ascii=False))


def _folders(root: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    except OSError:
        return []


def _digest(content: bytes, folder: Path, items: tuple[Item, ...], sizes: dict[str, int]) -> str:
    hashed = sum(sizes.values()) <= HASHED_BELOW
    rows: list[list[object]] = []
    for item in items:
        size = sizes.get(item.file)
        row: list[object] = [item.id, item.file, size]
        if hashed and size is not None:
            row.append(_of_picture(folder / item.file))
        rows.append(row)
    return digest.of_value([hashlib.sha256(content).hexdigest(), rows])


def _of_picture(path: Path) -> str:
    try:
        return digest.of_file(path)
    except OSError as error:
        raise CascadeportError(
            f"A picture cannot be read: {error.strerror}.",
            where=str(path),
            next="Make it readable, or leave it out of the annotation file.",
        ) from error
