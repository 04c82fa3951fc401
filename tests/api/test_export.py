"""Export writes ordinary files with their original names, all or none, and never outside its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.cat import cat
from datapkg.api.export import export
from datapkg.errors import Conflict, InvalidInput, NodeNotFound, ObjectNotFound
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import find_installed
from datapkg.store.refs import Current

REF = Ref("u", "p")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "raw").mkdir(parents=True)
    (source / "class.csv").write_text('n,text,number\n1,"a,b",0.1\n2,,\n')
    (source / "raw" / "tabs.tsv").write_text("a\tb\n1\tx\n")
    (source / "日本.txt").write_bytes(b"\x00\xff")
    (source / "{}").write_text("odd")
    np.save(source / "w.npy", np.arange(6.0).reshape(2, 3))
    pd.DataFrame({"a": [1]}).to_parquet(source / "kept.parquet")
    return source


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_exported_folder_equals_its_source(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    exported = export(home, REF, tmp_path / "out")
    before, after = files_below(source), files_below(tmp_path / "out")
    assert sorted(before) == sorted(after)
    for name in ("日本.txt", "{}", "w.npy", "kept.parquet"):
        assert after[name] == before[name]
    for name, separator in (("class.csv", ","), ("raw/tabs.tsv", "\t")):
        first, second = (pd.read_csv(folder / name, sep=separator) for folder in (source, tmp_path / "out"))
        pd.testing.assert_frame_equal(first, second)
    assert sum(map(len, after.values())) == exported.size_bytes
    assert len(exported.files) == len(after)


def test_file_names_of_unclear_and_compressed_sources(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "iris.data").write_text("1,2\n3,4\n")
    pd.DataFrame({"a": [1]}).to_csv(source / "b.csv.gz", index=False)
    pd.DataFrame({"a": [1]}).to_excel(source / "c.xlsx", index=False)
    (source / "build.yml").write_text(
        "contents:\n  a: {file: iris.data, transform: csv, kwargs: {header: }}\n"
        "  b: {file: b.csv.gz, transform: csv}\n  c: {file: c.xlsx}\n"
    )
    build_package(home, REF, source)
    export(home, REF, tmp_path / "out")
    assert sorted(files_below(tmp_path / "out")) == ["b.csv", "c.parquet", "iris.data"]
    export(home, REF, tmp_path / "csv", format="csv")
    assert sorted(files_below(tmp_path / "csv")) == ["b.csv", "c.csv", "iris.data"]
    export(home, REF, tmp_path / "parquet", format="parquet")
    assert sorted(files_below(tmp_path / "parquet")) == ["b.parquet", "c.parquet", "iris.parquet"]
    with pytest.raises(InvalidInput, match="csv, parquet"):
        export(home, REF, tmp_path / "odd", format="odd")


def test_one_node_is_one_file(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    export(home, Ref("u", "p", "日本.txt"), tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == b"\x00\xff"
    (tmp_path / "folder").mkdir()
    export(home, Ref("u", "p", "日本.txt"), tmp_path / "folder")
    assert (tmp_path / "folder" / "日本.txt").read_bytes() == b"\x00\xff"
    export(home, Ref("u", "p", "raw"), tmp_path / "raw")
    assert list(files_below(tmp_path / "raw")) == ["tabs.tsv"]


def test_existing_files_are_not_overwritten(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "class.csv").write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        export(home, REF, tmp_path / "out")
    assert files_below(tmp_path / "out") == {"class.csv": b"mine"}
    (tmp_path / "out" / "other").write_text("stays")
    export(home, REF, tmp_path / "out", force=True)
    assert files_below(tmp_path / "out").keys() == {*files_below(source), "other"}


def test_nothing_is_written_if_a_folder_has_the_name_of_a_file(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    (tmp_path / "out" / "日本.txt").mkdir(parents=True)
    with pytest.raises(Conflict, match="is a folder"):
        export(home, REF, tmp_path / "out", force=True)
    assert files_below(tmp_path / "out") == {}


def test_links_outside_the_target_are_not_followed(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "raw").symlink_to(elsewhere)
    with pytest.raises(Conflict, match="in the way"):
        export(home, REF, tmp_path / "out", force=True)
    assert files_below(elsewhere) == {}
    (tmp_path / "out" / "raw").unlink()
    (elsewhere / "target").write_text("mine")
    (tmp_path / "out" / "class.csv").symlink_to(elsewhere / "target")
    export(home, REF, tmp_path / "out", force=True)
    assert (elsewhere / "target").read_text() == "mine"
    assert not (tmp_path / "out" / "class.csv").is_symlink()


def keep(home: Home, *nodes: tuple[str, str]) -> None:
    """Save a package of files with these paths and original file names."""
    hash = home.store.objects.put_bytes(b"x")
    manifest = Manifest.make([FileNode(path=path, hash=hash, size=1, file_name=name) for path, name in nodes])
    home.store.save(manifest)
    home.store.refs.set_current(Ref("u", "p"), Current(manifest.hash, "local"))


def test_nodes_with_one_file_name_get_distinct_names(home: Home, tmp_path: Path) -> None:
    keep(home, ("a", "same.txt"), ("b", "same.txt"), ("c", "other.txt"), ("g/a", "same.txt"))
    export(home, REF, tmp_path / "out")
    assert sorted(files_below(tmp_path / "out")) == ["a.txt", "b.txt", "g/same.txt", "other.txt"]


def test_error_lists_all_nodes_with_one_name(home: Home, tmp_path: Path) -> None:
    keep(home, ("a", "same.txt"), ("b", "same.txt"), ("c", "a.txt"), ("g/c", "x"), ("same", "g"))
    with pytest.raises(Conflict) as caught:
        export(home, REF, tmp_path / "out")
    assert "a and c are both a.txt" in str(caught.value)
    assert "same is a file where a folder is needed: g" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_remains_of_a_killed_export_are_deleted_after_a_day(home: Home, tmp_path: Path, monkeypatch: Any) -> None:
    keep(home, ("a", "a.txt"), ("b", "b.txt"))
    (tmp_path / ".datapkg-export-old").mkdir()
    export(home, REF, tmp_path / "one")
    assert (tmp_path / ".datapkg-export-old").exists()
    monkeypatch.setattr("datapkg.api.export.STALE_TEMP_S", -1)
    export(home, REF, tmp_path / "two")
    assert not (tmp_path / ".datapkg-export-old").exists()


def test_nothing_is_written_if_an_object_is_missing(home: Home, source: Path, tmp_path: Path) -> None:
    build_package(home, REF, source)
    manifest = home.store.manifest(find_installed(home, REF).hash)
    node = manifest.get("{}")
    assert isinstance(node, FileNode)
    home.store.objects.delete(node.hash)
    with pytest.raises(ObjectNotFound, match="nothing was written") as caught:
        export(home, REF, tmp_path / "out")
    assert caught.value.hint.startswith("datapkg install u/p@sha256:")
    assert [path.name for path in tmp_path.iterdir() if "export" in path.name or path.name == "out"] == []


def test_table_of_many_blocks_is_one_parquet_file(home: Home, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(300_000), "b": np.arange(300_000) / 7})
    build_package(home, REF, frame)
    assert len(list(home.store.manifest(find_installed(home, REF).hash).nodes[0].objects())) > 1
    export(home, REF, tmp_path / "out")
    (file,) = (tmp_path / "out").iterdir() if (tmp_path / "out").is_dir() else [tmp_path / "out"]
    pd.testing.assert_frame_equal(pd.read_parquet(file), frame)


def test_cat(home: Home, source: Path) -> None:
    build_package(home, REF, source)
    output: list[bytes] = []
    cat(home, Ref("u", "p", "class"), output.append)
    cat(home, Ref("u", "p", "日本.txt"), output.append)
    assert b"".join(output) == b'n,text,number\n1,"a,b",0.1\n2,,\n\x00\xff'
    for path in ("", "raw"):
        with pytest.raises(NodeNotFound, match="cat shows one"):
            cat(home, Ref("u", "p", path), output.append)
    with pytest.raises(NodeNotFound, match="no node"):
        cat(home, Ref("u", "p", "nope"), output.append)


def test_cat_of_a_missing_object_names_the_node_and_the_command(home: Home, source: Path) -> None:
    build_package(home, REF, source)
    found = find_installed(home, REF)
    for hash in found.store.manifest(found.hash).objects("日本.txt"):
        found.store.objects.delete(hash)
    output: list[bytes] = []
    with pytest.raises(ObjectNotFound, match=r"u/p/日本\.txt is not wholly on this machine") as caught:
        cat(home, Ref("u", "p", "日本.txt"), output.append)
    assert caught.value.hint == f"datapkg install u/p/日本.txt@sha256:{found.hash}"
    assert not output
