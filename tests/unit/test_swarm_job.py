"""The watch over a swarm's job, against a swarm whose tasks and nodes a test moves by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE
from cascadeport.config import compose
from cascadeport.containers import swarm_job, swarm_service
from cascadeport.containers.swarm_job import Job, Request
from cascadeport.core.task import Task

LABEL = "cascadeport.cpu"


class Swarm:
    """What the SDK's client shows of a swarm. As the real one (20.10): a task on a node that is
    down keeps its state, failing tasks are tried again, and a removed service leaves its tasks."""

    def __init__(self, *nodes: str) -> None:
        self.api = self
        self.states = dict.fromkeys(nodes, "ready")
        self.services: dict[str, dict[str, Any]] = {}
        self.all_tasks: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self._ids = itertools.count()

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "ID": name,
                "Spec": {"Labels": {LABEL: "true"}, "Availability": "active"},
                "Description": {"Hostname": name},
                "Status": {"State": state},
            }
            for name, state in self.states.items()
        ]

    def create_service(self, template: Any, name: str, labels: Any, mode: Any) -> dict[str, str]:
        number = f"service{len(self.services)}"
        self.services[number] = {"template": template, "labels": labels, "mode": mode}
        for slot in range(mode["ReplicatedJob"]["TotalCompletions"]):
            self.add(number, slot)
        return {"ID": number}

    def add(self, service: str, slot: int) -> dict[str, Any]:
        task = {
            "ID": f"task{next(self._ids)}",
            "ServiceID": service,
            "Slot": slot,
            "Status": {"State": "pending", "Err": ""},
        }
        self.all_tasks.append(task)
        return task

    def put(self, index: int, node: str, state: str = "running", error: str = "") -> None:
        self.all_tasks[index].update(NodeID=node, Status={"State": state, "Err": error})

    def tasks(self, filters: Any = None) -> list[dict[str, Any]]:
        wanted = (filters or {}).get("service")
        return [one for one in self.all_tasks if wanted is None or one["ServiceID"] in wanted]

    def service_logs(self, service: str, **options: Any) -> Iterator[bytes]:
        return iter(())

    def constraints(self, service: str) -> list[str]:
        found: list[str] = self.services[service]["template"]["Placement"]["Constraints"]
        return found

    def share(self, service: str) -> str:
        return str(self.services[service]["template"]["ContainerSpec"]["Command"][-1])

    def close(self) -> None:
        """Nothing is open."""


def job(
    swarm: Swarm, folder: Path, count: int, needed: dict[str, int] | None = None
) -> tuple[Job, list[str]]:
    told: list[str] = []
    request = Request(
        name="x",
        target="cpu",
        service=compose.load(COMPOSE / "cpu.yaml", {})["infer"],
        image="sha256:1",
        environment={},
        mounts=[],
        user=(1000, 1000),
        run_id="x",
        needed=needed or {},
    )
    task = Task("infer", ("python3", "-m", "bundle"), (), folder / "infer.log", deadline_s=60)

    def tell(event: Any) -> None:
        told.append(str(event.get("text", "")))

    client: Any = swarm
    made = Job(client, lambda: client, request, task, count, tell)
    made._create(None)
    return made, told


def test_a_shard_whose_node_is_gone_gets_a_service_of_its_own(tmp_path: Path) -> None:
    """Of devices that are counted: at once, and Swarm finds the node."""
    swarm = Swarm("one", "two")
    made, told = job(swarm, tmp_path, 3, {"npu": 1})
    swarm.put(0, "one")
    swarm.put(1, "two")
    assert not made._step()
    assert list(swarm.services) == ["service0"]
    assert swarm.share("service0") == "/3"
    swarm.states["two"] = "down"
    assert not made._step()
    assert swarm.share("service1") == "2/3"
    assert swarm.constraints("service1") == [f"node.labels.{LABEL} == true"]
    assert "node two is gone, and with it shard 2/3" in told
    made._step()
    assert len(swarm.services) == 2, "it is started once"
    swarm.put(0, "one", "complete")
    swarm.put(2, "one", "complete")
    assert not made._step()
    swarm.put(3, "one", "complete")
    assert made._step()


def test_a_processor_takes_a_lost_shard_only_when_it_has_nothing_to_do(tmp_path: Path) -> None:
    """Nothing is counted there: Swarm would put it beside another one, and both would be slow."""
    swarm = Swarm("one", "two")
    made, _ = job(swarm, tmp_path, 2)
    swarm.put(0, "one")
    swarm.put(1, "two")
    made._step()
    swarm.states["two"] = "down"
    made._step()
    assert len(swarm.services) == 1
    swarm.put(0, "one", "complete")
    made._step()
    assert swarm.share("service1") == "2/2"
    assert "node.id == one" in swarm.constraints("service1")


def test_the_replacement_is_replaced_when_its_node_goes_too(tmp_path: Path) -> None:
    swarm = Swarm("one", "two", "three")
    made, _ = job(swarm, tmp_path, 1, {"npu": 1})
    swarm.put(0, "one")
    swarm.states["one"] = "down"
    made._step()
    swarm.put(1, "two")
    made._step()
    assert len(swarm.services) == 2
    swarm.states["two"] = "down"
    made._step()
    assert len(swarm.services) == 3
    swarm.put(2, "three", "complete")
    assert made._step()


def test_a_node_that_was_only_cut_off_may_finish(tmp_path: Path) -> None:
    swarm = Swarm("one", "two")
    made, _ = job(swarm, tmp_path, 1, {"npu": 1})
    swarm.put(0, "one")
    swarm.states["one"] = "down"
    made._step()
    swarm.states["one"] = "ready"
    swarm.put(0, "one", "complete")
    assert made._step()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("No such image: sha256:1", "does not have the image"),
        ('invalid mount config for type "bind": bind source path does not exist: /x', "a folder"),
        ("task: non-zero exit (3)", "failed 3 times"),
    ],
)
def test_failures_have_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str, text: str
) -> None:
    monkeypatch.setattr("cascadeport.containers.swarm_logs._LATE_S", 0.0)
    swarm = Swarm("one")
    made, _ = job(swarm, tmp_path, 1)
    for index in range(2):
        swarm.put(index, "one", "failed", error)
        swarm.add("service0", 0)
        assert not made._step()
    swarm.put(2, "one", "failed", error)
    with pytest.raises(CascadeportError) as caught:
        made._step()
    assert text in caught.value.what
    assert "shard 1/1 on node one" in caught.value.where


def test_silence_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(swarm_job.time, "monotonic", lambda: now[0])
    swarm = Swarm("one")
    made, told = job(swarm, tmp_path, 1)
    swarm.all_tasks[0]["Status"]["Err"] = "no suitable node (insufficient resources on 1 node)"
    made._step()
    assert "waiting: no suitable node (insufficient resources on 1 node)" in told
    now[0] = 61.0
    with pytest.raises(CascadeportError, match="Nothing has happened in the swarm for 60 s") as one:
        made._step()
    assert "insufficient resources" in one.value.where


def test_whatever_happens_the_services_are_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[list[str]] = []
    end: Callable[..., None] = lambda client, services: ended.append(services)  # noqa: E731
    monkeypatch.setattr(swarm_service, "end", end)
    swarm = Swarm("one")
    made, _ = job(swarm, tmp_path, 1)

    def stop() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(made, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert ended == [["service0", "service1"]]
