"""Keys and envelopes, against OpenSSH, OpenSSL and securesystemslib."""

from __future__ import annotations

import base64
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cascadeport.attest import dsse, keys
from cascadeport.base.errors import CascadeportError
from securesystemslib import dsse as other
from securesystemslib.signer import SSlibKey

from tests.helpers import ssh_keys
from tests.helpers.command import ENV

pytestmark = ssh_keys.needs_ssh_keygen
TYPE = "application/vnd.in-toto+json"
PAYLOADS = (b"", b"{}", "{'ü': 1}".encode(), b"\x00\xff DSSEv1 5", b"x" * 100_000)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ssh_keys.make(tmp_path_factory.mktemp("key") / "id", comment="me@example.org")


def raw(public: Path) -> bytes:
    """The 32 bytes of a public key: the end of its line's second word (RFC 8709)."""
    return base64.b64decode(public.read_text().split()[1])[-32:]


def test_the_encoding_is_that_of_the_specification() -> None:
    """protocol.md of secure-systems-lab/dsse has this example."""
    found = dsse.encoded("http://example.com/HelloWorld", b"hello world")
    assert found == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("kind", [TYPE, "", "größer"])
def test_the_encoding_is_securesystemslibs(payload: bytes, kind: str) -> None:
    assert dsse.encoded(kind, payload) == other.Envelope(payload, kind, {}).pae()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_securesystemslib_accepts_an_envelope(key: Path, tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "envelope.json"
    signing = keys.load_private(key)
    dsse.write(path, TYPE, payload, signing)
    envelope = other.Envelope.from_dict(json.loads(path.read_text()))
    public = raw(Path(f"{key}.pub")).hex()
    trusted = SSlibKey(signing.public.fingerprint, "ed25519", "ed25519", {"public": public})
    assert set(envelope.verify([trusted], 1)) == {trusted.keyid}
    assert envelope.payload == payload
    opened = dsse.opened(dsse.read(path), TYPE, keys.load_public(Path(f"{key}.pub")), "")
    assert opened.payload == payload


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_accepts_a_signature(key: Path, tmp_path: Path) -> None:
    payload = b'{"a": 1}'
    dsse.write(tmp_path / "envelope.json", TYPE, payload, keys.load_private(key))
    envelope = json.loads((tmp_path / "envelope.json").read_text())
    # SubjectPublicKeyInfo of Ed25519 (RFC 8410) is this prefix and the 32 bytes.
    der = bytes.fromhex("302a300506032b6570032100") + raw(Path(f"{key}.pub"))
    (tmp_path / "key.der").write_bytes(der)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    (tmp_path / "signature").write_bytes(signature)

    def accepts(signed: bytes) -> bool:
        (tmp_path / "signed").write_bytes(signed)
        words = ["-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der", "-rawin"]
        done = subprocess.run(
            ["openssl", "pkeyutl", *words, "-in", "signed", "-sigfile", "signature"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        return done.returncode == 0

    assert accepts(b'DSSEv1 28 application/vnd.in-toto+json 8 {"a": 1}')
    assert not accepts(b'DSSEv1 28 application/vnd.in-toto+json 8 {"a": 2}')


def test_fingerprints_are_those_of_ssh_keygen(key: Path) -> None:
    (public,) = keys.load_public(Path(f"{key}.pub"))
    assert public.fingerprint == ssh_keys.fingerprint(key)
    assert public.principal == "me@example.org"
    assert keys.load_private(key).public.line == public.line


def test_allowed_signers(key: Path, tmp_path: Path) -> None:
    mine = ssh_keys.make(tmp_path / "mine")
    line = Path(f"{mine}.pub").read_text()
    path = tmp_path / "allowed_signers"
    path.write_text(f"# who may\n\nboss@example.org {line}{Path(f'{key}.pub').read_text()}")
    found = keys.load_public(path)
    assert [one.principal for one in found] == ["boss@example.org", "me@example.org"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('me valid-before="20200101" ssh-ed25519 AAAA', "no line of a public key"),
        ("hello", "no line of a public key"),
        ("ssh-ed25519", "no line of a public key"),
        ("ssh-ed25519 AAAA", "cannot be read"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB", "is a ssh-rsa, not an Ed25519 key"),
        ("", "no public key in this file"),
        ("\xff\xfe", "no line of a public key"),
    ],
)
def test_lines_that_are_no_keys(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "key.pub"
    path.write_text(line, encoding="latin-1")
    with pytest.raises(CascadeportError, match=message):
        keys.load_public(path)


def test_private_keys_that_cannot_sign(key: Path, tmp_path: Path) -> None:
    rsa = ssh_keys.make(tmp_path / "rsa", kind="rsa")
    cut = tmp_path / "cut"
    cut.write_bytes(key.read_bytes()[:200])
    other_file = tmp_path / "other"
    other_file.write_text("hello")
    for path, message in (
        (rsa, "not an Ed25519 key, but a RSA"),
        (cut, "cannot be read"),
        (other_file, "no OpenSSH private key"),
        (Path(f"{key}.pub"), "This is a public key"),
        (tmp_path / "none", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(CascadeportError, match=message):
            keys.load_private(path)
    with pytest.raises(CascadeportError, match="This is a private key") as raised:
        keys.load_public(key)
    assert raised.value.next == f"Give {key}.pub."


_UNLOCK = "import sys; from pathlib import Path; from cascadeport.attest import keys\n"
_UNLOCK += "try: print('got', keys.load_private(Path(sys.argv[1])).public.fingerprint)\n"
_UNLOCK += "except Exception as error: print('refused', error)"


def test_a_passphrase_is_asked_for_on_the_terminal(tmp_path: Path) -> None:
    """A real terminal: the first word is wrong, the second right; then three are wrong."""
    key = ssh_keys.make(tmp_path / "locked", passphrase="Geheimnis ü")
    for words, expected in (
        (["wrong", "Geheimnis ü"], f"got {ssh_keys.fingerprint(key)}"),
        (["a", "b", "c"], "refused The passphrase was wrong 3 times."),
    ):
        shown = _in_terminal([sys.executable, "-c", _UNLOCK, str(key)], words)
        assert expected in shown
        assert "Geheimnis" not in shown


def _in_terminal(argv: list[str], words: list[str]) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(argv[0], argv, {**os.environ, **ENV})
    shown = b""
    asked = 0
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # The child has ended.
            break
        if not chunk:
            break
        shown += chunk
        if shown.count(b"Passphrase for") > asked and asked < len(words):
            os.write(terminal, f"{words[asked]}\n".encode())
            asked += 1
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode("utf-8", "replace")


def test_without_a_terminal_a_passphrase_is_an_error(tmp_path: Path) -> None:
    key = ssh_keys.make(tmp_path / "locked", passphrase="secret")
    done = subprocess.run(
        [sys.executable, "-c", _UNLOCK, str(key)],
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
        # No controlling terminal, wherever the tests were started.
        start_new_session=True,
    )
    assert "refused The key has a passphrase, and there is no terminal" in done.stdout


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"payloadType": "x", "payload": "e30=", "signatures": []}',
        '{"payloadType": "x", "payload": 7, "signatures": [{"sig": "AA=="}]}',
        '{"payloadType": "x", "payload": "e30", "signatures": [{"sig": "AA=="}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_envelope(tmp_path: Path, content: str) -> None:
    path = tmp_path / "envelope.json"
    path.write_text(content)
    with pytest.raises(CascadeportError, match="no DSSE envelope"):
        dsse.read(path)


def test_an_envelope_of_another_type_is_refused(key: Path, tmp_path: Path) -> None:
    path = tmp_path / "envelope.json"
    dsse.write(path, "text/plain", b"{}", keys.load_private(key))
    with pytest.raises(CascadeportError, match="about something else: text/plain"):
        dsse.opened(dsse.read(path), TYPE, keys.load_public(Path(f"{key}.pub")), "")
    # The type is signed as well.
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "payloadType": TYPE}))
    with pytest.raises(CascadeportError, match="does not fit the statement"):
        dsse.opened(dsse.read(path), TYPE, keys.load_public(Path(f"{key}.pub")), "")
