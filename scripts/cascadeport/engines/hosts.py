"""hosts.toml: the machine on which each target's containers run. See docs/hosts.md."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.engines import faults
from cascadeport.errors import CascadeportError
from cascadeport.schema import Strict, read_toml, validate

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

FILE = "hosts.toml"
_LOCAL = "unix:///var/run/docker.sock"
_SCHEMES = ("unix://", "ssh://", "tcp://")
# A target's host is asked whether it is there before anything else; a dead one must not hold up.
_CONNECT_S = 20


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
        CascadeportError: With every fault and its place.
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


def connect(host: Host) -> docker.DockerClient:
    """A client of the host's engine that has answered once.

    Raises:
        CascadeportError: It does not answer; with the reason.
    """
    import docker
    import docker.errors
    import requests.exceptions

    class Api(docker.APIClient):
        """Ignores settings for web servers: REQUESTS_CA_BUNDLE would replace the host's own CA."""

        trust_env = property(lambda self: False, lambda self, value: None)

    class Client(docker.DockerClient):
        """A client on that connection."""

        def __init__(self, **options: Any) -> None:
            self.api = Api(**options)

    try:
        client = Client(
            base_url=host.host,
            timeout=_CONNECT_S,
            use_ssh_client=True,  # the user's own ssh, with its keys, agent and config
            tls=_tls(host),
        )
    except (docker.errors.DockerException, OSError) as error:
        raise faults.unreachable(host.host, error) from error
    try:
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        client.close()
        raise faults.unreachable(host.host, error) from error
    # Building up a container of a big image takes an engine longer than answering.
    client.api.timeout = 300
    return client


def _tls(host: Host) -> TLSConfig | bool:
    from docker.tls import TLSConfig

    if not host.host.startswith("tcp://"):
        return False
    folder = host.certificates
    if folder is None:
        if host.insecure:
            return False
        raise CascadeportError(
            "A tcp:// host needs TLS.",
            where=host.host,
            next='Give the folder of ca.pem, cert.pem and key.pem as tls = "…", or say '
            "insecure = true where nobody else reaches that port.",
        )
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for file in files:
        if not file.is_file():
            raise CascadeportError("A certificate of the host is missing.", where=str(file))
    ca, cert, key = map(str, files)
    return TLSConfig(client_cert=(cert, key), ca_cert=ca, verify=True)


def command_line(host: Host) -> list[str]:
    """The same host for the docker command line."""
    options = ["--host", host.host]
    folder = host.certificates
    if folder is not None:
        options += [
            "--tlsverify",
            f"--tlscacert={folder / 'ca.pem'}",
            f"--tlscert={folder / 'cert.pem'}",
            f"--tlskey={folder / 'key.pem'}",
        ]
    return options
