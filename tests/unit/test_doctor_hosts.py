"""Two hosts compared, what the doctor repairs, and the report about a problem."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends, doctor
from cascadeport.base.errors import CascadeportError
from cascadeport.cli.main import main
from cascadeport.core.check import Check, Finding
from cascadeport.core.environment import PythonEnvironment
from cascadeport.doctor import difference, facts, host, problem

from tests.helpers.contexts import context


def report(**changes: Any) -> dict[str, Any]:
    findings = [
        {"check": "driver", "status": "ok", "finding": "Driver 22.0.2.", "group": "device"},
        {"check": "engine", "status": "ok", "finding": "Docker 24.", "group": "containers"},
    ]
    found = {"machine": {"kernel": "Linux 5.10 aarch64"}, "containers": {"storage": "overlay2"}}
    made = {"format": 2, "host": "a", "target": "310P3", "when": "", "findings": findings}
    return {**made, "facts": found, **changes}


def test_a_host_does_not_differ_from_itself() -> None:
    assert difference.differences(report(), report()) == []
    assert "Nothing differs" in difference.as_text([], report(), report(), Path("other.json"))


def test_what_fails_on_one_of_them_only_comes_first(tmp_path: Path) -> None:
    there = report(
        findings=[
            {"check": "engine", "status": "ok", "finding": "Docker 19.", "group": "containers"},
            {"check": "chips", "status": "ok", "finding": "1 chip.", "group": "device"},
            {"check": "driver", "status": "fail", "finding": "\x1b[31mNone.", "group": "device"},
        ],
        facts={"machine": {"kernel": "Linux 4.19 aarch64"}, "containers": {"storage": "overlay2"}},
    )
    found = difference.differences(report(), there)
    assert [(one.group, one.name, one.weight) for one in found] == [
        ("device", "driver", 0),
        ("containers", "engine", 1),
        ("device", "chips", 1),
        ("machine", "kernel", 2),
    ]
    assert (found[2].here, found[2].there) == ("-", "ok: 1 chip.")
    text = difference.as_text(found, report(), there, tmp_path / "other.json")
    assert text.index("driver") < text.index("engine") < text.index("kernel")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"format": 1, "findings": [], "facts": {}}', '{"format": 2, "findings": [3]}'],
)
def test_what_is_no_report_of_the_doctor(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(CascadeportError) as caught:
        difference.read(path)
    assert "--json" in caught.value.next


def test_the_command_compares_with_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["doctor", "--json"])
    written = json.loads(capsys.readouterr().out)
    assert {one["group"] for one in written["findings"]} >= {"machine", "data"}
    assert written["facts"]["machine"]["kernel"].startswith("Linux")
    written["facts"]["machine"]["kernel"] = "Linux 3.10"
    path = tmp_path / "other.json"
    path.write_text(json.dumps(written))
    main(["doctor", "--against", str(path)])
    said = capsys.readouterr().out
    assert "there  Linux 3.10" in said
    main(["doctor", "--against", str(path), "--json"])
    found = json.loads(capsys.readouterr().out)["differences"]
    assert "kernel" in [one["name"] for one in found]


def test_facts_hold_no_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:hunter22@index.example/simple")
    found = facts.collect(context())
    assert found["environment"]["PIP_INDEX_URL"] == "https://me:***@index.example/simple"


def test_repairs_are_done_once_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    state = ["broken"]

    def look(_: Any) -> Finding:
        return Finding("toy", "fail" if state[0] == "broken" else "ok", state[0])

    def fix(_: Any) -> str:
        state[0] = "whole"
        return "fixed it"

    monkeypatch.setattr(host, "CHECKS", (Check("toy", lambda _: True, look, repair=fix),))
    assert list(doctor.repair(context())) == ["toy: fixed it"]
    assert list(doctor.repair(context())) == []


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = host._folders(context(results=tmp_path / "file" / "results"))
    assert found.status == "fail"
    assert "--results" in found.remedy


def test_the_environment_of_a_target_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = context("openvino")
    installed: list[str] = []
    lacking = PythonEnvironment("of-no-target", made.options.targets)
    monkeypatch.setattr(type(backends.of(made.target)), "environment", lacking)
    monkeypatch.setattr(PythonEnvironment, "install", lambda one, _: installed.append(one.name))
    found = next(one for one in doctor.run_checks(made) if one.check == "environment")
    assert found.status == "fail"
    assert "install --target openvino" in found.remedy
    assert any(one.startswith("environment: installed") for one in doctor.repair(made))
    assert installed == ["of-no-target"]


def test_a_report_about_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "s3cr3t-value")
    monkeypatch.setenv("HOME", "/home/somebody")
    run = tmp_path / "results" / "demo-demo" / "cpu" / "infer"
    run.mkdir(parents=True)
    (run / "infer.log").write_text(
        "at /home/somebody/pictures\nhttps://me:hunter22@index.example/simple\n"
        "the token s3cr3t-value in a line\npassword=opensesame\nAuthorization: Bearer abc.def\n"
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
        "\x1b[31mred\n"
    )
    (run / "run.json").write_text('{"status": "complete"}')
    (run / "detections.json").write_text("[]")
    (run / "0001.jpg").write_bytes(b"picture")
    (run / "link.log").symlink_to("/etc/passwd")
    (run / "long.log").write_text("beginning\n" + "x" * (1 << 20) + "\nthe end")
    out = tmp_path / "problem.zip"
    made = context("310P3", build=tmp_path / "build", results=tmp_path / "results")
    names = problem.pack(made, out)
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == names
        texts = {name: archive.read(name).decode() for name in names}
    place = "logs/results/demo-demo/cpu/infer"
    assert {name.rpartition("/")[2] for name in names if name.startswith(place)} == {
        "infer.log", "run.json", "long.log",
    }  # fmt: skip
    everything = "".join(texts.values())
    for secret in ("s3cr3t", "hunter22", "opensesame", "abc.def", "AAAA", "\x1b", "/home/somebody"):
        assert secret not in everything
    assert "~/pictures" in texts[f"{place}/infer.log"]
    assert texts[f"{place}/long.log"].endswith("the end")
    assert "beginning" not in texts[f"{place}/long.log"]
    # The devices are not here; the plan and the versions are.
    assert json.loads(texts["doctor.json"])["healthy"] is False
    assert "numpy" in json.loads(texts["versions.json"])
    assert "stages" in json.loads(texts["plan.json"]) or "error" in json.loads(texts["plan.json"])


def test_a_part_that_fails_is_told_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> Any:
        raise RuntimeError("the doctor is ill")

    monkeypatch.setattr(doctor, "run_checks", broken)
    made = context(build=tmp_path / "build", results=tmp_path / "results")
    problem.pack(made, tmp_path / "problem.zip")
    with zipfile.ZipFile(tmp_path / "problem.zip") as archive:
        assert "the doctor is ill" in archive.read("doctor.json").decode()
        assert "stages" in json.loads(archive.read("plan.json"))
