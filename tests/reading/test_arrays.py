"""Array nodes: numpy takes them as they are, and what only a loaded array can do says what to type."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.errors import InvalidInput, NodeNotFound
from datapkg.reading.nodes.arrays import Array
from datapkg.reading.nodes.groups import Package

WEIGHTS = np.arange(6.0).reshape(2, 3)


@pytest.fixture
def weights(iris: Package) -> Array:
    node = iris["weights"]
    assert isinstance(node, Array)
    return node


def test_numpy_accepts_an_array_node(weights: Array) -> None:
    np.testing.assert_array_equal(np.asarray(weights), WEIGHTS)
    assert np.asarray(weights, dtype="int8").tolist() == WEIGHTS.astype(int).tolist()
    assert np.sum(weights) == WEIGHTS.sum()
    assert (np.ones(3) + weights).tolist() == (WEIGHTS + 1).tolist()
    assert pd.DataFrame(np.array(weights)).shape == (2, 3)
    mine = np.array(weights)
    mine[0, 0] = -1
    assert weights()[0, 0] == 0
    with pytest.raises(InvalidInput, match="copy=False"):
        np.asarray(weights, copy=False)


@pytest.mark.parametrize(
    "use",
    [
        lambda node: node[0],
        list,
        lambda node: node + 1,
        lambda node: 2 * node,
        operator.neg,
        lambda node: node < 1,
        lambda node: operator.setitem(node, 0, 1),
    ],
)
def test_errors_show_how_to_load_an_array(weights: Array, use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match=r"iris\.weights\(\)"):
        use(weights)


def test_numpy_attributes_show_how_to_load(weights: Array) -> None:
    node: Any = weights
    with pytest.raises(
        NodeNotFound, match=r"array node, which has no 'mean'; load it first: iris\.weights\(\)\.mean\(…\)"
    ):
        node.mean()
    with pytest.raises(NodeNotFound, match=r"load it first: iris\.weights\(\)\.T$"):
        node.T  # noqa: B018
    with pytest.raises(NodeNotFound, match=r"did you mean \.shape"):
        node.shap  # noqa: B018
    assert not hasattr(weights, "__dlpack__")
    assert getattr(weights, "nothing", 3) == 3
