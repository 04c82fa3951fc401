"""What tests of several verbs share: machines that use a server, or a registry without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from datapkg.home import Home
from tests.conftest import Person
from tests.static_registry import Static

Machine = Callable[[str], Home]


@pytest.fixture(params=["server", "files"])
def machine(request: pytest.FixtureRequest) -> Machine:
    """Return the homes of machines that use a server, or a registry without one."""
    if request.param == "server":
        person: Person = request.getfixturevalue("person")
        return person.home
    static: Static = request.getfixturevalue("static")
    return static.home
