"""Everything that can go wrong with a container, on a real engine of our own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.errors import CascadeportError
from cascadeport.containers import sweep

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.docker_fixtures import Probe

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture
def probe(engine: PrivateEngine, tmp_path: Path) -> Iterator[Probe]:
    probe = Probe(engine, tmp_path)
    yield probe
    assert probe.left() == [], "a run must leave nothing on the engine"


def when(condition: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """Acts once a condition holds."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not condition():
            if time.monotonic() > end:
                return
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_command_speaks_writes_and_leaves_nothing(probe: Probe) -> None:
    probe.run(
        'echo plain; echo \'{"event": "progress", "done": 1, "total": 2}\'; '
        "echo warning >&2; echo result > /out/result; id > /out/id"
    )
    progress = [event for event in probe.events if event.get("phase") != "build image"]
    assert progress == [{"event": "progress", "done": 1, "total": 2}]
    assert any(event.get("phase") == "build image" for event in probe.events)
    assert (probe.out / "result").read_text() == "result\n"
    assert "uid=1000 gid=1000" in (probe.out / "id").read_text()
    log = (probe.folder / "infer.log").read_text()
    assert "plain" in log
    assert "warning" in log
    # What the container wrote belongs to who ran it.
    assert (probe.out / "result").stat().st_uid == os.getuid()


