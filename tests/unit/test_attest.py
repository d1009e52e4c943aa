"""attest and verify: whatever is altered afterwards is named, and the exit code is not 0."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cascadeport import attest, datasets
from cascadeport.attest import dsse, keys, statement, verifying
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.cli import parser
from cascadeport.cli.door import Door

from tests.helpers import finished, ssh_keys
from tests.helpers.command import ENV

pytestmark = ssh_keys.needs_ssh_keygen


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ssh_keys.make(tmp_path_factory.mktemp("key") / "id", comment="me@example.org")


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, boxes: datasets.Dataset, key: Path) -> Path:
    folder = tmp_path_factory.mktemp("results") / "rectangles-boxes"
    finished.finish(folder, boxes, engine={"engine": "docker", "image:cpu": "sha256:" + "e" * 64})
    assert attest.state(folder / "cpu") == "unsigned"
    assert attest.attest(folder / "cpu", key) == folder / "cpu" / attest.STATEMENT
    return folder


@pytest.fixture
def row(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / signed.name)) / "cpu"


def public(key: Path) -> Path:
    return Path(f"{key}.pub")


def payload(row: Path) -> dict[str, Any]:
    values = json.loads((row / attest.STATEMENT).read_text())
    found: dict[str, Any] = json.loads(base64.b64decode(values["payload"]))
    return found


def test_what_nobody_touched_is_verified(row: Path, key: Path) -> None:
    verified = attest.verify(row, public(key))
    assert verified.key.fingerprint == ssh_keys.fingerprint(key)
    assert verified.key.principal == "me@example.org"
    assert verified.result.status == "measured"
    assert verified.signed["forced"] is False
    assert verified.elsewhere == ("model: graph of the card", "network", "bundle", "image:cpu")
    assert attest.state(row) == f"signed by {ssh_keys.fingerprint(key)}"


def test_the_statement_says_what_was_measured(row: Path, boxes: datasets.Dataset) -> None:
    said = payload(row)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    # What the specification requires of the predicate, and of every subject.
    assert said["predicate"]["result"] in ("PASSED", "WARNED", "FAILED")
    assert said["predicate"]["configuration"][0]["name"] == "infer/job.json"
    names = [one["name"] for one in said["subject"]]
    assert len(names) == len(set(names))
    assert all(one["digest"] for one in said["subject"])
    for name in (
        *("infer/detections.json", "infer/times.csv", "infer/stage.json", "evaluate/stage.json"),
        *("result.json", "network", "bundle", "image:cpu", "annotations", "data set", "pictures"),
    ):
        assert name in names
    digests = {one["name"]: one["digest"] for one in said["subject"]}
    assert digests["image:cpu"] == {"sha256": "e" * 64}
    assert digests["data set"] == {"cascadeportV1": boxes.digest}
    own = said["predicate"]["cascadeport"]
    result = json.loads((row / "result.json").read_text())
    assert own["accuracy"]["stats"] == result["evaluation"]["stats"]
    assert own["accuracy"]["evaluators"]["record"]["name"] == "pycocotools"
    assert own["accuracy"]["pictures"] == 14
    assert own["speed"]["device_ips"] == result["device_ips"]
    assert own["thresholds"]["settings"]["score threshold"] == 0.05
    assert own["thresholds"]["evaluators_differ_by_at_most"] == 1e-9
    assert own["device"]["environment"]["providers"] == ["CPUExecutionProvider"]
    assert own["row"]["status"] == "measured"


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" ")


@pytest.mark.parametrize(
    "name",
    ["infer/detections.json", "infer/times.csv", "infer/run.json", "infer/stage.json"]
    + ["infer/job.json", "infer/pictures.jsonl", "evaluate/evaluation.json", "result.json"],
)
def test_a_tampered_file_is_named(row: Path, key: Path, name: str) -> None:
    for tamper, what in ((append, "has other content"), (Path.unlink, "is missing")):
        tamper(row / name)
        if name == "result.json" and what == "is missing":
            break  # Then it is no row.
        with pytest.raises(CascadeportError) as raised:
            attest.verify(row, public(key))
        assert raised.value.details == [f"{name} {what}"]
        assert raised.value.exit_code == ExitCode.UNVERIFIED
        assert attest.state(row) == f"invalid: Files are not what was signed {name} {what}"


def test_a_file_of_the_row_that_leads_elsewhere(row: Path, key: Path, tmp_path: Path) -> None:
    content = tmp_path / "elsewhere.json"
    (row / "infer" / "detections.json").rename(content)
    (row / "infer" / "detections.json").symlink_to(content)
    with pytest.raises(CascadeportError) as raised:
        attest.verify(row, public(key))
    assert raised.value.details == ["infer/detections.json is not in the folder"]


def test_another_key_and_no_signature(row: Path, key: Path, tmp_path: Path) -> None:
    stranger = ssh_keys.make(tmp_path / "stranger")
    with pytest.raises(CascadeportError, match="signed by another key") as raised:
        attest.verify(row, public(stranger))
    assert ssh_keys.fingerprint(key) in raised.value.what
    assert ssh_keys.fingerprint(stranger) in raised.value.what
    assert raised.value.exit_code == ExitCode.UNVERIFIED
    (row / attest.STATEMENT).unlink()
    with pytest.raises(CascadeportError, match="unsigned") as raised:
        attest.verify(row, public(key))
    assert raised.value.exit_code == ExitCode.UNVERIFIED


def forged(row: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Alters the statement; the signature stays."""
    said = payload(row)
    change(said)
    path = row / attest.STATEMENT
    values = json.loads(path.read_text())
    values["payload"] = base64.b64encode(json.dumps(said).encode()).decode()
    path.write_text(json.dumps(values))


