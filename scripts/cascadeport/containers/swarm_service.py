"""Ends services of a swarm that are jobs.

Swarm (20.10) removes such a service and leaves its tasks running. A job that is changed to want no
task at all stops them; only then it can be removed. The containers of tasks that have ended stay on
their nodes, stopped, and carry the run's labels.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker

ACTIVE = ("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running")
"""The states of a task that has not ended."""
_POLL_S = 0.3
_STOPPING_S = 20.0


def end(client: docker.DockerClient, services: list[str]) -> None:
    """Stops the tasks of services, waits for them, and removes the services.

    A task on a node that is down cannot be waited for.
    """
    api: Any = client.api
    for service in services:
        _want_nothing(api, service)
    until = time.monotonic() + _STOPPING_S
    while time.monotonic() < until and _running(api, services):
        time.sleep(_POLL_S)
    for service in services:
        api.remove_service(service)


def _want_nothing(api: Any, service: str) -> None:
    found = api.inspect_service(service)
    spec = found["Spec"]
    # A forced update begins a new iteration of the job, which the tasks of the last are not of.
    spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + 1
    spec["Mode"] = {"ReplicatedJob": {"MaxConcurrent": 0, "TotalCompletions": 0}}
    url = api._url("/services/{0}/update", service)
    # The SDK's own update_service does not know the mode of jobs.
    answer = api._post_json(url, data=spec, params={"version": found["Version"]["Index"]})
    api._raise_for_status(answer)


def _running(api: Any, services: list[str]) -> bool:
    down = {node["ID"] for node in api.nodes() if node["Status"]["State"] != "ready"}
    return any(
        one["ServiceID"] in services
        and one["Status"]["State"] in ACTIVE
        and one.get("NodeID") not in (None, "", *down)
        for one in api.tasks()
    )
