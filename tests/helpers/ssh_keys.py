"""OpenSSH keys, made by OpenSSH's own ssh-keygen."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SSH_KEYGEN = shutil.which("ssh-keygen")
needs_ssh_keygen = pytest.mark.skipif(SSH_KEYGEN is None, reason="ssh-keygen is not installed")


def make(path: Path, *, kind: str = "ed25519", passphrase: str = "", comment: str = "") -> Path:
    """Makes a key; its public half is beside it, as `.pub`."""
    assert SSH_KEYGEN is not None
    subprocess.run(
        [SSH_KEYGEN, "-q", "-t", kind, "-N", passphrase, "-C", comment, "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return path


def fingerprint(path: Path) -> str:
    """The fingerprint as ssh-keygen shows it."""
    assert SSH_KEYGEN is not None
    shown = subprocess.run(
        [SSH_KEYGEN, "-l", "-f", str(path)], check=True, capture_output=True, text=True
    )
    return shown.stdout.split()[1]
