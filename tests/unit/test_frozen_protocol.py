"""serve against others: the protocol's own OpenAPI file, by schemathesis, and Triton's client."""

from __future__ import annotations

import contextlib
import ctypes
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import schemathesis
import tritonclient.http as triton
import yaml
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.helpers import frozen_folder
from tests.helpers.frozen_server import Server, serving

SPECIFICATION = Path(__file__).resolve().parents[1] / "golden" / "open_inference_rest.yaml"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a complete frozen folder and pictures."""
    root = tmp_path_factory.mktemp("protocol")
    frozen_folder.complete(root)
    return root


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    """A server."""
    with serving(root / "frozen") as server:
        yield server


@pytest.fixture(autouse=True)
def subnormal_numbers() -> None:
    """Has the processor keep them.

    A library that was built with -ffast-math makes it flush them to zero, for the whole thread;
    hypothesis, whose numbers schemathesis draws, refuses to work then. glibc's FE_DFL_ENV is -1.
    """
    with contextlib.suppress(OSError):
        ctypes.CDLL("libm.so.6").fesetenv(ctypes.c_void_p(-1))


def specification() -> dict[str, Any]:
    """The protocol's OpenAPI file, about the models that are there.

    It writes its parameters as `${NAME}`, which OpenAPI does not know, and documents no answer for
    a model that does not exist; so the names are given.
    """
    text = SPECIFICATION.read_text(encoding="utf-8").replace("${", "{")
    content: dict[str, Any] = yaml.safe_load(text)
    known = {"MODEL_NAME": ["tiny", "tiny-network"], "MODEL_VERSION": ["1.2.3"]}
    for path in content["paths"].values():
        for parameter in path.get("parameters", []):
            parameter["schema"]["enum"] = known[parameter["name"]]
    return content


MODEL = {"MODEL_NAME": "tiny", "MODEL_VERSION": "1.2.3"}
INFER = "/v2/models/{MODEL_NAME}/versions/{MODEL_VERSION}/infer"
CASES = [(path, GenerationMode.POSITIVE) for path in specification()["paths"]]
# Only what takes a body can be given a wrong one.
CASES.append((INFER, GenerationMode.NEGATIVE))


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_answers_are_those_of_the_specification(
    server: Server, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(specification())
    schema.config.update(base_url=f"http://127.0.0.1:{server.port}")
    operations = [one.ok() for one in schema.get_all_operations()]
    (operation,) = [one for one in operations if one.path == path]
    # A wrong request is one of a wrong body: an unknown model is answered 404.
    names = {} if mode is GenerationMode.POSITIVE else {"path_parameters": MODEL}
    strategy = operation.as_strategy(generation_mode=mode, **names)

    @given(case=strategy)
    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        # The specification cannot say which of its valid requests fit a model.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    check()


def test_json_over_its_limit(server: Server) -> None:
    reply = server.ask("/v2/models/tiny/infer", b" " * ((16 << 20) + 1))
    assert reply.status == 413
    assert "binary data" in reply.json["error"]


def test_the_server_still_works(server: Server, root: Path) -> None:
    data = (root / "pictures" / "0.png").read_bytes()
    assert server.ask("/v1/detect", data).status == 200


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """Triton's own client."""
    client = triton.InferenceServerClient(f"127.0.0.1:{server.port}")
    yield client
    client.close()


def test_triton_s_client_reads_the_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1.2.3")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "cascadeport"
    assert client.get_model_metadata("tiny")["inputs"][0]["datatype"] == "BYTES"


@pytest.mark.parametrize("binary", [True, False])
def test_triton_s_client_gets_what_infer_finds(client: Any, root: Path, binary: bool) -> None:
    done = frozen_folder.call(root / "frozen", "infer", root / "pictures", root / "out")
    assert done.returncode == 0, done.stderr
    line = json.loads((root / "out" / "detections.jsonl").read_text().splitlines()[3])
    data = (root / "pictures" / line["file"]).read_bytes()
    tensor = triton.InferInput("picture", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([data], np.object_), binary_data=True)
    names = ("boxes", "scores", "categories", "names")
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
    answer = client.infer("tiny", [tensor], outputs=outputs, request_id="1")
    found = {name: answer.as_numpy(name) for name in names}
    assert found["boxes"].dtype == np.float64
    assert found["boxes"].reshape(-1, 4).tolist() == [one["bbox"] for one in line["detections"]]
    assert found["scores"].tolist() == [one["score"] for one in line["detections"]]
    assert found["categories"].tolist() == [one["category_id"] for one in line["detections"]]
    named = [one.decode() if isinstance(one, bytes) else one for one in found["names"]]
    assert named == [one["name"] for one in line["detections"]]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_s_client_runs_the_network_itself(client: Any, root: Path, binary: bool) -> None:
    image = cv2.imread(str(root / "pictures" / "2.png"))[:, :, ::-1]  # 96 x 96, as the network
    array = np.ascontiguousarray(image.transpose(2, 0, 1)[np.newaxis], np.float32) / 255
    tensor = triton.InferInput("input", array.shape, "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary)
    answer = client.infer("tiny-network", [tensor])
    boxes, labels = answer.as_numpy("boxes"), answer.as_numpy("labels")
    assert boxes[0].tolist() == [24, 32, 72, 80, np.float32(0.9)]
    assert (labels[0], labels.dtype) == (0, np.int64)


def test_triton_s_client_is_told_what_is_wrong(client: Any) -> None:
    tensor = triton.InferInput("picture", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([b"no picture"], np.object_))
    with pytest.raises(triton.InferenceServerException, match="not a JPEG"):
        client.infer("tiny", [tensor])
