"""The graph that a row ran is found by the digest of what its pass read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.core import store
from cascadeport.explain import graphs


def stage(folder: Path, name: str, content: bytes, file: str, **facts: Any) -> Path:
    """A finished stage with one network in it."""
    with store.writing(folder, "key", {"stage": name, **facts}) as out:
        (out / file).write_bytes(content)
    return folder / file


def test_from_a_devices_format_to_the_graph_that_was_converted(tmp_path: Path) -> None:
    for number, lowering in enumerate(("onnxruntime", "ascend", "ascend-standard")):
        content = f"graph {number}".encode()
        folder = tmp_path / lowering
        path = stage(folder, "lower", content, "network.onnx", parameters={"lowering": lowering})
        if lowering != "onnxruntime":
            for soc in ("Ascend310", "Ascend310P3"):
                converted = f"om of {number} for {soc}".encode()
                inputs = {"graph": digest.of_file(path)}
                stage(
                    tmp_path / f"{lowering}-{soc}",
                    "convert",
                    converted,
                    "network.om",
                    inputs=inputs,
                )
    for lowering, soc in (("ascend", "Ascend310"), ("ascend-standard", "Ascend310P3")):
        wanted = digest.of_file(tmp_path / f"{lowering}-{soc}" / "network.om")
        assert graphs._kept(tmp_path, wanted) == (tmp_path / lowering / "network.onnx", lowering)
    wanted = digest.of_file(tmp_path / "onnxruntime" / "network.onnx")
    found = graphs._kept(tmp_path, wanted)
    assert found == (tmp_path / "onnxruntime" / "network.onnx", "onnxruntime")


def test_a_graph_that_was_changed_since_is_not_the_one(tmp_path: Path) -> None:
    parameters = {"lowering": "ascend"}
    path = stage(tmp_path / "a", "lower", b"graph", "network.onnx", parameters=parameters)
    wanted = digest.of_file(path)
    path.write_bytes(b"other")
    assert graphs._kept(tmp_path, wanted) is None
    assert graphs._kept(tmp_path / "nowhere", wanted) is None
