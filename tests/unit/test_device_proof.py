"""A pass is measured only if its runner proves the device; an unmarked stand-in proves none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends, datasets
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import targets
from cascadeport.core.device import DeviceProof
from cascadeport.results import collate
from cascadeport.results.proof import problems
from cascadeport.results.result import Result
from cascadeport.results.run_record import RunRecord

from bundle import device
from bundle.runners.aclruntime import chip
from bundle.runners.onnxruntime import nvidia
from tests.helpers import finished

STUB = Path(__file__).parents[1] / "helpers" / "stub_cann"
JUDGES = collate.judges_of(targets.load(REPOSITORY / "targets.toml", backends.row))
UUID = "GPU-00112233-4455-6677-8899-aabbccddeeff"
T4 = device.proof("gpu", "Tesla T4", "libcuda.so.1", UUID, "580.65.06 CUDA 13.0")
P3 = device.proof("npu", "Ascend310P3", "libascendcl.so", driver="22.0.2", node="devdrv-cdev")
# CUDA's driver API for one GPU; its version is CUDA 13.0.
LIBCUDA = """
#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int ordinal) { *device = 7; return ordinal != 1; }
int cuDeviceGetName(char *name, int size, int device)
{ strncpy(name, "NVIDIA H200", size); return device != 7; }
int cuDeviceGetUuid(unsigned char *uuid, int device)
{ for (int i = 0; i < 16; ++i) uuid[i] = 17 * i; return device != 7; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
"""


def library(folder: Path, source: Path, *options: str) -> str:
    """A C file as a shared library."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here: gcc")
    made = folder / "lib.so"
    command = [compiler, "-shared", "-fPIC", *options, "-o", str(made), str(source)]
    subprocess.run(command, check=True)
    return str(made)


def run(*proofs: Any, simulated: bool = False) -> RunRecord:
    environment = {**finished.run_record(1)["environment"], "device_proof": list(proofs)}
    content = finished.run_record(1, simulated=simulated, environment=environment)
    return RunRecord.model_validate(content)


@pytest.mark.parametrize(
    ("target", "proof", "reason"),
    [
        ("cpu", device.processor(), None),
        ("openvino", device.processor(), None),
        ("T4", T4, None),
        # Another GPU counts, and is named.
        ("T4", {**T4, "name": "NVIDIA H200"}, None),
        ("310P3", P3, None),
        ("310P3", {**P3, "name": "ascend310p3", "node": None}, None),
        ("cpu", T4, "Tesla T4, a device of kind gpu, ran the network, not a processor"),
        ("openvino", P3, "Ascend310P3, a device of kind npu, ran the network, not a processor"),
        ("T4", device.processor(), "a device of kind processor, ran the network, not a GPU"),
        ("T4", {**T4, "serial": None}, "NVIDIA's driver gave no UUID for Tesla T4"),
        ("T4", {**T4, "name": None}, "libcuda.so.1 named no device"),
        ("310P3", {**P3, "name": None}, "libascendcl.so named no device"),
        (
            "310P3",
            {**P3, "name": "Ascend310"},
            "calls the chip Ascend310, the target is Ascend310P3",
        ),
        ("310", P3, "calls the chip Ascend310P3, the target is Ascend310:"),
        ("310P3", {**P3, "node": "mem"}, "the kernel's `mem` is behind a node of Ascend310P3"),
        ("310P3", device.processor(), "a device of kind processor, ran the network, not an NPU"),
        ("310P3", device.proof("stand-in", "a stand-in for a chip", "aclruntime"), "not marked"),
        ("cpu", {"kind": "processor"}, "cannot be read"),
    ],
)
def test_what_proves_a_targets_device(target: str, proof: Any, reason: str | None) -> None:
    found = problems(run(proof), JUDGES[target])
    assert len(found) == (reason is not None)
    assert not reason or reason in found[0]


def test_every_chip_of_a_card_is_proved() -> None:
    stood_in = {**P3, "name": "Ascend310", "node": "mem"}
    real = {**stood_in, "node": "devdrv-cdev"}
    assert problems(run(real, real, real, real), JUDGES["310"]) == []
    assert len(problems(run(real, real, stood_in, stood_in), JUDGES["310"])) == 1


@pytest.mark.parametrize("proofs", [(), ("Ascend310P3",)])
@pytest.mark.parametrize("simulated", [False, True])
def test_nothing_counts_without_a_proof(proofs: tuple[str, ...], simulated: bool) -> None:
    (found,) = problems(run(*proofs, simulated=simulated), JUDGES["310P3"])
    assert "run it again" in found


