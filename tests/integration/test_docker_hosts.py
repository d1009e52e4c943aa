"""A target on another host: nothing is shared with it but its engine's address."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.backends.ascend import checks as npu
from cascadeport.base.errors import CascadeportError
from cascadeport.config import hosts
from cascadeport.containers import connection
from cascadeport.core.machine import Machine, Node
from cascadeport.core.task import Mount, Task

from tests.helpers import contexts, docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.docker_fixtures import Probe
from tests.helpers.free_port import free_port

pytestmark = pytest.mark.docker


def certificates(folder: Path) -> Path:
    """A CA, a server's and a client's certificate for 127.0.0.1."""
    folder.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=ca",
        "-keyout",
        "ca-key.pem",
        "-out",
        "ca.pem",
    )
    for name, extensions in (
        ("server", "subjectAltName=IP:127.0.0.1"),
        ("client", "extendedKeyUsage=clientAuth"),
    ):
        (folder / f"{name}.ext").write_text(extensions)
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}-key.pem",
            "-out",
            f"{name}.csr",
        )
        openssl(
            "x509",
            "-req",
            "-in",
            f"{name}.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca-key.pem",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            f"{name}.ext",
            "-out",
            f"{name}.pem",
        )
    shutil.copy(folder / "client.pem", folder / "cert.pem")
    shutil.copy(folder / "client-key.pem", folder / "key.pem")
    return folder


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def engine(tls: Path, port: int) -> Iterator[PrivateEngine]:
    extra = [
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={tls / 'ca.pem'}",
        f"--tlscert={tls / 'server.pem'}",
        f"--tlskey={tls / 'server-key.pem'}",
    ]
    with docker_fixtures.started(extra=extra) as engine:
        yield engine


@pytest.fixture
def probe(engine: PrivateEngine, tmp_path: Path) -> Iterator[Probe]:
    probe = Probe(engine, tmp_path)
    yield probe
    assert probe.left() == [], "a run must leave nothing on the host"


@pytest.fixture(scope="module")
def sshd(engine: PrivateEngine) -> Iterator[hosts.Host]:
    """An ssh server of our own on this machine, whose docker command reaches the engine."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists() or shutil.which("ssh") is None:
        pytest.skip("ssh or sshd is not installed (apt-get install openssh-server)")
    folder, port = engine.folder / "ssh", free_port()
    folder.mkdir(mode=0o700)
    for name in ("host", "id"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile {folder}/pid\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        f"PermitRootLogin prohibit-password\nMaxSessions 50\nMaxStartups 100\n"
        f"SetEnv DOCKER_HOST={engine.host}\n"
    )
    # The user's own ssh is used, with its options; here they come by a wrapper on PATH.
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "ssh"
    wrapper.write_text(
        f"#!/bin/sh\nexec {shutil.which('ssh')} -i {folder}/id -o StrictHostKeyChecking=no "
        f'-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"\n'
    )
    wrapper.chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(
        [program, "-D", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        try:
            yield hosts.Host(host=f"ssh://root@127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait()


def there(probe: Probe, host: hosts.Host, script: str) -> None:
    """Runs a script on a host, with a file, a folder and a folder for results."""
    (probe.folder / "model.onnx").write_bytes(b"weights")
    pictures = probe.folder / "pictures"
    (pictures / "below").mkdir(parents=True, exist_ok=True)
    (pictures / "one.jpg").write_bytes(b"1")
    (pictures / "below" / "two words.jpg").write_bytes(b"2" * 3_000_000)
    (probe.out / "job.json").write_text("{}")
    opened = probe.open()
    opened._host = host
    task = Task(
        stage="infer",
        argv=("sh", "-c", script),
        mounts=(
            Mount(probe.folder / "model.onnx", "/model/network.onnx"),
            Mount(pictures, "/data"),
            Mount(probe.out, "/out", writable=True),
        ),
        log=probe.folder / "infer.log",
    )
    try:
        opened.run(task, probe.events.append)
    finally:
        opened.close()


SCRIPT = (
    "cat /model/network.onnx /data/one.jpg > /out/joined && ls /data/below > /out/names && "
    "mkdir /out/drawn && cat '/data/below/two words.jpg' > /out/drawn/two && "
    "cat /out/job.json > /out/job-copy && id > /out/id && "
    "{ echo x > /data/new || echo x > /model/new || true; } 2>/dev/null"
)


def check(probe: Probe) -> None:
    assert (probe.out / "joined").read_bytes() == b"weights1"
    assert (probe.out / "names").read_text() == "two words.jpg\n"
    assert (probe.out / "drawn/two").read_bytes() == b"2" * 3_000_000
    assert (probe.out / "job-copy").read_text() == "{}"
    assert "uid=1000" in (probe.out / "id").read_text()
    # What went there for reading came back as it was.
    assert not (probe.folder / "pictures" / "new").exists()


def test_files_go_there_and_results_come_back_by_tcp_with_tls(
    probe: Probe, tls: Path, port: int
) -> None:
    there(probe, hosts.Host(host=f"tcp://127.0.0.1:{port}", tls=str(tls)), SCRIPT)
    check(probe)


def test_files_go_there_and_results_come_back_by_ssh(probe: Probe, sshd: hosts.Host) -> None:
    there(probe, sshd, SCRIPT)
    check(probe)


def test_a_client_without_a_certificate_is_refused(probe: Probe, port: int) -> None:
    with pytest.raises(CascadeportError, match="cannot be reached"):
        there(probe, hosts.Host(host=f"tcp://127.0.0.1:{port}", insecure=True), "true")


def test_a_failed_command_leaves_nothing_on_the_host(probe: Probe, tls: Path, port: int) -> None:
    with pytest.raises(CascadeportError, match="exit code 3"):
        there(probe, hosts.Host(host=f"tcp://127.0.0.1:{port}", tls=str(tls)), "exit 3")


def test_a_link_among_the_results_is_refused(probe: Probe, tls: Path, port: int) -> None:
    (probe.folder / "Dockerfile").write_text(
        docker_fixtures.DOCKERFILE.replace("USER", "RUN ln -s busybox /bin/ln\nUSER")
    )
    with pytest.raises(CascadeportError, match="no plain file"):
        there(
            probe,
            hosts.Host(host=f"tcp://127.0.0.1:{port}", tls=str(tls)),
            "busybox ln -s /etc/passwd /out/secrets",
        )
    assert not (probe.out / "secrets").exists()


def test_the_doctor_looks_at_an_ssh_host(sshd: hosts.Host, tmp_path: Path) -> None:
    """Programs, files and device nodes of the other machine; here it is this one again."""
    machine = Machine(sshd, os.environ["PATH"])
    answer = machine.run("printf", "%s|", "two words", "$HOME; 'x'")
    assert answer is not None
    assert (answer.code, answer.output) == (0, "two words|$HOME; 'x'|")
    assert machine.run("no-such-program-anywhere") is None
    assert machine.node("/dev/zero") == Node(0o666, 0)
    assert machine.node("/dev/davinci77") is None
    assert machine.text(str(tmp_path / "absent")) is None

    tool = tmp_path / "npu-smi"
    tool.write_text("#!/bin/sh\necho 'dcmi module initialize failed. ret is -8005'\n")
    tool.chmod(0o755)
    context = dataclasses.replace(
        contexts.context("310P3"),
        host=sshd,
        variables={**os.environ, "NPU_SMI": str(tool)},
    )
    with pytest.raises(CascadeportError, match="output of npu-smi is not its table") as caught:
        npu.npu_smi(context)
    assert "-8005" in caught.value.where
    devices = npu._nodes(context)
    assert devices.status == "fail"
    assert "/dev/davinci0" in devices.finding


def test_the_doctor_says_what_it_cannot_look_at() -> None:
    for name in ("310P3", "T4"):
        context = dataclasses.replace(
            contexts.context(name),
            host=hosts.Host(host="tcp://elsewhere:2376", insecure=True),
        )
        checks = backends.of(context.target).checks
        found = [check.run(context) for check in checks if check.concerns(context)]
        told = [one for one in found if one.check == "devices"]
        assert [one.status for one in told] == ["warn"]
        assert "tcp://elsewhere:2376 runs no commands for us" in told[0].finding
        assert not {"driver", "chips", "gpu", "idle"} & {one.check for one in found}


def test_an_ssh_host_that_cannot_be_reached(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("ssh is not installed")
    with pytest.raises(CascadeportError, match="cannot be reached by ssh") as caught:
        connection.connect(hosts.Host(host=f"ssh://nobody@127.0.0.1:{free_port()}"))
    assert "docker version" in caught.value.next
    with pytest.raises(CascadeportError, match="cannot be reached by ssh"):
        nobody = hosts.Host(host=f"ssh://nobody@127.0.0.1:{free_port()}")
        Machine(nobody, os.environ["PATH"]).run("true")


def test_a_host_that_goes_away_half_way(tls: Path, tmp_path: Path) -> None:
    port = free_port()
    extra = [
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={tls / 'ca.pem'}",
        f"--tlscert={tls / 'server.pem'}",
        f"--tlskey={tls / 'server-key.pem'}",
    ]
    with docker_fixtures.started(extra=extra) as engine:
        probe = Probe(engine, tmp_path)
        host = hosts.Host(host=f"tcp://127.0.0.1:{port}", tls=str(tls))

        def leave() -> None:
            end = time.monotonic() + 60
            with contextlib.closing(probe.client) as client:
                while not client.containers.list() and time.monotonic() < end:
                    time.sleep(0.1)
            engine.kill()

        thread = threading.Thread(target=leave, daemon=True)
        thread.start()
        with pytest.raises(CascadeportError, match=r"went away|killed from outside") as caught:
            there(probe, host, "sleep 120")
        thread.join()
        assert "finished stages are kept" in caught.value.next
        engine.start()
        there(probe, host, SCRIPT)
        check(probe)
        assert probe.left() == []
