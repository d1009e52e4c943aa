"""What an image is made from, as a digest: everything that its Dockerfile copies."""

from __future__ import annotations

from pathlib import Path

from cascadeport.config.compose import Build
from cascadeport.containers import images

DOCKERFILE = """\
ARG CANN=cann
FROM scratch
COPY ${CANN}/Ascend-toolkit_* ${CANN}/*.info /cann/
COPY ${CANN}/SHA256SUMS /
"""


def digest(context: Path, known: dict[str, str] | None = None) -> str:
    (context / "Dockerfile").write_text(DOCKERFILE)
    build = Build(context=".", dockerfile="Dockerfile")
    return images.recipe("x", build, context, {}, known).digest


def test_a_wildcard_stands_for_the_files_that_fit_it(tmp_path: Path) -> None:
    (tmp_path / "cann").mkdir()
    (tmp_path / "cann" / "SHA256SUMS").write_text("sums")
    package = tmp_path / "cann" / "Ascend-toolkit_5.1.run"
    package.write_text("a")
    before = digest(tmp_path)
    (tmp_path / "cann" / "another.whl").write_text("of another step")
    assert digest(tmp_path) == before
    (tmp_path / "cann" / "driver-version.info").write_text("Version=22")
    with_driver = digest(tmp_path)
    assert with_driver != before
    package.write_text("b")
    assert digest(tmp_path) not in (before, with_driver)


def test_what_is_made_later_is_known_by_the_longest_name_that_fits(tmp_path: Path) -> None:
    known = {"cann": "all", "cann/Ascend-": "packages"}
    first = digest(tmp_path, known)
    # Neither folder nor files exist: their digests are those given.
    assert digest(tmp_path, {**known, "cann/Ascend-": "other packages"}) != first
    assert digest(tmp_path, {**known, "cann": "another tool"}) != first
    assert digest(tmp_path, {**known, "cannot": "something else"}) == first
