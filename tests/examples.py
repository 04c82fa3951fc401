"""How many examples of a property a run tries: few in `make test`, all in `make test-all`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from _pytest.mark import ParameterSet

everything = False
"""Whether this run tries all examples; `tests/conftest.py` sets it before the tests are imported."""


def examples(few: int, many: int) -> int:
    """Return how many examples a test tries in this run, such as `max_examples` of a property."""
    return many if everything else few


def first(few: int, values: Iterable[Any]) -> list[ParameterSet]:
    """Return the values as parameters of a test; all but the first few are marked `big`."""
    return [pytest.param(each, marks=[] if at < few else pytest.mark.big) for at, each in enumerate(values)]


def seeds(few: int, many: int) -> list[ParameterSet]:
    """Return the numbers 0 … many - 1 as parameters of a test; all but the first few are marked `big`."""
    return first(few, range(many))
