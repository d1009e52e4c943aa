"""Builds the stand-in for CANN: packages with the vendor's names, a driver, npu-smi.

    build/simulator/SOC/cann/     in the role of images/ascend/cann
    build/simulator/SOC/driver/   in the role of a host's /usr/local/Ascend/driver
    build/simulator/SOC/npu-smi

images/simulator/README.md describes them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import filelock

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES, PACKAGE, REPOSITORY
from cascadeport.containers import wheels

SOURCES = IMAGES / "simulator"
BUILD = REPOSITORY / "build" / "simulator"
# The parts of this package that the stand-in for atc runs: the reference executor of CANN's
# operators and what it imports.
_OWN_FOLDERS = ("base", "graph")
_EMPTY_PACKAGES = ("", "backends/", "backends/ascend/")
_OWN_MODULES = (
    "backends/ascend/onnx_plugins.py",
    "backends/ascend/operators.py",
    "backends/ascend/reference_executor.py",
)
# The Ascend images' Python.
_PYTHON = "3.9"
_TAG = "cp39-cp39"
# The driver versions that CANN's version.info requires, and those of the simulated driver.
_CANN_INFO = """\
Version={version}
required_driver_ascendhal_version=4.0.0
required_driver_aicpu_version=1.0
required_driver_tdt_version=1.0
"""
_DRIVER_INFO = """\
Version=22.0.2
ascendhal_version=6.13.7
aicpu_version=1.0
tdt_version=1.0
"""
_SETTINGS = """\
export ASCEND_HOME_PATH={home}
export ASCEND_AICPU_PATH={home}
export LD_LIBRARY_PATH={home}/lib64:$LD_LIBRARY_PATH
export PATH={home}/bin:{home}/compiler/ccec_compiler/bin:$PATH
"""


def sources_digest() -> str:
    """The digest of all sources of the stand-ins."""
    return digest.of_value(
        [
            [
                [name, hashlib.sha256(content).hexdigest()]
                for name, content, _ in _tree(SOURCES, "")
            ],
            *(digest.of_sources(PACKAGE / folder) for folder in _OWN_FOLDERS),
            *(digest.of_file(PACKAGE / module) for module in _OWN_MODULES),
            digest.of_file(Path(__file__)),
        ]
    )


def folder(soc: str) -> Path:
    """The folder of a soc's stand-ins."""
    return BUILD / soc


def source_digests(soc: str) -> dict[str, str]:
    """The digest of the stand-in packages, which a plan may need before they are built."""
    packages = (folder(soc) / "cann").relative_to(REPOSITORY).as_posix()
    return {packages: sources_digest()}


def variables(soc: str) -> dict[str, str]:
    """Values for the compose files: a stand-in for everything on an Ascend host."""
    root = folder(soc)
    nodes = ["DAVINCI_MANAGER", "DEVMM_SVM", "HISI_HDC", *(f"DAVINCI{i}" for i in range(4))]
    return {
        "CANN": (root / "cann").relative_to(REPOSITORY).as_posix(),
        "ASCEND_DRIVER": str(root / "driver"),
        "NPU_SMI": str(root / "npu-smi"),
        # A device that every engine can pass to a container; nothing reads from it.
        **dict.fromkeys(nodes, "/dev/zero"),
    }


def prepare(soc: str, chips: int, version: str, environ: Mapping[str, str]) -> Path:
    """Builds the stand-ins of a soc unless they are up to date; returns their folder.

    Args:
        soc: For example Ascend310P3.
        chips: How many chips the simulated card has.
        version: The CANN release.
        environ: `WHEELS` may name a wheelhouse.
    """
    root = folder(soc)
    stamp = root / "digest"
    wanted = f"{sources_digest()} {chips} {version}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(BUILD / ".lock"):
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return root
        with tempfile.TemporaryDirectory(prefix="cascadeport-simulator-") as temporary:
            packages = Path(temporary)
            _install(packages, environ)
            _write(root, packages, soc, chips, version)
        stamp.write_text(wanted, encoding="utf-8")
    return root


