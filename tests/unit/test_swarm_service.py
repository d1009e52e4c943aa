"""What a compose file says is said to Docker Swarm, done by the task itself, or refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE, REPOSITORY
from cascadeport.config import compose, targets
from cascadeport.config.compose import Service
from cascadeport.containers import service
from cascadeport.core.task import Mount

from tests.helpers import contexts

FILES = {"cpu": "cpu.yaml", "T4": "t4.yaml", "310": "ascend310.yaml", "310P3": "ascend310p.yaml"}


def declared(target: str, **changes: Any) -> Service:
    found = compose.load(COMPOSE / FILES[target], {})["infer"]
    return found.model_copy(update=changes)


def by_runtime(target: str, of: Service) -> dict[str, str] | None:
    rows = targets.load(REPOSITORY / "targets.toml", backends.row)
    return backends.of(rows[target]).devices_by_runtime(of)


def template(of: Service, needed: dict[str, int]) -> dict[str, Any]:
    return service.task_template(
        of,
        image="sha256:1",
        argv=["python3", "-m", "bundle"],
        environment={"CASCADEPORT_SLOT": "{{.Task.Slot}}"},
        mounts=[],
        user=(1000, 1000),
        run_id="x",
        needed=needed,
        constraints=["node.labels.cascadeport.cpu == true"],
    )


def test_all_of_the_declaration_is_in_the_task() -> None:
    of = declared("cpu", shm_size="64m", group_add=["44"], working_dir="/opt")
    made = template(of, {})
    container = made["ContainerSpec"]
    assert container["User"] == "1000:1000"
    assert container["Groups"] == ["44"]
    assert container["Dir"] == "/opt"
    assert container["ReadOnly"] is True
    assert container["Init"] is True
    assert container["CapabilityDrop"] == ["ALL"]
    assert container["Healthcheck"]["Test"] == ["NONE"]
    mounts = {one["Target"]: one["TmpfsOptions"] for one in container["Mounts"]}
    assert mounts["/tmp"] == {"SizeBytes": 256 << 20, "Mode": 0o1777}
    assert mounts["/dev/shm"]["SizeBytes"] == 64 << 20
    assert made["Resources"]["Limits"] == {"MemoryBytes": 8 << 30, "Pids": 512}
    assert made["Placement"]["MaxReplicas"] == 1
    assert "CASCADEPORT_NODE={{.Node.Hostname}}" in container["Env"]
    assert container["Labels"]["cascadeport"] == "x"
    # A field of the declaration that nobody has thought of here must not be dropped in silence.
    assert set(Service.model_fields) == {
        *("image", "build", "command", "working_dir", "user", "group_add", "read_only"),
        *("cap_drop", "security_opt", "tmpfs", "init", "pids_limit", "mem_limit", "memswap_limit"),
        *("shm_size", "network_mode", "runtime", "environment", "devices", "volumes"),
        *("healthcheck", "deploy"),
    }


def test_devices_are_generic_resources() -> None:
    for target, wanted in (
        ("cpu", {}),
        ("T4", {"gpu": 1}),
        ("310", {"npu": 4}),
        ("310P3", {"npu": 1}),
    ):
        of = declared(target)
        assert service.resources(of, target, by_runtime(target, of)) == wanted
    made = template(declared("310"), {"npu": 4})
    assert made["Resources"]["Reservations"]["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "npu", "Value": 4}}
    ]
    assert "MaxReplicas" not in made["Placement"] or made["Placement"]["MaxReplicas"] is None
    assert by_runtime("310", declared("310")) == {"ASCEND_VISIBLE_DEVICES": "0,1,2,3"}


def test_what_cannot_be_said_is_refused_or_told() -> None:
    with pytest.raises(CascadeportError, match="cannot choose a runtime"):
        service.resources(declared("cpu", runtime="other"), "cpu", None)
    bare = declared("310P3", deploy=compose.Deploy())
    with pytest.raises(CascadeportError, match="generic resources only"):
        service.resources(bare, "310P3", {})
    with pytest.raises(CascadeportError, match="cannot map the device nodes"):
        service.resources(declared("310P3"), "310P3", None)
    assert service.unsaid(declared("cpu")) == ["no swap (memswap_limit)"]
    more = declared("cpu", security_opt=["no-new-privileges:true", "seccomp=other.json"])
    assert "seccomp=other.json" in service.unsaid(more)


def test_a_task_takes_its_network_from_itself(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(
        "import socket\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n"
        "    try:\n        socket.socket(family).close(); print(0)\n"
        "    except OSError as error:\n        print(error.errno)\n"
        "print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')])\n"
    )
    argv = service.confined([sys.executable, str(script)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["13", "13", "0", "['NoNewPrivs:\\t1\\n']"]


def test_only_shards_find_their_files_in_the_volume(tmp_path: Path) -> None:
    """What else runs in containers, such as the export, has mounts of its own."""
    engine = contexts.context("cpu", engine="swarm", shards=2, volume="shared").engine
    (tmp_path / "network.onnx").write_bytes(b"1")
    network = Mount(tmp_path / "network.onnx", "/model/network.onnx")
    assert engine.path(network) == "/model/network.onnx"
    there = engine.path_of_shards(network)
    assert there.startswith("/cascadeport/files/")
    assert there.endswith("/network.onnx")
    out = Mount(tmp_path / ".shards-1", "/out", writable=True)
    assert engine.path_of_shards(out) == "/cascadeport/runs/shards-1"
    engine.close()
