"""CANN releases as data: images/ascend/cann.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cascadeport.backends.ascend import releases
from cascadeport.base.errors import CascadeportError


def test_the_default_is_the_guide_s() -> None:
    assert releases.default() is releases.find(None) is releases.find("5.1.RC2")
    kernels = releases.default().kernels
    assert (kernels.nms, kernels.iou_factor, kernels.thin_rois) == ("fp16", 0.1, True)


def test_a_mistyped_release_gets_a_suggestion() -> None:
    with pytest.raises(CascadeportError, match=r"'5\.1\.rc2'; perhaps you meant '5\.1\.RC2'"):
        releases.find("5.1.rc2")


def test_a_release_that_is_not_for_a_chip() -> None:
    assert releases.find("9.0.1").image("ascend310p") != "ascend310p"
    with pytest.raises(CascadeportError, match=r"CANN 9\.0\.1 is not for images/ascend310"):
        releases.find("9.0.1").image("ascend310")


@pytest.mark.parametrize("release", releases.every(), ids=lambda one: one.name)
def test_what_a_release_says_fits_together(release: releases.Release) -> None:
    tag = release.python.replace(".", "")
    assert f"-cp{tag}-cp{tag}-" in release.aclruntime.wheel
    # A digest is never written by hand: `make pin` resolves it.
    assert re.fullmatch(r"[\w./-]+:[\w.-]+", release.base)
    assert release.is_in_its_base == (release.packages == ())
    for version in release.driver.at_least:
        assert re.match(r"\d", version)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("iou_factor", "iou_facter"), "perhaps you meant 'iou_factor'"),
        (('nms = "fp16"', 'nms = "int8"'), "nms"),
        (('default = "5.1.RC2"', 'default = "5.1"'), "the default '5.1' is no release"),
    ],
)
def test_a_mistake_in_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], message: str
) -> None:
    text = releases.FILE.read_text(encoding="utf-8")
    assert change[0] in text
    file = tmp_path / "cann.toml"
    file.write_text(text.replace(*change), encoding="utf-8")
    monkeypatch.setattr(releases, "FILE", file)
    releases._file.cache_clear()
    try:
        with pytest.raises(CascadeportError) as caught:
            releases.default()
    finally:
        releases._file.cache_clear()
    assert message in " ".join(caught.value.details)
