"""A shipment verifies itself with sh, ssh-keygen and sha256sum alone, and finds what is bad."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from cascadeport.base.errors import CascadeportError
from cascadeport.ship import check, labels, manifest, papers, signature, sizes
from cascadeport.ship.labels import Label

from tests.helpers import docker_compose, shipments
from tests.helpers.shipments import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return shipments.world(tmp_path_factory)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shipments.key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def packed(world: World, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.pack(tmp_path_factory.mktemp("dist"), key, b"x" * 200_000, part_size=100_000)


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    target = tmp_path / packed.name
    shutil.copytree(packed, target)
    return target


def shells() -> Iterator[list[str]]:
    yield ["dash"] if shutil.which("dash") else ["sh"]
    if shutil.which("busybox"):
        yield ["busybox", "sh"]


SHELLS = list(shells())


def script(
    shell: list[str], folder: Path, name: str, *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, str(folder / name), *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def verify(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return script(SHELLS[0], folder, "verify", *words)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_whole_shipment_is_verified(shell: list[str], packed: Path, key: Path) -> None:
    expected = signature.fingerprint(key)
    done = script(shell, packed, "verify")
    assert done.returncode == 0, done.stderr
    assert f"signed by {expected}" in done.stdout
    assert "Compare that" in done.stdout
    done = script(shell, packed, "verify", expected)
    assert done.returncode == 0, done.stderr
    assert "the key that you expect" in done.stdout
    told = subprocess.run(
        ["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True
    )
    assert expected in told.stdout.split()
    found, signer = check.verify(packed)
    assert signer == expected
    assert found.name == "small"


def test_every_file_is_in_both_lists(packed: Path) -> None:
    found = manifest.load(packed)
    listed = {one.path for one in found.files}
    there = {p.relative_to(packed).as_posix() for p in packed.rglob("*") if p.is_file()}
    own = {"manifest.json", "SHA256SUMS", "SHA256SUMS.sig", "allowed_signers"}
    assert there - listed == own
    assert set(check.sums(packed)) == listed | {"manifest.json"}
    assert {*papers.SCRIPTS, "GUIDE.md", "compose.yaml", "report/comparison.html"} <= listed
    assert len(found.archive.parts) > 1
    assert not os.access(packed / "GUIDE.md", os.X_OK)
    assert all(os.access(packed / name, os.X_OK) for name in papers.SCRIPTS)


def test_a_flipped_bit_in_any_file_is_found(copy: Path, key: Path) -> None:
    """Every file, at its beginning, in its middle and at its end."""
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    assert len(files) > 15
    for path in files:
        whole = path.read_bytes()
        for at in {0, len(whole) // 2, len(whole) - 1}:
            flipped = bytearray(whole)
            flipped[at] ^= 1
            path.write_bytes(flipped)
            words = (signature.fingerprint(key),)
            if path.name == "verify":
                # A script cannot vouch for itself: the guide's two lines do.
                assert by_hand(copy) != 0, at
            else:
                done = verify(copy, *words)
                assert done.returncode != 0, (path, at)
                assert "DO NOT USE" in done.stderr, (path, at, done.stderr)
            with pytest.raises(CascadeportError):
                check.verify(copy)
        path.write_bytes(whole)
    assert verify(copy).returncode == 0


def by_hand(folder: Path) -> int:
    """The lines of the guide, as printed."""
    text = (folder / "GUIDE.md").read_text(errors="replace")
    lines = text.split("```\n", 2)[1]
    assert lines.startswith("ssh-keygen -Y verify")
    done = subprocess.run(
        ["sh", "-ec", lines], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode


def test_the_lines_of_the_guide_need_no_script(copy: Path) -> None:
    assert by_hand(copy) == 0
    (copy / "verify").write_text("#!/bin/sh\necho Verified\n")
    assert by_hand(copy) != 0


def part(folder: Path, number: int) -> Path:
    return sorted((folder / "image").iterdir())[number]


def swap(folder: Path) -> None:
    one, other = part(folder, 0), part(folder, 1)
    aside = folder / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def truncate(folder: Path) -> None:
    last = part(folder, -1)
    last.write_bytes(last.read_bytes()[:-1])


def link(folder: Path) -> None:
    (folder / "GUIDE.md").rename(folder.parent / "elsewhere")
    (folder / "GUIDE.md").symlink_to(folder.parent / "elsewhere")


FAULTS: dict[str, Callable[[Path], object]] = {
    "a part is missing": lambda folder: part(folder, 1).unlink(),
    "parts are out of order": swap,
    "the archive is cut off": truncate,
    "a file is new": lambda folder: (folder / "compose.override.yaml").write_text("services: {}"),
    "a hidden file is new": lambda folder: (folder / "image" / ".part").write_text(""),
    "a name with a newline": lambda folder: (folder / "a\nb").write_text(""),
    "a link": link,
    "a link that leads nowhere": lambda folder: (folder / "x").symlink_to("nowhere"),
    "a pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "no list": lambda folder: (folder / "SHA256SUMS").unlink(),
    "no signature": lambda folder: (folder / "SHA256SUMS.sig").unlink(),
    "two keys": lambda folder: (folder / "allowed_signers").write_text(
        (folder / "allowed_signers").read_text() * 2
    ),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_shipment_with_a_fault_is_refused(copy: Path, fault: str) -> None:
    FAULTS[fault](copy)
    for shell in SHELLS:
        done = script(shell, copy, "verify")
        assert done.returncode == 1, (shell, done.stdout)
        assert "DO NOT USE" in done.stderr
    with pytest.raises(CascadeportError):
        check.verify(copy)


def resigned(folder: Path, other: Path) -> None:
    """What somebody else's hands make of it: all digests right, another key."""
    names = list(check.sums(folder))
    lines = subprocess.run(
        ["sha256sum", *names], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    (folder / "SHA256SUMS").write_text(lines)
    (folder / "SHA256SUMS.sig").unlink()
    signature.sign(folder, other)


def test_signed_by_another_key(copy: Path, key: Path, tmp_path: Path) -> None:
    (copy / "install").write_text("#!/bin/sh\necho Installed\n")
    other = shipments.key(tmp_path, "other")
    resigned(copy, other)
    done = verify(copy, signature.fingerprint(key))
    assert done.returncode == 1
    assert "Another key signed it" in done.stderr
    assert signature.fingerprint(other) in done.stderr
    # Without a fingerprint to compare with, it can only say which key it was.
    assert signature.fingerprint(other) in verify(copy).stdout


def test_a_signature_without_its_files_proves_nothing(copy: Path) -> None:
    (copy / "SHA256SUMS.sig").unlink()
    (copy / "allowed_signers").unlink()
    done = verify(copy)
    assert done.returncode == 1
    assert "NOBODY SIGNED" in done.stderr
    done = verify(copy, "SHA256:something")
    assert done.returncode == 1
    assert "Nobody signed it" in done.stderr
    done = verify(copy, "--unsigned")
    assert done.returncode == 0
    assert "UNSIGNED" in done.stdout


def test_a_signature_for_another_purpose_is_none(copy: Path, key: Path) -> None:
    (copy / "SHA256SUMS.sig").unlink()
    words = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", "git"]
    subprocess.run([*words, str(copy / "SHA256SUMS")], check=True, capture_output=True)
    assert "not valid" in verify(copy).stderr


def test_nothing_is_loaded_before_all_is_verified(copy: Path, key: Path, tmp_path: Path) -> None:
    """With a fault, install never even asks an engine."""
    log = tmp_path / "asked"
    engine = tmp_path / "docker"
    engine.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    engine.chmod(0o755)
    part(copy, 0).write_bytes(b"x")
    for words in ((), (signature.fingerprint(key),), ("--unsigned",)):
        done = script(SHELLS[0], copy, "install", *words, ENGINE=str(engine))
        assert done.returncode == 1
    assert not log.exists()


def test_install_asks_for_the_key_that_is_trusted(packed: Path) -> None:
    done = script(SHELLS[0], packed, "install")
    assert done.returncode == 2
    assert "nothing is installed yet" in done.stderr


def test_the_scripts_are_posix(packed: Path) -> None:
    for name in papers.SCRIPTS:
        assert shipments.shellcheck(packed / name) == ""


def test_the_compose_file_lets_it_do_nothing_else(packed: Path) -> None:
    services = yaml.safe_load((packed / "compose.yaml").read_text())["services"]
    assert set(services) == {"serve", "infer", "selftest", "about"}
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "${CASCADEPORT_USER:-1000:1000}"
        assert service["pull_policy"] == "never"
        assert ("network_mode" in service) == (name != "serve")
    assert services["serve"]["ports"] == ["127.0.0.1:${PORT:-8000}:8000"]


def test_the_unit_runs_what_the_compose_file_runs(packed: Path) -> None:
    text = (packed / "small-cpu.service").read_text()
    starts = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    (command,) = starts
    inner = command.split("-c '", 1)[1].rstrip("'").replace("$$", "$").replace("%%", "%")
    done = subprocess.run(
        ["sh", "-c", f"docker() {{ printf '%s\\n' \"$@\"; }}; {inner.removeprefix('exec ')}"],
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[0] == "run"
    assert words[words.index("--user") + 1] == "1000:1000"
    assert words[-2:] == ["cascadeport/small-cpu:current", "serve"]
    assert {"--read-only", "--cap-drop", "--rm"} <= set(words)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_the_unit(packed: Path, tmp_path: Path) -> None:
    """Without the engine's own unit, which this machine may not have."""
    shutil.copy(packed / "small-cpu.service", tmp_path)
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    unit = tmp_path / "small-cpu.service"

    def said() -> str:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)],
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
            capture_output=True,
            text=True,
            check=False,
        )
        return "".join(line for line in done.stderr.splitlines(True) if unit.name in line)

    assert said() == ""
    unit.write_text(unit.read_text().replace("RestartSec=5", "RestartSecond=5"))
    assert "RestartSecond" in said()


