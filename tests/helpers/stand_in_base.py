"""A stand-in for a registry's Python image, where there is no registry.

The interpreter tree of this machine under /usr/local, the shared libraries it needs, a static
busybox for the shell and the CA bundle, as one layer. It is what `python:X.Y-slim` is to the
project's Dockerfiles: /usr/local/bin/python3 with pip, /bin/sh, and nothing of this project.
"""

from __future__ import annotations

import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_APPLETS = (
    "sh ash cat chmod chown cp cut date dirname basename echo env expr false find grep head "
    "id install kill ln ls mkdir mktemp mv printf ps pwd readlink realpath rm rmdir sed "
    "sha256sum sleep sort stat tail tar test touch tr true uname uniq wc which xargs yes "
)
_SKIPPED = re.compile(
    r"(^|/)(__pycache__|site-packages|test|tests|idlelib|lib2to3|tkinter|turtledemo|config-[^/]+)(/|$)"
    r"|\.(a|pyc)$"
)
_COMPILER = re.compile(
    r"(g\+\+|gcc|cpp)(-\d+)?|binutils.*|lib(stdc\+\+|gcc)-\d+-dev|libc6-dev|linux-libc-dev|libcrypt-dev"
    r"|lib(binutils|ctf.*|gprofng.*|jansson\d|isl\d+|mpc\d|mpfr\d|gmp\d+|zstd1|cc1-\d|sframe\d)"
    r"|lib(asan|lsan|tsan|ubsan|gomp|itm|atomic|quadmath|stdc\+\+|gcc-s)\d*"
)
# Wheels with C++ inside expect these from the system.
_WHEELS_NEED = (
    "libstdc++.so.6 libgcc_s.so.1 libz.so.1 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 "
    "libutil.so.1 libresolv.so.2"
)


def interpreter(version: str) -> Path | None:
    """The prefix of a Python `X.Y` of this machine whose tree can be copied, or None."""
    root = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    found = sorted(path for path in root.glob(f"{version}.*") if (path / "bin/python3").exists())
    return found[-1] if found else None


def missing(version: str) -> str:
    """Why no base of this version can be made here; empty when one can."""
    if interpreter(version) is None:
        return f"no Python {version} tree below ~/.pyenv/versions"
    if shutil.which("busybox") is None:
        return "busybox is not installed (apt-get install busybox-static)"
    return ""


