"""What a host is like, beside what the checks judge: for comparing two of them."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timezone

import cascadeport
from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import BUNDLE, REPOSITORY
from cascadeport.base.text import redacted
from cascadeport.config.options import environment
from cascadeport.containers import connection, refusals
from cascadeport.core.context import Context

Facts = dict[str, dict[str, str]]

_CPU = re.compile(r"^(?:model name|Hardware|CPU part)\s*:\s*(.+)$", re.MULTILINE)
_MEMORY = re.compile(r"^MemTotal:\s*(\d+) kB", re.MULTILINE)
_NAME = re.compile(r'^PRETTY_NAME="?([^"\n]+)', re.MULTILINE)


def collect(context: Context) -> Facts:
    """Facts by group and name. What cannot be found out is left out: a check says so already."""
    groups = {
        "program": _program,
        "machine": _machine,
        "device": _device,
        "containers": _containers,
        "environment": _environment,
    }
    found: Facts = {}
    for group, look in groups.items():
        values = {}
        with contextlib.suppress(CascadeportError, OSError, ValueError, LookupError):
            for name, value in look(context):
                values[name] = redacted(" ".join(value.split()))
        found[group] = values
    return found


def now() -> str:
    """The time, for the report."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _program(context: Context) -> Iterator[tuple[str, str]]:
    yield "cascadeport", cascadeport.__version__
    yield "bundle", digest.of_sources(BUNDLE)[:16]
    yield "python", platform.python_version()
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=REPOSITORY,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            yield "commit", done.stdout


def _machine(context: Context) -> Iterator[tuple[str, str]]:
    machine = context.machine
    if not machine.reachable:
        return
    answer = machine.run("uname", "-srm")
    if answer is not None and answer.code == 0:
        yield "kernel", answer.output
    for path, name, pattern in (
        ("/etc/os-release", "system", _NAME),
        ("/proc/cpuinfo", "processor", _CPU),
        ("/proc/meminfo", "memory", _MEMORY),
    ):
        text = machine.text(path)
        match = pattern.search(text) if text else None
        if match is not None:
            whole = f"{int(match[1]) / (1 << 20):.0f} GiB" if name == "memory" else match[1]
            yield name, whole
    answer = machine.run("nproc")
    if answer is not None and answer.code == 0:
        yield "cores", answer.output


def _device(context: Context) -> Iterator[tuple[str, str]]:
    service = context.engine.service("infer")
    if service is None or not context.machine.reachable:
        return
    for device in service.devices:
        path = str(device).split(":")[0]
        node = context.machine.node(path)
        text = f"mode {node.mode:o}, group {node.group}" if node is not None else "absent"
        yield path, text


def _containers(context: Context) -> Iterator[tuple[str, str]]:
    if not context.engine.in_containers:
        return
    client = connection.connect(context.host)
    try:
        with refusals.explained(context.host.host, "doctor", backends.of(context.target)):
            version, info = client.version(), client.info()
    finally:
        client.close()
    yield "engine", str(version.get("Version", ""))
    yield "architecture", str(info.get("Architecture", ""))
    yield "storage", str(info.get("Driver", ""))
    yield "cgroups", f"v{info.get('CgroupVersion', '1')}, {info.get('CgroupDriver', '')}"
    yield "runtimes", ", ".join(sorted(map(str, info.get("Runtimes") or {})))
    yield "security", ", ".join(sorted(map(str, info.get("SecurityOptions") or [])))


def _environment(context: Context) -> Iterator[tuple[str, str]]:
    for name, value in sorted(environment.read(os.environ).items()):
        if name != "PATH":
            yield name, value
    for name in ("LANG", "LC_ALL"):
        if os.environ.get(name):
            yield name, os.environ[name]
