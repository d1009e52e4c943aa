"""Signs and verifies with OpenSSH's own tool, which every operator's distribution has."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import IO

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text

NAMESPACE = "cascadeport-shipment"
"""What the signature is for: one over the same bytes for another purpose is not valid here."""
IDENTITY = "cascadeport"
SIGNERS = "allowed_signers"
SUMS = "SHA256SUMS"
_KIND = "ssh-ed25519"
_LINE = re.compile(rf"{IDENTITY} {_KIND} [A-Za-z0-9+/]+=*\n")
_ARMOUR = re.compile(
    r"-----BEGIN SSH SIGNATURE-----\n([A-Za-z0-9+/]+=*\n)+-----END SSH SIGNATURE-----\n"
)
_SAID = re.compile(r"^Good .* (SHA256:[A-Za-z0-9+/]+)$", re.MULTILINE)


def sign(folder: Path, key: Path) -> str:
    """Signs a shipment's list of files; returns the key's fingerprint.

    Args:
        folder: The shipment.
        key: An OpenSSH Ed25519 private key. ssh-keygen asks for its passphrase, if it has one.

    Raises:
        CascadeportError: The key cannot be used.
    """
    public = _public(key)
    write_text(folder / SIGNERS, f"{IDENTITY} {public}\n")
    done = _ssh_keygen("-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(folder / SUMS))
    if done.returncode != 0 or not (folder / f"{SUMS}.sig").is_file():
        raise _unusable(key, done.stderr)
    return verify(folder)


def verify(folder: Path) -> str:
    """Verifies a shipment's signature; returns the fingerprint of the key that made it.

    Raises:
        CascadeportError: It is not valid.
    """
    where = str(folder / f"{SUMS}.sig")
    if not _LINE.fullmatch((folder / SIGNERS).read_text(encoding="utf-8", errors="replace")):
        raise CascadeportError(
            "The shipment names more than one key, or none.",
            where=str(folder / SIGNERS),
            next="Get it again from whoever made it.",
        )
    # ssh-keygen ignores what follows the signature; a byte too many is damage all the same.
    if not _ARMOUR.fullmatch(Path(where).read_text(encoding="utf-8", errors="replace")):
        raise _invalid(f"{where} has lines that no signature has")
    with (folder / SUMS).open("rb") as signed:
        done = _ssh_keygen(
            *("-Y", "verify", "-f", str(folder / SIGNERS), "-I", IDENTITY),
            *("-n", NAMESPACE, "-s", where),
            stdin=signed,
        )
    said = _SAID.search(done.stdout)
    if done.returncode != 0 or said is None:
        raise _invalid(f"{where}: {(done.stderr or done.stdout).strip()[:200]}")
    return said[1]


def _invalid(where: str) -> CascadeportError:
    return CascadeportError(
        "The shipment's signature is not valid.",
        where=where,
        next="Do not use it. Get it again from whoever made it.",
    )


def fingerprint(key: Path) -> str:
    """The fingerprint of a key, as ssh-keygen writes it.

    Raises:
        CascadeportError: The key cannot be used.
    """
    blob = base64.b64decode(_public(key).split()[1])
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def _public(key: Path) -> str:
    """The public key of a private one, without its comment."""
    beside = key.with_name(f"{key.name}.pub")
    if not key.is_file():
        raise CascadeportError(
            "There is no such key.",
            where=str(key),
            next="Make one: ssh-keygen -t ed25519 -f ~/.ssh/cascadeport",
        )
    if key.suffix == ".pub" or beside.is_file():
        # Of a key in ssh-agent there may be nothing here but its public half.
        text = (key if key.suffix == ".pub" else beside).read_text(
            encoding="utf-8", errors="replace"
        )
    else:
        done = _ssh_keygen("-y", "-f", str(key))
        if done.returncode != 0:
            raise _unusable(key, done.stderr)
        text = done.stdout
    words = text.split()
    if len(words) < 2 or words[0] != _KIND:
        raise CascadeportError(
            f"The key is not an OpenSSH Ed25519 key but {words[0] if words else 'empty'}.",
            where=str(key),
            next="Make one: ssh-keygen -t ed25519 -f ~/.ssh/cascadeport",
        )
    return f"{words[0]} {words[1]}"


def _unusable(key: Path, said: str) -> CascadeportError:
    return CascadeportError(
        "The key cannot be used to sign.",
        where=f"{key}: {said.strip()[:200]}",
        next="Give the private key, and its passphrase when you are asked; or load it into "
        "ssh-agent and give its .pub file.",
    )


def _ssh_keygen(*words: str, stdin: IO[bytes] | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which("ssh-keygen") is None:
        raise CascadeportError(
            "ssh-keygen is not installed.", next="Install OpenSSH's client (openssh-client)."
        )
    return subprocess.run(
        ["ssh-keygen", *words],
        stdin=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
