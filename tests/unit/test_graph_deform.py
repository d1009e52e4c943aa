"""Both expressions of deformable convolution, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from cascadeport.graph import opset11 as standard
from cascadeport.graph import opset19 as onnxruntime
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import DOMAIN
from onnx import helper

from tests.helpers.graph_models import FLOAT, model_of, naive_deform_conv, run

LOWERINGS = {"onnxruntime": onnxruntime.lower, "onnxruntime-1.9": standard.lower}


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(
    ("strides", "dilations", "groups"),
    [((1, 1), (1, 1), 1), ((2, 2), (1, 1), 1), ((1, 2), (2, 1), 2)],
)
def test_against_the_definition(
    lowering: str, strides: tuple[int, int], dilations: tuple[int, int], groups: int
) -> None:
    draw = np.random.default_rng(1)
    height, width = 9, 12
    pads = dilations
    x = draw.normal(size=(1, 4, height, width)).astype("f4")
    weight = draw.normal(size=(3, 4, 3, 3)).astype("f4")
    oh, ow = (-(-height // strides[0]), -(-width // strides[1]))
    # Spread far enough that many samples fall outside, and some exactly on the frame.
    offset = draw.normal(0, 4, size=(1, 18 * groups, oh, ow)).astype("f4")
    offset[0, :, 0] = -1.0
    node = helper.make_node(
        "DeformConv", ["x", "weight", "moved"], ["y"], name="dcn", domain=DOMAIN,
        strides=strides, pads=[*pads, *pads], dilations=dilations, groups=1, deform_groups=groups,
    )  # fmt: skip
    # The offset is computed, as in a network; a lowering must know its shape nevertheless.
    moved = helper.make_node("Relu", ["offset"], ["positive"])
    back = helper.make_node("Sub", ["positive", "negative"], ["moved"])
    negative = np.maximum(-offset, 0)
    model = model_of(
        [moved, back, node],
        {"x": x.shape, "offset": offset.shape},
        {"y": FLOAT},
        {"weight": weight, "negative": negative},
    )
    lowered = LOWERINGS[lowering](EditableGraph(model))
    assert all(each.domain == "" for each in lowered.graph.node)
    (found,) = run(lowered, {"x": x, "offset": offset})
    expected = naive_deform_conv(x, weight, offset, strides, pads, dilations, groups)
    np.testing.assert_allclose(found, expected, atol=2e-5)
