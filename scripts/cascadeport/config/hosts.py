"""hosts.toml: the machine on which each target's containers run. See docs/hosts.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.base.errors import CascadeportError
from cascadeport.config.schema import Strict, read_toml, validate

FILE = "hosts.toml"
_LOCAL = "unix:///var/run/docker.sock"
_SCHEMES = ("unix://", "ssh://", "tcp://")


class Host(Strict):
    """Where a Docker Engine is.

    Args:
        host: `unix:///path`, `ssh://user@name[:port]` or `tcp://name:port`.
        tls: For tcp: the folder of ca.pem, cert.pem and key.pem.
        insecure: For tcp without TLS. Whoever reaches such a port is root on that machine.
    """

    host: str = _LOCAL
    tls: str | None = None
    insecure: bool = False

    @field_validator("host")
    @classmethod
    def _known(cls, value: str) -> str:
        if not value.startswith(_SCHEMES):
            raise ValueError("it must begin with " + ", ".join(_SCHEMES))
        return value

    @property
    def local(self) -> bool:
        """Whether its engine sees this machine's files and devices."""
        return self.host.startswith("unix://")

    @property
    def certificates(self) -> Path | None:
        """The folder of certificates."""
        return Path(self.tls).expanduser() if self.tls else None


class _Hosts(Strict):
    hosts: Annotated[dict[str, Host], BeforeValidator(dict)] = Field(default_factory=dict)


def load(path: Path) -> dict[str, Host]:
    """Reads hosts.toml; without the file every target runs here.

    Raises:
        CascadeportError: With every error and its location.
    """
    if not path.exists():
        return {}
    values = read_toml(path, "list of hosts")
    return validate(_Hosts, {"hosts": values}, where=str(path), what="list of hosts").hosts


def find(target: str, hosts: Mapping[str, Host], environ: Mapping[str, str] | None = None) -> Host:
    """The host of a target: its own row, else the row `default`, else DOCKER_HOST, else here."""
    if target in hosts:
        return hosts[target]
    if "default" in hosts:
        return hosts["default"]
    variables = os.environ if environ is None else environ
    address = variables.get("DOCKER_HOST")
    if not address:
        return Host()
    if not address.startswith(_SCHEMES):
        raise CascadeportError(
            "DOCKER_HOST is not an address that can be used here.",
            where=f"DOCKER_HOST={address}",
            next="It must begin with " + ", ".join(_SCHEMES) + ".",
        )
    verified = variables.get("DOCKER_TLS_VERIFY") and variables.get("DOCKER_CERT_PATH")
    insecure = address.startswith("tcp://") and not verified
    return Host(
        host=address, tls=variables["DOCKER_CERT_PATH"] if verified else None, insecure=insecure
    )
