"""The sandbox of commands on this machine that read what somebody else made.

The first of these that works here: bubblewrap, where it is installed; what the kernel offers to
any user (confine.py); nothing. A command in it sees its mounts, the system's libraries and its own
Python, may write where a mount is writable, has no network as far as the kernel can take it away,
and gets none of the user's environment variables.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.core.task import Mount

#: The variable that chooses one.
VARIABLE = "CASCADEPORT_SANDBOX"
_CONFINE = Path(__file__).with_name("confine.py")
_PROBE_S = 20

# What a program needs of the system: libraries and tools; of /etc, only what is no secret.
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "passwd", "group")
# How many processors and how much memory there are.
_KERNEL = ("/sys/devices/system/cpu", "/sys/fs/cgroup")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# No token, key or address of the user's.
_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Sandbox:
    """What contains a command.

    Args:
        name: `bubblewrap`, `kernel` or `none`.
        text: What is in force, in words.
    """

    name: str
    text: str

    def environment(self, inherited: Mapping[str, str], scratch: Path) -> dict[str, str]:
        """The environment variables of a command.

        Args:
            inherited: Those it would have.
            scratch: A folder of its own, for temporary files.
        """
        if self.name == "none":
            return dict(inherited)
        own = ("TMPDIR", "HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME")
        kept = {
            key: value
            for key, value in inherited.items()
            if key in _VARIABLES or key.startswith("PYTHON")
        }
        return {**kept, **dict.fromkeys(own, str(scratch))}

    def command(
        self, argv: Sequence[str], mounts: Iterable[Mount], folder: Path, scratch: Path
    ) -> list[str]:
        """The command that runs `argv` in it.

        Args:
            argv: The command; the first word is a path.
            mounts: What it may read, and where it may write.
            folder: Its working directory, one of the mounts or below.
            scratch: A folder of its own, for temporary files.
        """
        if self.name == "none":
            return list(argv)
        mounts = [*mounts, Mount(scratch, str(scratch), writable=True)]
        read = [str(one.source.absolute()) for one in mounts if not one.writable]
        write = [str(one.source.absolute()) for one in mounts if one.writable]
        read += _python(argv[0])
        # What lies below one of these is there already; bubblewrap cannot put it there again.
        above = [Path(path) for path in (*read, *write, *_SYSTEM)]
        read += [path for path in _linked(argv) if not any(map(Path(path).is_relative_to, above))]
        wrap = _bubblewrap if self.name == "bubblewrap" else _confined
        return wrap(list(dict.fromkeys(read)), write, folder, argv)


WHOLE = "no network, none of your files but its inputs, writes only to its output"
"""What a sandbox says that holds everything."""
NONE = Sandbox("none", "no sandbox: it runs as you, with your files and your network")


def choose(wanted: str = "") -> Sandbox:
    """The sandbox of this machine.

    Args:
        wanted: `bubblewrap`, `kernel` or `none`; empty: the first that works.

    Raises:
        CascadeportError: The one that was asked for does not work here.
    """
    kinds: dict[str, Callable[[], Sandbox | None]] = {
        "bubblewrap": _with_bubblewrap,
        "kernel": _with_kernel,
        "none": lambda: NONE,
    }
    if wanted:
        found = kinds[wanted]() if wanted in kinds else None
        if found is None:
            raise CascadeportError(
                f"The sandbox '{wanted}' does not work on this machine."
                if wanted in kinds
                else f"There is no sandbox '{wanted}'.",
                where=f"{VARIABLE}={wanted}",
                next="Install the package bubblewrap, leave the variable out, or use "
                "ENGINE=docker. Known are " + ", ".join(kinds) + ".",
            )
        return found
    return _with_bubblewrap() or _with_kernel() or NONE


def is_weaker(text: str) -> bool:
    """Whether what is in force on this machine is less than a whole sandbox."""
    return WHOLE not in text


@functools.cache
def _with_bubblewrap() -> Sandbox | None:
    """Bubblewrap, if it is installed and may make namespaces."""
    if shutil.which("bwrap") is None:
        return None
    if _output(_bubblewrap([], [], Path("/"), ["/bin/sh", "-c", "echo works"])) != "works":
        return None
    return Sandbox(
        "bubblewrap",
        f"bubblewrap: {WHOLE}",
    )


@functools.cache
def _with_kernel() -> Sandbox | None:
    """Landlock and seccomp, or one of them."""
    text = _output([sys.executable, "-I", str(_CONFINE), "--probe"])
    found = json.loads(text) if text else {"files": None, "network": None}
    if found == {"files": None, "network": None}:
        return None
    network = {
        "none": "no network",
        "no TCP": "no TCP, but other kinds of network",
        None: "the network is open",
    }[found["network"]]
    files = "none of your files but its inputs, writes only to its output"
    if not found["files"]:
        files = "but all your files, because this kernel has no Landlock"
    names = [found["files"], "seccomp" if found["network"] == "none" else None]
    return Sandbox("kernel", f"{' and '.join(filter(None, names))}: {network}, {files}")


def _output(argv: Sequence[str]) -> str:
    """What a command prints; empty if it fails."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=_PROBE_S,
            stdin=subprocess.DEVNULL, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _bubblewrap(
    read: Sequence[str], write: Sequence[str], folder: Path, argv: Sequence[str]
) -> list[str]:
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--dev", "/dev", "--proc", "/proc"]
    words += ["--tmpfs", "/tmp"]
    for path in _SYSTEM:
        if Path(path).is_symlink():
            words += ["--symlink", str(Path(path).readlink()), path]
        else:
            words += ["--ro-bind-try", path, path]
    for path in (*(f"/etc/{name}" for name in _ETC), *_KERNEL, *read):
        words += ["--ro-bind-try", path, path]
    for path in write:
        words += ["--bind", path, path]
    return [*words, "--chdir", str(folder), "--", *argv]


def _confined(
    read: Sequence[str], write: Sequence[str], folder: Path, argv: Sequence[str]
) -> list[str]:
    words = [sys.executable, "-I", str(_CONFINE)]
    etc = (f"/etc/{name}" for name in _ETC)
    for path in (*_SYSTEM, *etc, *_KERNEL, "/proc", *read, str(folder)):
        words += ["--read", path]
    for path in (*write, *_DEVICES):
        words += ["--write", path]
    return [*words, "--", *argv]


def _linked(argv: Iterable[str]) -> Iterator[str]:
    """The files that words of a command are links to, and the links on the way."""
    for word in argv:
        path = Path(word)
        if not path.is_absolute() or not path.exists():
            continue
        yield str(path.resolve())
        while path.is_symlink():
            path = path.parent / path.readlink()
            yield os.path.normpath(path)


@functools.cache
def _python(program: str) -> tuple[str, ...]:
    """The folders of a Python: its environment's, and those of what that was made from."""
    code = "import sys; print(*{sys.prefix, sys.base_prefix, sys.base_exec_prefix}, sep='\\n')"
    return tuple(sorted(_output([program, "-I", "-c", code]).splitlines()))
