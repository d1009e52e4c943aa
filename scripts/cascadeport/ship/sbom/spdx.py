"""The inventory as SPDX 2.3, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cascadeport import __version__
from cascadeport.ship.sbom.packages import Package

_ROOT = "SPDXRef-image"
_NONE = "NOASSERTION"


def document(name: str, image: str, date: str, packages: Sequence[Package]) -> dict[str, Any]:
    """The inventory of an image; equal images have equal ones.

    Args:
        name: The image's name and tag.
        image: Its id.
        date: When the run that it was frozen from was made.
        packages: What is in it.
    """
    entries = [_package(number, one) for number, one in enumerate(packages)]
    repository, _, version = name.rpartition(":")
    root = {
        "SPDXID": _ROOT,
        "name": repository,
        "versionInfo": version,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": _NONE,
        "copyrightText": _NONE,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": image.removeprefix("sha256:")}],
        "comment": "The checksum is the image's id: the digest of its configuration.",
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:cascadeport:image:{image}",
        "creationInfo": {
            "created": date,
            "creators": [f"Tool: cascadeport-{__version__}"],
            "comment": "Dated by the run that the image was frozen from.",
        },
        "packages": [root, *entries],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", _ROOT),
            *(_relation(_ROOT, "CONTAINS", entry["SPDXID"]) for entry in entries),
        ],
    }


def _package(number: int, package: Package) -> dict[str, Any]:
    found: dict[str, Any] = {
        "SPDXID": f"SPDXRef-{package.kind}-{number}",
        "name": package.name,
        "downloadLocation": _NONE,
        "filesAnalyzed": False,
        "licenseConcluded": _NONE,
        "licenseDeclared": package.licence or _NONE,
        "copyrightText": _NONE,
    }
    if package.version:
        found["versionInfo"] = package.version
    remark = package.remark
    if len(package.sha256) == 1:
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": package.sha256[0]}]
    elif package.sha256:
        # SPDX has one digest of an algorithm per package; the lock allows one file per platform.
        allowed = " ".join(package.sha256)
        remark = f"{remark}; installed from a file with one of these sha256: {allowed}"
    if remark:
        found["comment"] = remark.removeprefix("; ")
    if package.purl:
        found["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }
        ]
    return found


def _relation(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
