"""serve: what is answered at each path, and what is refused."""

from __future__ import annotations

import base64
import json
import ssl
import struct
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Reply, Server, serving


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete frozen folder and pictures."""
    root = tmp_path_factory.mktemp("serve")
    frozen_folder.complete(root)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server with small limits."""
    limits = ("--max-body", 1, "--max-pixels", 1_000_000)
    with serving(root / "frozen", *limits) as server:
        yield server


def infer(server: Server, content: Any, model: str = "tiny", tail: bytes = b"") -> Reply:
    """An inference request; with binary data behind it if there are some."""
    text = json.dumps(content).encode()
    fields = {"Inference_Header_Content_Length": str(len(text))} if tail else {}
    return server.ask(f"/v2/models/{model}/infer", text + tail, **fields)


def picture_input(content: bytes, **changes: Any) -> dict[str, Any]:
    """A picture as the protocol's JSON has it."""
    text = base64.b64encode(content).decode()
    one = {"name": "picture", "datatype": "BYTES", "shape": [1], "data": [text], **changes}
    return {"inputs": [one]}


def values(reply: Reply) -> dict[str, Any]:
    """The data of a response's outputs by their names."""
    assert reply.status == 200, reply.content
    return {one["name"]: one["data"] for one in reply.json["outputs"]}


def test_detections_are_those_of_infer_bit_for_bit(root: Path, server: Server) -> None:
    done = frozen_folder.call(root / "frozen", "infer", root / "pictures", root / "out")
    assert done.returncode == 0, done.stderr
    for text in (root / "out" / "detections.jsonl").read_text().splitlines():
        line = json.loads(text)
        data = (root / "pictures" / line["file"]).read_bytes()
        found = server.ask("/v1/detect", data).json
        assert found["detections"] == line["detections"]
        assert (found["width"], found["height"]) == (line["width"], line["height"])
        assert found["sha256"] == line["sha256"]
        by_protocol = values(infer(server, picture_input(data)))
        assert by_protocol["names"] == [one["name"] for one in line["detections"]]
        assert by_protocol["categories"] == [one["category_id"] for one in line["detections"]]
        assert by_protocol["boxes"] == [x for one in line["detections"] for x in one["bbox"]]
        assert by_protocol["scores"] == [one["score"] for one in line["detections"]]


def test_health_and_metadata(server: Server) -> None:
    assert server.ask("/healthz").json == {"state": "ready"}
    assert server.ask("/readyz").json["ready"] is True
    assert server.ask("/v2/health/live").json == {"live": True}
    assert server.ask("/v2/health/ready").json["ready"] is True
    assert server.ask("/v2").json["extensions"] == ["binary_tensor_data"]
    assert server.ask("/v2/").json["name"] == "cascadeport"
    for name in ("tiny", "tiny-network"):
        for path in (f"/v2/models/{name}", f"/v2/models/{name}/versions/1.2.3"):
            assert server.ask(path).json["name"] == name
            assert server.ask(path + "/ready").json == {"name": name, "ready": True}
    network = server.ask("/v2/models/tiny-network").json
    assert network["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [1, 3, 96, 96]}]
    assert server.ask("/healthz", method="HEAD") == server.ask("/healthz", method="HEAD")
    assert server.ask("/healthz", method="HEAD").content == b""


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/v2/models/other", "GET", 404),
        ("/v2/models/tiny/versions/2", "GET", 404),
        ("/v2/models/tiny/versions/1.2.3/more", "GET", 404),
        ("/v2/models/", "GET", 404),
        ("/v2/models/tiny/infer", "GET", 405),
        ("/v1/detect", "PUT", 405),
        ("/", "POST", 405),
        ("/%00", "GET", 400),
        ("/v2/models/%ff%fe", "GET", 404),
        ("/../../etc/passwd", "GET", 404),
    ],
)
def test_paths_that_are_not_there(server: Server, path: str, method: str, status: int) -> None:
    reply = server.ask(path, method=method)
    assert reply.status == status
    assert set(reply.json) == {"error"}