def test_docker_compose_understands_the_compose_file(packed: Path, repository: Path) -> None:
    compose = docker_compose.find(repository / "build" / "tools" / "docker-compose")
    if compose is None:
        pytest.skip("there is no docker compose of version 2 (CASCADEPORT_DOWNLOAD_TOOLS=1)")
    done = subprocess.run(
        [*compose, "-f", str(packed / "compose.yaml"), "--profile", "tools", "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"serve", "infer", "selftest", "about"}
    assert all(one["read_only"] and one["cap_drop"] == ["ALL"] for one in services.values())


def test_what_is_there_already_is_not_overwritten(world: World, packed: Path, key: Path) -> None:
    again = world.pack(packed.parent, key, b"x" * 200_000, part_size=100_000)
    assert again == packed
    with pytest.raises(CascadeportError, match="something else of this name"):
        world.pack(packed.parent, key, b"another image")
    assert check.verify(packed)


def test_the_same_run_gives_the_same_shipment(
    world: World, packed: Path, key: Path, tmp_path: Path
) -> None:
    again = world.pack(tmp_path, key, b"x" * 200_000, part_size=100_000)
    assert check.sums(again) == check.sums(packed)
    for name in ("SHA256SUMS", "SHA256SUMS.sig"):
        assert (again / name).read_bytes() == (packed / name).read_bytes()


def test_an_update_ships_what_is_new(world: World, packed: Path, key: Path, tmp_path: Path) -> None:
    update = world.pack(
        tmp_path, key, b"x" * 200_000, b"new", version="2", former=manifest.load(packed)
    )
    found = manifest.load(update)
    assert [layer.shipped for layer in found.image.layers] == [False, False, True]
    assert found.since is not None
    assert found.since.version == "1-forced"
    assert check.verify(update)
    assert verify(update).returncode == 0


def test_an_update_builds_on_a_whole_shipment(copy: Path, tmp_path: Path) -> None:
    assert check.former(copy).version == "1-forced"
    with pytest.raises(CascadeportError, match="no shipment"):
        check.former(tmp_path / "nowhere")
    part(copy, 0).write_bytes(b"damaged")
    with pytest.raises(CascadeportError, match="not what was packed"):
        check.former(copy)


def test_what_a_killed_freeze_left_is_gone_after_the_next(
    world: World, key: Path, tmp_path: Path
) -> None:
    left = tmp_path / ".small-cpu-1-forced.tmp-abc"
    left.mkdir()
    packed = world.pack(tmp_path, key, b"x")
    assert list(tmp_path.iterdir()) == [packed]


ROW = {"target": "cpu", "title": "CPU"}


@pytest.mark.parametrize(
    ("facts", "statement", "expected"),
    [
        ({"status": "measured"}, "signed by SHA256:x", []),
        ({"status": "measured", "verdict": "pass"}, "signed by SHA256:x", []),
        ({"status": "simulated"}, "signed by SHA256:x", ["simulated"]),
        ({"status": "invalid", "reason": "busy"}, "signed by SHA256:x", ["forced"]),
        ({"status": "measured", "verdict": "fail"}, "signed by SHA256:x", ["forced"]),
        ({"status": "measured", "verdict": "undecided"}, "signed by SHA256:x", ["forced"]),
        ({"status": "measured"}, "unsigned", ["forced"]),
        ({"status": "measured"}, "invalid: other files", ["forced"]),
        ({"status": "simulated", "verdict": "fail"}, "unsigned", ["simulated", "forced", "forced"]),
    ],
)
def test_who_may_be_frozen(facts: dict[str, str], statement: str, expected: list[str]) -> None:
    from types import SimpleNamespace

    row = SimpleNamespace(**{"reason": "", "verdict": None, "verdict_reason": "", **ROW, **facts})
    found = labels.of(row, statement)  # type: ignore[arg-type]
    assert [label.name for label in found] == expected
    if not found:
        labels.require(found, forced=False, where="here")
        return
    with pytest.raises(CascadeportError, match="not fit to be frozen"):
        labels.require(found, forced=False, where="here")
    labels.require(found, forced=True, where="here")
    assert all(f"-{name}" in labels.suffix(found) for name in expected)


def test_labels_are_in_everything(world: World, tmp_path: Path) -> None:
    reason = Label("simulated", "The run was made on a stand-in; it's $(not) `real`.")
    subject = world.subject(labels=(reason,), version=None)
    assert subject.full_version.endswith("-simulated")
    made = world.made(subject)
    frozen = json.loads((made.frozen / "frozen.json").read_text())
    assert frozen["labels"] == [{"name": "simulated", "reason": reason.reason}]
    assert made.image.name.endswith("-simulated")


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * 10**9), ("4.7G", 47 * 10**8), ("650M", 65 * 10**7)]
)
def test_sizes(text: str, size: int) -> None:
    assert sizes.parse(text) == size


@pytest.mark.parametrize("text", ["", "4", "G", "-1G", "1e9", "4 GB2", "0G", "４G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(CascadeportError, match="no size"):
        sizes.parse(text)
