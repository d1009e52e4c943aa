"""Networks with tensors in other files are refused unless the job has the digests of these."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from bundle import external_data
from bundle.errors import BundleError
from bundle.external_data import external_files
from bundle.run import run
from tests.helpers import bundle_jobs as jobs


def test_the_field_numbers_are_those_of_onnx() -> None:
    """Every field of these messages through which a tensor can be reached."""

    def fields(message: Any, names: dict[str, Any]) -> dict[int, Any]:
        return {
            field.number: names[field.message_type.name]
            for field in message.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.name in names
        }

    names = {
        "TensorProto": external_data._TENSOR,
        "SparseTensorProto": external_data._SPARSE_TENSOR,
        "GraphProto": external_data._GRAPH,
        "NodeProto": external_data._NODE,
        "AttributeProto": external_data._ATTRIBUTE,
        "FunctionProto": external_data._FUNCTION,
        "TrainingInfoProto": external_data._TRAINING,
    }
    for name, known in names.items():
        if name != "TensorProto":
            assert fields(getattr(onnx, name), names) == known, name
    assert fields(onnx.ModelProto, names) == external_data._MODEL
    assert TensorProto.EXTERNAL_DATA_FIELD_NUMBER == external_data._EXTERNAL_DATA
    assert TensorProto.DATA_LOCATION_FIELD_NUMBER == external_data._DATA_LOCATION
    assert TensorProto.EXTERNAL == external_data._EXTERNAL


def elsewhere(location: str | None = "weights.bin") -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="offset", value="0")
    if location is not None:
        tensor.external_data.add(key="location", value=location)
    return tensor


def inside() -> TensorProto:
    return numpy_helper.from_array(np.zeros(3, np.float32), "here")


def graph(**parts: Any) -> onnx.GraphProto:
    found = onnx.GraphProto(name="g")
    for key, values in parts.items():
        getattr(found, key).extend(values)
    return found


def model(within: onnx.GraphProto, **parts: Any) -> bytes:
    whole = helper.make_model(within)
    for key, values in parts.items():
        getattr(whole, key).extend(values)
    content: bytes = whole.SerializeToString()
    return content


def node(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Any", ["x"], ["y"], **attributes)


def sparse(values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[9])


BRANCH = graph(node=[node(then=graph(node=[node(value=elsewhere())]))])
WHERE = {
    "initializer": model(graph(initializer=[inside(), elsewhere()])),
    "attribute": model(graph(node=[node(a=1, value=elsewhere())])),
    "attributes": model(graph(node=[node(values=[inside(), elsewhere()])])),
    "branch": model(BRANCH),
    "branches": model(graph(node=[node(branches=[graph(), BRANCH])])),
    "sparse values": model(graph(sparse_initializer=[sparse(elsewhere(), inside())])),
    "sparse indices": model(graph(sparse_initializer=[sparse(inside(), elsewhere())])),
    "sparse attribute": model(graph(node=[node(value=sparse(inside(), elsewhere()))])),
    "function": model(graph(), functions=[onnx.FunctionProto(node=[node(value=elsewhere())])]),
    "training": model(
        graph(), training_info=[onnx.TrainingInfoProto(algorithm=graph(initializer=[elsewhere()]))]
    ),
}


@pytest.mark.parametrize("name", WHERE)
def test_a_tensor_elsewhere_is_found_wherever_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(WHERE[name])
    assert external_files(str(path)) == ["weights.bin"]
    # A message that comes in several parts is merged by protobuf.
    path.write_bytes(WHERE[name] + model(graph(initializer=[elsewhere("b")])))
    assert external_files(str(path)) == ["b", "weights.bin"]


def test_names_that_are_odd_or_missing(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(model(graph(initializer=[elsewhere(None)])))
    assert external_files(str(path)) == [""]
    path.write_bytes(model(graph(initializer=[elsewhere("../ü b"), elsewhere("../ü b")])))
    assert external_files(str(path)) == ["../ü b"]


@pytest.mark.parametrize("content", [b"", b"IMOD\x01\x00", b"\xff" * 40, b"\x0f", b"\x3a\x7f"])
def test_what_is_no_onnx_names_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.om"
    path.write_bytes(content)
    assert external_files(str(path)) == []


def test_a_graph_that_is_nested_without_end(tmp_path: Path) -> None:
    """Deeper than any parser follows, and than Python's stack is."""
    content = b""
    for _ in range(3000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # attribute.g, node.attribute, graph.node
            length, size = len(content), b""
            while length >= 0x80:
                size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
            content = tag + size + bytes([length]) + content
    (tmp_path / "network.onnx").write_bytes(b"\x3a" + content[1:])
    assert external_files(str(tmp_path / "network.onnx")) == []


def truth(content: bytes) -> set[str] | None:
    """The names according to onnx itself; None if it refuses the file."""
    try:
        parsed = onnx.load_from_string(content)
    except DecodeError:
        return None
    return {
        os.fsdecode(entry.value)
        for tensor in external_data_helper._get_all_tensors(parsed)
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }


def test_whatever_onnx_finds_in_a_mutated_network_is_found(tmp_path: Path) -> None:
    generator = random.Random(4)
    path = tmp_path / "network.onnx"
    parsed = 0
    for name in ("initializer", "attribute", "branch"):
        for _ in range(400):
            content = bytearray(WHERE[name])
            for _ in range(generator.randint(1, 3)):
                content[generator.randrange(len(content))] = generator.randrange(256)
            path.write_bytes(content)
            found = external_files(str(path))
            expected = truth(bytes(content))
            if expected is not None:
                parsed += 1
                assert expected <= set(found)
    assert parsed > 100


def split(content: dict[str, Any]) -> None:
    """Moves the tensors of a job's network into `data.bin` beside it."""
    entry = content["networks"][0]
    network = onnx.load(entry["path"])
    onnx.save(
        network,
        entry["path"],
        save_as_external_data=True,
        location="data.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    entry["sha256"] = hashlib.sha256(Path(entry["path"]).read_bytes()).hexdigest()
    assert external_files(entry["path"]) == ["data.bin"]


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """A job whose network has all its tensors in another file."""
    made = jobs.small(tmp_path)
    run(jobs.checked(made), str(tmp_path / "before"))
    split(made)
    return made


def test_a_job_without_digests_of_these_files_is_refused(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    with pytest.raises(BundleError, match=r"no digests of: data\.bin\.") as caught:
        run(jobs.checked(content), str(tmp_path / "out"))
    assert caught.value.where == content["networks"][0]["path"]
    other = tmp_path / "elsewhere" / "data.bin"
    other.parent.mkdir()
    other.write_bytes(b"1")
    content["networks"][0]["files"] = [jobs.file(other)]
    with pytest.raises(BundleError, match=r"no digests of: data\.bin\."):
        run(jobs.checked(content), str(tmp_path / "out"))


def test_a_job_with_digests_of_these_files_runs(tmp_path: Path, content: dict[str, Any]) -> None:
    data = tmp_path / "data.bin"
    entry = content["networks"][0]
    entry["files"] = [jobs.file(data)]
    record = run(jobs.checked(content), str(tmp_path / "out"))
    before = (tmp_path / "before" / "detections.json").read_bytes()
    assert (tmp_path / "out" / "detections.json").read_bytes() == before
    lines = "\n".join([entry["sha256"], entry["files"][0]["sha256"]])
    assert record["digests"]["network"] == hashlib.sha256(lines.encode()).hexdigest()

    data.write_bytes(b"\0" * data.stat().st_size)
    with pytest.raises(BundleError, match="A file of the network's tensors is not the one") as bad:
        run(jobs.checked(content), str(tmp_path / "out"))
    assert bad.value.where == str(data)
    data.unlink()
    with pytest.raises(BundleError, match="A file of the network's tensors cannot be read"):
        run(jobs.checked(content), str(tmp_path / "out"))
    assert not (tmp_path / "out" / "run.json").exists()


def test_the_files_are_relative_to_the_job(tmp_path: Path, content: dict[str, Any]) -> None:
    digest = hashlib.sha256((tmp_path / "data.bin").read_bytes()).hexdigest()
    content["networks"][0]["files"] = [{"path": "./data.bin", "sha256": digest}]
    path = jobs.write(tmp_path / "job.json", content)
    done = jobs.call("run", path, tmp_path / "out")
    assert done.returncode == 0, done.stdout
    content["networks"][0]["files"] = [{"path": 3}]
    (tmp_path / "job.json").write_text(json.dumps(content))
    done = jobs.call("run", path, tmp_path / "out")
    message = jobs.events(done.stdout)[-1]["what"]
    assert "networks[0].files[0].path is not a string" in message
    assert "networks[0].files[0].sha256 is missing" in message
