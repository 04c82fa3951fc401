"""A package seen as files: names, true sizes, bytes; aliases that are found and not listed."""

from __future__ import annotations

import io
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.errors import CorruptObject, NodeNotFound, NotAFile, NotAFolder, ObjectNotFound
from datapkg.format.manifest.parsed import FileNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.files.mount import MountedTree
from datapkg.reading.files.tree import FileTree
from datapkg.reading.source import Source
from tests.reading.packages import array_node, file_node, group_node, install, iris_frame, table_node


def tree(home: Home, *nodes: Any, top: str = "") -> FileTree:
    hash = install(home, "me/files", *nodes)
    return FileTree(Source(home.store, Ref("me", "files"), hash), top)


def names(found: FileTree, path: str = "") -> list[str]:
    return [entry.name + "/" * entry.is_folder for entry in found.listing(path)]


@pytest.fixture
def mixed(home: Home) -> FileTree:
    return tree(
        home,
        table_node(home, "flowers", iris_frame(), file_name="iris.data"),
        table_node(home, "long", iris_frame(), iris_frame().head(2)),
        file_node(home, "README.md", b"# Iris\n"),
        file_node(home, "raw/deep/a.jpg", b"\xff\xd8a", file_name="Other.JPG"),
        file_node(home, "empty file", b""),
        group_node("nothing"),
        group_node("raw", title="as they came"),
        array_node(home, "weights", np.arange(6.0)),
    )


def test_groups_are_folders_and_the_rest_are_files_with_a_suffix(mixed: FileTree) -> None:
    assert names(mixed) == [
        *("README.md", "empty file", "flowers.parquet", "long.parquet/", "nothing/", "raw/", "weights.npy")
    ]
    assert names(mixed, "raw") == ["deep/"]
    assert names(mixed, "raw/deep") == ["a.jpg"]
    assert names(mixed, "nothing") == []
    assert names(mixed, "long.parquet") == ["long-00000.parquet", "long-00001.parquet"]


def test_every_file_has_its_listed_size(mixed: FileTree) -> None:
    todo, seen = [""], 0
    while todo:
        folder = todo.pop()
        for entry in mixed.listing(folder):
            path = f"{folder}/{entry.name}".strip("/")
            assert mixed.look(path) == entry
            if entry.is_folder:
                todo.append(path)
                assert (entry.size, entry.objects) == (0, ())
                continue
            seen += 1
            with mixed.open(path) as stream:
                data = stream.read()
                stream.seek(-2 if data else 0, io.SEEK_END)
                assert stream.read() == data[-2:]
            assert len(data) == entry.size == entry.objects[0][1]
            place = mixed.local_path(path)
            assert place.read_bytes() == data
            assert path == "raw/deep/a.jpg" or path.endswith(place.suffix)
    assert seen == 7


def test_tables_and_arrays_are_found_under_their_bare_names_too(mixed: FileTree) -> None:
    assert mixed.look("flowers") == mixed.look("flowers.parquet")
    assert mixed.look("weights").name == "weights.npy"
    assert mixed.look("long/long-00001.parquet") == mixed.look("long.parquet/long-00001.parquet")
    with mixed.open("long/long-00001.parquet") as stream:
        assert len(pd.read_parquet(stream)) == 2
    assert names(mixed, "long") == names(mixed, "long.parquet")
    assert np.load(mixed.local_path("weights")).tolist() == [0, 1, 2, 3, 4, 5]


ABSENT = [
    *("nope", "flower", "flowers.npy", "weights.parquet", "raw/deep/a.jpg/b", "long.parquet/long-00002.parquet"),
    *(
        "long.parquet/long-0.parquet",
        "long.parquet/long--1.parquet",
        "long-00000.parquet",
        "long/x",
        "..",
        "raw/..",
    ),
    *("./raw", "raw//deep", "flowers.parquet.parquet", ".parquet", "raw.parquet", "flowers/flowers.parquet"),
    *("long.parquet/long-0000٠.parquet", "nothing/x"),
]


def test_missing_paths_are_not_found(mixed: FileTree) -> None:
    for path in ABSENT:
        for ask in (mixed.look, mixed.listing, mixed.open, mixed.local_path):
            with pytest.raises(NodeNotFound):
                ask(path)