def test_an_altered_statement(row: Path, key: Path) -> None:
    forged(row, lambda said: said["predicate"]["cascadeport"]["accuracy"]["stats"].update(AP=0.9))
    with pytest.raises(CascadeportError, match="does not fit the statement"):
        attest.verify(row, public(key))
    assert attest.state(row).startswith("invalid: The signature does not fit")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("accuracy.stats.AP", 0.999, "accuracy.stats.AP is 0.999, not 0."),
        ("accuracy.pictures", 5000, "accuracy.pictures is 5000, not 14"),
        ("speed.device_ips", 1e6, "speed.device_ips is 1000000.0, not 50.0"),
        ("thresholds.settings.score threshold", 0.9, "score threshold is 0.9, not 0.05"),
        ("thresholds.gate", {"points": 50}, "thresholds.gate.points is 50, not 1.0"),
        ("row.target", "T4", "row.target is T4, not cpu"),
        ("device.environment.cpu", "Cray", "device.environment.cpu is Cray, not a"),
    ],
)
def test_a_statement_that_its_signer_embellished(
    row: Path, key: Path, path: str, value: Any, named: str
) -> None:
    """A good signature does not make a number: it is computed from the files again."""
    said = payload(row)
    inner = said["predicate"]["cascadeport"]
    *parents, last = path.split(".")
    for one in parents:
        inner = inner[one]
    inner[last] = value
    signing = keys.load_private(key)
    dsse.write(row / attest.STATEMENT, statement.PAYLOAD_TYPE, statement.encoded(said), signing)
    with pytest.raises(CascadeportError, match="not what was signed") as raised:
        attest.verify(row, public(key))
    assert any(named in detail for detail in raised.value.details)


def test_a_subject_that_its_signer_left_out(row: Path, key: Path) -> None:
    said = payload(row)
    said["subject"] = [one for one in said["subject"] if one["name"] != "infer/detections.json"]
    signing = keys.load_private(key)
    dsse.write(row / attest.STATEMENT, statement.PAYLOAD_TYPE, statement.encoded(said), signing)
    with pytest.raises(CascadeportError, match="not what was signed"):
        attest.verify(row, public(key))


@pytest.mark.parametrize("said", [b"", b"[]", b"{}", b'{"_type": 1}', b"[" * 100_000])
def test_a_signed_something_else(row: Path, key: Path, said: bytes) -> None:
    dsse.write(row / attest.STATEMENT, statement.PAYLOAD_TYPE, said, keys.load_private(key))
    with pytest.raises(CascadeportError, match="not one of this version"):
        attest.verify(row, public(key))
    assert attest.state(row).startswith("invalid: The signed statement is not one of")


