"""A connection to the Docker Engine of a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cascadeport.base.errors import CascadeportError
from cascadeport.config.hosts import INSECURE, Host
from cascadeport.containers import refusals

if TYPE_CHECKING:
    import docker
    from docker.tls import TLSConfig

# A target's host is asked whether it is there before anything else; a dead one must not hold up.
_CONNECT_S = 20


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
        raise refusals.unreachable(host.host, error) from error
    try:
        client.ping()
    except (docker.errors.DockerException, requests.exceptions.RequestException, OSError) as error:
        client.close()
        raise refusals.unreachable(host.host, error) from error
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
            "A tcp:// host needs TLS: whoever reaches its port without TLS is root there.",
            where=host.host,
            next='Give the folder of ca.pem, cert.pem and key.pem as tls = "…" in hosts.toml (or '
            "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), or use ssh://. Where nobody else reaches "
            f"that port: insecure = true in hosts.toml, or {INSECURE}=1 beside DOCKER_HOST.",
        )
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    for file in files:
        if not file.is_file():
            raise CascadeportError(
                "A certificate of the host is missing.",
                where=str(file),
                next="The folder in tls = must hold ca.pem, cert.pem and key.pem.",
            )
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
