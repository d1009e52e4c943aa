"""images/bases.lock: the digests of the images that Dockerfiles start from.

    cascadeport pin        resolves them where registries can be reached, and writes the lock

A tag is whatever its owner last made of it. With the lock, builds name `tag@digest` and take the
same bytes for ever, or nothing; without it they take the tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text
from cascadeport.base.paths import IMAGES

if TYPE_CHECKING:
    import docker

LOCK = IMAGES / "bases.lock"
_DEFAULT = re.compile(r"^ARG (\w+)=(\S+)", re.MULTILINE)
_LINE = re.compile(r"^(\S+) (sha256:[0-9a-f]{64})$")


def arguments(dockerfile: str) -> dict[str, str]:
    """The default values of a Dockerfile's build arguments."""
    return {name: value.strip('"') for name, value in _DEFAULT.findall(dockerfile)}


def defaults(dockerfile: str) -> dict[str, str]:
    """Those of its build arguments that name base images, with their defaults."""
    found = arguments(dockerfile)
    return {name: image for name, image in found.items() if name.endswith("_IMAGE")}


def read(path: Path = LOCK) -> dict[str, str]:
    """The digests by the bases' names; empty without a lock.

    Raises:
        CascadeportError: A line cannot be read.
    """
    if not path.exists():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = _LINE.match(line)
        if match is None:
            raise CascadeportError(
                "The lock of base images has a line that cannot be read.",
                where=f"{path}, line {number}: {line[:100]}",
                next="Each is `name:tag sha256:…`; `cascadeport pin` writes the file.",
            )
        found[match[1]] = match[2]
    return found


def pinned(dockerfile: str, lock: Mapping[str, str]) -> dict[str, str]:
    """Build arguments that pin a Dockerfile's bases, as far as the lock knows them."""
    return {
        name: f"{image}@{lock[image]}"
        for name, image in defaults(dockerfile).items()
        if image in lock
    }


def resolve(client: docker.DockerClient, image: str) -> str:
    """Asks the image's registry, through the engine, for the digest of its tag.

    Raises:
        CascadeportError: The registry cannot be reached, or has no such image.
    """
    import docker.errors
    import requests.exceptions

    try:
        return str(client.images.get_registry_data(image).id)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        # A registry behind a firewall that drops packets is silent until the engine is given up on.
        said = getattr(error, "explanation", None) or error
        raise CascadeportError(
            f"The digest of {image} cannot be resolved.",
            where=str(said)[:300],
            next="Run this where the registry can be reached; behind a mirror, give its image as "
            "BASE_IMAGE=name:tag@sha256:… instead. The lock is as it was.",
        ) from error


def write(images: Iterable[str], client: docker.DockerClient, path: Path = LOCK) -> dict[str, str]:
    """Resolves every base and writes the lock, or none of it; returns it."""
    found = {image: resolve(client, image) for image in sorted(set(images))}
    write_text(path, "".join(f"{image} {digest}\n" for image, digest in found.items()))
    return found
