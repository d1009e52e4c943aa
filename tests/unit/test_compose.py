"""The compose files: what they declare, and how they are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.backends.ascend import releases
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import compose, targets
from cascadeport.containers import declaration

FILES = ["cpu.yaml", "t4.yaml", "ascend310.yaml", "ascend310p.yaml"]


def load(text: str, folder: Path, **variables: str) -> dict[str, compose.Service]:
    path = folder / "file.yaml"
    path.write_text(text)
    return compose.load(path, variables)


@pytest.mark.parametrize("file", FILES)
def test_every_service_is_confined(file: str) -> None:
    services = compose.load(REPOSITORY / "compose" / file, {})
    assert "infer" in services
    for service in services.values():
        assert service.user == "1000:1000"
        assert service.read_only
        assert service.cap_drop == ["ALL"]
        assert service.security_opt == ["no-new-privileges:true"]
        assert service.network_mode == "none"
        assert service.healthcheck.disable
        assert service.mem_limit is not None
        assert service.mem_limit == service.memswap_limit
        assert service.build is not None
        assert (REPOSITORY / "compose" / service.build.context / service.build.dockerfile).is_file()


def test_every_target_has_its_declaration() -> None:
    for target in targets.load(REPOSITORY / "targets.toml", backends.row).values():
        assert "infer" in compose.load(REPOSITORY / "compose" / target.compose, {})
        folder = REPOSITORY / "images" / target.image
        assert folder.is_dir()


def test_the_310_has_four_chips_and_the_310p_one() -> None:
    common = ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"]
    four = compose.load(REPOSITORY / "compose/ascend310.yaml", {})["infer"]
    one = compose.load(REPOSITORY / "compose/ascend310p.yaml", {})["infer"]
    assert compose.device_paths(four) == [*common, *(f"/dev/davinci{i}" for i in range(4))]
    assert compose.device_paths(one) == [*common, "/dev/davinci0"]
    assert compose.load(REPOSITORY / "compose/ascend310.yaml", {})["convert"].devices == []


def test_the_t4_s_gpu_is_reserved() -> None:
    arguments = declaration.create_arguments(
        compose.load(REPOSITORY / "compose/t4.yaml", {"GPU": "1"})["infer"]
    )
    (request,) = arguments["device_requests"]
    assert request["Driver"] == "nvidia"
    assert request["DeviceIDs"] == ["1"]
    assert request["Capabilities"] == [["gpu"]]


def test_the_host_s_group_comes_in() -> None:
    services = compose.load(REPOSITORY / "compose/ascend310p.yaml", {"ASCEND_GID": "1234"})
    assert services["infer"].group_add == ["1234"]


@pytest.mark.parametrize("folder", ["ascend310", "ascend310p"])
def test_images_are_built_for_the_one_release_of_cann(folder: str) -> None:
    dockerfile = (REPOSITORY / "images" / folder / "Dockerfile").read_text()
    assert f"ARG CANN_VERSION={releases.default().name}\n" in dockerfile


def test_variables_as_compose_reads_them(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: ${NAME}-${TAG:-latest}-$NAME-${EMPTY-unset}${EMPTY:-empty}-$$HOME
"""
    found = load(text, tmp_path, NAME="x", EMPTY="")
    assert found["a"].image == "x-latest-x-empty-$HOME"
    with pytest.raises(CascadeportError, match="TAG is not set: say which"):
        load("services: {a: {image: '${TAG:?say which}'}}", tmp_path)


def test_extends_joins_mappings_and_lists_and_replaces_commands(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("""\
services:
  base:
    command: [one, two]
    devices: [/dev/a]
    environment: {A: 1, B: 2}
    build: {context: .., args: {X: x}}
""")
    text = """\
services:
  a:
    extends: {file: base.yaml, service: base}
    image: a
    command: [three]
    devices: [/dev/b]
    environment: {B: 3}
    build: {target: t, args: {Y: y}}
"""
    a = load(text, tmp_path)["a"]
    assert a.command == ["three"]
    assert a.devices == ["/dev/a", "/dev/b"]
    assert a.environment == {"A": "1", "B": "3"}
    assert a.build is not None
    assert (a.build.context, a.build.target, a.build.args) == ("..", "t", {"X": "x", "Y": "y"})


def test_a_key_that_is_not_obeyed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError) as caught:
        load("services: {a: {image: a, read_onyl: true}}", tmp_path)
    assert "perhaps you meant 'read_only'" in caught.value.details[0]
    with pytest.raises(CascadeportError, match="not valid YAML"):
        load("services: [", tmp_path)
    with pytest.raises(CascadeportError, match="nothing else is known"):
        load("services: {}\nvolumes: {}\n", tmp_path)


def test_create_arguments(tmp_path: Path) -> None:
    text = """\
services:
  a:
    image: a
    user: "5:6"
    read_only: true
    tmpfs: ["/tmp:size=1m,mode=1777", "/run"]
    devices: [/dev/a, "/dev/b:/dev/c", "/dev/d:/dev/d:r"]
    environment: {ONE: 1, NONE: }
    runtime: ascend
    shm_size: 1g
    healthcheck: {disable: true}
"""
    service = load(text, tmp_path)["a"]
    assert declaration.create_arguments(service) == {
        "user": "5:6",
        "read_only": True,
        "tmpfs": {"/tmp": "size=1m,mode=1777", "/run": ""},
        "devices": ["/dev/a:/dev/a:rwm", "/dev/b:/dev/c:rwm", "/dev/d:/dev/d:r"],
        "environment": {"ONE": "1"},
        "runtime": "ascend",
        "shm_size": "1g",
        "healthcheck": {"test": ["NONE"]},
    }


def test_mounts_start_from_the_file_s_folder(tmp_path: Path) -> None:
    service = load("services: {a: {image: a, volumes: ['../x:/x:ro', '/abs:/y']}}", tmp_path)["a"]
    assert compose.binds(service, tmp_path) == [
        (str(tmp_path.parent / "x"), "/x", "ro"),
        ("/abs", "/y", "rw"),
    ]
