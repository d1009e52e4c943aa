"""A pass on the nodes of a real swarm: a manager and two workers, each in a network of its own.

The device of the workers takes a fixed time for a picture and leaves the processor free, so that
two of them are two devices on one machine as well.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.containers.swarm import require_nodes

from tests.helpers import command, slow_device, swarm_nodes
from tests.helpers.swarm_world import World

pytestmark = pytest.mark.docker

PICTURES, SHARDS, SECONDS = 40, 4, 0.15
SAME = ("detections.json", "geometry.jsonl", "pictures.jsonl")


def assert_whole(world: World, results: str) -> dict[str, Any]:
    """The bytes are those of one run; returns the result, which is valid."""
    whole = world.root / "whole" / "small-data" / "slow" / "infer"
    for name in SAME:
        assert (world.infer(results) / name).read_bytes() == (whole / name).read_bytes(), name
    result: dict[str, Any] = json.loads((world.infer(results).parent / "result.json").read_text())
    assert result["status"] == "measured", result["reason"]
    return result


def assert_nothing_runs(world: World) -> None:
    """No service and no container. Swarm leaves what has ended where it was, stopped."""
    with contextlib.closing(world.swarm.manager.client) as client:
        assert client.services.list() == []
        assert client.containers.list(all=True) == []
    for node in world.swarm.workers:
        if node.is_alive:
            with contextlib.closing(node.client) as client:
                assert client.containers.list() == [], node.name


def began(log: Path) -> int:
    """How many passes have begun, by what tasks printed."""
    if not log.exists():
        return 0
    first = '"phase": "scored", "done": 0'
    return sum(first in line for line in log.read_text(errors="replace").splitlines())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    resources = {number: [f"{slow_device.KIND}=1"] for number in (1, 2)}
    with (
        swarm_nodes.started(2, resources=resources) as swarm,
        swarm_nodes.registry(swarm) as registry,
    ):
        for node in swarm.workers:
            swarm.label(node, **{f"cascadeport.{slow_device.NAME}": "true"})
        world = World(tmp_path_factory.mktemp("swarm"), swarm, registry, PICTURES, SHARDS, SECONDS)
        # One run here, without the device's delay: its bytes are the measure.
        done = world.run(world.line("whole"))
        assert done.returncode in command.FINISHED, done.stderr
        yield world


def test_an_image_that_is_nowhere_else(world: World) -> None:
    """It is the first test: later on, nodes have pulled it."""
    done = world.run(world.swarm_line("image", registry=None, limit=4))
    assert done.returncode not in command.FINISHED
    assert "A node of the swarm does not have the image." in done.stderr
    assert "docker load" in done.stderr
    assert_nothing_runs(world)


def test_a_pass_on_two_nodes(world: World) -> None:
    done = world.run(world.swarm_line("two"))
    assert done.returncode in command.FINISHED, done.stderr
    result = assert_whole(world, "two")
    fleet = result["fleet"]
    assert (fleet["nodes"], fleet["devices"], fleet["machines"]) == (2, 2, 1)
    assert {one["node"] for one in fleet["shards"]} == {"node1", "node2"}
    engine = result["run"]["engine"]
    assert (engine["engine"], engine["not expressed"]) == ("swarm", "no swap (memswap_limit)")
    assert engine["image:cascadeport/cpu"].startswith("sha256:")
    assert "4 shards on 2 devices" in " ".join(result["remarks"])
    # Each device alone, and together no more than both.
    rates = [one["device_ips"] for one in result["run"]["summary"]["devices"]]
    assert all(0 < rate <= 1 / SECONDS for rate in rates)
    assert result["device_ips"] <= sum(rates) * 1.001
    log = (world.infer("two") / "infer.log").read_text()
    assert "node1: " in log
    assert "node2: " in log
    assert_nothing_runs(world)


def test_what_a_task_may_do(world: World) -> None:
    """What Swarm cannot take from a task, its command has taken from itself."""
    probe = world.root / "device" / "site" / "sitecustomize.py"
    content = probe.read_text()
    probe.write_text(
        content
        + "import json, os, socket, sys\n"
        + "def able(family):\n"
        + "    try:\n        socket.socket(family).close()\n    except OSError as error:\n"
        + "        return error.errno\n    return 0\n"
        + "status = dict(l.split(':\\t', 1) for l in open('/proc/self/status') if ':\\t' in l)\n"
        + "print('PROBE', json.dumps({'uid': os.getuid(), 'inet': able(socket.AF_INET),"
        + " 'inet6': able(socket.AF_INET6), 'unix': able(socket.AF_UNIX),"
        + " 'privileges': status['NoNewPrivs'].strip(), 'caps': status['CapBnd'].strip(),"
        + " 'root': os.access('/', os.W_OK), 'tmp': os.access('/tmp', os.W_OK),"
        + " 'memory': open('/sys/fs/cgroup/memory/memory.limit_in_bytes').read().strip()"
        + " if os.path.exists('/sys/fs/cgroup/memory') else '',"
        + " 'init': open('/proc/1/comm').read().strip()}), file=sys.stderr, flush=True)\n"
    )
    try:
        done = world.run(world.swarm_line("probed", shards=1, limit=1))
    finally:
        probe.write_text(content)
    assert done.returncode in command.FINISHED, done.stderr
    (row,) = (world.root / "probed").glob("*/slow-swarm-shards1")
    text = (row / "infer" / "infer.log").read_text()
    found = json.loads(text.split("PROBE ", 1)[1].splitlines()[0])
    assert found == {
        "uid": 1000,
        "inet": 13,
        "inet6": 13,
        "unix": 0,
        "privileges": "1",
        "caps": "0" * 16,
        "root": False,
        "tmp": True,
        "memory": found["memory"] and str(8 << 30),
        "init": found["init"],
    }
    assert "init" in found["init"]


def test_a_volume_that_nodes_share(world: World) -> None:
    """Every node has a volume of this name that is one folder: nothing else is shared."""
    shared = world.root / "exported"
    shared.mkdir()
    shared.chmod(0o777)
    options = {"type": "none", "o": "bind", "device": str(shared)}
    for node in world.swarm.nodes:
        with contextlib.closing(node.client) as client:
            client.volumes.create("shared", driver="local", driver_opts=options)
    done = world.run(world.swarm_line("volume", volume="shared"))
    assert done.returncode in command.FINISHED, done.stderr
    assert_whole(world, "volume")
    # Pictures and network stay for the next run; results came back.
    assert len(list(shared.glob("pictures/*/*.jpg"))) == PICTURES
    assert not list(shared.glob("runs/*"))
    sent = {path: path.stat().st_mtime_ns for path in shared.rglob("*") if path.is_file()}
    done = world.run(world.swarm_line("volume2", volume="shared", shards=2, limit=4))
    assert done.returncode in command.FINISHED, done.stderr
    assert {path: path.stat().st_mtime_ns for path in sent} == sent
    assert_nothing_runs(world)


def test_a_task_that_fails_says_why_and_is_not_tried_for_ever(world: World) -> None:
    picture = world.data / "val2017" / "5.jpg"
    content = picture.read_bytes()
    picture.write_bytes(b"no picture")
    try:
        done = world.run(world.swarm_line("damaged", limit=8))
    finally:
        picture.write_bytes(content)
    assert done.returncode not in command.FINISHED
    assert "The picture is not a JPEG, PNG, BMP or WebP file." in done.stderr
    assert "shard 2/4 on node node" in done.stderr
    assert done.stderr.count("note     shard 2/4 failed on node") == 3
    assert_nothing_runs(world)


def test_ctrl_c_leaves_nothing_and_finished_shards_count(world: World) -> None:
    line = world.swarm_line("stopped")
    process = subprocess.Popen(
        line, env=world.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    rows = world.root / "stopped"
    while not list(rows.glob("*/*/.shards-*/shard-*")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert_nothing_runs(world)
    finished = {path.name for path in rows.glob("*/*/.shards-*/shard-*")}
    assert 1 <= len(finished) < SHARDS
    done = world.run(line)
    assert done.returncode in command.FINISHED, done.stderr
    assert done.stderr.count("has been run already") == len(finished)
    assert began(world.infer("stopped") / "infer.log") == SHARDS - len(finished)
    assert_whole(world, "stopped")


def test_nodes_that_cannot_work(world: World) -> None:
    with contextlib.closing(world.swarm.manager.client) as client:
        found = require_nodes(client, "here", slow_device.NAME)
        assert sorted(found) == ["node1", "node2"]
        with pytest.raises(CascadeportError, match="No node of the swarm has the label of cpu"):
            require_nodes(client, "here", "cpu")
    with contextlib.closing(world.swarm.workers[0].client) as client:
        with pytest.raises(CascadeportError, match="is a worker of its swarm"):
            require_nodes(client, "here", slow_device.NAME)


def test_the_doctor_looks_at_the_swarm(world: World) -> None:
    """Not at this machine's devices: the swarm's are elsewhere."""
    words = (sys.executable, "-m", "cascadeport", "doctor", "--target", "T4", "--engine", "swarm")
    done = world.run([*words, "--shards", "2"])
    assert "No node of the swarm has the label of T4" in done.stdout
    assert "nvidia-smi" not in done.stdout


def test_a_node_that_dies(world: World) -> None:
    """kill -9 of everything on a node, in the middle. It is the last test: a node is gone then."""
    process = subprocess.Popen(
        world.swarm_line("killed"),
        env=world.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    rows = world.root / "killed"
    doomed = world.swarm.workers[0]
    # Its second shard is under way, and so is the other node's.
    under_way = f'{doomed.name}: {{"event": "progress", "phase": "scored", "done": 2'
    while True:
        assert process.poll() is None
        logs = list(rows.glob("*/*/.infer.tmp-*/infer.log"))
        text = logs[0].read_text(errors="replace") if logs else ""
        done_here = len(list(rows.glob("*/*/.shards-*/shard-*")))
        if done_here >= 1 and text.count(under_way) >= 2:
            break
        time.sleep(0.02)
    doomed.kill()
    _, said = process.communicate(timeout=180)
    assert process.returncode in command.FINISHED, said
    assert f"node {doomed.name} is gone" in said
    result = assert_whole(world, "killed")
    # Four passes, and the one that was under way once more.
    assert began(world.infer("killed") / "infer.log") == SHARDS + 1
    nodes = [one["node"] for one in result["fleet"]["shards"]]
    assert nodes.count(doomed.name) == 1
    assert_nothing_runs(world)
