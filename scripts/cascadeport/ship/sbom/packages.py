"""The packages of an image: what its files say, and what the locks pinned.

Python packages are found by their metadata, those of the base by dpkg's database. A base without
one is a single component, and its remark says so: an inventory that looks complete and is not is
worse than none.
"""

from __future__ import annotations

import email
import email.message
import email.policy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from cascadeport.base import locks
from cascadeport.ship.rootfs import Rootfs

Kind = Literal["python", "deb", "base", "network", "application"]
_DPKG = "var/lib/dpkg/status"
_DISTROLESS = "var/lib/dpkg/status.d"
_METADATA = re.compile(r"\.dist-info/METADATA$")


@dataclass(frozen=True, order=True)
class Package:
    """A component of an image.

    Args:
        kind: What it is.
        name: Its name.
        version: Its version; empty where it has none.
        licence: An SPDX expression; empty where nothing valid is declared.
        purl: Its package URL; empty where there is none for it.
        sha256: Digests of the files that it was installed from, or of itself.
        remark: What else has to be said.
    """

    kind: Kind
    name: str
    version: str = ""
    licence: str = ""
    purl: str = ""
    sha256: tuple[str, ...] = ()
    remark: str = ""


def of_image(files: Rootfs, lock_files: Sequence[Path], python: str) -> list[Package]:
    """The packages in an image's files, sorted.

    Args:
        lock_files: The locks that its Python packages were installed from.
        python: The version of its Python.
    """
    found = {*_python(files, _pinned(lock_files, python)), *_base(files)}
    found.add(Package("base", "cpython", python, "PSF-2.0", f"pkg:generic/cpython@{python}"))
    return sorted(found)


def _python(files: Rootfs, pinned: Mapping[tuple[str, str], tuple[str, ...]]) -> Iterator[Package]:
    for path in files:
        if not _METADATA.search(path):
            continue
        metadata = _headers(files.read(path) or b"")
        name, version = str(metadata["Name"] or ""), str(metadata["Version"] or "")
        if not name:
            continue
        key = (canonicalize_name(name), version)
        declared = str(metadata["License-Expression"] or metadata["License"] or "")
        licence = _expression(declared)
        remarks = [f"in /{PurePosixPath(path).parent.parent}"]
        if declared and not licence:
            remarks.append(f"declares its licence as: {' '.join(declared.split())[:200]}")
        yield Package(
            "python",
            key[0],
            version,
            licence,
            f"pkg:pypi/{quote(key[0])}@{quote(version)}",
            pinned.get(key, ()),
            "; ".join(remarks),
        )


def _pinned(lock_files: Sequence[Path], python: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """The digests that the locks allow, by name and version."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for lock in lock_files:
        text = locks.selected(lock, python).replace("\\\n", " ")
        for line in text.splitlines():
            requirement, *hashes = line.split("--hash=sha256:")
            name, _, version = requirement.strip().partition("==")
            digests = tuple(sorted(value.strip() for value in hashes))
            found[canonicalize_name(name), version.strip()] = digests
    return found


def _base(files: Rootfs) -> Iterator[Package]:
    system = _os_release(files)
    distribution = system.get("ID", "")
    texts = [files.read(_DPKG)]
    texts += [files.read(path) for path in files if path.startswith(f"{_DISTROLESS}/")]
    found = [
        _deb(entry, distribution, system.get("VERSION_ID", ""))
        for text in texts
        for entry in (text or b"").decode("utf-8", "replace").split("\n\n")
        if entry.strip()
    ]
    packages = [package for package in found if package is not None]
    yield from packages
    if not packages:
        yield Package(
            "base",
            distribution or "base-image",
            system.get("VERSION_ID", ""),
            remark="The base has no dpkg database: its files are known by the layers' digests "
            "only.",
        )


def _deb(entry: str, distribution: str, release: str) -> Package | None:
    fields = _headers(entry.encode())
    name, version = str(fields["Package"] or ""), str(fields["Version"] or "")
    status = str(fields["Status"] or "install ok installed")
    if not name or not status.endswith(" installed"):
        return None
    qualifiers = [f"arch={quote(str(fields['Architecture'] or 'all'))}"]
    if distribution and release:
        qualifiers.append(f"distro={quote(distribution)}-{quote(release)}")
    vendor = quote(distribution or "debian")
    purl = f"pkg:deb/{vendor}/{quote(name)}@{quote(version)}?{'&'.join(qualifiers)}"
    return Package("deb", name, version, purl=purl)


def _os_release(files: Rootfs) -> dict[str, str]:
    text = (files.read("etc/os-release") or b"").decode("utf-8", "replace")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _headers(content: bytes) -> email.message.Message:
    return email.message_from_bytes(content, policy=email.policy.compat32)


def _expression(text: str) -> str:
    """The licence as an SPDX expression; empty where it is none."""
    try:
        return str(canonicalize_license_expression(text)) if text else ""
    except InvalidLicenseExpression:
        return ""
