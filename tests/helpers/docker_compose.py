"""Finds a docker compose of version 2, or unpacks Debian's into a folder without installing it.

It is downloaded only with CASCADEPORT_DOWNLOAD_TOOLS=1, as in .ci/run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def find(cache: Path) -> list[str] | None:
    """The command, or None where there is none.

    Args:
        cache: Keeps what was downloaded.
    """
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and _is_second([*command]):
            return command
    program = cache / "usr" / "libexec" / "docker" / "cli-plugins" / "docker-compose"
    if not program.exists() and os.environ.get("CASCADEPORT_DOWNLOAD_TOOLS") == "1":
        _download(cache)
    return [str(program)] if program.exists() and _is_second([str(program)]) else None


def _is_second(command: list[str]) -> bool:
    done = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and re.search(r"v?2\.\d+", done.stdout) is not None


def _download(cache: Path) -> None:
    """Unpacks the package of Debian 13; its programs run on Debian 12 too."""
    if shutil.which("apt-get") is None or not _SOURCES.exists():
        return
    match = re.search(r"^URIs:\s*(\S+)", _SOURCES.read_text(), flags=re.MULTILINE)
    if match is None:
        return
    for name in ("lists/partial", "archives/partial"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    (cache / "list").write_text(f"deb [signed-by={_KEYRING}] {match[1]} trixie main\n")
    options = [
        f"-oDir::Etc::sourcelist={cache / 'list'}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={cache / 'lists'}",
        f"-oDir::Cache={cache}",
        f"-oDir::Cache::archives={cache / 'archives'}",
    ]
    for arguments in (["update"], ["download", "docker-compose"]):
        command = ["apt-get", "-q", *options, *arguments]
        if subprocess.run(command, cwd=cache, capture_output=True, check=False).returncode != 0:
            return
    for package in cache.glob("docker-compose_*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(cache)], check=False)
