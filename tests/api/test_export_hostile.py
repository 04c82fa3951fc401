"""Export of untrusted packages, and into a folder where another process swaps in links meanwhile."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.api import export as exporting
from datapkg.api.build import build_package
from datapkg.api.cat import cat
from datapkg.api.export import export
from datapkg.api.exporting import contents
from datapkg.errors import Conflict, DatapkgError
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.folders import OpenFolder
from datapkg.reading.load import load
from datapkg.resolve import find_installed

REF = Ref("u", "p")
TABLE = pa.table({"a": [1, 2], "b": ["x", None]})
_COLUMN = {"field_name": "a", "name": "a", "numpy_type": "int64", "pandas_type": "int64", "metadata": None}
_DEEP = "[" * 100_000 + "]" * 100_000
# Descriptions of the original frame in file metadata, none of which pandas ever writes.
DESCRIPTIONS: dict[str, Any] = {
    "numpy_type": {"columns": [_COLUMN | {"numpy_type": "nonsense"}]},
    "numpy_list": {"columns": [_COLUMN | {"numpy_type": ["x"]}]},
    "numpy_huge": {"columns": [_COLUMN | {"numpy_type": "V2147483647"}]},
    "numpy_commas": {"columns": [_COLUMN | {"numpy_type": "i4,i4"}]},
    "period": {"columns": [_COLUMN | {"numpy_type": "period[nope]"}]},
    "zone": {"columns": [_COLUMN | {"pandas_type": "datetimetz", "metadata": {"timezone": "No/Where"}}]},
    "name": {"columns": [_COLUMN | {"name": {"x": 1}}]},
    "no_index": {"index_columns": ["zzz", ["a"], 5]},
    "range": {"index_columns": [{"kind": "range", "name": ["l"], "start": "a", "stop": 10**30, "step": 0}]},
    "twice": {"index_columns": ["a", "a"]},
    "levels": {"column_indexes": [{"name": {"x": 1}, "pandas_type": "int64", "numpy_type": "nonsense"}] * 3},
    "scalars": {"columns": 1, "index_columns": 2, "column_indexes": "x"},
    "deep": _DEEP,
    "deep_columns": f'{{"columns": {_DEEP}, "index_columns": [], "column_indexes": []}}',
    "broken": "{",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


@pytest.fixture
def described(home: Home, tmp_path: Path) -> Home:
    """Create a package with a table for each description."""
    folder = tmp_path / "described"
    folder.mkdir()
    whole = json.loads(pa.Table.from_pandas(TABLE.to_pandas()).schema.metadata[b"pandas"])
    for name, said in DESCRIPTIONS.items():
        text = said if isinstance(said, str) else json.dumps(whole | said)
        pq.write_table(TABLE.replace_schema_metadata({b"pandas": text.encode()}), folder / f"{name}.parquet")
    build_package(home, REF, folder)
    return home


def test_invalid_frame_description_never_prevents_reading(described: Home, tmp_path: Path) -> None:
    for name in DESCRIPTIONS:
        ref = Ref("u", "p", name)
        node = load(ref, described)
        assert len(node()) == len(node(dtype_backend="pyarrow")) == 2
        assert len(node.head(1)) == 1
        said: list[bytes] = []
        cat(described, ref, said.append)
        assert {b"1", b"2"} == {line.split(b",")[0] for line in b"".join(said).splitlines()[1:]}
        said.clear()
        cat(described, ref, said.append, as_json=True)
        assert [next(iter(row.values())) for row in json.loads(b"".join(said))] == [1, 2]
    export(described, REF, tmp_path / "csv", format="csv")
    assert len(list((tmp_path / "csv").iterdir())) == len(DESCRIPTIONS)
    export(described, REF, tmp_path / "out", with_build_file=True)
    again = Home({"DATAPKG_HOME": str(tmp_path / "again")})
    build_package(again, REF, tmp_path / "out")
    first, second = (each.store.manifest(find_installed(each, REF).hash) for each in (described, again))
    assert [(node.path, getattr(node, "content", "")) for node in first.nodes] == [
        (node.path, getattr(node, "content", "")) for node in second.nodes
    ]


def test_times_outside_the_range_of_pandas_are_shown_and_exported(home: Home, tmp_path: Path) -> None:
    build_package(home, REF, pa.table({"a": pa.array([0, 10**18], pa.timestamp("us"))}))
    for as_json in (False, True):
        said: list[bytes] = []
        cat(home, Ref("u", "p", "data"), said.append, as_json=as_json)
        assert b"33658-09-27" in b"".join(said)
    export(home, REF, tmp_path / "csv", format="csv")
    assert "33658-09-27" in (tmp_path / "csv" / "data.csv").read_text()
    export(home, REF, tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "data.parquet")["a"].cast(pa.int64()).to_pylist() == [0, 10**18]


@pytest.fixture
def package(home: Home, tmp_path: Path) -> Home:
    for name in ("a/x.txt", "a/y.txt", "b/z.csv"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("n\n1\n")
    build_package(home, REF, tmp_path / "source")
    return home


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Create a folder outside the target that must stay unchanged."""
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "elsewhere"


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def swapping(monkeypatch: pytest.MonkeyPatch, method: str, when: int, swap: Callable[[], None]) -> None:
    """Call `swap` just before the n-th call of a method of `OpenFolder`, which acts on one name."""
    real = getattr(OpenFolder, method)
    calls = iter(range(10_000))

    def act(self: OpenFolder, *arguments: Any) -> Any:
        if next(calls) == when:
            swap()
        return real(self, *arguments)

    monkeypatch.setattr(OpenFolder, method, act)


