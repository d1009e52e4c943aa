"""Which pictures `infer` is about: a folder, a single file, or a list on standard input."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import BinaryIO, Dict, List, NamedTuple, Sequence, Set

from bundle.errors import BundleError
from bundle.job import Picture

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
STANDARD_INPUT = "-"
# Up to here a JSON number is an exact integer for every reader.
_MAX_ID = 2**53
_NUMBER = re.compile(r"[0-9]{1,16}\Z")


class Source(NamedTuple):
    """Pictures, sorted by name.

    Args:
        root: What the pictures' files are relative to; empty for a list.
        pictures: Their ids and files. Sizes are not known yet.
        names: For each file a relative path without suffix, for files made from it. No two
            pictures have the same.
        ignored: How many files of the folder are not pictures by their names.
    """

    root: str
    pictures: List[Picture]
    names: Dict[str, str]
    ignored: int


def find_pictures(given: str, out: str, standard_input: BinaryIO) -> Source:
    """Lists the pictures.

    Args:
        given: A folder (searched with all below it; names that begin with a dot are left out), a
            file, or `-`: paths on standard input, one per line or separated by null characters.
        out: Where results go. It is not searched, even if it is in the folder.
        standard_input: Where the list comes from.

    Raises:
        BundleError: There are no pictures, or the folder cannot be read.
    """
    ignored = 0
    if given == STANDARD_INPUT:
        root, files = "", _listed(standard_input.read())
        common = os.path.commonpath([os.path.abspath(os.path.dirname(file)) for file in files])
        relative = {file: os.path.relpath(os.path.abspath(file), common) for file in files}
    elif os.path.isdir(given):
        found = _below(given, out)
        root, files = given, [name for name in found if name.lower().endswith(SUFFIXES)]
        ignored = len(found) - len(files)
        relative = {file: file for file in files}
    elif not os.path.lexists(given):
        raise BundleError(
            "There is no such folder or picture.",
            given,
            "In a container, only what is mounted is there: -v /srv/pictures:/in:ro, and /in here.",
        )
    else:
        root, name = os.path.split(given)
        files, relative = [name], {name: name}
    if not files or not files[0]:
        raise BundleError(
            "There are no pictures.",
            given,
            "Name a folder with files that end in {}, a single file, or '-' and write paths to "
            "standard input.".format(", ".join(SUFFIXES)),
        )
    ids = picture_ids(files)
    pictures = [Picture(number, file, 0, 0) for number, file in zip(ids, files)]
    return Source(root, pictures, _names(relative), ignored)


def picture_ids(files: Sequence[str]) -> List[int]:
    """The ids of pictures: the numbers that COCO's file names are, else 1, 2, 3, ...

    Numbers are taken only if every name is one, and no two are the same.
    """
    stems = [os.path.splitext(os.path.basename(file))[0] for file in files]
    if all(_NUMBER.match(stem) for stem in stems):
        ids = [int(stem) for stem in stems]
        if len(set(ids)) == len(ids) and max(ids) < _MAX_ID:
            return ids
    return list(range(1, len(files) + 1))


def _listed(data: bytes) -> List[str]:
    separator = b"\0" if b"\0" in data else b"\n"
    lines = (line.rstrip(b"\r") if separator == b"\n" else line for line in data.split(separator))
    files = sorted({os.fsdecode(line) for line in lines if line.strip()})
    if not files:
        raise BundleError(
            "The list of pictures is empty.", "standard input", "Write a path per line."
        )
    return files


def _below(folder: str, out: str) -> List[str]:
    """All files below the folder, except for hidden ones and results: relative, sorted."""
    results = {os.path.realpath(out), os.path.join(os.path.realpath(out), "drawn")}
    results.discard(os.path.realpath(folder))

    def refuse(failure: OSError) -> None:
        raise BundleError(
            "A folder cannot be read: {}.".format(failure.strerror),
            str(failure.filename),
            "Correct its permissions; in a container, the user's number is what counts.",
        )

    found: List[str] = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and os.path.realpath(os.path.join(parent, name)) not in results
        ]
        found += [
            os.path.relpath(os.path.join(parent, name), folder)
            for name in files
            if not name.startswith(".")
        ]
    return sorted(found)


def _names(relative: Dict[str, str]) -> Dict[str, str]:
    """Names without suffixes, except where two pictures would have the same."""
    stems = {file: os.path.splitext(name)[0] for file, name in relative.items()}
    # On file systems that ignore case, a.jpg and A.png would be one file.
    counts = Counter(stem.lower() for stem in stems.values())
    names = {
        file: stem if counts[stem.lower()] == 1 else relative[file] for file, stem in stems.items()
    }
    used: Set[str] = set()
    for file in names:
        while names[file].lower() in used:
            names[file] += "_"
        used.add(names[file].lower())
    return names
