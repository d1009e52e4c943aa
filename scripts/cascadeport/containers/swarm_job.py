"""The job of a swarm that runs the shards of a pass, watched to its end.

One service runs all shards, a task each. What Swarm does not do by itself is done here. It tries a
failing task again for ever: after a few tries the job ends, with what the task said. It does not
start a job's task again when its node is gone: the shard gets a service of its own, for the nodes
that are left.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.types import ServiceMode

from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.containers import service, swarm_service, sweep
from cascadeport.containers.swarm_logs import Logs
from cascadeport.containers.swarm_service import ACTIVE
from cascadeport.core.task import Event, Task

if TYPE_CHECKING:
    import docker

TRIES = 3
"""How often a shard may fail. A node that is gone does not count."""
SHARD = "cascadeport.shard"
"""The label of a service that runs a single shard."""
_POLL_S = 0.5
_DONE = "complete"
_FAILED = ("failed", "rejected")


@dataclass(frozen=True)
class Request:
    """What the tasks of a job are; see `service.task_template`.

    Args:
        name: Of the service.
        target: The target's name, which nodes have a label of.
    """

    name: str
    target: str
    service: Service
    image: str
    environment: Mapping[str, str]
    mounts: Sequence[Any]
    user: tuple[int, int]
    run_id: str
    needed: Mapping[str, int]


@dataclass(frozen=True)
class _Seen:
    """A task as the swarm describes it."""

    id: str
    shard: int
    state: str
    node: str
    error: str
    code: int | None


class Job:
    """All shards of a task on a swarm.

    Args:
        client: The manager.
        connect: Opens another connection to it, for logs.
        request: What tasks are.
        task: Its command, without `--shard`, and its log.
        count: How many shards there are.
        on_event: Receives progress and notes.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        connect: Callable[[], docker.DockerClient],
        request: Request,
        task: Task,
        count: int,
        on_event: Callable[[Event], None],
    ) -> None:
        self._client = client
        # The SDK has no types for what its objects for services leave out.
        self._api: Any = client.api
        self._request = request
        self._task = task
        self._count = count
        self._on_event = on_event
        self._services: dict[str, int | None] = {}
        self._logs = Logs(connect, task.log)
        self._told: set[str] = set()
        self._changed = time.monotonic()
        self._before: object = None

    def run(self) -> None:
        """Runs it to its end; nothing of it is left then, whatever happens.

        Raises:
            CascadeportError: A shard failed too often, or nothing happens any more.
        """
        try:
            self._create(None)
            while not self._step():
                time.sleep(_POLL_S)
        finally:
            self._remove()

    # --- services

    def _create(self, shard: int | None, node: str | None = None) -> None:
        """Creates the service of all shards, or of one of them."""
        request = self._request
        constraints = [f"node.labels.{service.label(request.target)} == true"]
        environment, share = dict(request.environment), f"/{self._count}"
        labels, name = sweep.labels(request.run_id), request.name
        if shard is None:
            environment[service.SLOT] = "{{.Task.Slot}}"
        else:
            share = f"{shard}/{self._count}"
            labels[SHARD] = str(shard)
            name += f"-shard{shard}-{len(self._services)}"
        if node is not None:
            constraints.append(f"node.id == {node}")
        template = service.task_template(
            request.service,
            image=request.image,
            argv=(*self._task.argv, "--shard", share),
            environment=environment,
            mounts=request.mounts,
            user=request.user,
            run_id=request.run_id,
            needed=request.needed,
            constraints=constraints,
        )
        tasks = self._count if shard is None else 1
        made = self._api.create_service(
            template,
            name=name,
            labels=labels,
            mode=ServiceMode("replicated-job", replicas=tasks, concurrency=tasks),
        )
        self._services[made["ID"]] = shard
        self._logs.follow(made["ID"])

    def _remove(self) -> None:
        with sweep.in_passing():
            swarm_service.end(self._client, list(self._services))
        self._logs.close()

    # --- a look

    def _step(self) -> bool:
        """Looks once, and does what has to be done; returns whether all shards are done."""
        nodes = {node["ID"]: node for node in self._api.nodes()}
        ready = {key for key, node in nodes.items() if _is_ready(node)}
        names = {key: str(node["Description"]["Hostname"]) for key, node in nodes.items()}
        self._logs.names = names
        seen = self._tasks()
        done = {one.shard for one in seen if one.state == _DONE}
        for text in self._logs.notes():
            self._note(text)
        self._check_failures(seen, done, names)
        at_work = [one for one in seen if one.state in ACTIVE and one.shard not in done]
        lost = [one for one in at_work if one.node and one.node not in ready]
        self._replace(lost, at_work, ready, names)
        self._report(seen, done, at_work, lost)
        self._check_silence(seen)
        return len(done) == self._count

    def _tasks(self) -> list[_Seen]:
        found = []
        for one in self._api.tasks(filters={"service": list(self._services)}):
            status = one["Status"]
            shard = self._services.get(one["ServiceID"])
            container = status.get("ContainerStatus") or {}
            found.append(
                _Seen(
                    id=one["ID"],
                    shard=one.get("Slot", 0) + 1 if shard is None else shard,
                    state=status["State"],
                    node=one.get("NodeID") or "",
                    error=str(status.get("Err") or ""),
                    code=container.get("ExitCode"),
                )
            )
        return found

    def _check_failures(
        self, seen: Sequence[_Seen], done: set[int], names: Mapping[str, str]
    ) -> None:
        failed = [one for one in seen if one.state in _FAILED and one.shard not in done]
        tries = Counter(one.shard for one in failed)
        for one in failed:
            node = names.get(one.node, one.node)
            self._note(f"shard {one.shard}/{self._count} failed on {node}: {one.error}", one.id)
        # Only now: several may have failed since the last look, and each is told of.
        for shard, count in tries.items():
            if count >= TRIES:
                raise self._explained([one for one in failed if one.shard == shard], names)

    def _explained(self, tries: Sequence[_Seen], names: Mapping[str, str]) -> CascadeportError:
        """Why a shard failed, by what its task said itself if it did."""
        one = next((each for each in tries if self._logs.wait_for_error(each.id)), tries[-1])
        node = names.get(one.node, one.node)
        where = f"shard {one.shard}/{self._count} on node {node}"
        said = self._logs.wait_for_error(one.id)
        if said is not None:
            return CascadeportError(
                str(said.get("what", "The command failed.")),
                where=f"{where}: {said.get('where', '')}",
                next=str(said.get("next", "")),
            )
        text = one.error.lower()
        if "no such image" in text or ("not found" in text and "manifest" in text):
            return CascadeportError(
                "A node of the swarm does not have the image.",
                where=f"{where}: {one.error}",
                next="Bring it there (docker save NAME | ssh NODE docker load), or let nodes pull "
                "it: --registry PREFIX.",
            )
        if "mount" in text and "does not exist" in text:
            return CascadeportError(
                "A node of the swarm does not have a folder that the shards need.",
                where=f"{where}: {one.error}",
                next="Mount it at the same path on every node, or let files travel in a volume "
                "that nodes share: --volume NAME.",
            )
        if one.code == 137:
            return CascadeportError(
                "A shard was killed: it ran out of memory, or somebody stopped it.",
                where=f"{where}: memory limit {self._request.service.mem_limit or 'none'}",
                next="Give more, e.g. MEMORY=16g; or run the same command again: finished shards "
                "are kept.",
            )
        return CascadeportError(
            f"A shard failed {len(tries)} times.",
            where=f"{where}: {one.error}; {self._logs.tail(one.id)}",
            next="Read infer.log with --keep-failed; run the same command again: finished shards "
            "are kept.",
        )

    def _replace(
        self,
        lost: Sequence[_Seen],
        at_work: Sequence[_Seen],
        ready: set[str],
        names: Mapping[str, str],
    ) -> None:
        """Starts shards again whose node is gone."""
        alive = {one.shard for one in at_work if one not in lost}
        # A node that has this target's label and nothing to do.
        busy = {one.node for one in at_work if one not in lost}
        idle = sorted(ready & self._labelled() - busy) if not self._request.needed else []
        for one in lost:
            self._note(
                f"node {names.get(one.node, one.node)} is gone, and with it shard "
                f"{one.shard}/{self._count}",
                f"lost {one.id}",
            )
            if one.shard in alive:
                continue
            if self._request.needed:
                self._create(one.shard)
            elif idle:
                # Without a resource to count, Swarm would put it beside another shard.
                self._create(one.shard, idle.pop())
            else:
                continue
            alive.add(one.shard)

    def _labelled(self) -> set[str]:
        wanted = service.label(self._request.target)
        return {
            node["ID"]
            for node in self._api.nodes()
            if (node["Spec"].get("Labels") or {}).get(wanted) == "true"
        }

    def _report(
        self,
        seen: Sequence[_Seen],
        done: set[int],
        at_work: Sequence[_Seen],
        lost: Sequence[_Seen],
    ) -> None:
        running = {one.shard for one in at_work if one.state == "running" and one not in lost}
        shards = {one.id: one.shard for one in seen}
        pictures, total = self._logs.pictures(shards, done, self._count)
        phase = f"{len(done)} of {self._count} shards done, {len(running)} running; pictures"
        if total:
            self._on_event({"event": "progress", "phase": phase, "done": pictures, "total": total})
        if not running:
            for reason in {one.error for one in at_work if one.state == "pending" and one.error}:
                self._note(f"waiting: {reason}")

    def _check_silence(self, seen: Sequence[_Seen]) -> None:
        now = ({(one.id, one.state) for one in seen}, self._logs.lines)
        if now != self._before:
            self._before, self._changed = now, time.monotonic()
        limit = self._task.deadline_s
        if limit is not None and time.monotonic() - self._changed > limit:
            waiting = sorted({one.error for one in seen if one.state == "pending" and one.error})
            raise CascadeportError(
                f"Nothing has happened in the swarm for {limit:.0f} s.",
                where="; ".join(waiting) or f"its log: {self._task.log}",
                next="See `docker node ls` and whether the devices hang; then run the same command "
                "again: finished shards are kept.",
            )

    def _note(self, text: str, key: str | None = None) -> None:
        if (key or text) not in self._told:
            self._told.add(key or text)
            self._on_event({"event": "note", "text": text})


def _is_ready(node: Mapping[str, Any]) -> bool:
    return bool(node["Status"]["State"] == "ready")