@pytest.mark.parametrize(
    ("engine", "proved"),
    [
        ({"engine": "docker", "image:t4": "sha256:" + "e" * 64}, True),
        ({"python": "3.11.7"}, True),
        ({"engine": "docker"}, False),
        ({"engine": "docker", "image:t4": "cascadeport/t4:latest"}, False),
    ],
)
def test_a_container_is_known_by_its_image(engine: dict[str, str], proved: bool) -> None:
    found = problems(run(T4).model_copy(update={"engine": engine}), JUDGES["T4"])
    assert len(found) == (not proved)
    assert proved or "nothing proves which image ran the network" in found[0]


def test_a_simulated_pass_ran_on_what_says_that_it_is_none() -> None:
    marked = device.proof("stand-in", "a stand-in for a chip", "aclruntime")
    assert problems(run(marked, simulated=True), JUDGES["310P3"]) == []
    (found,) = problems(run(marked, P3, simulated=True), JUDGES["310P3"])
    assert "Ascend310P3 ran the network, and the pass is marked as simulated" in found


def test_the_row_of_an_unmarked_stand_in_is_invalid(tmp_path: Path) -> None:
    """It does what aclruntime does, on whatever is there, and says nothing of itself."""
    boxes = finished.dataset(tmp_path / "boxes")
    unmarked = chip.proofs([0], simulated=False)
    row = _row(tmp_path / "unmarked", boxes, unmarked)
    assert row.status == "invalid"
    assert row.reason == (
        "infer/run.json: libascendcl.so named no device, so nothing proves that one ran the network"
    )
    assert _row(tmp_path / "real", boxes, [P3]).status == "measured"
    older = _row(tmp_path / "older", boxes, [])
    assert older.status == "invalid"
    assert older.reason.endswith("nothing proves which device ran the network; run it again")


def _row(folder: Path, boxes: datasets.Dataset, proofs: list[Any]) -> Result:
    environment = {**finished.run_record(1)["environment"], "device_proof": proofs}
    return finished.finish(folder, boxes, target="310P3", environment=environment)


def test_the_chip_is_what_cann_calls_it(tmp_path: Path) -> None:
    """A library in the place of CANN's, compiled; the stub's own name is no chip's."""
    path = library(tmp_path, STUB / "ascendcl.c", f"-I{STUB / 'include'}")
    name = chip.soc_name(path)
    assert name == "a stub of libascendcl"
    (found,) = problems(run({**P3, "name": name}), JUDGES["310P3"])
    assert "calls the chip a stub of libascendcl" in found
    assert chip.soc_name(str(tmp_path / "none.so")) is None


def test_cann_is_initialised_where_nothing_else_did_so(tmp_path: Path) -> None:
    source = tmp_path / "late.c"
    source.write_text(
        "static const char *name;\n"
        'int aclInit(const char *path) { name = path ? 0 : "Ascend310"; return 0; }\n'
        "const char *aclrtGetSocName(void) { return name; }\n"
    )
    assert chip.soc_name(library(tmp_path, source)) == "Ascend310"


def test_a_gpu_is_what_its_driver_calls_it(tmp_path: Path) -> None:
    source = tmp_path / "cuda.c"
    source.write_text(LIBCUDA)
    path = library(tmp_path, source)
    found = DeviceProof.model_validate(nvidia.nvidia_proof(1, path))
    assert (found.kind, found.name, found.serial) == ("gpu", "NVIDIA H200", UUID)
    assert found.driver is not None
    assert found.driver.endswith("CUDA 13.0")
    # A number that CUDA does not know, and no driver at all.
    for ordinal, where in ((0, path), (1, str(tmp_path / "none.so"))):
        other = nvidia.nvidia_proof(ordinal, where)
        assert (other["name"], other["serial"]) == (None, None)


def test_what_drives_a_node(tmp_path: Path) -> None:
    """The kernel's own list says of /dev/null what a stand-in's node says."""
    assert device.node_driver("/dev/null") == "mem"
    assert device.node_driver("/dev/no-such-device") is None
    listed = tmp_path / "devices"
    major = os.major(Path("/dev/null").stat().st_rdev)
    listed.write_text(f"Character devices:\n  {major} a driver\n\nBlock devices:\n  {major} loop\n")
    assert device.node_driver("/dev/null", str(listed)) == "a driver"
    listed.write_text(f"Character devices:\n\nBlock devices:\n  {major} loop\n")
    assert device.node_driver("/dev/null", str(listed)) is None


def test_the_drivers_version(tmp_path: Path) -> None:
    path = tmp_path / "version.info"
    assert chip.driver_version(str(path)) is None
    path.write_text("Version=22.0.2\nascendhal_version=6.13.7\n")
    assert chip.driver_version(str(path)) == "22.0.2"
