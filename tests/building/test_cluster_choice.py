"""A build that cannot run on a cluster says why before anything is read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.building.cluster import connection
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidInput, MissingDependency, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home


def build(tmp_path: Path, on: str, objects: str = "", **options: bool) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    build_package(Home(), Ref("me", "data"), tmp_path, BuildOptions(on=on, objects=objects, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("on", ["spark", "tcp://", "http://127.0.0.1:1"])
def test_unknown_scheme(tmp_path: Path, on: str) -> None:
    with pytest.raises(InvalidInput, match="is not a cluster: expected"):
        build(tmp_path, on)


@pytest.mark.needs_library("distributed")
def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    with pytest.raises(Unreachable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        build(tmp_path, "tcp://127.0.0.1:1")


def test_unknown_place_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot hold the objects of a build"):
        build(tmp_path, "dask", "ftp://example.org/x")


def test_library_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency) as failed:
        build(tmp_path, "dask")
    assert failed.value.hint == "pip install distributed"


def test_dry_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--dry-run"):
        build(tmp_path, "dask", dry_run=True)
