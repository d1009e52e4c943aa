"""serve from its start to its end: loading, a full queue, a lost device, signals, load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Reply, Server, serving


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete frozen folder and pictures."""
    root = tmp_path_factory.mktemp("lifecycle")
    frozen_folder.complete(root)
    return root


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """The folder that says what the device does."""
    return tmp_path


def picture(root: Path, number: int = 0) -> bytes:
    """A picture's file."""
    return (root / "pictures" / f"{number}.png").read_bytes()


def health(root: Path) -> tuple[int, str]:
    """What the health check says."""
    done = subprocess.run(
        frozen_folder.command(root / "frozen", "selftest", "--health"),
        env={**jobs.environment(), "TMPDIR": str(root / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_request_while_the_network_is_loaded(root: Path, flags: Path) -> None:
    (flags / "loading").touch()
    with serving(root / "frozen", flags=flags, state="loading") as server:
        for path, body in (("/v1/detect", picture(root)), ("/v2/models/tiny/ready", None)):
            reply = server.ask(path, body)
            assert reply.status == 503
            assert reply.json["error"] == "The network is being loaded."
            assert int(reply.fields["retry-after"]) >= 1
        assert server.ask("/readyz").status == 503
        assert server.ask("/v2/health/ready").status == 503
        assert server.ask("/healthz").status == 200
        assert health(root) == (1, "the server is loading: The network is being loaded.\n")
        (flags / "loading").unlink()
        server.wait_for("ready")
        assert server.ask("/v1/detect", picture(root)).status == 200
        assert health(root) == (0, "the server is ready\n")


def test_a_device_is_lost_and_comes_back(root: Path, flags: Path) -> None:
    with serving(root / "frozen", flags=flags) as server:
        before = server.ask("/v1/detect", picture(root)).json
        (flags / "lost").touch()
        reply = server.ask("/v1/detect", picture(root))
        assert reply.status == 503
        assert "The device is lost: The device does not answer." in reply.json["error"]
        assert server.ask("/readyz").json["state"] == "lost"
        assert server.ask("/healthz").status == 200
        assert health(root)[0] == 1
        time.sleep(1.2)  # an attempt to load it in vain
        assert server.ask("/v1/detect", picture(root)).status == 503
        (flags / "lost").unlink()
        server.wait_for("ready")
        assert server.ask("/v1/detect", picture(root)).json == before
        assert b"cascadeport_device_losses 1.0" in server.ask("/metrics").content
        assert server.stop() == 0


def test_a_network_that_fails_on_one_picture_is_not_lost(root: Path, flags: Path) -> None:
    with serving(root / "frozen", flags=flags) as server:
        (flags / "once").touch()
        reply = server.ask("/v1/detect", picture(root))
        assert (reply.status, reply.json["error"]) == (500, "The network has failed.")
        assert server.ask("/v1/detect", picture(root)).status == 200


def test_a_device_that_answers_wrongly_is_not_ready(tmp_path: Path) -> None:
    folder = frozen_folder.complete(tmp_path)
    path = folder / "golden" / "expected.json"
    content = json.loads(path.read_text())
    content["pictures"][0]["detections"][0]["bbox"][0] += 1
    path.write_text(json.dumps(content))
    with serving(folder, state="lost") as server:
        assert "golden picture does not come out" in server.ask("/readyz").json["reason"]
        assert server.ask("/v1/detect", picture(tmp_path)).status == 503


def test_a_runtime_s_process_is_killed_and_replaced(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, runner={"options": {"own_process": True}})
    folder = frozen_folder.freeze(tmp_path / "frozen", content)
    frozen_folder.add_golden(folder, content, tmp_path / "run")
    with serving(folder) as server:
        before = server.ask("/v1/detect", picture(tmp_path)).json
        # The server's only child starts the runtime's process, and has no socket of the server.
        (nursery,) = children(server.process.pid)
        (runtime,) = children(nursery)
        assert not sockets(runtime) & sockets(server.process.pid)
        os.kill(runtime, signal.SIGKILL)
        assert server.ask("/v1/detect", picture(tmp_path)).status == 503
        server.wait_for("ready")
        assert server.ask("/v1/detect", picture(tmp_path)).json == before
        (runtime,) = children(nursery)
        server.process.kill()
        server.process.wait()
        end = time.monotonic() + 20
        while any(Path(f"/proc/{one}").exists() for one in (nursery, runtime)):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_runtime_s_process_that_is_stuck_is_replaced(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, runner={"options": {"own_process": True}})
    folder = frozen_folder.freeze(tmp_path / "frozen", content)
    frozen_folder.add_golden(folder, content, tmp_path / "run")
    with serving(folder, "--max-device", 1) as server:
        (nursery,) = children(server.process.pid)
        (runtime,) = children(nursery)
        os.kill(runtime, signal.SIGSTOP)
        reply = server.ask("/v1/detect", picture(tmp_path))
        assert reply.status == 503
        server.wait_for("ready")
        assert server.ask("/v1/detect", picture(tmp_path)).status == 200
        assert children(nursery) != [runtime]
        assert "the device is stuck: its process is ended" in server.log


def children(process: int) -> list[int]:
    """The processes that a process has started."""
    text = Path(f"/proc/{process}/task").glob("*/children")
    return [int(one) for path in text for one in path.read_text().split()]


def sockets(process: int) -> set[int]:
    """The network sockets that a process has open, by their inodes."""
    table = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
    network = {int(line.split()[9]) for line in table}
    files = Path(f"/proc/{process}/fd").iterdir()
    links = [str(one.readlink()) for one in files if one.is_symlink()]
    return {int(one[8:-1]) for one in links if one.startswith("socket:[")} & network


def at_once(server: Server, count: int, body: bytes) -> list[tuple[float, Reply]]:
    """As many requests at the same time; when each was answered, and how."""
    start = time.monotonic()

    def ask(number: int) -> tuple[float, Reply]:
        reply = server.ask("/v1/detect", body)
        return time.monotonic() - start, reply

    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(ask, range(count)), key=lambda one: one[0])


def test_a_full_queue_says_so_at_once(root: Path, flags: Path) -> None:
    (flags / "slow").write_text("0.8")
    with serving(root / "frozen", "--queue", 2, flags=flags) as server:
        replies = at_once(server, 8, picture(root))
        assert [reply.status for _, reply in replies] == [503] * 6 + [200] * 2
        assert replies[5][0] < 0.8
        for _, reply in replies[:6]:
            assert reply.json["error"] == "The queue is full."
            assert int(reply.fields["retry-after"]) >= 1
        assert server.ask("/v1/detect", picture(root)).status == 200


def test_a_request_that_waits_too_long_is_told_so(root: Path, flags: Path) -> None:
    (flags / "slow").write_text("0.7")
    with serving(root / "frozen", "--max-wait", 1, flags=flags) as server:
        replies = at_once(server, 5, picture(root))
        found = [reply.status for _, reply in replies]
        assert set(found) == {200, 503}
        assert replies[-1][0] < 4
        assert (
            "longer than 1 seconds" in next(r for _, r in replies if r.status == 503).json["error"]
        )


def test_a_device_that_is_stuck(root: Path, flags: Path) -> None:
    with serving(root / "frozen", "--max-device", 1, "--max-wait", 1, flags=flags) as server:
        (flags / "slow").write_text("6")
        start = time.monotonic()
        reply = server.ask("/v1/detect", picture(root))
        assert (reply.status, time.monotonic() - start < 5) == (503, True)
        assert server.ask("/readyz").json["state"] == "stuck"
        assert server.ask("/healthz").status == 503
        assert "not answered for 1 seconds" in server.ask("/v1/detect", b"x").json["error"]


class Client(threading.Thread):
    """Asks on one connection until it is closed between two requests, or refused."""

    def __init__(self, port: int, body: bytes) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._body = body
        self.replies: list[tuple[int, Any]] = []
        self.lost: list[str] = []

    def run(self) -> None:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.connect()
            except OSError:
                return
            try:
                while True:
                    connection.request("POST", "/v1/detect", self._body)
                    answer = connection.getresponse()
                    self.replies.append((answer.status, json.loads(answer.read())))
                    if answer.getheader("Connection") == "close":
                        break
            except (OSError, http.client.HTTPException) as failure:
                self.lost.append(repr(failure))
                return
            finally:
                connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_accepted_request_is_answered_after_a_signal(
    root: Path, flags: Path, number: signal.Signals
) -> None:
    (flags / "slow").write_text("0.03")
    with serving(root / "frozen", flags=flags) as server:
        clients = [Client(server.port, picture(root, index % 5)) for index in range(16)]
        for client in clients:
            client.start()
        time.sleep(1)
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        for client in clients:
            client.join(20)
            assert client.lost == []
            assert {status for status, _ in client.replies} == {200}
        assert server.log.endswith(f"stopping: signal {int(number)}\nstopped\n")


def test_kill_and_restart_on_the_same_port(root: Path) -> None:
    with serving(root / "frozen") as first:
        clients = [Client(first.port, picture(root)) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(0.3)
        first.process.kill()
        first.process.wait()
    with serving(root / "frozen", "--port", first.port) as second:
        assert second.port == first.port
        assert second.ask("/v1/detect", picture(root)).status == 200
        assert health(root) == (0, "the server is ready\n")


def test_32_clients_get_what_infer_finds(root: Path) -> None:
    done = frozen_folder.call(root / "frozen", "infer", root / "pictures", root / "out")
    assert done.returncode == 0, done.stderr
    text = (root / "out" / "detections.jsonl").read_text()
    wanted = [json.loads(line)["detections"] for line in text.splitlines()]
    with serving(root / "frozen", "--queue", 24) as server:
        clients = [Client(server.port, picture(root, index % 5)) for index in range(32)]
        for client in clients:
            client.start()
        time.sleep(3)
        assert server.stop() == 0
    for index, client in enumerate(clients):
        client.join(20)
        assert client.lost == []
        assert {status for status, _ in client.replies} <= {200, 503}
        found = [content["detections"] for status, content in client.replies if status == 200]
        assert all(one == wanted[index % 5] for one in found)
    assert sum(status == 200 for one in clients for status, _ in one.replies) > 100


def test_the_clock_goes_back(root: Path, flags: Path) -> None:
    (flags / "clock").touch()
    (flags / "slow").write_text("0.01")
    with serving(root / "frozen", flags=flags) as server:
        dates = set()
        for _ in range(5):
            reply = server.ask("/v1/detect", picture(root))
            assert reply.status == 200
            dates.add(reply.fields["date"])
        assert len(dates) == 5
        assert server.stop() == 0
