"""The scripts inside the Ascend images, run here as they are: what a real host would do to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cascadeport.backends.ascend import convert, releases
from cascadeport.base.paths import IMAGES
from cascadeport.containers import bases

SCRIPTS = IMAGES / "ascend"
ARCH = os.uname().machine


def program(folder: Path, name: str, text: str) -> Path:
    """An executable shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def moved(script: Path, out: Path, ascend: Path) -> Path:
    """A script whose /usr/local/Ascend is somewhere else."""
    text = script.read_text().replace("/usr/local/Ascend", str(ascend))
    out.write_text(text.replace("/opt/cascadeport", str(out.parent)))
    return out


def shell(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a script by /bin/sh."""
    known = {"PATH": os.environ["PATH"], **env}
    command = ["/bin/sh", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=known)


# --- the entry point and atc's libraries


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    """An image's /usr/local/Ascend, whose libascend_hal.so is found in devlib only."""
    ascend = tmp_path / "Ascend"
    latest = ascend / "ascend-toolkit" / "latest"
    (latest / "runtime/lib64/stub").mkdir(parents=True)
    (latest / f"{ARCH}-linux/devlib").mkdir(parents=True)
    (latest / f"{ARCH}-linux/devlib/libascend_hal.so").touch()
    program(
        latest / "bin",
        "atc",
        'for folder in $(echo "$LD_LIBRARY_PATH" | tr : " "); do\n'
        '  if [ -f "$folder/libascend_hal.so" ]; then echo help; exit 1; fi\n'
        "done\n"
        "echo 'atc: error while loading shared libraries: libascend_hal.so: cannot open' >&2\n"
        "exit 127",
    )
    settings = f'export PATH="{latest}/bin:$PATH" LD_LIBRARY_PATH="{latest}/lib64"'
    (ascend / "ascend-toolkit" / "set_env.sh").write_text(settings + "\n")
    moved(SCRIPTS / "entrypoint", tmp_path / "entrypoint", ascend)
    moved(SCRIPTS / "check-atc", tmp_path / "check-atc", ascend)
    return ascend


def test_the_driver_s_library_is_found_in_devlib(toolkit: Path) -> None:
    done = shell(toolkit.parent / "entrypoint", "atc", "--help")
    assert (done.stdout, done.stderr) == ("help\n", "")


def test_atc_that_starts_passes_whatever_its_help_exits_with(toolkit: Path) -> None:
    assert shell(toolkit.parent / "check-atc").returncode == 0


@pytest.mark.parametrize("gone", ["libascend_hal.so", "atc"])
def test_atc_that_cannot_be_started_fails_the_build(toolkit: Path, gone: str) -> None:
    (found,) = toolkit.rglob(gone)
    found.unlink()
    done = shell(toolkit.parent / "check-atc")
    assert done.returncode == 66
    assert "atc cannot be started in this image (exit code 127)" in done.stderr
    assert gone in done.stderr


def test_an_image_that_has_set_its_environment_keeps_it(toolkit: Path) -> None:
    """As the vendor's own: its set_env.sh is for bash."""
    (toolkit / "ascend-toolkit/set_env.sh").write_text("if [[ -d . ]]; then source nothing; fi\n")
    env = {"ASCEND_TOOLKIT_HOME": "/x", "LD_LIBRARY_PATH": "/y", "PYTHONPATH": "/z"}
    done = shell(toolkit.parent / "entrypoint", "printenv", "LD_LIBRARY_PATH", "PYTHONPATH", **env)
    libraries, packages = done.stdout.splitlines()
    assert libraries.startswith("/y:")
    assert packages.endswith("/opt/packages:/z")


# --- the driver


def check_driver(tmp_path: Path) -> tuple[int, list[dict[str, Any]]]:
    script = moved(SCRIPTS / "check_driver.py", tmp_path / "check_driver.py", tmp_path / "Ascend")
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def cann_info(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / "Ascend/nnrt/latest" / name / "version.info"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_a_version_info_that_cannot_be_read_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "Ascend/driver"
    driver.mkdir(parents=True)
    (driver / "version.info").write_text("Version=21.0.4\nascendhal_version=3.9.1\n")
    # A folder instead of a file: also root cannot read it.
    (tmp_path / "Ascend/nnrt/latest/opp/version.info").mkdir(parents=True)
    code, events = check_driver(tmp_path)
    assert code == 0
    assert "what it requires of the driver was not compared" in events[0]["text"]
    # The others are compared all the same.
    cann_info(tmp_path, "runtime", "required_driver_ascendhal_version=4.0.0\n")
    code, events = check_driver(tmp_path)
    assert (code, [event["event"] for event in events]) == (2, ["note", "error"])
    assert "21.0.4 is older than CANN requires" in events[1]["what"]


# --- the operators


def check_operators(opp: Path, *needs: str, soc: str = "Ascend310P3") -> tuple[int, str]:
    command = [sys.executable, str(SCRIPTS / "check_operators.py"), f"--soc={soc}", *needs]
    env = {**os.environ, "ASCEND_OPP_PATH": str(opp)}
    command += ["--", "echo", "converted"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.stderr == ""
    return done.returncode, done.stdout


NEEDS = [f"--need={node}:{','.join(ways)}" for node, ways in convert._KERNELS.items()]
LISTED: dict[str, Any] = {
    name: {} for name in ("DeformableOffsets", "RoiExtractor", "BatchMultiClassNonMaxSuppression")
}


@pytest.mark.parametrize(
    "place", ["built-in/op_impl/ai_core/tbe/config", "op_impl/built-in/ai_core/tbe/config"]
)
def test_what_a_graph_needs_is_looked_up_before_atc(tmp_path: Path, place: str) -> None:
    path = tmp_path / place / "ascend310p" / "aic-ascend310p-ops-info.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(LISTED))
    assert check_operators(tmp_path, *NEEDS) == (0, "converted\n")
    path.write_text(json.dumps({"RoiExtractor": {}}))
    code, printed = check_operators(tmp_path, *NEEDS)
    said, converted = printed.splitlines()
    # atc has the last word.
    assert (code, converted) == (0, "converted")
    note = json.loads(said)
    assert note["event"] == "note"
    assert note["text"].startswith(
        "this CANN lists no kernel on Ascend310P3 for DeformableConv2D (DeformableOffsets or "
        f"DeformableConv2D), BatchMultiClassNMS (BatchMultiClassNonMaxSuppression) ({path}). "
    )
    assert "LOWERING=ascend-standard" in note["text"]
    # What somebody added counts as well, and what runs on the chip's processor; a graph of
    # standard operators needs nothing of it.
    path.write_text(json.dumps({"RoiExtractor": {}, "BatchMultiClassNonMaxSuppression": {}}))
    processor = tmp_path / "built-in/op_impl/aicpu/config/aicpu_kernel.json"
    processor.parent.mkdir(parents=True, exist_ok=True)
    processor.write_text(json.dumps({"DeformableOffsets": {}}))
    assert check_operators(tmp_path, *NEEDS) == (0, "converted\n")
    processor.unlink()
    path.write_text(json.dumps({"RoiExtractor": {}}))
    more = tmp_path / "vendors/us/op_impl/ai_core/tbe/config/ascend310p"
    more.mkdir(parents=True)
    (more / "aic-ascend310p-ops-info.json").write_text(json.dumps(LISTED))
    assert check_operators(tmp_path, *NEEDS) == (0, "converted\n")
    assert check_operators(tmp_path) == (0, "converted\n")


def test_lists_of_another_chip_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "built-in" / "aic-ascend910-ops-info.json"
    path.parent.mkdir()
    path.write_text("{}")
    code, printed = check_operators(tmp_path, *NEEDS, soc="Ascend310")
    assert code == 0
    note, converted = printed.splitlines()
    assert "no operator information for ascend310 below opp" in json.loads(note)["text"]
    assert converted == "converted"


# --- what the build steps install


def test_the_system_s_programs_are_those_of_the_vendor_s_images(tmp_path: Path) -> None:
    """Only what is missing; and where nothing can be installed, that is said."""
    for name in ("sh", "echo", "grep"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    alone = {"PATH": str(tmp_path)}
    script = SCRIPTS / "install-system"
    done = shell(script, "gcc", "g++", "make", **alone)
    assert done.returncode == 0
    assert "lacks gcc g++ make, which the vendor's own images have" in done.stderr
    program(tmp_path, "apt-get", f'echo "$@" >> {tmp_path}/asked')
    program(tmp_path, "gcc", "")
    assert shell(script, "gcc", "g++", "make", **alone).stderr == ""
    assert shell(script, "pciutils", **alone).stderr == ""
    asked = (tmp_path / "asked").read_text().splitlines()
    installed = [line.split("--no-install-recommends ")[1] for line in asked if "install" in line]
    assert installed == ["g++ make", "pciutils"]
    dockerfile = (IMAGES / "ascend310p/Dockerfile").read_text()
    for packages in ("gcc g++ make", "pciutils"):
        assert f"RUN sh /install/install-system {packages}\n" in dockerfile


def test_each_build_step_has_its_own_record(tmp_path: Path) -> None:
    """A new tool beside the packages does not install the packages again."""
    names = {
        "toolkit": ["Ascend-cann-toolkit_5.1.RC2_linux-x86_64.run"],
        "nnrt": ["Ascend-cann-nnrt_5.1.RC2_linux-x86_64.run"],
        "tools": ["aclruntime-63a74de.tar.gz", "ais_infer.tar.gz"],
    }
    sums = [f"{'0' * 64}  {name}" for group in names.values() for name in group]
    (tmp_path / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    script = tmp_path / "split-sums"
    text = (SCRIPTS / "split-sums").read_text()
    script.write_text(text.replace(" /", f" {tmp_path}/").replace('"/', f'"{tmp_path}/'))
    done = shell(script)
    assert done.returncode == 0, done.stderr
    for kind, wanted in names.items():
        lines = (tmp_path / "sums" / kind).read_text().splitlines()
        assert [line.split()[1] for line in lines] == wanted


def install_tools(folder: Path, *files: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs install-tools on files beside which their checksums are recorded."""
    text = (SCRIPTS / "install-tools").read_text()
    for name in ("cann", "sums", "opt", "src", "built", "install"):
        text = text.replace(f"/{name}", f"{folder}/{name}")
    script = folder / "install-tools"
    script.write_text(text)
    for name in ("cann", "sums"):
        (folder / name).mkdir(exist_ok=True)
    lines = []
    for file in files:
        shutil.copy(file, folder / "cann")
        lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
    (folder / "sums/tools").write_text("".join(lines))
    return shell(script, ACLRUNTIME="63a74de", **env)


def test_neither_sources_nor_a_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / f"aclruntime-0.0.2-cp27-cp27m-linux_{ARCH}.whl"
    wheel.touch()
    done = install_tools(tmp_path, wheel)
    assert done.returncode == 66
    assert "neither aclruntime-63a74de.tar.gz nor a wheel of aclruntime for cp3" in done.stderr


def test_sources_that_are_not_those_recorded(tmp_path: Path) -> None:
    sources = tmp_path / "aclruntime-63a74de.tar.gz"
    sources.write_bytes(b"replaced")
    install_tools(tmp_path, sources)
    (tmp_path / "cann" / sources.name).write_bytes(b"another")
    done = shell(tmp_path / "install-tools", ACLRUNTIME="63a74de")
    assert done.returncode == 66
    assert "differs from its recorded checksum" in done.stderr


@pytest.mark.parametrize("release", releases.every(), ids=lambda one: one.name)
def test_dockerfiles_name_what_their_release_says(release: releases.Release) -> None:
    for image in release.images.values():
        given = bases.arguments((IMAGES / image / "Dockerfile").read_text(encoding="utf-8"))
        assert given["BASE_IMAGE"] == release.base
        assert given["CANN_VERSION"] == release.name
        text = (IMAGES / image / "Dockerfile").read_text(encoding="utf-8")
        assert f"ARG ACLRUNTIME={release.aclruntime.revision[:7]}\n" in text


def test_the_scripts_are_sound_posix_shell() -> None:
    scripts = [path for path in SCRIPTS.iterdir() if path.is_file() and not path.suffix]
    assert len(scripts) >= 9
    program = Path(sys.executable).with_name("shellcheck")
    # SC1090: CANN's settings are not there to be looked into.
    command = [str(program), "-s", "sh", "-e", "SC1090", *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == ""
