"""hosts.toml: where each target's containers run."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.config import hosts
from cascadeport.containers import connection


def load(folder: Path, text: str) -> dict[str, hosts.Host]:
    path = folder / "hosts.toml"
    path.write_text(text)
    return hosts.load(path)


def test_without_a_file_everything_runs_here(tmp_path: Path) -> None:
    known = hosts.load(tmp_path / "hosts.toml")
    assert known == {}
    assert hosts.find("310P3", known, {}) == hosts.Host()
    assert hosts.Host().local


def test_a_target_s_row_comes_before_the_default_and_the_environment(tmp_path: Path) -> None:
    known = load(
        tmp_path,
        '[310P3]\nhost = "ssh://root@npu:2222"\n[default]\nhost = "unix:///run/other.sock"\n',
    )
    environ = {"DOCKER_HOST": "tcp://elsewhere:2375"}
    assert hosts.find("310P3", known, environ).host == "ssh://root@npu:2222"
    assert not hosts.find("310P3", known, environ).local
    assert hosts.find("T4", known, environ).host == "unix:///run/other.sock"
    assert hosts.find("T4", {}, environ).host == "tcp://elsewhere:2375"


def test_docker_s_own_tls_settings_are_obeyed() -> None:
    environ = {
        "DOCKER_HOST": "tcp://gpu:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": "/certificates",
    }
    host = hosts.find("T4", {}, environ)
    assert host.tls == "/certificates"
    assert "--tlscert=/certificates/cert.pem" in connection.command_line(host)


def test_errors_are_named(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError) as caught:
        load(tmp_path, '[310P3]\nhots = "x"\n[T4]\nhost = "http://gpu"\n')
    text = " ".join(caught.value.details)
    assert "perhaps you meant 'host'" in text
    assert "unix://, ssh://, tcp://" in text


def test_tcp_without_tls_must_be_asked_for() -> None:
    with pytest.raises(CascadeportError, match="needs TLS") as caught:
        connection.connect(hosts.Host(host="tcp://127.0.0.1:1"))
    assert "insecure = true" in caught.value.next


def test_missing_certificates_are_named(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="certificate of the host is missing") as caught:
        connection.connect(hosts.Host(host="tcp://127.0.0.1:1", tls=str(tmp_path)))
    assert "ca.pem" in caught.value.where


def test_a_host_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="cannot be reached") as caught:
        connection.connect(hosts.Host(host="tcp://127.0.0.1:1", insecure=True))
    assert "port is open" in caught.value.next