def _install(folder: Path, environ: Mapping[str, str]) -> None:
    """Unpacks the locked wheels for the images' Python, which may differ from this one."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    command += ["--disable-pip-version-check", "--require-hashes", *wheels.selection(_PYTHON)]
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


def _write(root: Path, packages: Path, soc: str, chips: int, version: str) -> None:
    cann, driver = root / "cann", root / "driver"
    for subfolder in (cann, driver):
        subfolder.mkdir(parents=True, exist_ok=True)
    machine = platform.machine()
    library = [
        *_tree(packages, "simulator/packages"),
        *_tree(SOURCES / "cann_stand_in", "simulator/cann_stand_in"),
    ]
    graph = _own_modules("simulator/cascadeport")
    info = ("runtime/version.info", _CANN_INFO.format(version=version).encode(), 0o644)
    atc = ("atc/bin/atc", (SOURCES / "atc").read_bytes(), 0o755)
    for kind, home, files in (
        ("toolkit", "ascend-toolkit", [*library, *graph, info, atc]),
        ("nnrt", "nnrt", [*library, info]),
    ):
        name = f"Ascend-cann-{kind}_{version}_linux-{machine}.run"
        (cann / name).write_bytes(_installer(home, version, files))
    wheel = f"aclruntime-0.0.2-{_TAG}-linux_{machine}.whl"
    (cann / wheel).write_bytes(_wheel(machine))
    (cann / "ais_infer.tar.gz").write_bytes(_archive(_tree(SOURCES / "ais_infer", "ais_infer")))
    sums = [
        f"{digest.of_file(path)}  {path.name}\n"
        for path in sorted(cann.iterdir())
        if path.suffix in (".run", ".whl", ".gz")
    ]
    (cann / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    (driver / "version.info").write_text(_DRIVER_INFO, encoding="utf-8")
    (driver / "simulated.json").write_text(
        f'{{"soc": "{soc}", "chips": {chips}}}\n', encoding="utf-8"
    )
    smi = root / "npu-smi"
    smi.write_bytes((SOURCES / "npu-smi").read_bytes())
    smi.chmod(0o755)


File = tuple[str, bytes, int]


def _tree(root: Path, prefix: str) -> list[File]:
    return [
        (f"{prefix}/{path.relative_to(root).as_posix()}", path.read_bytes(), 0o644)
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _own_modules(prefix: str) -> list[File]:
    """The part of this package that the stand-ins run; the other packages are empty."""
    return [
        *(file for name in _OWN_FOLDERS for file in _tree(PACKAGE / name, f"{prefix}/{name}")),
        *((f"{prefix}/{name}", (PACKAGE / name).read_bytes(), 0o644) for name in _OWN_MODULES),
        *((f"{prefix}/{name}__init__.py", b"", 0o644) for name in _EMPTY_PACKAGES),
    ]


def copy_own_modules(folder: Path) -> None:
    """Writes these modules into a folder, as the installer does."""
    for name, content, _ in _own_modules("cascadeport"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _installer(home: str, version: str, files: Iterable[File]) -> bytes:
    """A self-extracting file; equal inputs give equal bytes, so that builds are cached."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        settings = _SETTINGS.format(home=f"/usr/local/Ascend/{home}/latest").encode()
        _add(tar, f"{home}/set_env.sh", settings, 0o755)
        for name, content, mode in files:
            _add(tar, f"{home}/{version}/{name}", content, mode)
        for name, target in ((f"{home}/latest", version), (f"{home}/{version}/bin", "atc/bin")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return (SOURCES / "installer.sh").read_bytes() + gzip.compress(plain.getvalue(), 1, mtime=0)


def _archive(files: Iterable[File]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content, mode in files:
            _add(tar, name, content, mode)
    return gzip.compress(plain.getvalue(), 1, mtime=0)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def _wheel(machine: str) -> bytes:
    """The stand-in for aclruntime under the name of the vendor's wheel."""
    info = "aclruntime-0.0.2.dist-info"
    files = [
        ("aclruntime/__init__.py", (SOURCES / "aclruntime" / "__init__.py").read_bytes()),
        (f"{info}/METADATA", b"Metadata-Version: 2.1\nName: aclruntime\nVersion: 0.0.2\n"),
        (
            f"{info}/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: cascadeport\nRoot-Is-Purelib: false\n"
            f"Tag: {_TAG}-linux_{machine}\n".encode(),
        ),
    ]
    records = []
    for name, content in files:
        sha = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        records.append(f"{name},sha256={sha},{len(content)}\n")
    records.append(f"{info}/RECORD,,\n")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in [*files, (f"{info}/RECORD", "".join(records).encode())]:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return out.getvalue()