def test_root_is_read_only_without_capabilities_and_network(probe: Probe) -> None:
    probe.run(
        "touch /x 2>/dev/null && echo writable > /out/root; "
        "cat /proc/self/status > /out/status; ls /sys/class/net > /out/net; touch /tmp/fine"
    )
    assert not (probe.out / "root").exists()
    status = (probe.out / "status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert (probe.out / "net").read_text().split() == ["lo"]


def test_the_command_s_own_error_is_the_error(probe: Probe) -> None:
    event = '{"event": "error", "what": "No picture.", "where": "a.jpg", "next": "Give one."}'
    with pytest.raises(CascadeportError, match=r"No picture\.") as caught:
        probe.run(f"echo '{event}'; exit 2")
    assert caught.value.where == "a.jpg"
    assert caught.value.next == "Give one."


def test_an_exit_code_is_told_with_the_log_s_end(probe: Probe) -> None:
    with pytest.raises(CascadeportError, match="exit code 7") as caught:
        probe.run("echo 'the last words' >&2; exit 7")
    assert "the last words" in caught.value.where


def test_out_of_memory_is_told_as_such(probe: Probe) -> None:
    with pytest.raises(CascadeportError, match="ran out of memory") as caught:
        # tail keeps what has no line end in memory.
        probe.run("head -c 2000000000 /dev/zero | tail > /dev/null")
    assert "256m" in caught.value.where
    assert "MEMORY=" in caught.value.next


def test_killed_from_outside(probe: Probe) -> None:
    client = probe.client

    def kill() -> None:
        for container in client.containers.list():
            container.kill()

    thread = when(lambda: (probe.out / "ready").exists() and client.containers.list(), kill)
    with pytest.raises(CascadeportError, match="killed from outside"):
        probe.run("echo > /out/ready; sleep 120")
    thread.join()


def test_removed_from_outside(probe: Probe) -> None:
    client = probe.client

    def remove() -> None:
        for container in client.containers.list():
            container.remove(force=True)

    thread = when(lambda: (probe.out / "ready").exists() and client.containers.list(), remove)
    with pytest.raises(CascadeportError, match=r"killed from outside|removed from outside"):
        probe.run("echo > /out/ready; sleep 120")
    thread.join()


def test_a_hung_command_is_stopped_at_its_deadline(probe: Probe) -> None:
    with pytest.raises(CascadeportError, match="printed nothing for 2 s and was stopped"):
        probe.run("echo started; sleep 300", deadline_s=2)


def test_a_missing_device_node_is_named_before_anything_starts(probe: Probe) -> None:
    probe.declare('    devices: ["/dev/davinci0:/dev/davinci0"]')
    with pytest.raises(CascadeportError, match="/dev/davinci0 is missing") as caught:
        probe.run("true")
    assert "the driver of the device is loaded" in caught.value.next
    probe.row = AscendTarget(
        **probe.row.model_dump(
            exclude={"backend", "provider", "provider_options", "session", "image"}
        ),
        backend="ascend",
        soc="Ascend310P3",
        image="ascend310p",
    )
    with pytest.raises(CascadeportError, match="/dev/davinci0 is missing") as caught:
        probe.run("true")
    assert "npu-smi info" in caught.value.next
    assert "--simulate" in caught.value.next


def test_a_device_the_engine_refuses_is_named(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cascadeport.containers import container as containers

    probe.declare('    devices: ["/dev/davinci7:/dev/davinci7"]')
    # As on another host, whose nodes cannot be looked at from here.
    monkeypatch.setattr(containers, "check_devices", lambda service, backend: None)
    with pytest.raises(CascadeportError, match="/dev/davinci7 is missing, or may not"):
        probe.run("true")


def test_a_device_comes_in_under_its_own_name(probe: Probe) -> None:
    probe.declare('    devices: ["/dev/zero:/dev/davinci0"]')
    probe.run("head -c 4 /dev/davinci0 > /out/four")
    assert (probe.out / "four").read_bytes() == bytes(4)


GPU = """\
    deploy:
      resources:
        reservations:
          devices: [{driver: nvidia, device_ids: ["0"], capabilities: [gpu]}]
"""


def test_an_engine_that_cannot_pass_a_gpu(probe: Probe) -> None:
    probe.declare(GPU)
    with pytest.raises(CascadeportError, match="cannot pass a GPU to a container") as caught:
        probe.run("true")
    assert "NVIDIA container toolkit" in caught.value.next


def test_a_runtime_that_the_engine_does_not_know(probe: Probe) -> None:
    probe.declare("    runtime: ascend")
    with pytest.raises(CascadeportError, match="does not know the runtime"):
        probe.run("true")


def test_keep_failed_keeps_the_container_and_says_how_to_look(probe: Probe) -> None:
    with pytest.raises(CascadeportError):
        probe.run("echo words; exit 3", keep_failed=True)
    note = next(event["text"] for event in probe.events if event["event"] == "note")
    (name,) = probe.left()
    assert name in note
    # The next run sweeps and leaves what was kept on purpose.
    probe.run("true")
    assert probe.left() == [name]
    container = probe.client.containers.get(name)
    assert container.logs() == b"words\n"
    container.remove(v=True)


def test_a_build_step_that_fails(probe: Probe) -> None:
    (probe.folder / "Dockerfile").write_text(
        docker_fixtures.DOCKERFILE.replace("USER", "RUN echo broken on purpose; exit 9\nUSER")
    )
    with pytest.raises(CascadeportError, match="A step of the image") as caught:
        probe.run("true")
    assert "9" in caught.value.what
    assert "broken on purpose" in (probe.folder / "build/images/cascadeport-probe.log").read_text()


def test_a_base_that_is_not_there(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_IMAGE", "registry.invalid/no/such:base")
    with pytest.raises(CascadeportError, match=r"base image registry\.invalid/no/such:base") as e:
        probe.run("true")
    assert "BASE_IMAGE=" in e.value.next


def test_a_file_of_the_user_s_that_is_missing(probe: Probe) -> None:
    (probe.folder / "Dockerfile").write_text(
        docker_fixtures.DOCKERFILE.replace("USER", "COPY absent.run /absent.run\nUSER")
    )
    with pytest.raises(CascadeportError, match="built from is missing"):
        probe.run("true")


def test_no_space_in_the_image_store(tmp_path: Path) -> None:
    from tests.helpers import docker_engine

    docker_fixtures.require()
    store = tmp_path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(store)], check=True)
    # A socket's path is short; a test's folder may not be.
    folder = Path(tempfile.mkdtemp(prefix="cpe-"))
    small = docker_engine.PrivateEngine(folder, data_root=store)
    try:
        small.start()
        docker_fixtures.busybox(small)
        probe = Probe(small, tmp_path)
        step = "RUN dd if=/dev/zero of=/big bs=1M count=64\nUSER"
        (tmp_path / "Dockerfile").write_text(docker_fixtures.DOCKERFILE.replace("USER", step))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", small.host)
            patch.setenv("BUILD_NETWORK", "none")
            with pytest.raises(CascadeportError, match="disk of the Docker Engine is full"):
                probe.run("true")
    finally:
        small.remove()
        subprocess.run(["umount", "-l", str(store)], check=True)


def test_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    probe = Probe(None, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(CascadeportError, match="No Docker Engine is running") as caught:
        probe.run("true")
    assert "Start it" in caught.value.next


_AS_NOBODY = """
import os, sys
os.setgid(65534); os.setuid(65534)
from cascadeport.config import hosts
from cascadeport.containers import connection
try:
    connection.connect(hosts.Host(host=sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_no_permission_on_the_socket(engine: PrivateEngine, repository: Path) -> None:
    engine.folder.chmod(0o755)
    engine.socket.chmod(0o660)
    # Imported before the change of user, who may not read this checkout.
    script = "import docker, cascadeport.containers.connection\n" + _AS_NOBODY
    said = subprocess.run(
        [sys.executable, "-c", script, engine.host],
        env={**os.environ, "PYTHONPATH": str(repository / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "may not be used by this user" in said.stdout, said.stdout + said.stderr
    assert "usermod -aG docker" in said.stdout


def test_ctrl_c_leaves_nothing(probe: Probe) -> None:
    main = threading.main_thread().ident
    assert main is not None
    thread = when(
        lambda: (probe.out / "ready").exists(), lambda: signal.pthread_kill(main, signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        probe.run("echo > /out/ready; sleep 120")
    thread.join()
    assert probe.left() == []


_ORCHESTRATOR = """
import sys
from pathlib import Path
from tests.helpers import docker_fixtures
from tests.helpers.docker_fixtures import Probe
probe = Probe.__new__(Probe)
probe.folder, probe.events = Path(sys.argv[1]), []
probe.row = docker_fixtures.target(probe.folder / "probe.yaml")
probe.out = probe.folder / "out"
probe.run("echo > /out/ready; sleep 300")
"""


def test_what_a_killed_orchestrator_left_is_swept_at_the_next_start(
    probe: Probe, repository: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _ORCHESTRATOR, str(probe.folder)],
        env={**os.environ, "PYTHONPATH": f"{repository}:{repository / 'scripts'}"},
    )
    try:
        end = time.monotonic() + 60
        while not (probe.out / "ready").exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert probe.left() != []
        # A run beside it leaves a living run's container alone.
        probe.run("true")
        assert probe.left() != []
    finally:
        child.kill()
        child.wait()
    left = probe.left()
    # The doctor only looks.
    client = docker.DockerClient(base_url=probe.engine.host)
    looked = sweep.sweep(client, remove=False)
    client.close()
    assert looked != []
    assert probe.left() == left != []
    probe.run("true")
    assert any("of a run that died" in str(event.get("text")) for event in probe.events)
    assert probe.left() == []


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "crashed"])
def test_an_engine_that_restarts_during_a_run(tmp_path: Path, crash: bool) -> None:
    with docker_fixtures.started() as engine:
        probe = Probe(engine, tmp_path)

        def restart() -> None:
            engine.kill() if crash else engine.stop()
            engine.start()

        thread = when(lambda: (probe.out / "ready").exists(), restart)
        with pytest.raises(CascadeportError, match=r"went away|killed from outside"):
            probe.run("echo > /out/ready; sleep 120")
        thread.join()
        with contextlib.suppress(FileNotFoundError):
            (probe.out / "ready").unlink()
        # The same command again: what was left goes first, the rest is as before.
        probe.run("echo again > /out/again")
        assert (probe.out / "again").read_text() == "again\n"
        assert probe.left() == []
