"""Lock files: what they pin for a Python."""

from __future__ import annotations

from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement


def pinned(lock: Path, python: str | None = None) -> dict[str, str]:
    """The packages of a lock, with their versions.

    Args:
        lock: A requirements file with hashes, as uv or pip-compile write it.
        python: The version of the Python that installs it, e.g. `3.11`; None: this one.
    """
    return {
        requirement.name: str(requirement.specifier).removeprefix("==")
        for requirement, _ in _entries(lock, python)
    }


def selected(lock: Path, python: str) -> str:
    """The part of a lock that a Python installs, hashes included and without markers.

    pip reads markers for the Python that it runs on, also when it downloads for another.
    """
    lines = []
    for requirement, hashes in _entries(lock, python):
        lines.append(" \\\n    ".join([f"{requirement.name}{requirement.specifier}", *hashes]))
    return "\n".join(lines) + "\n"


def _entries(lock: Path, python: str | None) -> list[tuple[Requirement, list[str]]]:
    environment: dict[str, str] = {key: str(value) for key, value in default_environment().items()}
    if python is not None:
        full = python if python.count(".") > 1 else f"{python}.0"
        environment["python_version"] = ".".join(full.split(".")[:2])
        environment["python_full_version"] = full
    found = []
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        text, *hashes = entry.split(" --hash=")
        try:
            requirement = Requirement(text.strip())
        except InvalidRequirement:
            continue  # a comment, an empty line
        if requirement.marker is None or requirement.marker.evaluate(environment):
            found.append((requirement, [f"--hash={value.strip()}" for value in hashes]))
    return found
