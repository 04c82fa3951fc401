"""A build that cannot run on a cluster says why before anything is read."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.building.cluster import connection
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidInput, MissingDependency, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home

NOBODY = "tcp://127.0.0.1:1"
BUILD_FILE = """
contents:
  rows: {file: rows.csv}
  both: {file: "*.csv", concat: true}
  copy: {stage: copy}
stages:
  copy: {run: "cp {rows} {out}", inputs: {rows: contents.rows}, as: csv, outputs: {out: rows.csv}}
"""


def build(folder: Path, on: str, objects: str = "", *, text: str = "a\n1\n", **options: Any) -> str:
    """Build a folder with a table; return the hash."""
    if not (folder / "rows.csv").exists():
        (folder / "rows.csv").write_text(text)
    given = BuildOptions(on=on, objects=objects, **options)
    return build_package(Home(), Ref("me", "data"), folder, given).hash


BIG = "a\n" + "12345\n" * 200_000
"""The text of a table that is sent to a cluster."""


@pytest.mark.parametrize("on", ["spark", "tcp://", "http://127.0.0.1:1"])
def test_unknown_scheme(tmp_path: Path, on: str) -> None:
    with pytest.raises(InvalidInput, match="is not a cluster: expected"):
        build(tmp_path, on)
    build(tmp_path, "")
    with pytest.raises(InvalidInput, match="is not a cluster: expected"):
        build(tmp_path, on)  # although nothing changed


@pytest.mark.needs_library("distributed")
def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    with pytest.raises(Unreachable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        build(tmp_path, NOBODY, text=BIG)


@pytest.mark.needs_library("distributed")
def test_without_work_for_it_no_cluster_is_contacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 1.0)
    (tmp_path / "build.yml").write_text(BUILD_FILE)
    before = build(tmp_path, "", text=BIG)
    assert build(tmp_path, NOBODY) == before
    for path in tmp_path.iterdir():  # what is hashed again is found to be known
        os.utime(path, ns=(1, 1))
    assert build(tmp_path, NOBODY) == before
    (tmp_path / "small.txt").write_text("new")
    (tmp_path / "build.yml").write_text(BUILD_FILE.replace("contents:", "contents:\n  note: {file: small.txt}"))
    assert build(tmp_path, NOBODY) != before
    with pytest.raises(Unreachable):
        build(tmp_path, NOBODY, again=("copy",))


def test_unknown_place_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot hold the objects of a build") as caught:
        build(tmp_path, "dask", "ftp://example.org/x")
    assert caught.value.hint == "--objects file:///shared/folder"
    with pytest.raises(InvalidInput) as caught:
        build(tmp_path, "dask", "/mnt/my objects")
    assert caught.value.hint == "--objects file:///mnt/my%20objects"


def test_library_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency) as failed:
        build(tmp_path, "dask")
    assert failed.value.hint == "pip install distributed"


def test_dry_run(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--dry-run"):
        build(tmp_path, "dask", dry_run=True)