def test_a_signed_statement_with_anything_in_it(row: Path) -> None:
    """Whatever is in the place of a value: the same statement, a difference, or another version."""
    honest = payload(row)
    for path in _paths(honest):
        for odd in (None, True, -1, 1.5, "text", [], [1], {}, {"a": {}}):
            said = json.loads(json.dumps(honest))
            inner = said
            for step in path[:-1]:
                inner = inner[step]
            if inner[path[-1]] == odd:
                continue
            inner[path[-1]] = odd
            try:
                read = statement.decoded(statement.encoded(said), "")
            except CascadeportError:
                continue
            found = verifying._otherwise(read, honest)
            assert found or "signed" in path or "evaluators" in path, path


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += _paths(value[key], (*path, key))
    elif isinstance(value, list) and value:
        found += _paths(value[0], (*path, 0))
    return found


def test_an_invalid_row_is_signed_only_when_it_is_forced(
    row: Path, key: Path, boxes: datasets.Dataset
) -> None:
    finished.rewrite(row / "result.json", lambda values: values.update(map=0.999))
    with pytest.raises(CascadeportError, match="INVALID, and no statement"):
        attest.attest(row, key)
    attest.attest(row, key, force=True)
    verified = attest.verify(row, public(key))
    assert verified.result.status == "invalid"
    assert verified.signed["forced"] is True
    said = payload(row)["predicate"]
    assert said["result"] == "FAILED"
    assert said["failedTests"][0].startswith("result.json: map is 0.999")
    assert said["passedTests"] == []


def test_a_signed_row_under_another_name(row: Path, key: Path) -> None:
    """The CPU's row and its signature, as the T4's."""
    other = row.rename(row.with_name("T4"))
    with pytest.raises(CascadeportError) as raised:
        attest.verify(other, public(key))
    assert any("row.name is cpu, not T4" in detail for detail in raised.value.details)


def test_a_data_set_that_changed_or_moved(
    row: Path, key: Path, boxes: datasets.Dataset, tmp_path: Path
) -> None:
    moved = datasets.load(Path(shutil.copytree(boxes.root, tmp_path / "moved")), name="boxes")
    assert attest.verify(row, public(key), dataset=moved).result.status == "measured"
    document = json.loads(moved.annotations_path.read_text())
    document["annotations"][0]["bbox"][0] += 1
    moved.annotations_path.write_text(json.dumps(document))
    changed = datasets.load(moved.root, name="boxes")
    with pytest.raises(CascadeportError, match="another data set"):
        attest.verify(row, public(key), dataset=changed)


def test_a_folder_that_is_no_row(row: Path, key: Path, tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="not that of a finished run") as raised:
        attest.verify(row.parent, public(key))
    assert "one of its rows: cpu" in raised.value.next
    with pytest.raises(CascadeportError, match="does not exist"):
        attest.attest(tmp_path / "none", key)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cascadeport", *words],
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands(row: Path, key: Path, tmp_path: Path) -> None:
    (row / attest.STATEMENT).unlink()
    done = command("attest", str(row), "--key", str(key))
    assert (done.returncode, done.stdout) == (0, f"{row / attest.STATEMENT}\n")
    done = command("verify", str(row), "--key", str(public(key)))
    assert done.returncode == 0
    assert f"signed    by {ssh_keys.fingerprint(key)} (me@example.org)" in done.stdout
    append(row / "infer" / "times.csv")
    done = command("verify", "--key", str(public(key)), "--folder", str(row))
    assert done.returncode == ExitCode.UNVERIFIED
    assert "infer/times.csv has other content" in done.stderr
    done = command("verify", str(row))
    assert (done.returncode, done.stdout) == (ExitCode.INPUT, "")
    assert "There is no --key" in done.stderr


def test_a_word_is_the_folder_of_verify_and_of_no_other_command() -> None:
    parsed = parser.parse(["verify", "--debug", "some where", "--key", "k"], Door())
    assert parsed is not None
    assert parsed[1].request.folder == Path("some where").resolve()
    assert "folder" in parsed[1].given
    door = Door(is_make=True, values={"folder": "a b", "key": "k"})
    parsed = parser.parse(["verify"], door)
    assert parsed is not None
    assert parsed[1].request.folder == Path("a b").resolve()
    for words in (["verify", "one", "two"], ["plan", "here"]):
        with pytest.raises(CascadeportError, match="takes no argument such as"):
            parser.parse(words, Door())