def bomb() -> bytes:
    """A PNG of some kilobytes with a hundred million pixels."""
    done, data = cv2.imencode(".png", np.zeros((16, 16), np.uint8))
    assert done
    text = bytearray(data.tobytes())
    text[16:24] = struct.pack(">II", 10_000, 10_000)
    return bytes(text)


def slow_jpeg() -> bytes:
    """A progressive JPEG whose last scan is there a thousand times: little data, much time."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    done, data = cv2.imencode(".jpg", np.zeros((900, 900, 3), np.uint8), options)
    assert done
    text = data.tobytes()
    last = text.rindex(b"\xff\xda")
    return text[:last] + text[last:-2] * 1000 + text[-2:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (slow_jpeg(), "more than 200 scans"),
        (b"", "empty"),
        (b"hello", "not a JPEG"),
        (b"\xff\xd8\xff\xe0", "truncated"),
        (bomb(), "10000x10000 pixels; at most 1000000"),
        (b"GIF89a" + bytes(100), "not a JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "header has no size"),
    ],
)
def test_pictures_that_cannot_be_used(server: Server, data: bytes, message: str) -> None:
    for reply in (server.ask("/v1/detect", data), infer(server, picture_input(data))):
        assert reply.status == 400
        assert message in reply.json["error"]
    assert server.ask("/readyz").status == 200


def test_bodies_over_the_limit(server: Server) -> None:
    assert server.ask("/v1/detect", bytes(1 << 20)).status == 400
    reply = server.ask("/v1/detect", bytes((1 << 20) + 1))
    assert reply.status == 413
    assert reply.fields["connection"] == "close"
    form = server.ask("/v1/detect", b"x", Content_Type="multipart/form-data; boundary=x")
    assert form.status == 415
    assert "--data-binary" in form.json["error"]
    assert server.ask("/v1/detect", b"x", Content_Encoding="gzip").status == 415


def tensor(shape: tuple[int, ...] = (1, 3, 96, 96)) -> np.ndarray:
    """A network's input with something bright in it."""
    array = np.zeros(shape, np.float32)
    array[0, 0, 10:20, 30:50] = 1
    return array


def tensor_input(**changes: Any) -> dict[str, Any]:
    """The input of the network itself, without data."""
    one = {"name": "input", "datatype": "FP32", "shape": [1, 3, 96, 96], **changes}
    return {"inputs": [one]}


def test_tensors_as_json_and_as_binary_data(server: Server) -> None:
    array = tensor()
    nested = infer(server, tensor_input(data=array.tolist()), "tiny-network")
    flat = infer(server, tensor_input(data=array.ravel().tolist()), "tiny-network")
    found = values(nested)
    assert found == values(flat)
    assert found["boxes"][:4] == [30.0, 10.0, 50.0, 20.0]
    assert found["labels"][0] == 0
    data = array.tobytes()
    content = tensor_input(parameters={"binary_data_size": len(data)})
    content["id"] = "seven"
    content["outputs"] = [
        {"name": "labels"},
        {"name": "boxes", "parameters": {"binary_data": True}},
    ]
    reply = infer(server, content, "tiny-network", data)
    length = int(reply.fields["inference-header-content-length"])
    head = json.loads(reply.content[:length])
    assert head["id"] == "seven"
    assert [one["name"] for one in head["outputs"]] == ["labels", "boxes"]
    boxes = np.frombuffer(reply.content[length:], "<f4")
    assert boxes.tolist() == found["boxes"]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": boxes.nbytes}


def test_a_picture_as_binary_data(root: Path, server: Server) -> None:
    data = (root / "pictures" / "0.png").read_bytes()
    element = struct.pack("<I", len(data)) + data
    content = picture_input(b"", parameters={"binary_data_size": len(element)})
    del content["inputs"][0]["data"]
    content["parameters"] = {"binary_data_output": True}
    reply = infer(server, content, tail=element)
    length = int(reply.fields["inference-header-content-length"])
    sizes = [
        one["parameters"]["binary_data_size"]
        for one in json.loads(reply.content[:length])["outputs"]
    ]
    assert sizes == [32, 4, 8, 4 + len("red thing")]
    assert reply.content.endswith(struct.pack("<I", 9) + b"red thing")


