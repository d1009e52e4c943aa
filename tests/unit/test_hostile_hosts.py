"""Addresses of hosts that are hostile or odd, and hosts that answer oddly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.config import hosts
from cascadeport.config.hosts import Host
from cascadeport.containers import connection
from cascadeport.core.machine import Machine, Node

ADDRESSES = [
    ("ssh://box:abc", "not an address"),
    ("ssh://box:99999", "not an address"),
    ("ssh://[::1", "not an address"),
    ("ssh://", "no valid host name"),
    ("tcp://:2375", "no valid host name"),
    ("ssh://-oProxyCommand=touch /tmp/x", "no valid host name"),
    ("ssh://-oProxyCommand=x@box", "no valid user name"),
    ("ssh://me:s3cret@box", "must not hold a password"),
    ("ssh://box/path", "nothing may follow"),
    ("ssh://bo x", "no valid host name"),
]


@pytest.mark.parametrize(("address", "reason"), ADDRESSES)
def test_addresses_in_hosts_toml(tmp_path: Path, address: str, reason: str) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text(f'[T4]\nhost = "{address}"\n')
    with pytest.raises(CascadeportError) as caught:
        hosts.load(path)
    assert reason in caught.value.details[0]
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("address", "reason"), ADDRESSES)
def test_addresses_in_the_environment(address: str, reason: str) -> None:
    with pytest.raises(CascadeportError) as caught:
        hosts.find("T4", {}, {"DOCKER_HOST": address})
    assert reason in caught.value.details[0]
    assert "s3cret" not in str(caught.value)


def test_docker_host_over_tcp_needs_tls_unless_it_is_asked_for() -> None:
    environ = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
    with pytest.raises(CascadeportError, match="needs TLS") as caught:
        connection.connect(hosts.find("T4", {}, environ))
    assert f"{hosts.INSECURE}=1" in caught.value.next
    asked = hosts.find("T4", {}, {**environ, hosts.INSECURE: "1"})
    with pytest.raises(CascadeportError, match="cannot be reached"):
        connection.connect(asked)


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, name: str) -> Machine:
    """A machine whose program `name` is a script."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    host = Host(host="ssh://me@box:22") if name == "ssh" else Host()
    return Machine(host, os.environ["PATH"])


def test_no_host_is_an_option_of_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = machine(tmp_path, monkeypatch, 'for word in "$@"; do echo "$word"; done', "ssh")
    answer = there.run("true")
    assert answer is not None
    words = answer.output.split()
    assert words[words.index("--") + 1 :] == ["me@box", "true"]


@pytest.mark.parametrize("said", ["", "660", "rw-rw---- 5", "six sixty", "660 5 7"])
def test_device_nodes_of_an_odd_stat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    there = machine(tmp_path, monkeypatch, f"echo '{said}'", "stat")
    with pytest.raises(CascadeportError, match="unexpected answer"):
        there.node("/dev/null")


def test_a_greeting_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "echo Welcome to box 660 1; echo 660 1000; echo Warning: known hosts >&2"
    there = machine(tmp_path, monkeypatch, script, "ssh")
    assert there.node("/dev/null") == Node(0o660, 1000)


def test_a_program_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "stat").write_bytes(b"\x7fELF\0not a program")
    (tmp_path / "stat").chmod(0o755)
    with pytest.raises(CascadeportError, match="stat cannot be run"):
        Machine(Host(), str(tmp_path)).node("/dev/null")