def build(version: str, out: Path, *, compiler: bool = False) -> Path:
    """Writes the base as a tar for `docker import`; returns its path.

    Args:
        version: That of its Python.
        out: The tar.
        compiler: Whether it has this machine's g++ as well, and Python's headers.
    """
    prefix = interpreter(version)
    assert prefix is not None
    tree = list(_tree(prefix, version))
    programs = [path for path, _ in tree if path.suffix == ".so" or path.name.startswith("python3")]
    with tarfile.open(out, "w") as tar:
        for name in ("tmp", "root", "etc", "bin", "usr/bin", "lib", "lib64", "usr/local/bin"):
            _folder(tar, name, 0o1777 if name == "tmp" else 0o755)
        _text(tar, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        _text(tar, "etc/group", "root:x:0:\n")
        _file(tar, Path(shutil.which("busybox") or ""), "bin/busybox")
        for applet in _APPLETS.split():
            _link(tar, f"bin/{applet}", "/bin/busybox")
        _link(tar, "usr/bin/env", "/bin/busybox")
        for path, name in tree:
            tar.add(path, name, recursive=False, filter=_as_root)
        for library in _libraries(programs):
            _file(tar, library, f"usr/lib/stand-in/{library.name}")
        loader = Path("/lib64/ld-linux-x86-64.so.2")
        _file(tar, loader.resolve(), "lib64/ld-linux-x86-64.so.2")
        _bundled_wheels(tar, prefix, version)
        if compiler:
            _compiler(tar, prefix, version)
        bundle = Path("/etc/ssl/certs/ca-certificates.crt")
        if bundle.exists():
            _file(tar, bundle, "etc/ssl/certs/ca-certificates.crt")
    return out


def missing_compiler() -> str:
    """Why no base with a compiler can be made here; empty when one can."""
    for name in ("g++", "dpkg-query"):
        if shutil.which(name) is None:
            return f"{name} is not installed (apt-get install g++, on Debian)"
    return ""


def _compiler(tar: tarfile.TarFile, prefix: Path, version: str) -> None:
    """g++ with what its packages hold, at its own place, and Python's headers."""
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package}\n"], capture_output=True, text=True, check=True
    ).stdout.split()
    packages = [name for name in listed if _COMPILER.fullmatch(name)]
    names = subprocess.run(
        ["dpkg-query", "-L", *packages], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for path in sorted({Path(name) for name in names if name.startswith("/usr/")}):
        if "share" not in path.parts and (path.is_symlink() or path.is_file()):
            tar.add(path, str(path)[1:], recursive=False, filter=_as_root)
    # Which the linker's scripts name.
    folder = f"lib/{platform.machine()}-linux-gnu"
    for name in ("libc.so.6", "libm.so.6", "libmvec.so.1", "libgcc_s.so.1"):
        if Path("/", folder, name).exists():
            _file(tar, Path("/", folder, name), f"{folder}/{name}")
    for path in sorted((prefix / "include" / f"python{version}").rglob("*.h")):
        tar.add(path, f"usr/local/{path.relative_to(prefix)}", filter=_as_root)


def changes() -> tuple[str, ...]:
    """What `docker import --change` needs beside the tar."""
    return (
        "ENV PATH=/usr/local/bin:/usr/bin:/bin",
        "ENV LD_LIBRARY_PATH=/usr/local/lib:/usr/lib/stand-in",
        "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
        "ENV LANG=C.UTF-8",
        'CMD ["python3"]',
    )


def load(docker: str, host: str, tar: Path, tag: str) -> None:
    """Imports a base into an engine."""
    command = [docker, "--host", host, "import"]
    for change in changes():
        command += ["--change", change]
    subprocess.run([*command, str(tar), tag], check=True, capture_output=True)


def _tree(prefix: Path, version: str) -> Iterator[tuple[Path, str]]:
    for program in ("python3", f"python{version}"):
        yield prefix / "bin" / program, f"usr/local/bin/{program}"
    for path in sorted((prefix / "lib").glob("libpython*.so*")):
        yield path, f"usr/local/lib/{path.name}"
    library = prefix / "lib" / f"python{version}"
    for path in sorted(library.rglob("*")):
        name = path.relative_to(library).as_posix()
        if not _SKIPPED.search(name):
            yield path, f"usr/local/lib/python{version}/{name}"


def _libraries(programs: Iterable[Path]) -> list[Path]:
    listed = subprocess.run(
        ["ldd", *map(str, programs)], capture_output=True, text=True, check=False
    ).stdout
    found = set(re.findall(r"=> (/\S+)", listed))
    cache = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in _WHEELS_NEED.split():
        match = re.search(rf"{re.escape(name)} .*=> (\S+)", cache)
        if match:
            found.add(match.group(1))
    return sorted(Path(path) for path in found if "libpython" not in path)


def _bundled_wheels(tar: tarfile.TarFile, prefix: Path, version: str) -> None:
    """Unpacks pip as the interpreter bundles it: no pip of this machine leaks in."""
    site = f"usr/local/lib/python{version}/site-packages"
    for wheel in (prefix / "lib" / f"python{version}" / "ensurepip" / "_bundled").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if not name.endswith("/"):
                    _bytes(tar, f"{site}/{name}", archive.read(name), 0o644)
    _text(tar, "usr/local/bin/pip3", '#!/bin/sh\nexec python3 -m pip "$@"\n', 0o755)


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar.addfile(member)


def _file(tar: tarfile.TarFile, path: Path, name: str) -> None:
    _bytes(tar, name, path.read_bytes(), 0o755)


def _text(tar: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    _bytes(tar, name, text.encode(), mode)


def _bytes(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
