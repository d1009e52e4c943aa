"""What all tests share: shared data and interpreters, when a skip is a failure, what ran before."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def locks(tmp_path_factory: pytest.TempPathFactory) -> Generator[None, None, None]:
    """Passes of these tests wait for each other, and for no other run on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CASCADEPORT_LOCKS", str(tmp_path_factory.mktemp("locks")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of this checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real pictures and golden files that may stand beside the checkout."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared test data is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def py37() -> Path:
    """A Python 3.7 with numpy, opencv, onnxruntime 1.9 and mmcv 1.2.4; see scripts/make-py37."""
    python = REPOSITORY / ".venv-py37" / "bin" / "python"
    if not (REPOSITORY / ".venv-py37" / "ready").exists():
        pytest.skip("there is no .venv-py37; scripts/make-py37 makes it")
    return python


@pytest.fixture(scope="session")
def export_python() -> Path:
    """The export environment's Python 3.7; CASCADEPORT_EXPORT_ENV names one that lies elsewhere."""
    folder = Path(os.environ.get("CASCADEPORT_EXPORT_ENV") or REPOSITORY / ".venv-export")
    if not (folder / "ready").exists():
        pytest.skip("there is no finished .venv-export; make export-env makes it")
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def arm64() -> Path:
    """An aarch64 Python with the bundle's packages, run by qemu; see scripts/make-arm64."""
    folder = REPOSITORY / ".venv-arm64"
    if not (folder / "ready").exists():
        pytest.skip("there is no .venv-arm64; scripts/make-arm64 makes it")
    return folder / "bin" / "python"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Makes a skip a failure where everything is expected to run (CASCADEPORT_NO_SKIPS=1)."""
    report = yield
    if (
        report.skipped
        and os.environ.get("CASCADEPORT_NO_SKIPS")
        and not hasattr(report, "wasxfail")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped where it ought to run: {report.longrepr}"
    return report


_passed: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what has passed before, by the file that CASCADEPORT_PASSED names."""
    path = Path(os.environ.get("CASCADEPORT_PASSED") or os.devnull)
    done = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in done])
    items[:] = [item for item in items if item.nodeid not in done]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        _passed.append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Adds what has passed to that file."""
    if path := os.environ.get("CASCADEPORT_PASSED"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{each}\n" for each in _passed)