def test_folders_and_files_are_not_mistaken(mixed: FileTree) -> None:
    for ask in (mixed.open, mixed.local_path):
        for folder in ("", "raw", "long.parquet", "nothing"):
            with pytest.raises(NotAFile, match="is a folder, not a file"):
                ask(folder)
    with pytest.raises(NotAFolder, match=r"me/files/flowers\.parquet is a file"):
        mixed.listing("flowers.parquet")


def test_names_that_would_clash_stay_bare(home: Home) -> None:
    found = tree(
        home,
        table_node(home, "a", iris_frame()),
        file_node(home, "a.parquet", b"not it"),
        array_node(home, "b", np.arange(2)),
        file_node(home, "b.npy/inner", b"x"),
        table_node(home, "c", iris_frame()),
        table_node(home, "c.parquet", iris_frame().head(1), iris_frame()),
        table_node(home, "d" * 255, iris_frame()),
        table_node(home, "e" * 247, iris_frame(), iris_frame()),
    )
    long = ("d" * 255, "e" * 247 + ".parquet/")
    assert names(found) == ["a", "a.parquet", "b", "b.npy/", "c", "c.parquet.parquet/", *long]
    for entry in found.listing(""):
        assert found.look(entry.name) == entry
    with found.open("a.parquet") as stream:
        assert stream.read() == b"not it"
    with found.open("a") as stream:
        assert stream.read(4) == b"PAR1"
    # The exact name of a node wins over a name with a suffix.
    assert found.look("c.parquet").node_path == "c.parquet"
    assert names(found, "e" * 247) == ["part-00000.parquet", "part-00001.parquet"]
    assert found.look("e" * 247 + "/part-00001.parquet").size > 0


def test_a_tree_may_begin_at_any_node(home: Home, mixed: FileTree) -> None:
    raw = FileTree(mixed.source, "raw")
    assert (names(raw), raw.look("").is_folder, raw.look("deep/a.jpg").node_path) == (["deep/"], True, "raw/deep/a.jpg")
    assert names(FileTree(mixed.source, "long")) == ["long-00000.parquet", "long-00001.parquet"]
    with FileTree(mixed.source, "README.md").open("") as stream:
        assert stream.read() == b"# Iris\n"
    with pytest.raises(NodeNotFound):
        FileTree(mixed.source, "nope").look("")


def test_object_of_wrong_size_is_rejected(home: Home) -> None:
    hash = home.store.objects.put_bytes(b"12345")
    found = tree(home, FileNode(path="a", hash=hash, size=4), FileNode(path="b", hash="0" * 64, size=4))
    with pytest.raises(CorruptObject, match="says 4 bytes, and the object has 5"):
        found.open("a")
    with pytest.raises(ObjectNotFound, match="datapkg fetch me/files/"):
        found.open("b")


def test_a_listing_is_the_callers_own(mixed: FileTree) -> None:
    mixed.listing("").clear()
    assert len(mixed.listing("")) == 7


def test_names_are_found_in_whatever_form_their_accents_are_typed(home: Home) -> None:
    install(home, "me/menu", file_node(home, "caf\u00e9/t\u00e9.txt", b"x"))
    typed = "cafe\u0301/te\u0301.txt"
    package = datapkg.load("me/menu")
    node = package[typed]
    assert node.path.name == package["cafe\u0301"]["te\u0301.txt"].path.name == "t\u00e9.txt"
    assert typed in package
    assert datapkg.load(f"me/menu/{typed}") == node
    assert [found for found, _ in datapkg.find(package, "cafe\u0301/*")] == ["caf\u00e9/t\u00e9.txt"]
    with fsspec.open(f"datapkg://me/menu/{typed}") as stream:
        assert stream.read() == b"x"
    with datapkg.open_hook("somewhere", "me/menu"), open(f"somewhere/{typed}") as file:
        assert file.read() == "x"
    found = FileTree(Source(home.store, Ref("me", "menu"), datapkg.hash(package)))
    assert MountedTree(found, 0, lambda path, error: None).getattr(f"/{typed}")["st_size"] == 1
