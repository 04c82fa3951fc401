"""Finding nodes: walks, patterns, tests, metadata, and the frame of all that is below a group."""

from __future__ import annotations

import glob
import pickle

import pandas as pd
import pytest

import datapkg
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.manifest import index
from datapkg.format.manifest.indexed import IndexedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.parsed import Node as Entry
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes import files_table, functions
from datapkg.reading.nodes.groups import Package
from datapkg.store import manifests
from tests.reading.packages import file_node, group_node, install, iris_frame, table_node


@pytest.fixture(params=["parsed", "indexed"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, home: Home) -> Package:
    """Photos of cats and dogs, with metadata; read in both ways in which manifests are."""
    if request.param == "indexed":
        monkeypatch.setattr(manifests, "LONG_BYTES", 1)
        monkeypatch.setattr(index, "LONG", 2)
    cats = [file_node(home, f"photos/cats/{n}.jpg", b"cat", meta={"split": "train", "n": n}) for n in range(3)]
    return opened(
        home,
        *cats,
        file_node(home, "photos/dogs/a.JPG", b"dog", meta={"split": "test", "camera": {"iso": 100, "make": "x"}}),
        file_node(home, "photos/dogs/old/[1].jpg", b"old"),
        group_node("photos/dogs", split="test", checked=True),
        file_node(home, "index.jpg", b"", file_name="Index 1.jpg"),
        group_node("none"),
        table_node(home, "photos/table", iris_frame(), meta={"n": 1.5}),
    )


def opened(home: Home, *nodes: Entry) -> Package:
    install(home, "me/photos", *nodes)
    found = load("me/photos", home)
    assert isinstance(found, Package)
    return found


ALL = [
    *("index.jpg", "none", "photos", "photos/cats", "photos/cats/0.jpg", "photos/cats/1.jpg", "photos/cats/2.jpg"),
    *("photos/dogs", "photos/dogs/a.JPG", "photos/dogs/old", "photos/dogs/old/[1].jpg", "photos/table"),
]


def test_walk_yields_all_nodes_below(package: Package) -> None:
    assert [path for path, _ in package.walk()] == ALL
    assert all(package[path] == node and type(package[path]) is type(node) for path, node in package.walk())
    assert [path for path, _ in package["photos/dogs"].walk()] == ["a.JPG", "old", "old/[1].jpg"]
    assert list(package["none"].walk()) == []
    assert [(name, node.kind) for name, node in package["photos"].items()] == [
        ("cats", "group"),
        ("dogs", "group"),
        ("table", "table"),
    ]


@pytest.mark.parametrize(
    ("pattern", "found"),
    {
        "**/*.jpg": [path for path in ALL if path.endswith(".jpg")],
        "*.jpg": ["index.jpg"],
        "*": ["index.jpg", "none", "photos"],
        "**": ALL,
        "**/**": ALL,
        "photos/**": [path for path in ALL if path.startswith("photos/")],
        "photos/**/*.jpg": [path for path in ALL if path.startswith("photos/") and path.endswith(".jpg")],
        "photos/*": ["photos/cats", "photos/dogs", "photos/table"],
        "photos/*/[0-1].jpg": ["photos/cats/0.jpg", "photos/cats/1.jpg"],
        "photos/*/[!0-1].???": ["photos/cats/2.jpg", "photos/dogs/a.JPG"],
        "**/[[]1].jpg": ["photos/dogs/old/[1].jpg"],
        glob.escape("photos/dogs/old/[1].jpg"): ["photos/dogs/old/[1].jpg"],
        "**/cats/**": ["photos/cats/0.jpg", "photos/cats/1.jpg", "photos/cats/2.jpg"],
        "index.jpg": ["index.jpg"],
        "index": [],
        "index.jpg/*": [],
        "nothing/*": [],
        "photos/**/[": [],
    }.items(),
)
def test_patterns(package: Package, pattern: str, found: list[str]) -> None:
    assert [path for path, _ in package.find(pattern)] == found
    assert [package[path] for path in found] == [node for _, node in datapkg.find(package, pattern)]


def test_patterns_begin_at_their_group(package: Package) -> None:
    assert [path for path, _ in package["photos"].find("*/?.jpg")] == ["cats/0.jpg", "cats/1.jpg", "cats/2.jpg"]
    assert [path for path, _ in package["photos/dogs"].find("old/*")] == ["old/[1].jpg"]


@pytest.mark.parametrize("pattern", ["", "/a", "a/", "a//b", "../x", "./x", "[z-a]", "x" * 5000, None, 3, ["a"]])
def test_invalid_patterns_are_rejected(package: Package, pattern: str) -> None:
    with pytest.raises(InvalidInput, match="pattern"):
        package.find(pattern)


def test_walked_node_equals_the_node_at_its_path(package: Package) -> None:
    for path, node in package.walk():
        asked = package[path]
        assert (node, node.kind, node.size, node.meta) == (asked, asked.kind, asked.size, asked.meta)
        assert pickle.loads(pickle.dumps(node)) == asked


def test_pickle_of_another_version_is_rejected(package: Package) -> None:
    _, node = next(package.walk())
    restore, (kind, path, source) = node.__reduce__()
    for other in ({**source, "datapkg": "99.0"}, {"ref": source["ref"]}):
        with pytest.raises(InvalidInput, match="this pickle was made by datapkg") as caught:
            restore(kind, path, other)
        assert caught.value.hint.startswith(f"datapkg.load({source['ref']!r})")


def test_walked_node_needs_no_lookup(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of 100,000 nodes takes seconds to list if each does."""
    nodes = [node for _, node in package.walk() if node.kind != "group"]
    sizes = [node.size for node in nodes]
    for manifest in (Manifest, IndexedManifest):
        monkeypatch.setattr(manifest, "kind", None)
        monkeypatch.setattr(manifest, "size", None)
    assert [node.size for node in nodes] == sizes
    assert {node.kind for node in nodes} == {"file", "table"}


def test_a_filter_tests_nodes_or_metadata(package: Package) -> None:
    """Behaviour 49 of Quilt 2."""

    def paths(*args: object, **named: object) -> list[str]:
        return [path for path, _ in package.filter(*args, **named)]  # type: ignore[arg-type]

    assert paths(lambda node: False) == []
    assert paths(lambda node: True) == paths(meta={}) == ALL
    assert paths(lambda node: node.kind == "table") == ["photos/table"]
    assert paths(lambda node: node.name == "cats") == ["photos/cats"]
    assert paths(meta={"split": "test"}) == ["photos/dogs", "photos/dogs/a.JPG"]
    assert paths(meta={"camera": {"iso": 100}}) == ["photos/dogs/a.JPG"]
    assert paths(meta={"camera": {"iso": 100, "make": "y"}}) == paths(meta={"camera": 100}) == []
    assert paths(meta={"checked": True}) == ["photos/dogs"]
    assert paths(meta={"checked": 1}) == paths(meta={"split": {"test": 1}}) == paths(meta={"nope": None}) == []
    assert paths(lambda node: node.name > "0.jpg", meta={"split": "train"}) == [
        "photos/cats/1.jpg",
        "photos/cats/2.jpg",
    ]
    assert [path for path, _ in package["photos/dogs"].filter(meta={"split": "test"})] == ["a.JPG"]


@pytest.mark.parametrize(("args", "named"), [((), {}), (({"split": "test"},), {}), (("x",), {}), ((), {"meta": "x"})])
def test_filter_without_arguments_is_rejected(
    package: Package, args: tuple[object, ...], named: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match=r"filter takes|mapping"):
        package.filter(*args, **named)  # type: ignore[arg-type]


def test_all_nodes_below_as_a_frame(package: Package) -> None:
    frame = package.to_frame()
    assert frame["path"].tolist() == ALL
    assert frame.columns.tolist() == [
        *("path", "kind", "size", "rows", "file_name", "hash"),
        *("meta.n", "meta.split", "meta.checked", "meta.camera"),
    ]
    assert frame["kind"].tolist() == [node.kind for _, node in package.walk()]
    assert frame["size"].sum() == sum(node.size for _, node in package.walk() if node.kind != "group")
    assert frame["size"].dtype == "int64"
    rows = frame.set_index("path")
    assert rows.loc["photos/table", "rows"] == 3
    assert rows["rows"].isna().sum() == len(ALL) - 1
    assert rows.loc["index.jpg", "file_name"] == "Index 1.jpg"
    assert rows.loc["photos/cats/1.jpg", "hash"] == package["photos/cats/1.jpg"].hash
    assert rows.loc["photos/dogs/a.JPG", "meta.camera"] == {"iso": 100, "make": "x"}
    assert rows.query("`meta.split` == 'train' and `meta.n` > 0").index.tolist() == [
        "photos/cats/1.jpg",
        "photos/cats/2.jpg",
    ]
    assert rows.loc["photos/table", "meta.n"] == 1.5


def test_a_frame_of_a_group_and_of_some_keys(package: Package) -> None:
    dogs = datapkg.to_frame(package["photos/dogs"], meta=["split", "nope"])
    assert dogs["path"].tolist() == ["a.JPG", "old", "old/[1].jpg"]
    assert dogs.columns[-2:].tolist() == ["meta.split", "meta.nope"]
    assert dogs["meta.nope"].isna().all()
    none = package["none"].to_frame()
    assert (len(none), none.columns.tolist()) == (0, ["path", "kind", "size", "rows", "file_name", "hash"])
    assert none["size"].dtype == "int64"
    with pytest.raises(InvalidInput, match=r"for one write \['split'\]"):
        package.to_frame(meta="split")  # type: ignore[arg-type]


def test_a_frame_in_parts_is_the_same(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = package.to_frame()
    for rows in (1, 5, len(ALL)):
        monkeypatch.setattr(files_table, "_AT_ONCE", rows)
        pd.testing.assert_frame_equal(package.to_frame(), whole)


def test_too_wide_frame_shows_what_to_type(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_table, "MAX_CELLS", 40)
    with pytest.raises(
        InvalidInput, match=r"me/photos: 4 keys .* 12 nodes .*to_frame\(meta=\['n', 'split', 'checked'\]\)"
    ):
        package.to_frame()
    assert len(package.to_frame(meta=["n"])) == 12


def test_nodes_called_like_methods_leave_the_functions(home: Home) -> None:
    names = ["find", "filter", "to_frame", "plot"]
    odd = opened(home, *(file_node(home, name, name.encode()) for name in names))
    assert [getattr(odd, name).read_text() for name in names] == names
    assert [path for path, _ in functions.find(odd, "f*")] == ["filter", "find"]
    assert [path for path, _ in functions.filter(odd, lambda node: node.size == 4)] == ["find", "plot"]
    assert len(functions.to_frame(odd)) == 4
    with pytest.raises(NotFound, match="has no image: in it"):
        functions.plot(odd)
