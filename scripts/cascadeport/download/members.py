"""What an archive would write, and whether it may: checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from cascadeport.base.errors import CascadeportError

_MOST_LISTED = 20
_RATIO_FROM = 64 << 20
_LONGEST_NAME = 255
_LONGEST_PATH = 1024


@dataclass(frozen=True)
class Limits:
    """What one archive may unpack to.

    Args:
        bytes: All its files together.
        files: How many.
        ratio: Unpacked bytes per packed one, above 64 MiB; COCO's annotations have about 5, and
            deflate can reach 1,032.
    """

    bytes: int = 64 << 30
    files: int = 1_000_000
    ratio: int = 200


@dataclass(frozen=True)
class Member:
    """An entry of an archive.

    Args:
        name: As the archive writes it.
        size: Unpacked bytes, as the archive announces them; no more are ever written.
        folder: Whether it is one.
        problem: What else is wrong with it: "is a link".
    """

    name: str
    size: int
    folder: bool = False
    problem: str = ""

    @property
    def path(self) -> PurePosixPath:
        """Its path in the folder: `./a//b` is `a/b`."""
        return PurePosixPath(self.name)


def choose(
    members: Iterable[Member],
    patterns: tuple[str, ...],
    *,
    where: str,
    packed: int,
    limits: Limits,
) -> list[Member]:
    """Chooses the files to unpack, all of which may be written.

    Args:
        members: An archive's entries.
        patterns: Names to unpack (`*` matches any characters); everything when empty.
        where: The archive, for errors.
        packed: Its size in bytes.
        limits: What it may unpack to.

    Raises:
        CascadeportError: With every entry that must not be written, or if nothing matches a
            pattern.
    """
    problems: list[str] = []
    chosen: dict[PurePosixPath, Member] = {}
    total = count = 0
    for member in members:
        # Counted, wanted or not, before the next one is read: a compressed tar is unpacked to be
        # listed.
        total += member.size
        count += 1
        problem = _too_much(total, count, packed, limits)
        if problem:
            raise CascadeportError(
                f"The archive is refused: it {problem}.",
                where=where,
                next="Is it the right file? Unpack it by hand if it is.",
            )
        if patterns and not any(_matches(member, pattern) for pattern in patterns):
            continue
        problem = _problem(member) or ("comes twice" if member.path in chosen else "")
        if problem:
            problems.append(f"{member.name!r:.120} {problem}")
        elif not member.folder:
            chosen[member.path] = member
    folders = {parent for path in chosen for parent in path.parents}
    problems += [
        f"{path.as_posix()!r:.120} is a file and a folder" for path in folders & set(chosen)
    ]
    for pattern in patterns:
        if not problems and not any(_matches(member, pattern) for member in chosen.values()):
            problems.append(f"nothing in it is named {pattern!r}")
    if problems:
        more = len(problems) - _MOST_LISTED
        listed = problems[:_MOST_LISTED] + ([f"... and {more} more"] if more > 0 else [])
        raise CascadeportError(
            "The archive is refused; nothing was unpacked.",
            where=where,
            details=listed,
            next="Is it the right file? Unpack it by hand if it is.",
        )
    return list(chosen.values())


def _matches(member: Member, pattern: str) -> bool:
    return fnmatchcase(member.path.as_posix(), pattern)


def _too_much(total: int, count: int, packed: int, limits: Limits) -> str:
    if count > limits.files:
        return f"has more than {limits.files:,} files"
    if total > limits.bytes:
        return f"unpacks to more than {limits.bytes / 1e9:.1f} GB"
    if total > max(_RATIO_FROM, limits.ratio * packed):
        return f"unpacks to more than {limits.ratio} times its size"
    return ""


def _problem(member: Member) -> str:
    name = member.name
    parts = member.path.parts
    if not parts and not member.folder:
        return "has no name"
    if name.startswith("/"):
        return "is an absolute path"
    if "\\" in name:
        return "has a backslash in its name"
    if ".." in parts:
        return "leads out of the folder"
    if any(ord(letter) < 32 for letter in name):
        return "has a control character in its name"
    encoded = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if sum(encoded) > _LONGEST_PATH or any(length > _LONGEST_NAME for length in encoded):
        return "has a name that is too long"
    return member.problem
