"""The stand-ins for CANN: which revision and release they are like, and what they are made of."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cascadeport import backends
from cascadeport.backends.ascend import personalities, releases, simulator, stand_in_files
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.pipeline.planner import plan

from tests.helpers import contexts

SIMULATED = {"simulate": True, "model": "demo", "data": "demo"}


def test_a_mistyped_personality_gets_a_suggestion() -> None:
    with pytest.raises(CascadeportError, match="perhaps you meant '2022-09'"):
        contexts.context("310P3", environ={}, personality="2022-9", **SIMULATED).engine.planned(
            "infer"
        )


def test_a_personality_without_a_stand_in_is_refused() -> None:
    context = contexts.context("310P3", environ={}, personality="2022-09", model="demo")
    with pytest.raises(CascadeportError, match="this run has none"):
        plan(context)


def test_only_ascend_targets_have_them() -> None:
    for name, value in (("personality", "2022-09"), ("cann_release", "9.0.1")):
        with pytest.raises(CascadeportError, match="supports only the targets 310 and 310P3"):
            contexts.context("cpu", environ={}, **{name: value})


def test_another_release_is_a_row_of_its_own_on_an_image_of_its_own() -> None:
    context = contexts.context("310P3", environ={}, cann_release="9.0.1", bins=True, **SIMULATED)
    made = plan(context)
    assert made.row == "310P3-cann-9.0.1-bins"
    assert made.title == "Ascend 310P3 (CANN 9.0.1, by ais_infer)"
    assert made.stage("convert").folder.name.endswith("-Ascend310P3-cann-9.0.1-simulated")
    assert context.engine.planned("infer")["image"] == "cascadeport/ascend310p-vendor"
    backend = backends.of(context.target)
    assert backend.variables(context.options, {}, None)["BASE_IMAGE"].startswith("python:3.11-")
    # Without the stand-in it is the vendor's, and the user's own takes precedence.
    real = contexts.context("310P3", environ={}, cann_release="9.0.1").options
    assert backend.variables(real, {}, None)["BASE_IMAGE"] == releases.find("9.0.1").base
    assert "BASE_IMAGE" not in backend.variables(real, {"BASE_IMAGE": "mine"}, None)


def test_a_release_that_has_no_image_for_the_chip() -> None:
    with pytest.raises(CascadeportError, match=r"CANN 9\.0\.1 is not for images/ascend310\b"):
        plan(contexts.context("310", environ={}, cann_release="9.0.1", **SIMULATED))


def test_a_new_tool_leaves_the_packages_as_they_are() -> None:
    """What a plan knows of the images: the packages are shared by all revisions of the tools."""
    recipes = {}
    for revision in ("2022-09", "2025-12"):
        stand_in = simulator.StandIn("Ascend310P3", 1, releases.default(), revision)
        digests = simulator.source_digests(stand_in)
        recipes[revision] = [digests[name] for name in sorted(digests, key=len)]
    (older, packages), (newer, same) = recipes.values()
    assert packages == same
    assert older != newer


@pytest.mark.parametrize("version", [one.name for one in releases.every()])
@pytest.mark.parametrize("chip", ["ascend310", "ascend310p"])
def test_every_release_has_a_stand_in(version: str, chip: str) -> None:
    facts = personalities.release(version, chip)
    files = {name: mode for name, _, mode in stand_in_files.toolkit_files(facts)}
    (info,) = [name for name in files if name.endswith(f"aic-{chip}-ops-info.json")]
    assert chip in info.split("/")
    (library,) = [name for name in files if name.endswith("libascend_hal.so")]
    assert "devlib" in library
    assert facts["om_mode"] == "0600"


@pytest.fixture(params=personalities.revisions())
def aclruntime(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Any:
    """The stand-in's module of a revision, out of its wheel, and what the revision is like."""
    facts = personalities.revision(request.param)
    name, content = stand_in_files.wheel(facts, "3.9")
    (tmp_path / name).write_bytes(content)
    with zipfile.ZipFile(tmp_path / name) as archive:
        archive.extractall(tmp_path / "site")
    assert name.startswith(f"aclruntime-{facts['version']}-cp39-cp39-")
    monkeypatch.syspath_prepend(str(REPOSITORY / "images/simulator"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    before = set(sys.modules)
    import aclruntime

    yield aclruntime, facts
    for module in set(sys.modules) - before:
        if module.split(".")[0] in ("aclruntime", "cann_stand_in"):
            del sys.modules[module]


def test_the_module_is_of_its_time(aclruntime: tuple[ModuleType, dict[str, Any]]) -> None:
    module, facts = aclruntime
    assert not hasattr(module, "__version__")
    steps = [hasattr(module.InferenceSession, f"run_{n}") for n in ("setinputs", "execute")]
    assert steps == [facts["steps"]] * 2
    told = module.sumary()
    assert hasattr(told, "exec_time_list") == (facts["times"] != "total")
    told._add(1.0, 3.5)
    if facts["times"] == "total":
        assert (told.exec_time, told.exec_count) == (2500.0, 1)
    else:
        assert told.exec_time_list == [{"list": 2500.0, "pairs": (1000.0, 3500.0)}[facts["times"]]]
    # What one session tells is not what another does.
    assert json.dumps(vars(module.sumary())) != json.dumps(vars(told))