WRONG: list[tuple[str, Any, bytes, str]] = [
    ("tiny", [], b"", "not a JSON object"),
    ("tiny", {}, b"", "exactly one input"),
    ("tiny", {"inputs": []}, b"", "exactly one input"),
    ("tiny", {"inputs": [1]}, b"", "exactly one input"),
    ("tiny", {"inputs": [{}, {}]}, b"", "exactly one input"),
    ("tiny", {**picture_input(b""), "id": 7}, b"", "id is not a string"),
    ("tiny", {**picture_input(b""), "parameters": 1}, b"", "parameters are not"),
    ("tiny", {**picture_input(b""), "outputs": 1}, b"", "outputs are not"),
    ("tiny", {**picture_input(b""), "outputs": [{"name": "x"}]}, b"", "no such output"),
    ("tiny", {**picture_input(b""), "outputs": [{"name": "boxes"}] * 2}, b"", "an output twice"),
    ("tiny", picture_input(b"", shape=[2]), b"", "A batch is one picture"),
    ("tiny", picture_input(b"", datatype="FP32"), b"", "is not BYTES"),
    ("tiny", picture_input(b"", name="x"), b"", "is called 'picture'"),
    ("tiny", picture_input(b"", data=["ü"]), b"", "not base64"),
    ("tiny", picture_input(b"", data=["a", "b"]), b"", "not one text"),
    ("tiny", picture_input(b"", data=7), b"", "not one text"),
    ("tiny", picture_input(b"", parameters=[]), b"", "parameters of an input"),
    ("tiny", picture_input(b"", parameters={"binary_data_size": 1}), b"x", "both data"),
    ("tiny", picture_input(b""), b"x", "belong to no input"),
    ("tiny-network", tensor_input(), b"", "no data"),
    ("tiny-network", tensor_input(data=[1]), b"", "not 27648 numbers"),
    ("tiny-network", tensor_input(data=[[1], [1, 2]]), b"", "data are not"),
    ("tiny-network", tensor_input(data=["1"] * 27648), b"", "not 27648 numbers"),
    ("tiny-network", tensor_input(data=[1e300] * 27648), b"", "NaN or infinity"),
    ("tiny-network", tensor_input(data=[10**400] + [0] * 27647), b"", "data are not"),
    ("tiny-network", tensor_input(shape=[1, 3, 96, 97], data=[]), b"", "shape of 'input'"),
    ("tiny-network", tensor_input(shape=[True, 3, 96, 96], data=[]), b"", "shape of 'input'"),
    ("tiny-network", tensor_input(shape="x", data=[]), b"", "shape of 'input'"),
    ("tiny-network", tensor_input(datatype="FP16", data=[]), b"", "is not FP32"),
    ("tiny-network", tensor_input(parameters={"binary_data_size": 2}), b"x", "does not fit"),
    ("tiny-network", tensor_input(parameters={"binary_data_size": -1}), b"x", "does not fit"),
    ("tiny-network", tensor_input(parameters={"binary_data_size": True}), b"x", "does not fit"),
    ("tiny-network", tensor_input(parameters={"binary_data_size": 1}), b"x", "has 1 bytes"),
]


@pytest.mark.parametrize(("model", "content", "tail", "message"), WRONG)
def test_wrong_requests(
    server: Server, model: str, content: Any, tail: bytes, message: str
) -> None:
    reply = infer(server, content, model, tail)
    assert reply.status == 400
    assert message in reply.json["error"]


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[" * 100_000, b'{"inputs": NaN}', b"\xff", b'"\\ud800"']
)
def test_what_is_not_json(server: Server, text: bytes) -> None:
    reply = server.ask("/v2/models/tiny/infer", text)
    assert reply.status == 400
    assert "JSON" in reply.json["error"]


@pytest.mark.parametrize("length", ["-1", "x", "99", "1" * 30, "²"])
def test_a_wrong_length_of_the_json(server: Server, length: str) -> None:
    fields = {"Inference_Header_Content_Length": length}
    reply = server.ask("/v2/models/tiny/infer", b"{}", **fields)
    assert reply.status == 400
    assert "Inference-Header-Content-Length" in reply.json["error"]


