"""A home with iris in it."""

from __future__ import annotations

import pytest

from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from tests.reading.packages import install_iris


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def iris(home: Home) -> Package:
    install_iris(home)
    package = load("uciml/iris", home)
    assert isinstance(package, Package)
    return package


@pytest.fixture
def register() -> None:
    """Makes `datapkg://` known to fsspec where this checkout was installed before it had the entry point."""
    import fsspec

    from datapkg.reading.files.fsspec_filesystem import DatapkgFileSystem

    if "datapkg" not in fsspec.available_protocols():
        fsspec.register_implementation("datapkg", DatapkgFileSystem)
