"""An indexed manifest returns the same results as a parsed one and rejects any index that is not its own."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.errors import NodeNotFound
from datapkg.format.manifest import index as manifest_index
from datapkg.format.manifest.indexed import IndexedManifest
from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.names import attribute_name
from tests.examples import examples

CONTENT = "c1:" + "0" * 64
NAMES = ["a", "a b", "a_b", "a.b", "class", "class_", "日本", "é", "A", "1", "n1", "~", "a!", "…", "\U0001f600"]


def hash_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def node(kind: str, path: str, number: int, meta: dict[str, Any]) -> Node:
    hash, size = hash_of(number), number
    if kind == "file":
        return FileNode(path=path, hash=hash, size=size, meta=meta)
    if kind == "array":
        return ArrayNode(path=path, hash=hash, size=size, dtype="<f8", shape=[number], meta=meta)
    if kind == "table":
        blocks = [Block(hash, 1, size), Block(hash_of(number + 1), 1, number + 1), Block(hash, 1, size)]
        return TableNode(path=path, columns=[("x", "int64")], content=CONTENT, blocks=blocks, rows=3, meta=meta)
    return GroupNode(path=path, meta=meta)


def made(wanted: list[tuple[str, list[str], int, dict[str, Any]]]) -> Manifest:
    """Return a manifest of those nodes whose paths are compatible."""
    nodes: dict[str, Node] = {}
    for kind, parts, number, meta in wanted:
        path = "/".join(parts)
        above = {"/".join(parts[:end]) for end in range(1, len(parts))}
        if path in nodes or any(each in nodes and nodes[each].kind != "group" for each in above):
            continue
        if kind == "group" or not any(each.startswith(f"{path}/") for each in nodes):
            nodes[path] = node(kind, path, number, meta)
    return Manifest.make(nodes.values(), {"title": "odd"})


def indexed(manifest: Manifest) -> IndexedManifest:
    return IndexedManifest(manifest.data, manifest.hash, manifest_index.make_index(manifest.data, manifest.hash))


def assert_alike(one: Manifest, other: Manifest) -> None:
    """Assert that both manifests return the same results, also for missing paths."""
    assert (other.hash, other.data, other.meta, other.nodes) == (one.hash, one.data, one.meta, one.nodes)
    assert other == one
    assert other.tables() == one.tables()
    assert list(other.table_nodes()) == list(one.table_nodes())
    parts = [each.parts for each in one.nodes]
    paths = {"/".join(each[:end]) for each in parts for end in range(len(each) + 1)}
    asked = paths | {f"{each}/x".lstrip("/") for each in paths} | {f"{each}!" for each in paths}
    for number, path in enumerate(sorted(asked)):
        assert other.kind(path) == one.kind(path)
        assert other.get(path) == one.get(path)
        if path and not one.kind(path):
            ask = ("below", "children", "size", "objects")[number % 4]  # searching for similar names is slow
            for manifest in (one, other):
                with pytest.raises(NodeNotFound):
                    getattr(manifest, ask)(path)
            continue
        assert other.below(path) == list(other.entries(path)) == one.below(path)
        assert list(other.children(path).items()) == list(one.children(path).items())
        assert other.objects(path) == one.objects(path)
        assert other.size(path) == one.size(path)
        attributes = {attribute_name(name) for name in one.children(path)}
        for attribute in {*attributes, *one.children(path), "a_b", "class", "nope", "a/b", "", "\udc80"}:
            found = other.named(path, attribute)
            expected = [name for name in one.children(path) if attribute_name(name) == attribute]
            assert found is None or found == expected


LINES = st.tuples(
    st.sampled_from(["file", "file", "table", "array", "group"]),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    st.integers(0, 5),
    st.sampled_from([{}, {}, {"n": 1e300, "deep": {"path": "x"}}, {"hash": "y", "path": "z"}]),
)


@settings(max_examples=examples(40, 150), deadline=None)
@given(wanted=st.lists(LINES, max_size=25), long=st.sampled_from([0, 2, 5, 256]))
def test_unusual_trees_are_read_the_same(wanted: list[tuple[str, list[str], int, dict[str, Any]]], long: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_index, "LONG", long)
        manifest = made(wanted)
        assert_alike(manifest, indexed(manifest))


@pytest.mark.big
def test_big_groups_are_read_the_same() -> None:
    wanted = [("file", ["flat", f"{n % 7} {n}.txt"], n % 50, {}) for n in range(600)]
    wanted += [("file", ["deep", str(n % 3), "x", str(n)], n, {"n": n}) for n in range(900)]
    wanted += [("group", ["deep"], 0, {"said": "so"}), ("table", ["t"], 3, {})]
    manifest = made(wanted)
    other = indexed(manifest)
    assert_alike(manifest, other)
    assert other.named("flat", "n3_3_txt") == ["3 3.txt"]
    assert other.named("deep", "n1") is None
    assert repr(other) == repr(manifest)


def test_metadata_like_the_line_of_a_table_is_not_a_table() -> None:
    like = {"about": {"kind": "table"}}
    wanted = [("file", ["a"], 1, like), ("table", ["b"], 2, like), ("array", ["c"], 3, like), ("table", ["d"], 4, {})]
    manifest = made(wanted)
    assert_alike(manifest, indexed(manifest))
    assert manifest.tables() == ["b", "d"]


def test_empty_package_is_read_the_same() -> None:
    assert_alike(made([]), indexed(made([])))


def test_foreign_or_corrupt_index_is_rejected() -> None:
    manifest, other = made([("file", ["a"], 1, {})]), made([("file", ["b"], 1, {})])
    right = manifest_index.make_index(manifest.data, manifest.hash)
    wrong = manifest_index.make_index(other.data, other.hash)
    newer = right[:6] + bytes([right[6] + 1]) + right[7:]
    for index in (b"", b"garbage", right[:-1], right[:40], right + b"x", wrong, newer):
        with pytest.raises(ValueError, match=r"form|short"):
            IndexedManifest(manifest.data, manifest.hash, index)
    with pytest.raises(ValueError, match="short"):
        IndexedManifest(manifest.data + b"\n", manifest.hash, right)
