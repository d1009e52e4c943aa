"""What a Docker Engine answers when it refuses, turned into sentences with a remedy.

Status codes decide where they can; texts differ between versions and are read only to find the
name of a device, a path or an image.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import docker.errors
import requests.exceptions

from cascadeport.base.errors import CascadeportError
from cascadeport.core.backend import Backend


def reason(error: BaseException) -> str:
    """The engine's own words, on one line."""
    text = getattr(error, "explanation", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return " ".join(str(text).split())


def unreachable(address: str, error: BaseException) -> CascadeportError:
    """The engine does not answer: why, as far as can be told."""
    text = reason(error)
    if "Permission denied" in text or "PermissionError" in text:
        return CascadeportError(
            "The Docker Engine's socket may not be used by this user.",
            where=address,
            next="Join the group that owns it (sudo usermod -aG docker $USER, then log in again).",
        )
    if address.startswith("ssh://"):
        return CascadeportError(
            "The host of this target cannot be reached by ssh, or has no Docker Engine.",
            where=f"{address}: {text[:300]}",
            next=f"Try: ssh {address.removeprefix('ssh://').split(':')[0]} docker version",
        )
    if address.startswith("tcp://"):
        return CascadeportError(
            "The Docker Engine of this target cannot be reached.",
            where=f"{address}: {text[:300]}",
            next="See whether the host is up, the port is open, and the certificates fit.",
        )
    return CascadeportError(
        "No Docker Engine is running here.",
        where=address,
        next="Start it (sudo systemctl start docker), or give another host in hosts.toml.",
    )


@contextlib.contextmanager
def explained(address: str, stage: str, backend: Backend[Any]) -> Iterator[None]:
    """Turns what the engine refuses or how it vanishes into a `CascadeportError`."""
    try:
        yield
    except docker.errors.APIError as error:
        raise refused(error, address, stage, backend) from error
    except (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        ConnectionError,
        EOFError,
    ) as error:
        raise CascadeportError(
            f"The Docker Engine went away during stage {stage}.",
            where=f"{address}: {reason(error)[:300]}",
            next="When it is back, run the same command again: finished stages are kept, and what "
            "this run left there is removed first.",
        ) from error


def refused(
    error: docker.errors.APIError, address: str, stage: str, backend: Backend[Any]
) -> CascadeportError:
    """An answer of the engine that is an error."""
    text = reason(error)
    device = re.search(r"/dev/[\w./-]+", text)
    if device and ("device" in text.lower() or "no such file" in text):
        return no_device(device.group(0), address, backend.device_remedy(device.group(0)))
    particular = backend.refusal(text, address)
    if particular is not None:
        return particular
    if "no space left on device" in text.lower():
        return no_space(address, text)
    if "unknown or invalid runtime" in text or "Unknown runtime" in text:
        return CascadeportError(
            "The Docker Engine does not know the runtime that the compose file asks for.",
            where=f"{address}: {text[:300]}",
            next="Register it in the engine's daemon.json; docs/containers.md says how.",
        )
    if error.status_code == 404:
        return CascadeportError(
            f"The container of stage {stage} was removed from outside while it ran.",
            where=f"{address}: {text[:300]}",
            next="Run the same command again; finished stages are kept.",
        )
    return CascadeportError(
        f"The Docker Engine refused what stage {stage} needs.",
        where=f"{address}: {text[:500]}",
        next="See docs/containers.md; `cascadeport doctor` looks at engine and devices.",
    )


def no_device(node: str, address: str, remedy: str) -> CascadeportError:
    """A device node that a target needs is not there, or not for this user.

    Args:
        remedy: The backend's; empty: nothing particular is known.
    """
    remedy = remedy or "See whether the driver of the device is loaded on that host."
    return CascadeportError(
        f"The device {node} is missing, or may not be handed to a container.",
        where=address,
        next=remedy,
    )


def no_space(address: str, text: str) -> CascadeportError:
    """The disk on which the engine keeps images and volumes is full."""
    return CascadeportError(
        "The disk of the Docker Engine is full.",
        where=f"{address}: {text[:300]}",
        next="Free some space there (docker system df, docker system prune), then run the same "
        "command again.",
    )
