"""One pass at a time on a device: locks that all runs on this machine share.

A lock is `flock` on a file in a folder that every user, checkout and RESULTS= of this machine
shares, unless CASCADEPORT_LOCKS names another. The kernel drops it when the last process that holds
the file is gone, so a run that was killed leaves none behind; a local pass inherits the file, and
holds the lock for as long as it goes on measuring without the run that started it. Where containers
run on another machine, see cascadeport.containers.exclusive.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import printable

# Not TMPDIR, which may differ from run to run.
FOLDER = Path("/tmp/cascadeport-devices")
_WAIT_S = 0.5
_SHOWN = 200


@contextlib.contextmanager
def held(
    devices: Sequence[str],
    holder: str,
    waiting: Callable[[str], None],
    folder: Path = FOLDER,
) -> Iterator[tuple[int, ...]]:
    """Holds devices of this machine for one pass; waits while another one measures on them.

    Args:
        devices: Their names.
        holder: Who holds them, for the others' messages.
        waiting: Is told once that another pass is waited for, and for which.
        folder: Where the locks are. Runs with another folder do not see each other.

    Yields:
        The open files, for the process that measures to inherit.

    Raises:
        CascadeportError: A lock cannot be made or opened.
    """
    files: list[int] = []
    try:
        # In one order, so that no two runs wait for each other.
        for device in sorted(set(devices)):
            files.append(_locked(folder / f"{device}.lock", device, holder, waiting))
        yield tuple(files)
    finally:
        for file in files:
            os.close(file)


def _locked(path: Path, device: str, holder: str, waiting: Callable[[str], None]) -> int:
    told = False
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, file):
                os.ftruncate(file, 0)
                os.pwrite(file, holder.encode("utf-8", "replace"), 0)
                return file
        except BlockingIOError:
            if not told:
                who = os.pread(file, _SHOWN, 0).decode("utf-8", "replace")
                waiting(
                    f"Another run measures on {device} of this machine ({printable(who)}): "
                    "waiting until it is done."
                )
                told = True
            time.sleep(_WAIT_S)
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _opened(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        _make_folder(path.parent)
        while True:
            try:
                # Not O_CREAT alone: systems refuse that for others' files in such a folder
                # (fs.protected_regular).
                return os.open(path, flags)
            except FileNotFoundError:
                with contextlib.suppress(FileExistsError):
                    file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
                    os.fchmod(file, 0o666)
                    return file
    except OSError as error:
        raise CascadeportError(
            f"The lock of a device cannot be opened: {error.strerror}.",
            where=str(path),
            next="All users of this machine share it. Whoever owns it can remove it while nothing "
            "runs.",
        ) from error


def _make_folder(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        # As /tmp itself: everybody may add to it.
        folder.chmod(0o1777)
    if not stat.S_ISDIR(folder.lstat().st_mode):
        # A link that another user laid would make us write elsewhere.
        raise NotADirectoryError(errno.ENOTDIR, "It is not in a folder", str(folder))


def _is_still(path: Path, file: int) -> bool:
    """Whether the path still leads to the open file: somebody may have removed it meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
