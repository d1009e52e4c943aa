"""Builds the stand-in for CANN: packages with the vendor's names, a driver, npu-smi.

    build/simulator/NAME/cann/     in the role of images/ascend/cann
    build/simulator/NAME/driver/   in the role of a host's /usr/local/Ascend/driver
    build/simulator/NAME/npu-smi

NAME says for which chip, release of CANN and revision of the vendor's tools.
images/simulator/README.md describes them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from cascadeport.backends.ascend import personalities
from cascadeport.backends.ascend import stand_in_files as files
from cascadeport.backends.ascend.releases import Release
from cascadeport.backends.ascend.stand_in_files import SOURCES
from cascadeport.base import architecture, digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import PACKAGE, REPOSITORY
from cascadeport.containers import wheels

BUILD = REPOSITORY / "build" / "simulator"
# Besides what personalities.toml says of a driver.
_DRIVER_INFO = """\
ascendhal_version=6.13.7
aicpu_version=1.0
tdt_version=1.0
"""


@dataclass(frozen=True)
class StandIn:
    """What is stood in for.

    Args:
        soc: The chip, for example Ascend310P3.
        chips: How many of them the simulated card has.
        cann: The release of CANN.
        revision: That of the vendor's tools: a name in personalities.toml.
    """

    soc: str
    chips: int
    cann: Release
    revision: str

    @property
    def folder(self) -> Path:
        """The folder of the stand-ins."""
        return BUILD / f"{self.soc}-{self.cann.name}-{self.revision}"

    @property
    def chip(self) -> str:
        """The chip as CANN's folders name it: ascend310p for Ascend310P3."""
        return self.soc.lower().rstrip("0123456789") if "P" in self.soc else self.soc.lower()

    @property
    def release_facts(self) -> dict[str, Any]:
        """What the stand-in for the release reads."""
        return personalities.release(self.cann.name, self.chip)

    @property
    def packages_digest(self) -> str:
        """The digest of what the release's packages are made from."""
        return digest.of_value([sources_digest(), self.release_facts, self.cann.python])

    @property
    def tools_digest(self) -> str:
        """The digest of what the vendor's tools are made from."""
        return digest.of_value([sources_digest(), personalities.revision(self.revision)])


def sources_digest() -> str:
    """The digest of all sources of the stand-ins."""
    return digest.of_value(
        [
            [
                [name, hashlib.sha256(content).hexdigest()]
                for name, content, _ in files.tree(SOURCES, "")
            ],
            *(digest.of_sources(PACKAGE / folder) for folder in files.OWN_FOLDERS),
            *(digest.of_file(PACKAGE / module) for module in files.OWN_MODULES),
            *(digest.of_file(Path(path)) for path in (__file__, files.__file__)),
        ]
    )


def source_digests(stand_in: StandIn) -> dict[str, str]:
    """Digests of the stand-in packages, which a plan may need before they are built."""
    folder = (stand_in.folder / "cann").relative_to(REPOSITORY).as_posix()
    return {
        f"{folder}/Ascend-cann-": stand_in.packages_digest,
        folder: digest.of_value([stand_in.packages_digest, stand_in.tools_digest]),
    }


def variables(stand_in: StandIn) -> dict[str, str]:
    """Values for the compose files: a stand-in for everything on an Ascend host."""
    root = stand_in.folder
    nodes = ["DAVINCI_MANAGER", "DEVMM_SVM", "HISI_HDC", *(f"DAVINCI{i}" for i in range(4))]
    return {
        "CANN": (root / "cann").relative_to(REPOSITORY).as_posix(),
        "ASCEND_DRIVER": str(root / "driver"),
        "NPU_SMI": str(root / "npu-smi"),
        # A device that every engine can pass to a container; nothing reads from it.
        **dict.fromkeys(nodes, "/dev/zero"),
    }


def prepare(stand_in: StandIn, environ: Mapping[str, str]) -> Path:
    """Builds the stand-ins unless they are up to date; returns their folder.

    Args:
        stand_in: What is stood in for.
        environ: `WHEELS` may name a wheelhouse.
    """
    root = stand_in.folder
    stamp = root / "digest"
    wanted = f"{stand_in.packages_digest} {stand_in.tools_digest} {stand_in.chips}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(BUILD / ".lock"):
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return root
        _write(root, _packages(stand_in, environ), stand_in)
        stamp.write_text(wanted, encoding="utf-8")
    return root


def _packages(stand_in: StandIn, environ: Mapping[str, str]) -> Path:
    """The release's packages, which all revisions of the tools share."""
    root = BUILD / "packages" / f"{stand_in.chip}-{stand_in.cann.name}"
    stamp = root / "digest"
    wanted = stand_in.packages_digest
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return root
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cascadeport-simulator-") as temporary:
        libraries = Path(temporary)
        _install(libraries, stand_in.cann.python, environ)
        for name, content in files.installers(
            libraries, stand_in.cann.name, stand_in.release_facts
        ):
            # Another name first: a file that is linked to keeps its content.
            path = root / f"{name}.part"
            path.write_bytes(content)
            path.replace(root / name)
    stamp.write_text(wanted, encoding="utf-8")
    return root


def _install(folder: Path, python: str, environ: Mapping[str, str]) -> None:
    """Unpacks the locked wheels for the images' Python, which may differ from this one."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    machine = architecture.of_platform(None)
    command += ["--disable-pip-version-check", "--require-hashes"]
    command += wheels.selection(python, machine, wheels.facts("simulator").glibc)
    command += ["--target", str(folder)]
    if environ.get("WHEELS"):
        house = REPOSITORY / environ["WHEELS"] / "simulator"
        command += ["--no-index", "--find-links", str(house)]
    command += ["-r", str(SOURCES / "requirements.lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CascadeportError(
            "The packages of the simulator could not be installed.",
            where=" | ".join(done.stderr.strip().splitlines()[-3:]),
            next="They come from the package index; without one, set WHEELS= to a wheelhouse "
            "(docs/containers.md).",
        )


def _write(root: Path, packages: Path, stand_in: StandIn) -> None:
    cann, driver = root / "cann", root / "driver"
    for subfolder in (cann, driver):
        subfolder.mkdir(parents=True, exist_ok=True)
        for old in subfolder.iterdir():
            old.unlink()
    for path in packages.glob("*.run"):
        os.link(path, cann / path.name)
    revision = personalities.revision(stand_in.revision)
    name, content = files.wheel(revision, stand_in.cann.python)
    (cann / name).write_bytes(content)
    (cann / "ais_infer.tar.gz").write_bytes(files.archive(files.tool(revision)))
    sums = [
        f"{digest.of_file(path)}  {path.name}\n"
        for path in sorted(cann.iterdir())
        if path.suffix in (".run", ".whl", ".gz")
    ]
    (cann / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    info = "".join(f"{key}={value}\n" for key, value in revision["driver"].items())
    (driver / "version.info").write_text(info + _DRIVER_INFO, encoding="utf-8")
    known = {"soc": stand_in.soc, "chips": stand_in.chips, "npu_smi": revision["npu_smi"]}
    for folder in (driver, root):
        (folder / "simulated.json").write_text(json.dumps(known) + "\n", encoding="utf-8")
    smi = root / "npu-smi"
    smi.write_bytes((SOURCES / "npu-smi").read_bytes())
    smi.chmod(0o755)
