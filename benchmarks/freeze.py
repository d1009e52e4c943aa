"""Freezing, verifying and installing the demo on `cpu`, and the verification of a large shipment.

It needs a Docker Engine, as `make all TARGET=cpu ENGINE=docker` does. Its argument: the size of the
large shipment in GB; 4 unless given. What it installs it removes again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts"), str(REPOSITORY)]

from cascadeport.base import digest  # noqa: E402
from cascadeport.base.errors import ExitCode  # noqa: E402
from cascadeport.ship import check, manifest, signature  # noqa: E402
from cascadeport.ship.manifest import Manifest  # noqa: E402

T = TypeVar("T")
_BLOCK = 1 << 24


def timed(work: Callable[[], T]) -> tuple[float, T]:
    began = time.perf_counter()
    value = work()
    return time.perf_counter() - began, value


def run(*words: str, fine: Sequence[int] = (0,)) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode not in fine:
        raise SystemExit(f"{' '.join(words)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def cascadeport(*words: str) -> str:
    # Whether 64 pictures are enough for the gate is not what is measured here.
    gate = (ExitCode.OK, ExitCode.FAILED, ExitCode.UNDECIDED)
    return run(sys.executable, "-m", "cascadeport", *words, fine=gate)


def removed(found: Manifest) -> None:
    names = [found.image.name]
    names += [f"{found.image.name.rpartition(':')[0]}:{tag}" for tag in ("current", "previous")]
    subprocess.run(["docker", "rmi", "--force", *names], capture_output=True, check=False)


def first_detection(found: Manifest, shipment: Path, folder: Path) -> float:
    """Seconds from `docker run` until the first picture's detections are in its file."""
    picture = next(iter(sorted((REPOSITORY / "build/data/demo/val2017").glob("*.jpg"))))
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    folder.chmod(0o755)
    (folder / "out").chmod(0o777)
    shutil.copyfile(picture, folder / "in" / picture.name)
    out = folder / "out" / "detections.jsonl"
    command = ["docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp"]
    command += ["--no-healthcheck", "--volume", f"{folder}/in:/in:ro"]
    command += ["--volume", f"{folder}/out:/found", found.image.id, "infer", "/in", "/found"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out.exists() and out.stat().st_size) and process.poll() is None:
        time.sleep(0.005)
    took = time.perf_counter() - began
    if process.wait() != 0:
        raise SystemExit(f"{shipment}: infer failed")
    return took


def padded(shipment: Path, folder: Path, size: int, key: Path) -> Path:
    """The same shipment with one more part, of random bytes."""
    target = folder / "padded"
    shutil.copytree(shipment, target)
    block = os.urandom(_BLOCK)
    with (target / "image" / "padding").open("wb") as file:
        for _ in range(max(1, size // _BLOCK)):
            file.write(block)
    (target / f"{signature.SUMS}.sig").unlink()
    line = f"{digest.of_file(target / 'image' / 'padding')}  image/padding\n"
    with (target / signature.SUMS).open("a") as file:
        file.write(line)
    signature.sign(target, key)
    return target


def main() -> None:
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 4) * 1e9)
    with tempfile.TemporaryDirectory(dir=REPOSITORY / "build") as temporary:
        folder = Path(temporary)
        key = folder / "key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        words = ["--target", "cpu", "--model", "demo", "--data", "demo", "--limit", "64"]
        words += ["--results", str(folder / "results"), "--repeats", "1"]
        cascadeport("all", *words, "--engine", "docker")
        dist = folder / "dist"
        freezing, _ = timed(
            lambda: cascadeport("freeze", *words, "--key", str(key), "--dist", str(dist), "--force")
        )
        (shipment,) = dist.iterdir()
        found = manifest.load(shipment)
        archive = sum((shipment / part).stat().st_size for part in found.archive.parts)
        trusted = signature.fingerprint(key)
        verifying, _ = timed(lambda: run(str(shipment / "verify"), trusted))
        checking, _ = timed(lambda: check.verify(shipment))
        removed(found)
        installing, _ = timed(lambda: run(str(shipment / "install"), trusted))
        first = first_detection(found, shipment, folder)
        removed(found)
        large = padded(shipment, folder, size, key)
        parts = [str(path) for path in sorted((large / "image").iterdir())]
        run("sha256sum", *parts)
        hashing, _ = timed(lambda: run("sha256sum", *parts))
        whole, _ = timed(lambda: run(str(large / "verify"), trusted))
    print("## Freezing and shipping\n")
    print("The demo on `cpu`, 64 pictures, its run finished before. Once each, in one run.\n")
    print("| what | figure | wanted |\n| --- | ---: | ---: |")
    for what, figure, wanted in (
        ("archive of the frozen image", f"{archive / 1e6:.0f} MB", "at most 200 MB"),
        ("`freeze`", f"{freezing:.1f} s", "under 60 s"),
        ("`./verify`", f"{verifying:.1f} s", "under 60 s"),
        ("`cascadeport verify`, the archive's content as well", f"{checking:.1f} s", "under 60 s"),
        ("`./install`, with self-test", f"{installing:.1f} s", "under 60 s"),
        ("`docker run` to the first detection", f"{first:.2f} s", "under 3 s"),
        (
            f"`./verify` of {size / 1e9:.1f} GB against `sha256sum` of them",
            f"{hashing / whole:.2f} x",
            "at least 0.5 x",
        ),
    ):
        print(f"| {what} | {figure} | {wanted} |")


if __name__ == "__main__":
    main()
