"""Targets frozen from real runs, shipped into a second, empty engine, and used there.

The detector is a real one where the shared data is beside the checkout, on 26 pictures of COCO; on
an Ascend target the demo, whose classes pass for eight of COCO's. What an installed image finds is
what the evaluated run found, to the bit.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cascadeport.base import locks
from cascadeport.containers import wheels
from cascadeport.ship import check, manifest, signature
from cascadeport.ship.manifest import Manifest

from tests.helpers import command, docker_fixtures, kubernetes, podman, real_world, shipments
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.free_port import free_port
from tests.helpers.target_images import empty, environment

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """Where runs are made and frozen."""
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture(scope="module")
def second() -> Iterator[PrivateEngine]:
    """The operator's: empty but for what is installed."""
    with docker_fixtures.started() as engine:
        yield engine


@dataclass(frozen=True)
class Frozen:
    """A frozen target.

    Args:
        shipment: Its shipment.
        results: Where its run is.
        words: What it was frozen with.
        env: The environment that it was frozen in.
        pictures: What it ran on.
    """

    shipment: Path
    results: Path
    words: tuple[str, ...]
    env: dict[str, str]
    pictures: Path

    @property
    def manifest(self) -> Manifest:
        return manifest.load(self.shipment)

    @property
    def row(self) -> Path:
        (path,) = self.results.glob("*/*/result.json")
        return path.parent


class Freezer:
    """Freezes targets, each once."""

    def __init__(self, engine: PrivateEngine, folder: Path, shared: Path | None) -> None:
        self.folder, self.shared = folder, shared
        self.engine = engine
        self.key = shipments.key(folder)
        self._done: dict[str, Frozen] = {}

    def words(self, target: str) -> tuple[list[str], Path]:
        """What is run, and the folder of its pictures."""
        simulated = ["--simulate"] if target == "310P3" else []
        if self.shared is None:
            pictures = self.folder / "build" / "data" / "demo" / "val2017"
            return ["--target", target, "--data", "demo", "--limit", "24", *simulated], pictures
        if simulated:
            card = real_world.demo_card(self.folder / "coco.toml", coco=True)
        else:
            card = real_world.nanodet(self.shared, self.folder)
        data = self.shared / "coco26"
        words = ["--target", target, "--model", str(card), "--data", str(data), *simulated]
        return words, data / "val2017"

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command of the command line, in its place."""
        places = ["--build", str(self.folder / "build")]
        return subprocess.run(
            [sys.executable, "-m", "cascadeport", *words, *places],
            env={**os.environ, **command.ENV, **env},
            capture_output=True,
            text=True,
            check=False,
        )

    def freeze(self, target: str) -> Frozen:
        """The frozen target."""
        if target not in self._done:
            words, pictures = self.words(target)
            results, dist = self.folder / f"results-{target}", self.folder / f"dist-{target}"
            words += ["--repeats", "1", "--results", str(results)]
            env = environment(self.engine, target)
            force = ["--force"] if "--simulate" in words else []
            more = ["--dist", str(dist), "--key", str(self.key), "--part-size", "60M", *force]
            done = self.run("freeze", *words, *more, **env)
            assert done.returncode == 0, done.stderr
            (folder,) = dist.iterdir()
            self._done[target] = Frozen(folder, results, tuple(words), env, pictures)
        return self._done[target]


@pytest.fixture(scope="module")
def freezer(
    request: pytest.FixtureRequest,
    engine: PrivateEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Freezer:
    shared = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = tmp_path_factory.mktemp("freeze")
    return Freezer(engine, folder, shared if shared.is_dir() else None)


def install(frozen: Frozen, freezer: Freezer, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(frozen.shipment / "install"), signature.fingerprint(freezer.key)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def options(frozen: Frozen) -> list[str]:
    """The options of `docker run` as the guide prints them."""
    text = (frozen.shipment / "GUIDE.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("docker run --rm"))
    shown = line.removeprefix("docker run --rm").removesuffix("\\")
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {shown}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def found(frozen: Frozen, program: list[str], folder: Path) -> list[dict[str, Any]]:
    """What an installed image's `infer` finds in the run's pictures, as the run names them."""
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    run = json.loads((frozen.row / "infer" / "job.json").read_text())["pictures"]["items"]
    names = {item["file"]: item["id"] for item in run}
    pictures = folder.parent / f"{folder.name}-in"
    pictures.mkdir()
    for name in names:
        shutil.copyfile(frozen.pictures / name, pictures / name)
    repository = frozen.manifest.image.name.rpartition(":")[0]
    volumes = ["--volume", f"{pictures}:/in:ro", "--volume", f"{folder}:/found"]
    words = ["run", "--rm", "--no-healthcheck", *options(frozen), *volumes]
    done = subprocess.run(
        [*program, *words, f"{repository}:current", "infer", "/in", "/found", "--format", "coco"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    images = json.loads((folder / "pictures.json").read_text())["images"]
    ids = {image["id"]: names[image["file_name"]] for image in images}
    rows = json.loads((folder / "detections.json").read_text())
    return [{**row, "image_id": ids[row["image_id"]]} for row in rows]


def by_picture(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Detections of a picture stay in their order; pictures need not."""
    return sorted(rows, key=lambda row: row["image_id"])


