"""The files of the stand-ins for CANN: self-extracting packages, a wheel, an archive.

Equal inputs give equal bytes, so that image builds are cached.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import platform
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cascadeport.base.paths import IMAGES, PACKAGE

SOURCES = IMAGES / "simulator"
# The parts of this package that the stand-in for atc runs: the reference executor of CANN's
# operators and what it imports.
OWN_FOLDERS = ("base", "graph")
_EMPTY_PACKAGES = ("", "backends/", "backends/ascend/")
OWN_MODULES = (
    "backends/ascend/arithmetic.py",
    "backends/ascend/gears.py",
    "backends/ascend/onnx_plugins.py",
    "backends/ascend/operators.py",
    "backends/ascend/reference_executor.py",
    "backends/ascend/standard_executor.py",
)
# The driver versions that CANN's version.info requires, and those of the simulated driver.
_CANN_INFO = """\
Version={version}
required_driver_ascendhal_version=4.0.0
required_driver_aicpu_version=1.0
required_driver_tdt_version=1.0
"""
_SETTINGS = """\
export ASCEND_HOME_PATH={home}
export ASCEND_AICPU_PATH={home}
export LD_LIBRARY_PATH={home}/lib64:$LD_LIBRARY_PATH
export PATH={home}/bin:{home}/compiler/ccec_compiler/bin:$PATH
"""

File = tuple[str, bytes, int]


def installers(
    libraries: Path, version: str, facts: Mapping[str, Any]
) -> Iterable[tuple[str, bytes]]:
    """The release's self-extracting packages: names and contents.

    Args:
        libraries: The packages that the stand-ins need, for the images' Python.
        version: The release.
        facts: What is known of it: `personalities.release`.
    """
    library = [
        *tree(libraries, "simulator/packages"),
        *tree(SOURCES / "cann_stand_in", "simulator/cann_stand_in"),
    ]
    info = _CANN_INFO.format(version=version).encode()
    common = [*library, ("runtime/version.info", info, int(facts["version_info_mode"], 8))]
    toolkit = [
        *common,
        *toolkit_files(facts),
        ("atc/bin/atc", (SOURCES / "atc").read_bytes(), 0o755),
    ]
    for kind, home, files in (("toolkit", "ascend-toolkit", toolkit), ("nnrt", "nnrt", common)):
        yield (
            f"Ascend-cann-{kind}_{version}_linux-{platform.machine()}.run",
            installer(home, version, files),
        )


def toolkit_files(facts: Mapping[str, Any]) -> list[File]:
    """What the stand-in for atc reads, below the toolkit's folder.

    Args:
        facts: Those of the release: `personalities.release`.
    """
    hal = facts["hal"].format(arch=platform.machine())
    opp = facts["opp"].format(chip=facts["chip"])
    entries: dict[str, Any] = {name: {"opInterface": {"value": ""}} for name in facts["operators"]}
    return [
        *_own_modules("simulator/cascadeport"),
        ("simulator/release.json", json.dumps(facts).encode(), 0o644),
        (f"{hal}/libascend_hal.so", b"", 0o644),
        (opp, json.dumps(entries, indent=1).encode(), 0o644),
    ]


def tree(root: Path, prefix: str) -> list[File]:
    """The files of a folder."""
    return [
        (f"{prefix}/{path.relative_to(root).as_posix()}", path.read_bytes(), 0o644)
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _own_modules(prefix: str) -> list[File]:
    """The part of this package that the stand-ins run; the other packages are empty."""
    return [
        *(file for name in OWN_FOLDERS for file in tree(PACKAGE / name, f"{prefix}/{name}")),
        *((f"{prefix}/{name}", (PACKAGE / name).read_bytes(), 0o644) for name in OWN_MODULES),
        *((f"{prefix}/{name}__init__.py", b"", 0o644) for name in _EMPTY_PACKAGES),
    ]


def installer(home: str, version: str, files: Iterable[File]) -> bytes:
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


def archive(files: Iterable[File]) -> bytes:
    """A .tar.gz of files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content, mode in files:
            _add(tar, name, content, mode)
    return gzip.compress(plain.getvalue(), 1, mtime=0)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def tool(revision: Mapping[str, Any]) -> list[File]:
    """The vendor's command line, as a script or as a package."""
    script = (SOURCES / "ais_infer" / "ais_infer.py").read_bytes()
    personality = json.dumps(revision).encode()
    if revision["tool"] == "ais_infer.py":
        folder, names = "ais_infer", {"ais_infer.py": script}
    else:
        folder, names = "ais_bench/ais_bench", {"__init__.py": b"", "__main__.py": script}
    names["personality.json"] = personality
    return [(f"{folder}/{name}", content, 0o644) for name, content in names.items()]


def wheel(revision: Mapping[str, Any], python: str) -> tuple[str, bytes]:
    """The stand-in for aclruntime under the name of the vendor's wheel: its name and content."""
    version, tag = revision["version"], "cp" + python.replace(".", "")
    platform_tag = f"{tag}-{tag}-linux_{platform.machine()}"
    info = f"aclruntime-{version}.dist-info"
    files = [
        ("aclruntime/__init__.py", (SOURCES / "aclruntime" / "__init__.py").read_bytes()),
        ("aclruntime/personality.json", json.dumps(revision).encode()),
        (
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: aclruntime\nVersion: {version}\n".encode(),
        ),
        (
            f"{info}/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: cascadeport\nRoot-Is-Purelib: false\n"
            f"Tag: {platform_tag}\n".encode(),
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
    return f"aclruntime-{version}-{platform_tag}.whl", out.getvalue()
