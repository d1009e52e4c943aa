"""What a checkpoint that runs code can reach: a confined task of the local engine, in each sandbox.

The exporter does not run what a checkpoint contains (tests/integration/test_export_sandbox.py). The
sandbox holds where that should fail: here everything runs, by Python's own `pickle.load`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import targets
from cascadeport.core.task import Mount, Task
from cascadeport.engines import sandbox
from cascadeport.engines.local import LocalEngine

KINDS = ("bubblewrap", "kernel")

# Each attempt is tried by itself; what was reached is reported.
ATTEMPTS = """
import glob, json, os, socket, subprocess
def attempt(name, action):
    try:
        result = action()
    except Exception as error:
        result = None
    if result:
        reached.append(name)
def connect(kind, address):
    with socket.socket(*kind) as one:
        one.settimeout(2)
        one.connect(address)
        one.send(b"x")
    return True
reached = []
try:  # bubblewrap gives it a folder of that name, which ends with it
    open({beside!r}, "w")
except OSError:
    pass
attempt("write into its folder", lambda: open({inside!r}, "w"))
attempt("write to the system", lambda: open("/usr/pwned", "w"))
attempt("remove its input", lambda: os.remove({checkpoint!r}) or True)
attempt("read a secret", lambda: open({secret!r}).read())
attempt("list the folder of the secret", lambda: os.listdir(os.path.dirname({secret!r})))
attempt("read a variable", lambda: os.environ.get("SECRET_TOKEN"))
attempt("read another's variables", lambda: "SECRET_TOKEN" in open("/proc/{pid}/environ").read())
attempt("TCP", lambda: connect((socket.AF_INET, socket.SOCK_STREAM), ("127.0.0.1", {port})))
try:  # whether it arrives is seen at the other end
    connect((socket.AF_INET, socket.SOCK_DGRAM), ("127.0.0.1", {udp}))
except OSError:
    pass
attempt("a socket in a folder", lambda: connect((socket.AF_UNIX, socket.SOCK_STREAM), {path!r}))
attempt("a signal", lambda: os.kill({pid}, 0) or True)
attempt("by a child", lambda: subprocess.check_output(["/bin/cat", {secret!r}]))
attempt("its input", lambda: open({checkpoint!r}, "rb").read())
attempt("its output", lambda: open({out!r} + "/product", "w").write("done"))
print(json.dumps(dict(event="reached", names=reached)))
"""
ALLOWED = ["its input", "its output"]


class Bomb:
    """Unpickling it runs a program."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> Any:
        return exec, (self.code, {})


def engine(name: str) -> LocalEngine:
    rows = targets.load(REPOSITORY / "targets.toml", backends.row)
    return LocalEngine(backends.of(rows["cpu"]), name)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    try:
        text = sandbox.choose(name).text
    except CascadeportError:
        pytest.skip(f"the sandbox {name} does not work here")
    if name == "kernel" and "no network, none of your files" not in text:
        pytest.skip(f"this kernel offers less: {text}")
    return name


def reached(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a checkpoint reaches that tries everything."""
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    home, given, out = tmp_path / "home", tmp_path / "given", tmp_path / "out"
    for folder in (home, given, out):
        folder.mkdir()
    secret, checkpoint = home / "secret", given / "net.pth"
    secret.write_text("abc")
    events: list[Any] = []
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as local,
    ):
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(0.2)
        path = tmp_path / "home" / "socket"
        local.bind(str(path))
        local.listen()
        code = ATTEMPTS.format(
            beside=str(tmp_path / "pwned"), inside=str(given / "pwned"), secret=str(secret),
            checkpoint=str(checkpoint), port=server.getsockname()[1], path=str(path),
            pid=os.getpid(), out=str(out), udp=udp.getsockname()[1],
        )  # fmt: skip
        checkpoint.write_bytes(pickle.dumps(Bomb(code)))
        reading = f"import pickle; pickle.load(open({str(checkpoint)!r}, 'rb'))"
        task = Task(
            stage="export",
            argv=(sys.executable, "-c", reading),
            mounts=(Mount(given, "/given"), Mount(out, "/out", writable=True)),
            log=tmp_path / "log",
            code=given,
            confined=True,
        )
        engine(name).run(task, events.append)
        (event,) = events
        names: list[str] = event["names"]
        with contextlib.suppress(TimeoutError):
            names += ["UDP"] if udp.recv(1) else []
    assert (out / "product").read_text() == "done"
    assert (tmp_path / "pwned").exists() == (name == "none")
    assert (given / "pwned").exists() == (name == "none")
    return names


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_a_checkpoint_that_runs_code_reaches_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reached(kind, tmp_path, monkeypatch) == ALLOWED


def test_without_a_sandbox_it_reaches_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the test above would prove nothing."""
    found = reached("none", tmp_path, monkeypatch)
    for name in (
        "write into its folder",
        "read a secret",
        "read a variable",
        "TCP",
        "UDP",
        "a signal",
    ):
        assert name in found
    assert "as you, with your files" in engine("none").containment()


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_inputs_behind_links_are_readable(kind: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "picture").write_text("pixels")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "hop").symlink_to(tmp_path / "elsewhere" / "picture")
    (folder / "picture").symlink_to("hop")
    task = Task(
        stage="export",
        argv=("python3", "-c", "import sys; print(open(sys.argv[1]).read())",
              str(folder / "picture")),
        mounts=(Mount(folder, "/pictures"),),
        log=tmp_path / "log",
        code=folder,
        confined=True,
    )  # fmt: skip
    engine(kind).run(task, print)
    assert "pixels" in (tmp_path / "log").read_text()


def test_the_best_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    works = sandbox.Sandbox("kernel", "works")
    monkeypatch.setattr(sandbox, "_with_bubblewrap", lambda: None)
    monkeypatch.setattr(sandbox, "_with_kernel", lambda: works)
    assert sandbox.choose() is works
    monkeypatch.setattr(sandbox, "_with_kernel", lambda: None)
    assert sandbox.choose() is sandbox.NONE


@pytest.mark.parametrize("name", ["bubblewrap", "firejail"])
def test_one_that_was_asked_for_is_never_replaced(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    sandbox._with_bubblewrap.cache_clear()
    with pytest.raises(CascadeportError, match=name) as caught:
        sandbox.choose(name)
    sandbox._with_bubblewrap.cache_clear()
    assert "CASCADEPORT_SANDBOX" in caught.value.where


def test_what_an_old_kernel_offers_is_not_called_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(files: str | None, network: str | None) -> sandbox.Sandbox | None:
        text = json.dumps({"files": files, "network": network})
        monkeypatch.setattr(sandbox, "_output", lambda argv: text)
        sandbox._with_kernel.cache_clear()
        found = sandbox._with_kernel()
        sandbox._with_kernel.cache_clear()
        return found

    assert kernel(None, None) is None
    assert "all your files" in kernel(None, "none").text  # type: ignore[union-attr]
    assert "the network is open" in kernel("Landlock", None).text  # type: ignore[union-attr]
    assert "other kinds of network" in kernel("Landlock", "no TCP").text  # type: ignore[union-attr]
