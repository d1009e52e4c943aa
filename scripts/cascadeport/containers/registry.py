"""Pushes an image to a registry, from which the nodes of a swarm pull it by its digest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import docker.errors

from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import redacted
from cascadeport.core.task import Event

if TYPE_CHECKING:
    import docker


def push(
    client: docker.DockerClient,
    image: str,
    name: str,
    prefix: str,
    on_event: Callable[[Event], None],
) -> str:
    """Pushes an image; returns its name there with its digest.

    Args:
        image: Its id.
        name: Its own name, such as `cascadeport/cpu`.
        prefix: The registry, and a path in it if there is one.
        on_event: Receives progress.

    Raises:
        CascadeportError: The registry does not take it.
    """
    repository = f"{prefix.rstrip('/')}/{name.rpartition('/')[2]}"
    tag = image.rpartition(":")[2][:12]
    digest = ""
    try:
        client.images.get(image).tag(repository, tag)
        on_event({"event": "note", "text": f"pushing the image to {redacted(repository)}"})
        for line in client.api.push(repository, tag, stream=True, decode=True):
            if "error" in line:
                raise _refused(repository, str(line["error"]))
            digest = str((line.get("aux") or {}).get("Digest") or digest)
    except docker.errors.APIError as error:
        raise _refused(repository, str(error.explanation or error)) from error
    if not digest:
        raise _refused(repository, "it gave no digest")
    return f"{repository}@{digest}"


def _refused(repository: str, why: str) -> CascadeportError:
    return CascadeportError(
        "The registry does not take the image.",
        where=f"{redacted(repository)}: {redacted(' '.join(why.split()))[:300]}",
        next="See that it answers, that `docker login` has been done on this machine, and, for a "
        "registry without TLS, that every engine has it in `insecure-registries`.",
    )
