"""The inventory as CycloneDX 1.5, JSON."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from cascadeport import __version__
from cascadeport.ship.sbom.packages import Kind, Package

_TYPES: dict[Kind, str] = {
    "python": "library",
    "deb": "library",
    "base": "operating-system",
    "network": "machine-learning-model",
    "application": "application",
}


def document(name: str, image: str, date: str, packages: Sequence[Package]) -> dict[str, Any]:
    """The inventory of an image; equal images have equal ones. See `spdx.document`."""
    repository, _, version = name.rpartition(":")
    components = [_component(number, one) for number, one in enumerate(packages)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, image)}",
        "version": 1,
        "metadata": {
            "timestamp": date,
            "tools": {
                "components": [
                    {"type": "application", "name": "cascadeport", "version": __version__}
                ]
            },
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": repository,
                "version": version,
                "hashes": [_hash(image.removeprefix("sha256:"))],
            },
        },
        "components": components,
        "dependencies": [
            {"ref": "image", "dependsOn": [component["bom-ref"] for component in components]}
        ],
    }


def _component(number: int, package: Package) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "platform" if package.name == "cpython" else _TYPES[package.kind],
        "bom-ref": f"{package.kind}-{number}",
        "name": package.name,
    }
    if package.version:
        found["version"] = package.version
    if package.licence:
        found["licenses"] = [{"expression": package.licence}]
    if package.purl:
        found["purl"] = package.purl
    if len(package.sha256) == 1:
        found["hashes"] = [_hash(package.sha256[0])]
    elif package.sha256:
        found["properties"] = [
            {"name": "cascadeport:lock:sha256", "value": value} for value in package.sha256
        ]
    if package.remark:
        found["description"] = package.remark
    return found


def _hash(value: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": value}
