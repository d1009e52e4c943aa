"""What an operator gets beside the image: scripts, compose file, unit and guide."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from cascadeport.base.files import write_text
from cascadeport.ship import runtime, signature
from cascadeport.ship.runtime import Runtime

SCRIPTS = ("verify", "install", "rollback")
_TEMPLATES = Path(__file__).parent / "operator"
_COMPOSE = """\
# {title} on {target}, version {version}.
#
#   docker compose -f compose.yaml up -d serve
#   IN=/pictures OUT=/found docker compose -f compose.yaml run --rm infer
#   docker compose -f compose.yaml run --rm selftest
#
# `current` is what ./install or ./rollback put in use. The network of `serve` does not translate
# addresses on the way out: the container can be reached on PORT, and cannot open a connection.
"""


def write(folder: Path, facts: Mapping[str, Any], how: Runtime) -> None:
    """Writes them all into a shipment.

    Args:
        folder: The shipment.
        facts: What the templates name.
        how: How its containers are run.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = shlex.quote
    environment.filters["systemd"] = lambda text: text.replace("$", "$$").replace("%", "%%")
    known = {
        **facts,
        "namespace": signature.NAMESPACE,
        "port": runtime.PORT,
        "unit": f"{facts['name']}.service",
        "options": " ".join(how.options),
        "option_lines": _lines(how.options),
        "groups": any("ASCEND_GID" in word for word in how.options),
    }
    for name, template in (
        *((script, f"{script}.j2") for script in SCRIPTS),
        (f"{facts['name']}.service", "service.j2"),
        ("GUIDE.md", "GUIDE.md.j2"),
    ):
        write_text(folder / name, environment.get_template(template).render(known))
        (folder / name).chmod(0o755 if name in SCRIPTS else 0o644)
    write_text(
        folder / "compose.yaml",
        _COMPOSE.format(**facts) + yaml.safe_dump(_compose(facts, how), sort_keys=False, width=100),
    )


def _lines(words: list[str]) -> list[str]:
    """Options, each with its value on a line of its own."""
    lines: list[str] = []
    for word in words:
        if word.startswith("--"):
            lines.append(word)
        else:
            lines[-1] += f" {word}"
    return lines


def _compose(facts: Mapping[str, Any], how: Runtime) -> dict[str, Any]:
    image = f"{facts['repository']}:current"
    job = ["${IN:-./pictures}:/in:ro", "${OUT:-./found}:/found"]

    def service(**own: Any) -> dict[str, Any]:
        common = {key: _copied(value) for key, value in how.service.items()}
        volumes = [*common.pop("volumes", []), *own.pop("volumes", [])]
        return {
            "image": image,
            "pull_policy": "never",
            **{key: _copied(value) for key, value in own.items()},
            **common,
            **({"volumes": volumes} if volumes else {}),
        }

    alone = {"network_mode": "none", "healthcheck": {"disable": True}}
    return {
        "services": {
            "serve": service(
                command=["serve"],
                restart="unless-stopped",
                stop_grace_period="40s",
                ports=[f"127.0.0.1:${{PORT:-{runtime.PORT}}}:{runtime.PORT}"],
                networks=["offline"],
            ),
            "infer": service(
                command=["infer", "/in", "/found"], profiles=["tools"], volumes=job, **alone
            ),
            "selftest": service(command=["selftest"], profiles=["tools"], **alone),
            "about": service(command=["about"], profiles=["tools"], **alone),
        },
        "networks": {
            "offline": {"driver_opts": {"com.docker.network.bridge.enable_ip_masquerade": "false"}}
        },
    }


def _copied(value: Any) -> Any:
    """A copy, so that YAML does not write references to what services share."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, (list, tuple)) else value