def moments(method: str) -> Iterator[Any]:
    return (pytest.param(method, when, id=f"{method}-{when}") for when in range(0, 12, 2))


@pytest.mark.parametrize(("method", "when"), [*moments("move"), *moments("folder"), *moments("status")])
def test_swapped_in_link_is_not_followed(
    package: Home, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, when: int
) -> None:
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "x.txt").write_text("mine")

    def swap() -> None:
        if (out / "a").is_dir() and not (out / "a").is_symlink():
            (out / "a").rename(tmp_path / "moved")
            (out / "a").symlink_to(elsewhere)

    swapping(monkeypatch, method, when, swap)
    try:
        export(package, REF, out, force=True)
    except DatapkgError:
        assert below(elsewhere) == []
    assert below(elsewhere) == []
    assert list(tmp_path.rglob(f"{exporting.STAGED}*")) == []


def test_link_swapped_in_for_the_staging_folder_is_not_followed(
    package: Home, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swap() -> None:
        (staged,) = (tmp_path / "new").glob(".datapkg-export-*")
        staged.rename(tmp_path / "taken")
        staged.symlink_to(elsewhere)

    swapping(monkeypatch, "new_file", 1, swap)
    export(package, REF, tmp_path / "new" / "out")
    assert below(elsewhere) == []
    assert len(below(tmp_path / "new" / "out")) == 5


def test_nothing_is_left_after_a_conflict(package: Home, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "b" / "z.csv").mkdir()
    with pytest.raises(Conflict, match="is a folder"):
        export(package, REF, out, force=True)
    assert below(out) == ["b", "b/z.csv"]
    (out / "b" / "z.csv").rmdir()
    (out / "b").rmdir()
    (out / "b").write_text("a file")
    with pytest.raises(Conflict, match="in the way"):
        export(package, REF, out, force=True)
    assert below(out) == ["b"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(Conflict, match="in the way"):
        export(package, REF, tmp_path / "file" / "deep" / "out")
    assert below(tmp_path / "source") == ["a", "a/x.txt", "a/y.txt", "b", "b/z.csv"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".datapkg")] == []


def test_nothing_is_left_after_a_failure(package: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk, no folder created for the target remains, and replaced files are restored."""
    real = contents.stored_bytes

    def full(*arguments: Any) -> Iterator[bytes]:
        yield from real(*arguments)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(contents, "stored_bytes", full)
    with pytest.raises(OSError, match="No space"):
        export(package, REF, tmp_path / "new" / "deep" / "out")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(contents, "stored_bytes", real)
    out = tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "x.txt").write_text("mine")

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    swapping(
        monkeypatch, "move", 3 + 3, fail
    )  # three files of the tree; then x is backed up and written, y is written, and z fails
    with pytest.raises(OSError, match="Input/output"):
        export(package, REF, out, force=True)
    assert below(out) == ["a", "a/x.txt"]
    assert (out / "a" / "x.txt").read_text() == "mine"
    assert list(tmp_path.rglob(f"{exporting.STAGED}*")) == []
