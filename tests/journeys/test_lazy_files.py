"""Files of packages that are not installed are fetched from the registry only when they are opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import NoSuchFile, Unreachable
from datapkg.format.names import Ref
from datapkg.reading.files.fsspec_filesystem import DatapkgFileSystem
from tests.conftest import Person
from tests.faulty_proxy import faulty_way


@pytest.fixture
def published(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ref:
    """Push a package with a wide table, and make this process its reader on another machine."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame({f"c{at:02}": random.standard_normal(50_000) for at in range(20)})
    (tmp_path / "note.txt").write_text("note\n")
    home, ref = person.home("publisher"), person.ref("wide")
    source: Any = {"table": frame, "texts": {"note.txt": tmp_path / "note.txt"}}
    build_package(home, ref, source, BuildOptions(allow_outside=True))
    push_package(home, ref)
    for name, value in person.environ("reader").items():
        monkeypatch.setenv(name, value)
    return ref


def test_reading_a_column_fetches_only_its_bytes(published: Ref) -> None:
    package = published.package
    assert not DatapkgFileSystem().exists(f"{package}/table.parquet")
    fs = DatapkgFileSystem(lazy=True)
    names = fs.find(package)
    assert names[-1] == f"{package}/texts/note.txt"
    parts = [name for name in names if name.endswith(".parquet")]
    whole = sum(fs.info(name)["size"] for name in parts)
    through = fs._place(package).tree.source.through  # type: ignore[union-attr]
    assert through._theirs is None  # only the manifest was requested
    rows = sum(pq.read_table(fs.open(name), columns=["c03"]).num_rows for name in parts)
    assert rows == 50_000
    assert 0 < through._theirs._session.received_bytes < 0.6 * whole
    assert fs.cat_file(f"{package}/texts/note.txt") == b"note\n"
    with pytest.raises(NoSuchFile):
        fs.info(f"{package}/texts/nope.txt")


def test_open_hook_fetches_opened_files(published: Ref, tmp_path: Path) -> None:
    with datapkg.open_hook(tmp_path / "shown", published.package, lazy=True) as folder:
        assert sorted(path.name for path in folder.rglob("*.txt")) == ["note.txt"]
        assert (folder / "texts" / "note.txt").stat().st_size == 5
        assert (folder / "texts" / "note.txt").read_text() == "note\n"


def test_unreachable_registry_is_an_error_and_not_an_empty_folder(
    published: Ref, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_way(person.url) as way:
        monkeypatch.setenv("DATAPKG_REGISTRY", way.url)
    fs = DatapkgFileSystem(lazy=True)
    for ask in (fs.exists, fs.isfile, fs.ls, fs.find, fs.glob):
        with pytest.raises(Unreachable):
            ask(f"{published.package}/texts")
