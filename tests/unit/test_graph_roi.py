"""RoI features against the definition: levels, adaptive sampling, thin RoIs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import opset11 as standard
from cascadeport.graph import opset19 as onnxruntime
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import DOMAIN
from onnx import helper

from tests.helpers.graph_models import FLOAT, model_of, naive_roi_align, run

LOWERINGS = {"onnxruntime": onnxruntime.lower, "onnxruntime-1.9": standard.lower}
STRIDES = (4, 8, 16, 32)
SIZE = 256


def boxes_of_all_kinds() -> np.ndarray:
    draw = np.random.default_rng(3)
    corner = draw.uniform(0, 200, (20, 2))
    ordinary = np.concatenate([corner, np.minimum(corner + draw.uniform(5, 200, (20, 2)), SIZE)], 1)
    thin = [
        [100, 20, 101.5, 90],  # narrow
        [100, 20, 190, 22.5],  # flat
        [50.3, 60.1, 51.2, 61.9],  # both
        [254.5, 10, 256, 240],  # narrow at the right edge, tall
        [0, 0, 3, 1],  # in the corner
        [256, 40, 256, 90],  # without extent: clipped away
        [30, 30, 30, 30],
    ]
    # 112 = 2 * 56: exactly where the second level begins, and just below it.
    edge = [[10, 10, 122, 122], [10, 10, 121.99, 122]]
    return np.concatenate([ordinary, thin, edge]).astype("f4")


def model(aligned: bool, ratio: int = 0) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    draw = np.random.default_rng(4)
    feeds = {
        f"p{level}": draw.normal(size=(1, 2, SIZE // stride, SIZE // stride)).astype("f4")
        for level, stride in enumerate(STRIDES)
    }
    boxes = boxes_of_all_kinds()
    feeds["rois"] = np.concatenate([np.zeros((len(boxes), 1), "f4"), boxes], axis=1)
    node = helper.make_node(
        "RoiExtractor", list(feeds), ["crops"], name="roi", domain=DOMAIN, output_size=[7, 7],
        spatial_scales=[1 / stride for stride in STRIDES], finest_scale=56,
        sampling_ratio=ratio, aligned=int(aligned),
    )  # fmt: skip
    shapes = {name: array.shape for name, array in feeds.items()}
    return model_of([node], shapes, {"crops": FLOAT}, {}), feeds


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("aligned", [True, False])
def test_against_the_definition(lowering: str, aligned: bool) -> None:
    graph, feeds = model(aligned)
    (found,) = run(LOWERINGS[lowering](EditableGraph(graph)), feeds)
    for box, crop in zip(feeds["rois"][:, 1:], found, strict=True):
        area = (box[2] - box[0]) * (box[3] - box[1])
        level = int(np.clip(np.floor(np.log2(np.sqrt(area) / 56 + 1e-6)), 0, 3))
        feature = feeds[f"p{level}"]
        expected = naive_roi_align(feature, box, 1 / STRIDES[level], (7, 7), aligned)
        np.testing.assert_allclose(crop, expected, atol=2e-4, err_msg=str(box))


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("index", [0, 20, 28], ids=["ordinary", "thin", "large"])
def test_every_level_may_be_empty(lowering: str, index: int) -> None:
    graph, feeds = model(True)
    graph.graph.input[4].type.tensor_type.shape.dim[0].dim_value = 1
    every = run(LOWERINGS[lowering](EditableGraph(model(True)[0])), feeds)[0]
    feeds["rois"] = feeds["rois"][index : index + 1]
    (found,) = run(LOWERINGS[lowering](EditableGraph(graph)), feeds)
    np.testing.assert_array_equal(found[0], every[index])


def test_a_sampling_ratio_that_opset_11_cannot_express_is_refused() -> None:
    graph, _ = model(True, ratio=2)
    with pytest.raises(CascadeportError, match="sampling ratio") as caught:
        standard.lower(EditableGraph(graph))
    assert "roi" in caught.value.where
