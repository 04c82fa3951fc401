"""Importing packages: what is found, when its state is decided, and what is said where nothing is there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from datapkg.errors import PackageNotInstalled
from datapkg.home import Home
from tests.reading.packages import file_node, install, install_iris, iris_frame, table_node


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    """Every test imports anew, as a fresh process would."""
    yield
    for name in [name for name in sys.modules if name.startswith("datapkg.data")]:
        del sys.modules[name]


@pytest.fixture
def home() -> Home:
    home = Home()
    install_iris(home)
    return home


def test_a_package_is_imported_and_called(home: Home) -> None:
    from datapkg.data.uciml import iris

    assert iris.measurements().equals(iris_frame())
    assert iris.README_md().read_text() == "# Iris\n"


def test_a_reload_shows_the_new_state_and_nothing_else_does(home: Home) -> None:
    import datapkg.data.uciml.iris as iris

    old = install(home, "uciml/iris", table_node(home, "one", iris_frame()))
    assert list(iris) == ["README.md", "measurements", "raw", "weights"]
    importlib.reload(iris)
    assert list(iris) == ["one"]
    assert iris.hash == old
    install(home, "uciml/iris", file_node(home, "two", b""))
    assert list(iris) == ["one"]


def test_what_is_not_installed_says_what_to_type() -> None:
    with pytest.raises(PackageNotInstalled, match=r"uciml/iris is not installed; type: datapkg install uciml/iris$"):
        from datapkg.data.uciml import iris  # noqa: F401
