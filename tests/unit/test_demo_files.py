"""The demo that is committed: small enough, a cascade with deformable convolutions, trained."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import onnx
import pytest

LIMIT = 6_000_000


@pytest.mark.parametrize("name", ["demo.pth", "demo.onnx"])
def test_a_clone_stays_small(repository: Path, name: str) -> None:
    assert (repository / "models" / "demo" / name).stat().st_size <= LIMIT


def test_the_graph_has_the_structure_of_the_r101(repository: Path) -> None:
    """Stages c3 to c5 of a ResNet-50 are 4 + 6 + 3 blocks; the heads read four levels."""
    graph = onnx.load(repository / "models" / "demo" / "demo.onnx").graph
    ours = [node for node in graph.node if node.domain == "cascadeport"]
    counted = Counter(node.op_type for node in ours)
    assert counted == {"DeformConv": 13, "RoiExtractor": 3, "ProposalNMS": 1, "MultiClassNMS": 1}
    for node in ours:
        if node.op_type == "RoiExtractor":
            scales = next(a for a in node.attribute if a.name == "spatial_scales")
            assert list(scales.floats) == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    shape = graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in shape] == [1, 3, 256, 256]


def test_the_log_ends_with_the_accuracy_that_was_asked_for(repository: Path) -> None:
    log = (repository / "models" / "demo" / "training.log").read_text()
    found = re.search(r"held-out AP, all pictures: ([0-9.]+)\s*\Z", log)
    assert found, "the log does not end with a score over all held-out pictures"
    assert float(found[1]) >= 0.60
