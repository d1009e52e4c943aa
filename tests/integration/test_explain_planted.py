"""Seeded errors in the demo's graph are found where they are; `make bench` tries many more."""

from __future__ import annotations

import pytest

from tests.helpers.explaining import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("planted"), pictures=4)


@pytest.mark.parametrize("seed", [4, 9, 23])
def test_the_tensor_with_the_error_is_named(world: World, seed: int) -> None:
    planted, found = world.planted(seed)
    assert found.first is not None, planted.what
    assert found.first.value == planted.value, planted.what


@pytest.mark.parametrize("lowering", ["onnxruntime-1.9", "ascend-standard"])
def test_a_correct_lowering_is_not_accused(world: World, lowering: str) -> None:
    found = world.same(lowering, 1)
    assert found.first is None, found.first
    assert len(found.values) > 200


def test_the_noise_is_that_of_every_value(world: World) -> None:
    found = world.same("onnxruntime", 2)
    # After the RPN's selection rows may be others; before, every value has been rounded.
    dense = [one for one in found.values if one.value not in world.graph.selected]
    assert len(dense) > 150
    assert all(0 < one.noise.largest < 1e-3 for one in dense)
    assert all(0 < one.own_noise.largest < 1e-4 for one in dense if "Transpose" not in one.words)
