"""Several Docker Engines as the nodes of one swarm, each in a network namespace of its own.

No node is labelled, so that the manager does no work unless a test wants it to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine

_NETWORK = "10.77.{}.{}"


def _sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Node:
    """One node: a network namespace, a host name, and a Docker Engine in both.

    Args:
        name: Its host name.
        address: Its address in the swarm's network.
        namespace: The name of its network namespace.
        extra: More arguments for dockerd.
    """

    def __init__(self, name: str, address: str, namespace: str, extra: Sequence[str]) -> None:
        self.name = name
        self._dead = False
        self.address = address
        self.inside = ("nsenter", f"--net=/var/run/netns/{namespace}")
        within = (*self.inside, "unshare", "--uts", "sh", "-c")
        script = f'hostname {name} && exec "$0" "$@"'
        self.engine = PrivateEngine(
            Path(tempfile.mkdtemp(prefix="cpn-")), extra, within=(*within, script)
        )

    @property
    def client(self) -> Any:
        """A client of its engine."""
        import docker

        return docker.DockerClient(base_url=self.engine.host, timeout=60)

    @property
    def is_alive(self) -> bool:
        """Whether nobody has killed it."""
        return not self._dead

    def kill(self) -> None:
        """Ends it as a power cut would: engine, containers and all, at once."""
        self._dead = True
        folder = str(self.engine.folder)
        doomed: set[int] = set()
        for process in psutil.process_iter(["cmdline"]):
            if any(folder in word for word in process.info["cmdline"] or ()):
                doomed |= {process.pid, *(one.pid for one in process.children(recursive=True))}
        for number in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        if self.engine.is_running:
            self.engine.kill()


class Swarm:
    """A swarm of some nodes, the first of which manages it and does no work of its own.

    Attributes:
        nodes: The nodes.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)

    @property
    def manager(self) -> Node:
        """The node that manages it."""
        return self.nodes[0]

    @property
    def workers(self) -> list[Node]:
        """The others."""
        return self.nodes[1:]

    def label(self, node: Node, **labels: str) -> None:
        """Gives a node labels, as `docker node update --label-add` does."""
        with contextlib.closing(self.manager.client) as client:
            found = self.find(client, node)
            spec = dict(found.attrs["Spec"])
            spec["Labels"] = {**spec.get("Labels", {}), **labels}
            found.update(spec)

    def find(self, client: Any, node: Node) -> Any:
        """A node as the swarm knows it."""
        return next(
            one for one in client.nodes.list() if one.attrs["Description"]["Hostname"] == node.name
        )


@contextlib.contextmanager
def started(count: int, *, resources: Mapping[int, Sequence[str]] | None = None) -> Iterator[Swarm]:
    """A swarm of a manager and `count` workers, with the smallest base in every engine.

    Args:
        resources: The generic resources of each worker, by its number from 1.
    """
    docker_fixtures.require()
    if shutil.which("ip") is None:
        pytest.skip("ip is not installed (apt-get install iproute2)")
    made: list[str] = []
    nodes: list[Node] = []
    stamp = f"cps{os.getpid()}"
    third = os.getpid() % 250
    switch = f"{stamp}-s"
    try:
        _sh("ip", "netns", "add", switch)
        made.append(switch)
        _sh("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _sh("ip", "-n", switch, "link", "set", "br0", "up")
        for number in range(count + 1):
            name = f"{stamp}-{number}"
            address = _NETWORK.format(third, number + 1)
            _sh("ip", "netns", "add", name)
            made.append(name)
            _sh(*("ip", "link", "add", "eth0", "netns", name, "type", "veth"),
                *("peer", "name", f"p{number}", "netns", switch))  # fmt: skip
            _sh("ip", "-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            _sh("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _sh("ip", "-n", name, "link", "set", device, "up")
            extra = [f"--node-generic-resource={one}" for one in (resources or {}).get(number, ())]
            # The registry has no certificate.
            extra.append(f"--insecure-registry={_NETWORK.format(third, 1)}:5000")
            nodes.append(Node(f"node{number}", address, name, extra))
        for node in nodes:
            node.engine.start()
            docker_fixtures.busybox(node.engine)
        swarm = Swarm(nodes)
        _join(swarm)
        yield swarm
    finally:
        for node in nodes:
            # Politely, a node takes half a minute to leave a swarm that has lost its manager.
            if node.is_alive:
                node.kill()
            node.engine.remove()
        for name in reversed(made):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _join(swarm: Swarm) -> None:
    with contextlib.closing(swarm.manager.client) as client:
        client.swarm.init(
            advertise_addr=swarm.manager.address,
            listen_addr=f"{swarm.manager.address}:2377",
            # A node that does not answer is down after seconds, not after a quarter of a minute.
            dispatcher_heartbeat_period=1_000_000_000,
        )
        token = client.swarm.attrs["JoinTokens"]["Worker"]
        for node in swarm.workers:
            with contextlib.closing(node.client) as other:
                other.swarm.join([f"{swarm.manager.address}:2377"], token, node.address)
        end = time.monotonic() + 30
        while any(one.attrs["Status"]["State"] != "ready" for one in client.nodes.list()):
            assert time.monotonic() < end, "the nodes do not join"
            time.sleep(0.1)


@contextlib.contextmanager
def registry(swarm: Swarm) -> Iterator[str]:
    """A registry in the manager's network, without TLS; its address."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    folder = swarm.manager.engine.folder / "registry"
    folder.mkdir()
    address = f"{swarm.manager.address}:5000"
    (folder / "config.yml").write_text(
        "version: 0.1\nlog: {level: error}\nstorage:\n  filesystem: {rootdirectory: "
        f"{folder}/data}}\nhttp: {{addr: '{address}'}}\n"
    )
    process = subprocess.Popen(
        [*swarm.manager.inside, program, "serve", str(folder / "config.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield address
    finally:
        process.kill()
        process.wait()


def docker_load(nodes: Sequence[Node], source: Node, image: str) -> None:
    """Puts an image of one node into others, as `docker save | docker load` does."""
    with contextlib.closing(source.client) as client:
        data = b"".join(client.images.get(image).save(named=True))
    for node in nodes:
        with contextlib.closing(node.client) as client:
            client.images.load(data)
