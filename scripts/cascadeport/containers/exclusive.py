"""One pass at a time on a device of an engine's host, whichever machine its runs come from.

An engine gives a name to one container only. A run therefore creates a container named after the
device, which never starts, before its pass does. The name is free again when the run removes it;
when a later run on the same machine finds that it is dead; and, for runs of other machines, once no
container of that run has been running for a minute.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import docker.errors

from cascadeport.containers import sweep

if TYPE_CHECKING:
    import docker

PREFIX = "cascadeport-device-"
_WAIT_S = 1.0
# A run starts its pass right after it got the name.
_STALE_S = 60.0


@contextlib.contextmanager
def held(
    client: docker.DockerClient,
    devices: Sequence[str],
    *,
    image: str,
    run_id: str,
    waiting: Callable[[str], None],
) -> Iterator[None]:
    """Holds devices of the engine's host for one pass; waits while another one measures on them.

    Args:
        devices: Their names.
        image: Any image that the engine has.
        run_id: For labels.
        waiting: Is told once that another pass is waited for, and for which.
    """
    tokens: list[Any] = []
    try:
        # In one order, so that no two runs wait for each other.
        for device in sorted(set(devices)):
            tokens.append(_token(client, device, image, run_id, waiting))
        yield
    finally:
        for token in tokens:
            sweep.remove_container(token)


def _token(
    client: docker.DockerClient,
    device: str,
    image: str,
    run_id: str,
    waiting: Callable[[str], None],
) -> Any:
    told = False
    while True:
        try:
            # An image without a command of its own needs one; it never runs.
            return client.containers.create(
                image,
                ["true"],
                name=f"{PREFIX}{device}",
                labels=sweep.labels(run_id),
                network_mode="none",
            )
        except docker.errors.APIError as error:
            if error.status_code != 409:
                raise
        holder = _holder(client, device)
        if holder is None:
            continue
        if sweep.dead(holder.labels) or _is_stale(client, holder):
            sweep.remove_container(holder)
            continue
        if not told:
            waiting(
                f"Another run ({holder.labels.get(sweep.RUN, 'unknown')}) measures on {device} of "
                "this host: waiting until it is done."
            )
            told = True
        time.sleep(_WAIT_S)


def _holder(client: docker.DockerClient, device: str) -> Any:
    try:
        return client.containers.get(f"{PREFIX}{device}")
    except docker.errors.NotFound:
        return None


def _is_stale(client: docker.DockerClient, holder: Any) -> bool:
    """Whether nothing of the run that made a token runs any more."""
    created = datetime.fromisoformat(holder.attrs["Created"][:19]).replace(tzinfo=timezone.utc)
    # Both by the engine's clock: this machine's may be another.
    now = datetime.fromisoformat(client.info()["SystemTime"][:19]).replace(tzinfo=timezone.utc)
    if (now - created).total_seconds() < _STALE_S:
        return False
    label = f"{sweep.RUN}={holder.labels.get(sweep.RUN, '')}"
    return not client.containers.list(filters={"label": label, "status": "running"})