@pytest.mark.parametrize("target", ["cpu", "openvino", "310P3"])
def test_frozen_shipped_installed_and_used(
    target: str, freezer: Freezer, second: PrivateEngine, tmp_path: Path
) -> None:
    frozen = freezer.freeze(target)
    one, signer = check.verify(frozen.shipment)
    assert signer == signature.fingerprint(freezer.key)
    assert all((frozen.shipment / part).stat().st_size <= 60_000_000 for part in one.archive.parts)
    assert empty(freezer.engine)

    env = {"DOCKER_HOST": second.host}
    done = install(frozen, freezer, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed: this image finds what the frozen run found" in done.stdout

    program = ["docker", "--host", second.host]
    expected = json.loads((frozen.row / "infer" / "detections.json").read_text())
    assert by_picture(found(frozen, program, tmp_path / "found")) == by_picture(expected) != []
    assert empty(second)

    inspected = subprocess.run(
        [*program, "image", "inspect", one.image.id], capture_output=True, text=True, check=True
    )
    (facts,) = json.loads(inspected.stdout)
    labels = facts["Config"]["Labels"]
    assert facts["Config"]["User"] == "1000:1000"
    assert facts["Config"]["Healthcheck"]["Test"][-2:] == ["selftest", "--health"]
    assert ("io.cascadeport.simulated" in labels) == (target == "310P3")
    shell = subprocess.run(
        [*program, "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", one.image.id]
        + ["-c", "true"],
        capture_output=True,
        check=False,
    )
    assert (shell.returncode == 0) == one.image.shell == (target == "310P3")


@contextlib.contextmanager
def serving(frozen: Frozen, engine: PrivateEngine) -> Iterator[str]:
    """The installed image's server; its address. In the end it is stopped politely."""
    port, name = free_port(), "served"
    repository = frozen.manifest.image.name.rpartition(":")[0]
    given = [word for word in options(frozen) if word != "none"]
    given.remove("--network")
    # A test's engine has no bridge, so nothing can be published; otherwise as the guide says.
    command = ["run", "--detach", "--name", name, "--network", "host", *given]
    docker = ["docker", "--host", engine.host]
    serve = ["serve", "--host", "127.0.0.1", "--port", str(port)]
    words = [*docker, *command, f"{repository}:current", *serve]
    subprocess.run(words, check=True, capture_output=True)
    try:
        address = f"http://127.0.0.1:{port}"
        wait = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--fail", "--silent"]
        subprocess.run(["curl", *wait, f"{address}/readyz"], check=True, capture_output=True)
        yield address
        done = subprocess.run(
            [*docker, "stop", "--time", "40", name], capture_output=True, check=False
        )
        assert done.returncode == 0
        state = ["inspect", "--format", "{{.State.ExitCode}}", name]
        ended = subprocess.run([*docker, *state], capture_output=True, text=True, check=True)
        assert int(ended.stdout) == 0
    finally:
        log = subprocess.run([*docker, "logs", name], capture_output=True, text=True, check=False)
        print(log.stdout, log.stderr)
        subprocess.run([*docker, "rm", "-f", name], capture_output=True, check=False)


# Drops a file on the page, as a person's mouse does.
DROP = """
async ([name, text]) => {
  const content = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([content], name));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    document.getElementById("drop").dispatchEvent(
      new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }
}
"""


def test_the_installed_image_serves_curl_triton_and_a_browser(
    freezer: Freezer, second: PrivateEngine, tmp_path: Path
) -> None:
    """Each gets what the evaluated run found in the picture, to the bit."""
    import numpy as np
    import tritonclient.http as triton
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (apt-get install curl)")
    frozen = freezer.freeze("cpu")
    done = install(frozen, freezer, DOCKER_HOST=second.host)
    assert done.returncode == 0, done.stderr
    items = json.loads((frozen.row / "infer" / "job.json").read_text())["pictures"]["items"]
    rows = json.loads((frozen.row / "infer" / "detections.json").read_text())
    item = next(one for one in items if any(row["image_id"] == one["id"] for row in rows))
    expected = [row for row in rows if row["image_id"] == item["id"]]
    boxes, scores = [row["bbox"] for row in expected], [row["score"] for row in expected]
    picture = frozen.pictures / item["file"]

    with serving(frozen, second) as address:
        curl = ["curl", "--silent", "--fail", "--data-binary", f"@{picture}"]
        told = subprocess.run(
            [*curl, f"{address}/v1/detect"], capture_output=True, text=True, check=True
        )
        found = json.loads(told.stdout)["detections"]
        assert [one["bbox"] for one in found] == boxes
        assert [one["score"] for one in found] == scores

        client = triton.InferenceServerClient(address.removeprefix("http://"))
        tensor = triton.InferInput("picture", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([picture.read_bytes()], np.object_))
        answer = client.infer(frozen.manifest.name, [tensor])
        assert answer.as_numpy("boxes").reshape(-1, 4).tolist() == boxes
        assert answer.as_numpy("scores").tolist() == scores
        client.close()

        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"{address}/")
            text = base64.b64encode(picture.read_bytes()).decode()
            page.evaluate(DROP, [picture.name, text])
            page.wait_for_function(
                "(text) => document.getElementById('status').textContent.includes(text)",
                arg=f"of {len(expected)} detections",
            )
            page.screenshot(path=str(tmp_path / "page.png"))
            browser.close()