def test_nan_in_binary_data(server: Server) -> None:
    array = tensor()
    array[0, 0, 0, 0] = np.nan
    content = tensor_input(parameters={"binary_data_size": array.nbytes})
    reply = infer(server, content, "tiny-network", array.tobytes())
    assert (reply.status, "NaN" in reply.json["error"]) == (400, True)


def test_metrics_are_what_prometheus_reads(root: Path, server: Server) -> None:
    def read() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        text = server.ask("/metrics").content.decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    before = read()
    server.ask("/v1/detect", (root / "pictures" / "0.png").read_bytes())
    after = read()
    name = ("cascadeport_requests_total", (("code", "200"), ("route", "detect")))
    assert after[name] - before.get(name, 0) == 1
    for one in ("pictures_total", "detections_total", "device_seconds_count"):
        assert after["cascadeport_" + one, ()] - before["cascadeport_" + one, ()] == 1
    assert after["cascadeport_ready", ()] == 1
    assert after["cascadeport_queue_limit", ()] == 64
    buckets = [v for (n, _), v in after.items() if n == "cascadeport_device_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == after["cascadeport_device_seconds_count", ()]


def test_labels_are_in_every_answer(tmp_path: Path) -> None:
    label = {"name": "simulated", "reason": "It ran on a <stand-in>."}
    with serving(frozen_folder.complete(tmp_path, labels=[label])) as server:
        ready = server.ask("/readyz")
        assert ready.json["warnings"] == ["SIMULATED: It ran on a <stand-in>."]
        page = server.ask("/")
        assert b"This image is SIMULATED: It ran on a &lt;stand-in&gt;." in page.content
        found = server.ask("/v1/detect", (tmp_path / "pictures" / "0.png").read_bytes())
        assert found.json["labels"] == ["simulated"]
        for reply in (ready, page, found, server.ask("/nothing")):
            assert reply.fields["cascadeport-labels"] == "simulated"
        assert b'labels="simulated"' in server.ask("/metrics").content


def test_an_api_key(root: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("open-sesame\n")
    with serving(root / "frozen", "--api-key-file", key) as server:
        for path in ("/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            assert server.ask(path).status == 200
        for path in ("/metrics", "/v2", "/v2/models/tiny"):
            refused = server.ask(path)
            assert (refused.status, refused.fields["www-authenticate"]) == (401, "Bearer")
            assert server.ask(path, Authorization="Bearer open-sesame").status == 200
            assert server.ask(path, X_API_Key="open-sesame").status == 200
        for wrong in ("Bearer open-sesam", "Bearer", "Basic open-sesame", "Bearer öpen-sesame"):
            assert server.ask("/v1/detect", b"x", Authorization=wrong).status == 401
        assert b"API key" in server.ask("/").content
    for content in ("", "two words", "ü"):
        key.write_text(content)
        done = frozen_folder.call(root / "frozen", "serve", "--api-key-file", key)
        assert (done.returncode, "API key" in done.stderr) == (2, True)


def test_tls(root: Path, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    options = ("--tls-certificate", certificate, "--tls-key", key)
    with serving(root / "frozen", *options, state="") as server:
        context = ssl.create_default_context(cafile=str(certificate))
        data = (root / "pictures" / "0.png").read_bytes()
        address = f"https://localhost:{server.port}/"
        while "\nready\n" not in server.log:
            time.sleep(0.02)
        with urllib.request.urlopen(address + "v1/detect", data, context=context) as reply:
            assert json.load(reply)["detections"]
        environment = {**jobs.environment(), "TMPDIR": str(root / "tmp")}
        command = frozen_folder.command(root / "frozen", "selftest", "--health")
        health = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (health.returncode, health.stdout) == (0, b"the server is ready\n")
    broken = frozen_folder.call(root / "frozen", "serve", "--tls-certificate", key)
    assert (broken.returncode, "certificate" in broken.stderr) == (2, True)


def test_a_taken_port_and_wrong_options(root: Path, server: Server) -> None:
    arguments = ("serve", "--host", "127.0.0.1", "--port", server.port)
    done = frozen_folder.call(root / "frozen", *arguments)
    assert done.returncode == 2
    assert "cannot listen: " in done.stderr
    assert frozen_folder.call(root / "frozen", "serve", "--queue", "0").returncode == 2
