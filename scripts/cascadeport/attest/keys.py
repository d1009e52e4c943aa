"""OpenSSH Ed25519 keys: the private key that signs, and the public ones that are trusted."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import is_file, read_bytes, user_path

_LIMIT = 1 << 20
_KIND = "ssh-ed25519"
_KINDS = ("ssh-", "ecdsa-", "sk-")
_BEGIN = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_TRIES = 3
_MAKE_ONE = "Make a key with: ssh-keygen -t ed25519"


@dataclass(frozen=True)
class PublicKey:
    """A public key.

    Args:
        key: The key.
        principal: Whose it is, from a file of allowed signers, or its comment; empty: unknown.
    """

    key: Ed25519PublicKey
    principal: str = ""

    @property
    def line(self) -> str:
        """The key as OpenSSH writes it, without a comment."""
        written = self.key.public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        return written.decode("ascii")

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: `SHA256:` and the base64 of the digest."""
        digest = hashlib.sha256(base64.b64decode(self.line.split()[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether a signature of a content was made with this key."""
        try:
            self.key.verify(signature, content)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class SigningKey:
    """A private key."""

    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """Its public key."""
        return PublicKey(self.private.public_key())

    def sign(self, content: bytes) -> bytes:
        """The signature of a content, 64 bytes."""
        return self.private.sign(content)


def load_private(path: Path) -> SigningKey:
    """Reads a private key. The passphrase of a protected one is asked for on the terminal.

    Raises:
        CascadeportError: It cannot be read, is no OpenSSH Ed25519 key, or is protected and there
            is no terminal to ask on.
    """
    path = user_path(str(path), "key")
    content = read_bytes(path, "key", limit=_LIMIT, next=_MAKE_ONE)
    if _BEGIN not in content:
        public = content.lstrip().startswith(_KIND.encode())
        raise CascadeportError(
            f"This is {'a public key' if public else 'no OpenSSH private key'}.",
            where=str(path),
            next="Signing needs the private one, without .pub." if public else f"{_MAKE_ONE}.",
        )
    key = _unlocked(path, content)
    if not isinstance(key, Ed25519PrivateKey):
        raise CascadeportError(
            f"The key is not an Ed25519 key, but a {type(key).__name__.replace('PrivateKey', '')}.",
            where=str(path),
            next=f"{_MAKE_ONE}.",
        )
    return SigningKey(key)


def _unlocked(path: Path, content: bytes) -> object:
    try:
        return _parsed(path, content, None)
    except TypeError:
        pass  # It has a passphrase.
    if not _has_terminal():
        raise CascadeportError(
            "The key has a passphrase, and there is no terminal to ask for it.",
            where=str(path),
            next="Run this in a terminal, or sign with a key of its own that has none: "
            "ssh-keygen -t ed25519 -N ''",
        )
    for _ in range(_TRIES):
        typed = getpass.getpass(f"Passphrase for {path}: ")
        try:
            return _parsed(path, content, typed.encode("utf-8", "surrogateescape"))
        except _WrongPassphraseError:
            continue
    raise CascadeportError(
        f"The passphrase was wrong {_TRIES} times.",
        where=str(path),
        next=f"Try it with: ssh-keygen -y -f {path}",
    )


class _WrongPassphraseError(Exception):
    pass


def _parsed(path: Path, content: bytes, passphrase: bytes | None) -> object:
    try:
        return serialization.load_ssh_private_key(content, passphrase)
    except (ValueError, UnsupportedAlgorithm) as error:
        # With another passphrase the decrypted numbers do not add up.
        if passphrase is not None and "checksum" in str(error):
            raise _WrongPassphraseError from None
        raise CascadeportError(
            f"The key cannot be read: {error}.",
            where=str(path),
            next=f"Is it complete? Try: ssh-keygen -y -f {path}",
        ) from None


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def load_public(path: Path) -> tuple[PublicKey, ...]:
    """Reads the keys that are trusted: a public key, or a file of allowed signers.

    The lines are those of a `.pub` file or of ssh-keygen's ALLOWED SIGNERS: `principals`, the kind
    of key, the key. Lines with options (such as valid-before) are refused: they would be ignored.

    Raises:
        CascadeportError: It cannot be read, or holds no Ed25519 key.
    """
    path = user_path(str(path), "public key")
    content = read_bytes(path, "public key", limit=_LIMIT)
    if b"PRIVATE KEY-----" in content:
        beside = path.with_name(f"{path.name}.pub")
        raise CascadeportError(
            "This is a private key; verifying takes the public one.",
            where=str(path),
            next=f"Give {beside}." if is_file(beside) else f"Make it: ssh-keygen -y -f {path}",
        )
    found = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            found.append(_public(line.split(), f"{path}, line {number}"))
    if not found:
        raise CascadeportError("There is no public key in this file.", where=str(path))
    return tuple(found)


def parse_public(line: str, where: str) -> PublicKey:
    """Reads one public key as OpenSSH writes it.

    Raises:
        CascadeportError: It is no Ed25519 key.
    """
    return _public(line.split(), where)


def _public(words: list[str], where: str) -> PublicKey:
    at = next((n for n, word in enumerate(words) if word.startswith(_KINDS)), None)
    if at is None or at > 1 or len(words) < at + 2:
        raise CascadeportError(
            "This is no line of a public key or of allowed signers.",
            where=where,
            next="Such a line is `ssh-ed25519 AAAA… comment`, or the same after a principal. "
            "Options are not supported.",
        )
    if words[at] != _KIND:
        raise CascadeportError(
            f"The key is a {words[at]}, not an Ed25519 key.",
            where=where,
            next="Statements are signed with Ed25519 keys.",
        )
    try:
        key = serialization.load_ssh_public_key(" ".join(words[at : at + 2]).encode("utf-8"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CascadeportError(f"The key cannot be read: {error}.", where=where) from None
    assert isinstance(key, Ed25519PublicKey)
    return PublicKey(key, words[0] if at else " ".join(words[2:]))
