"""hosts.toml: the machine on which each target's containers run. See docs/hosts.md."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.base.reading import user_path
from cascadeport.config.schema import Strict, read_toml, validate

FILE = "hosts.toml"
_LOCAL = "unix:///var/run/docker.sock"
_SCHEMES = ("unix://", "ssh://", "tcp://")
# Names, IPv4 and IPv6 addresses (with a zone), and aliases of ~/.ssh/config.
_NAME = re.compile(r"[\w:][\w.:%-]*")
_USER = re.compile(r"[\w][\w.\\$+-]*")
INSECURE = "CASCADEPORT_INSECURE_TCP"
"""The variable that allows a DOCKER_HOST of tcp:// without TLS."""


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
    def _valid(cls, value: str) -> str:
        if not value.startswith(_SCHEMES):
            raise ValueError("it must begin with " + ", ".join(_SCHEMES))
        if value.startswith("unix://"):
            return value
        try:
            address = urlsplit(value)
            port = address.port
        except ValueError as error:
            raise ValueError(f"it is not an address: {error}") from None
        name = address.hostname
        if not name or not _NAME.fullmatch(name):
            # A name that begins with a hyphen would be an option of ssh.
            raise ValueError("it has no valid host name")
        if port == 0:
            raise ValueError("port 0 is not one to connect to")
        if address.password is not None:
            raise ValueError("it must not hold a password: use a key for ssh, certificates for tcp")
        if address.username and not _USER.fullmatch(address.username):
            raise ValueError("it has no valid user name")
        if address.path.strip("/") or address.query or address.fragment:
            raise ValueError("nothing may follow the host and its port")
        return value

    @property
    def local(self) -> bool:
        """Whether its engine sees this machine's files and devices."""
        return self.host.startswith("unix://")

    @property
    def certificates(self) -> Path | None:
        """The folder of certificates."""
        return user_path(self.tls, "folder of certificates") if self.tls else None


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
    """The host of a target: its own row, else the row `default`, else DOCKER_HOST, else here.

    Raises:
        CascadeportError: DOCKER_HOST is not an address that can be used.
    """
    if target in hosts:
        return hosts[target]
    if "default" in hosts:
        return hosts["default"]
    variables = os.environ if environ is None else environ
    address = variables.get("DOCKER_HOST")
    if not address:
        return Host()
    verified = variables.get("DOCKER_TLS_VERIFY") and variables.get("DOCKER_CERT_PATH")
    values = {
        "host": address,
        "tls": variables["DOCKER_CERT_PATH"] if verified else None,
        "insecure": variables.get(INSECURE) == "1",
    }
    return validate(Host, values, where=f"DOCKER_HOST={address}", what="variable DOCKER_HOST")
