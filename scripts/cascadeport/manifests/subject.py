"""What is deployed: an image, where its pods find pictures, and how many of them there are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.core.cluster import PlugIn
from cascadeport.ship.runtime import Runtime

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_REFERENCE = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]*(@sha256:[0-9a-f]{64})?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_LONGEST = 52
_REPLICAS = re.compile(r"([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?")


@dataclass(frozen=True)
class Subject:
    """What is deployed.

    Args:
        name: The detector and the target, as the names of objects begin.
        title: For people.
        target: The target's name.
        version: The image's version.
        image: The image's reference.
        is_loaded: Whether nodes have the image already, and there is no registry to ask.
        labels: Why it is not what it could be taken for: `name` and `reason` of each.
        origin: What else is known of the image, for annotations.
        runtime: How its containers are run: the target's compose file, its variables filled.
        plug_in: How the cluster hands out its devices; None: it needs none.
        shards: How many shares the pictures are cut into.
        parallelism: How many of them are worked on at once.
        replicas: The fewest and the most servers.
        namespace: Where to; empty: wherever it is applied.
        pictures: The claim of the volume with the pictures.
        found: The claim of the volume for results.
        host_files: Whether pods mount what the declaration mounts of the host, and no plug-in and
            no runtime brings.
    """

    name: str
    title: str
    target: str
    version: str
    image: str
    is_loaded: bool
    labels: Sequence[Mapping[str, str]]
    origin: Mapping[str, str]
    runtime: Runtime
    plug_in: PlugIn | None
    shards: int
    parallelism: int
    replicas: tuple[int, int]
    namespace: str
    pictures: str
    found: str
    host_files: bool = False

    @property
    def annotations(self) -> dict[str, str]:
        """What every object says of the image; above all what it is not."""
        found = {f"io.cascadeport/{key}": value for key, value in self.origin.items()}
        for name in ("simulated", "forced"):
            reasons = [one["reason"] for one in self.labels if one["name"] == name]
            if reasons:
                found[f"io.cascadeport/{name}"] = " ".join(reasons)
        return found

    def selector(self, component: str) -> dict[str, str]:
        """The labels that find the pods of one part: `infer`, `merge` or `serve`."""
        return {
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/component": component,
        }

    def metadata(self, component: str, name: str = "") -> dict[str, object]:
        """The metadata of an object.

        Args:
            name: Its name; that of the part unless given.
        """
        return {
            "name": name or f"{self.name}-{component}",
            "labels": {
                **self.selector(component),
                # A version may be longer than a label, and hold what none may.
                "app.kubernetes.io/version": label(self.version),
                "app.kubernetes.io/part-of": "cascadeport",
            },
            "annotations": self.annotations,
        }


def label(text: str) -> str:
    """A text as the value of a label."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("._-")


def object_name(*parts: str) -> str:
    """A name that every object can have: a DNS label, with room for what is appended."""
    joined = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower())
    return joined[:_LONGEST].strip("-")


def checked_name(text: str, option: str) -> str:
    """A name that the user gave.

    Raises:
        CascadeportError: No object can have it.
    """
    if _NAME.fullmatch(text) is None or len(text) > 63:
        raise CascadeportError(
            f"'{text}' cannot be a name in Kubernetes.",
            where=option,
            next="Lower-case letters, digits and '-', at most 63, beginning and ending with a "
            "letter or digit.",
        )
    return text


def reference(text: str, digest: str | None) -> str:
    """The image's reference in a registry: by its digest, so that it cannot become another.

    Args:
        text: What the user calls it there.
        digest: The digest of its OCI manifest, where a shipment tells.

    Raises:
        CascadeportError: It is no reference, or no digest is known.
    """
    if _REFERENCE.fullmatch(text) is None:
        raise CascadeportError(
            f"'{text[:80]}' is no reference of an image.",
            where="--image",
            next="For example --image registry.example.org/detect/r101-310p3",
        )
    if _DIGEST.search(text):
        return text
    if digest is None:
        raise CascadeportError(
            "The image is named without its digest, and there is no shipment that tells it.",
            where=f"--image {text}",
            next="Give --image NAME@sha256:…, or freeze the run first (cascadeport freeze).",
        )
    if ":" in text.rpartition("/")[2]:
        raise CascadeportError(
            "A tag is not needed, and could be moved: the shipment's digest is used.",
            where=f"--image {text}",
            next="Leave the tag out.",
        )
    return f"{text}@{digest}"


def replicas(text: str) -> tuple[int, int]:
    """Reads `--replicas`: `3`, or `1-8`.

    Raises:
        CascadeportError: It is neither.
    """
    match = _REPLICAS.fullmatch(text)
    fewest, most = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if most < fewest:
        raise CascadeportError(
            f"'{text}' is no number of servers.",
            where="--replicas",
            next="Give the fewest and the most, such as --replicas 1-8, or one number.",
        )
    return fewest, most
