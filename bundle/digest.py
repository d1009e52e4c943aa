"""Digests: of a file, of several, and of the bundle itself."""

from __future__ import annotations

import hashlib
import os
from typing import List, Sequence

_CHUNK_BYTES = 1 << 20


def file_digest(path: str) -> str:
    """The sha256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
            sha.update(chunk)
    return sha.hexdigest()


def joint_digest(digests: Sequence[str]) -> str:
    """One digest for several: a single one itself, else the sha256 of them all, in order."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def bundle_digest() -> str:
    """The sha256 of the bundle's own Python files: their names and contents, in sorted order.

    Results with the same digest were computed by the same code. Names are relative to the bundle
    and separated by `/`. Lengths are hashed too, so that no content can imitate the beginning of
    another file.
    """
    root = os.path.dirname(os.path.abspath(__file__))
    sha = hashlib.sha256()
    for name in _python_files(root):
        with open(os.path.join(root, name), "rb") as stream:
            content = stream.read()
        sha.update("{}\0{}\0".format(name, len(content)).encode())
        sha.update(content)
    return sha.hexdigest()


def _python_files(root: str) -> List[str]:
    names = []
    for folder, _, files in os.walk(root):
        for file in files:
            if file.endswith(".py"):
                relative = os.path.relpath(os.path.join(folder, file), root)
                names.append(relative.replace(os.sep, "/"))
    return sorted(names)
