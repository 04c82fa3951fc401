"""Objects of a store in both forms that they have in memory: a few, and very many."""

from __future__ import annotations

import pytest

from datapkg.format import object_sets, object_sizes


@pytest.fixture(params=["few", "many"])
def few_and_many(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test run with each of the two forms."""
    if request.param == "many":
        for module in (object_sets, object_sizes):
            monkeypatch.setattr(module, "MANY", 0)