def test_the_inventory_of_a_frozen_image(freezer: Freezer) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    frozen = freezer.freeze("cpu")
    (spdx,) = (frozen.shipment / "sbom").glob("*.spdx.json")
    assert validate_full_spdx_document(parse_file(str(spdx))) == []
    (cyclonedx,) = (frozen.shipment / "sbom").glob("*.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(cyclonedx.read_text()) is None
    components = {one["name"]: one for one in json.loads(cyclonedx.read_text())["components"]}
    (lock,) = wheels.locks("cpu")
    for name, version in locks.pinned(lock, wheels.facts("cpu").python).items():
        assert components[name]["version"] == version
        # Installed from a file that the lock allows.
        assert components[name].get("hashes") or components[name]["properties"]
    assert "no dpkg database" in components["base-image"]["description"]


def test_a_frozen_simulator_cannot_be_mistaken(freezer: Freezer) -> None:
    frozen = freezer.freeze("310P3")
    one = frozen.manifest
    assert frozen.shipment.name.endswith("-simulated")
    assert one.image.name.endswith("-simulated")
    assert [label["name"] for label in one.labels] == ["simulated"]
    assert "SIMULATED" in (frozen.shipment / "GUIDE.md").read_text()
    about = json.loads((frozen.shipment / "about.json").read_text())
    assert about["run"]["status"] == "simulated"
    assert about["run"]["device_ips"] is None
    # Without force it is not frozen at all.
    done = freezer.run(
        "freeze", *frozen.words, "--dist", str(freezer.folder / "no"), "--key", str(freezer.key),
        **frozen.env,
    )  # fmt: skip
    assert done.returncode == 2
    assert "This run is not fit to be frozen." in done.stderr
    assert "stand-in for the hardware" in done.stderr
    assert not (freezer.folder / "no").exists()


def test_an_update_of_a_frozen_target(
    freezer: Freezer, second: PrivateEngine, tmp_path: Path
) -> None:
    """Another version of the same run: a few kilobytes travel, the engine has the rest."""
    frozen = freezer.freeze("cpu")
    more = ["--dist", str(tmp_path), "--key", str(freezer.key), "--tag", "next"]
    since = ["--since", str(frozen.shipment)]
    done = freezer.run("freeze", *frozen.words, *more, *since, **frozen.env)
    assert done.returncode == 0, done.stderr
    update = replace(frozen, shipment=tmp_path / frozen.shipment.name.replace(
        frozen.manifest.version, "next"
    ))  # fmt: skip
    assert sum(path.stat().st_size for path in (update.shipment / "image").iterdir()) < 10_000_000
    env = {"DOCKER_HOST": second.host}
    for one in (frozen, update):
        done = install(one, freezer, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "passed: this image finds what the frozen run found" in done.stdout
    back = subprocess.run(
        [str(update.shipment / "rollback")],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert back.returncode == 0, back.stderr
    assert f"In use now: {frozen.manifest.image.name}" in back.stdout


def test_the_job_of_its_manifests_finds_the_same_in_shards(
    freezer: Freezer, second: PrivateEngine, tmp_path: Path
) -> None:
    """The pods' own arguments and environment, by an engine; one of them is killed at its work."""
    frozen = freezer.freeze("cpu")
    done = install(frozen, freezer, DOCKER_HOST=second.host)
    assert done.returncode == 0, done.stderr
    words = ["--shipment", str(frozen.shipment), "--dist", str(tmp_path), "--shards", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "cascadeport", "manifests", "cpu", *words],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (manifests,) = (tmp_path / "manifests").iterdir()
    jobs = [
        yaml.safe_load((manifests / name / "job.yaml").read_text()) for name in ("infer", "merge")
    ]
    container = jobs[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == frozen.manifest.image.name

    items = json.loads((frozen.row / "infer" / "job.json").read_text())["pictures"]["items"]
    claims = {"pictures": tmp_path / "in", "found": tmp_path / "found"}
    for folder in claims.values():
        folder.mkdir()
    os.chown(claims["found"], 1000, 1000)
    for item in items:
        shutil.copyfile(frozen.pictures / item["file"], claims["pictures"] / item["file"])

    kills = ["1"]
    docker = ["docker", "--host", second.host]

    def run(arguments: list[str], environment: dict[str, str]) -> int:
        volumes = [f"--volume={claims['pictures']}:/in:ro", f"--volume={claims['found']}:/found"]
        given = [f"--env={key}={value}" for key, value in environment.items()]
        words = [*docker, "run", "--detach", "--no-healthcheck", *options(frozen), *volumes]
        started = subprocess.run(
            [*words, *given, container["image"], *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        name = started.stdout.strip()
        if environment.get("JOB_COMPLETION_INDEX") in kills:
            kills.clear()
            subprocess.run([*docker, "kill", name], capture_output=True, check=True)
        ended = subprocess.run([*docker, "wait", name], capture_output=True, text=True, check=True)
        subprocess.run([*docker, "rm", name], capture_output=True, check=True)
        return int(ended.stdout)

    cluster = kubernetes.Cluster(run, {"pictures": Path("/in"), "found": Path("/found")})
    assert cluster.job(jobs[0]) == ({0, 1, 2}, set())
    assert cluster.started == [0, 1, 2, 1]
    assert cluster.job(jobs[1]) == ({0}, set())
    images = json.loads((claims["found"] / "pictures.json").read_text())["images"]
    names = {image["id"]: image["file_name"] for image in images}
    ids = {item["file"]: item["id"] for item in items}
    rows = json.loads((claims["found"] / "detections.json").read_text())
    rows = [{**row, "image_id": ids[names[row["image_id"]]]} for row in rows]
    expected = json.loads((frozen.row / "infer" / "detections.json").read_text())
    assert by_picture(rows) == by_picture(expected) != []


def test_the_cpu_image_in_podman(freezer: Freezer, tmp_path: Path) -> None:
    reason = podman.missing()
    if reason:
        pytest.skip(reason)
    frozen = freezer.freeze("cpu")
    with podman.private() as other:
        done = install(frozen, freezer, ENGINE=str(other.program))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "passed: this image finds what the frozen run found" in done.stdout
        expected = json.loads((frozen.row / "infer" / "detections.json").read_text())
        rows = found(frozen, [str(other.program)], tmp_path / "found")
        assert by_picture(rows) == by_picture(expected) != []


def test_frozen_again_on_another_engine_it_is_the_same(
    freezer: Freezer, engine: PrivateEngine, second: PrivateEngine, tmp_path: Path
) -> None:
    """The run's image is carried to the other engine, which saves it in its own way and time."""
    frozen = freezer.freeze("cpu")
    run = json.loads((frozen.shipment / "about.json").read_text())["digests"]["image"]
    saving = subprocess.Popen(
        ["docker", "--host", engine.host, "save", run], stdout=subprocess.PIPE
    )
    loading = ["docker", "--host", second.host, "load"]
    subprocess.run(loading, stdin=saving.stdout, check=True, capture_output=True)
    assert saving.wait() == 0
    env = {**frozen.env, "DOCKER_HOST": second.host}
    more = ["--dist", str(tmp_path), "--key", str(freezer.key), "--part-size", "60M"]
    done = freezer.run("freeze", *frozen.words, *more, **env)
    assert done.returncode == 0, done.stderr
    (again,) = tmp_path.iterdir()
    assert again.name == frozen.shipment.name
    assert check.sums(again) == check.sums(frozen.shipment)
    assert manifest.load(again).image.id == frozen.manifest.image.id


def test_proven_on_another_engine_from_its_recipe(
    freezer: Freezer, second: PrivateEngine, tmp_path: Path
) -> None:
    """`verify` where the run's image is not: built again, at another time, without any cache."""
    frozen = freezer.freeze("cpu")
    run = json.loads((frozen.shipment / "about.json").read_text())["digests"]["image"]
    subprocess.run(
        ["docker", "--host", second.host, "rmi", "--force", run], check=False, capture_output=True
    )
    env = environment(second, "cpu")
    words = [word for word in frozen.words if word not in ("--repeats", "1")]
    signers = ["--key", str(frozen.shipment / "allowed_signers")]
    done = freezer.run("verify", str(frozen.shipment), *words, "--repeats", "1", *signers, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "any more: it is built again." in done.stderr
    assert f"signed    by {signature.fingerprint(freezer.key)}" in done.stdout
    assert "proven    frozen again, the run gives the same image" in done.stdout

    other = shipments.key(tmp_path)
    wrong = ["--key", f"{other}.pub"]
    done = freezer.run("verify", str(frozen.shipment), *words, *wrong, **env)
    assert done.returncode == 8
    assert "Another key signed the shipment" in done.stderr
