"""A data set in COCO layout: loaded, checked, and named by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.datasets import annotations as annotation_file
from cascadeport.datasets import pictures as picture_files
from cascadeport.datasets.description import ANNOTATIONS, PICTURES
from cascadeport.datasets.findings import Findings
from cascadeport.datasets.records import Category, Item

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
            their size are not noticed. Where the data set stands does not matter.
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
    name: str | None = None,
    keep_going: bool = False,
) -> Dataset:
    """Reads and checks a data set.

    Args:
        root: Its folder.
        pictures: The folder of pictures, from `root`.
        annotations: The annotation file, from `root`.
        limit: Take only the first pictures by id; the others need not be on disk.
        name: How results name it.
        keep_going: Pictures that are missing on disk are warnings; they stay in `items`.

    Raises:
        CascadeportError: With every fault of the annotation file, or else of the pictures.
    """
    if limit is not None and limit < 1:
        raise CascadeportError(
            f"The limit is {limit}; a run needs at least one picture.", next="Give 1 or more."
        )
    root = Path(root)
    if not root.is_dir():
        raise CascadeportError(
            "The data set's folder does not exist.", where=str(root), next="Check the path."
        )
    path, folder = root / annotations, root / pictures
    content = _content(path, root)
    if not folder.is_dir():
        known = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise CascadeportError(
            "The folder of pictures does not exist.",
            where=str(folder),
            next=f"PICTURES= names another one; {suggest(pictures, known)}.",
        )
    findings = Findings()
    document = annotation_file.read(path, content)
    checked = annotation_file.check(document, path, findings)
    items = checked.items[:limit]
    if limit is not None and limit > len(items):
        findings.warn(f"The limit is {limit}, and there are {len(items)} pictures")
    sizes = picture_files.check(folder, items, findings, keep_going=keep_going)
    findings.stop(
        "The folder of pictures",
        where=str(folder),
        next="Put the pictures in place; PICTURES= names another folder, "
        "--keep-going goes on without them.",
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
        plain=checked.plain and not bom,
    )


def _content(path: Path, root: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        known = [found.relative_to(root).as_posix() for found in root.glob("*/*.json")]
        known += [found.name for found in root.glob("*.json")]
        near = suggest(path.name, known) if known else "there is no .json file"
        raise CascadeportError(
            "The annotation file does not exist.",
            where=str(path),
            next=f"ANNOTATIONS= names another one; {near}.",
        ) from None
    except OSError as error:
        raise CascadeportError(
            f"The annotation file cannot be read: {error.strerror}.", where=str(path)
        ) from error


def _digest(content: bytes, folder: Path, items: tuple[Item, ...], sizes: dict[str, int]) -> str:
    whole = sum(sizes.values()) <= HASHED_BELOW
    rows: list[list[object]] = []
    for item in items:
        size = sizes.get(item.file)
        row: list[object] = [item.id, item.file, size]
        if whole and size is not None:
            row.append(digest.of_file(folder / item.file))
        rows.append(row)
    return digest.of_value([hashlib.sha256(content).hexdigest(), rows])
