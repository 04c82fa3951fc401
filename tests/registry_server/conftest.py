"""A registry for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry_server.asgi import Client, House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A registry in this process."""
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def ada(house: House) -> Client:
    """A user."""
    return house.user("ada")


@pytest.fixture
def bob(house: House) -> Client:
    """Another user."""
    return house.user("bob")
