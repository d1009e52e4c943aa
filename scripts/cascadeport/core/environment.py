"""A Python environment of a backend's own, beside the orchestrator's: installed on request.

A backend whose packages `make all` should not install for everybody keeps them in a lock of its
image; on this machine the same lock is installed into `.venv-NAME`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base import digest, locks
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_text
from cascadeport.base.paths import REPOSITORY
from cascadeport.base.progress import Reporter
from cascadeport.core import store


@dataclass(frozen=True)
class PythonEnvironment:
    """An environment and the lock that it holds.

    Args:
        name: It is installed into `.venv-NAME`.
        lock: The lock file, with hashes.
    """

    name: str
    lock: Path

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return REPOSITORY / f".venv-{self.name}"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def pinned(self) -> dict[str, str]:
        """The versions that the lock names for this Python, by package."""
        return locks.pinned(self.lock)

    @property
    def is_installed(self) -> bool:
        """Whether it holds this very lock."""
        try:
            return self._stamp.read_text(encoding="utf-8") == self._wanted
        except OSError:
            return False

    def install(self, reporter: Reporter) -> None:
        """Installs the lock unless it is installed.

        Raises:
            CascadeportError: The packages cannot be installed.
        """
        if self.is_installed:
            return
        with store.locked(REPOSITORY / "build" / f"venv-{self.name}", wait=True):
            if not self.is_installed:
                self._install(reporter)

    @property
    def _stamp(self) -> Path:
        return self.folder / "ready"

    @property
    def _wanted(self) -> str:
        version = ".".join(map(str, sys.version_info[:2]))
        return f"{version} {digest.of_file(self.lock)}\n"

    def _install(self, reporter: Reporter) -> None:
        name = self.lock.relative_to(REPOSITORY)
        with reporter.stage(f"install {name} into {self.folder.name} (once)"):
            with disk_errors(self.folder):
                _create(self.folder)
            command = [str(self.python), "-m", "pip", "install", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
            done = subprocess.run(
                [*command, "-r", str(self.lock)],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if done.returncode != 0:
                raise CascadeportError(
                    f"The packages of {name} cannot be installed on this machine.",
                    where=" | ".join(done.stderr.strip().splitlines()[-3:]),
                    next="See whether the package index can be reached, and whether it has wheels "
                    "for this Python and processor; or run the target with --engine docker.",
                )
            write_text(self._stamp, self._wanted)


def _create(folder: Path) -> None:
    """Creates an empty environment; whatever is there is removed."""
    builder = venv.EnvBuilder(clear=True, with_pip=True, symlinks=os.name != "nt")
    if os.pathsep not in str(folder):
        builder.create(folder)
        return
    # Python refuses to create one below a folder with a colon in its name, because PATH could not
    # name it. It works there all the same.
    with tempfile.TemporaryDirectory(prefix="cascadeport-venv-") as temporary:
        builder.create(Path(temporary) / "venv")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(Path(temporary) / "venv", folder)
