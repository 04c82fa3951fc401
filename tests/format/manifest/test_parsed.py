"""The bytes of manifests equal the golden files, and invalid manifests are rejected."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.errors import UPGRADE_HINT, HashMismatch, InvalidInput, InvalidManifest, NodeNotFound
from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, GroupNode, Manifest, TableNode

GOLDEN = Path(__file__).parents[2] / "golden" / "manifest"
GOOD = json.loads((GOLDEN / "good" / "hashes.json").read_text())
BAD = json.loads((GOLDEN / "bad" / "errors.json").read_text())
A, B, C = "a" * 64, "b" * 64, "c" * 64


def file(path: str, hash: str = C) -> FileNode:
    return FileNode(path=path, hash=hash, size=1, file_name="x")


@pytest.mark.parametrize("name", GOOD)
def test_golden_manifests_round_trip(name: str) -> None:
    data = (GOLDEN / "good" / f"{name}.jsonl").read_bytes()
    manifest = Manifest.parse(data, expected=GOOD[name])
    assert manifest.hash == hashlib.sha256(data).hexdigest() == GOOD[name]
    assert Manifest.make(reversed(manifest.nodes), manifest.meta).data == data


@pytest.mark.parametrize("name", BAD)
def test_invalid_manifests_are_rejected_with_a_reason(name: str) -> None:
    with pytest.raises(InvalidManifest) as caught:
        Manifest.parse((GOLDEN / "bad" / f"{name}.jsonl").read_bytes())
    assert BAD[name] in str(caught.value)


def test_golden_folders_and_tables_agree() -> None:
    for folder, table in (("good", GOOD), ("bad", BAD)):
        assert {path.stem for path in (GOLDEN / folder).glob("*.jsonl")} == set(table)


def test_manifest_of_a_newer_version_suggests_an_upgrade() -> None:
    with pytest.raises(InvalidManifest) as caught:
        Manifest.parse((GOLDEN / "bad" / "newer_format.jsonl").read_bytes())
    assert caught.value.hint == UPGRADE_HINT


def test_bytes_with_another_hash_are_a_mismatch() -> None:
    with pytest.raises(HashMismatch):
        Manifest.parse(b'{"datapkg":1}\n', expected=A)


def test_redundant_group_lines_are_omitted() -> None:
    nodes = [GroupNode(path="a"), file("a/b"), GroupNode(path="empty"), GroupNode(path="a/c", meta={"x": 1})]
    assert [node.path for node in Manifest.make(nodes).nodes] == ["a/b", "a/c", "empty"]


def test_below_returns_the_nodes_of_a_group() -> None:
    manifest = Manifest.make([file(path) for path in ("a!", "a/b", "a/b c", "a b", "ab", "b")])
    assert [node.path for node in manifest.below("a")] == ["a/b", "a/b c"]
    assert [node.path for node in manifest.below("a/b")] == ["a/b"]
    assert len(manifest.below("")) == 6
    for absent in ("c", "a/c", "a!/x"):
        with pytest.raises(NodeNotFound):
            manifest.below(absent)
    assert manifest.get("ab") == file("ab")
    assert manifest.get("a") is None


def test_objects_count_each_hash_once() -> None:
    table = TableNode(path="t", columns=[], content="c1:" + A, blocks=[Block(A, 1, 5), Block(B, 1, 6)], rows=2)
    array = ArrayNode(path="w", dtype="<f8", hash=B, shape=[1], size=6)
    manifest = Manifest.make([table, array, file("x"), file("y")])
    assert manifest.objects() == {A: 5, B: 6, C: 1}
    assert manifest.objects("t") == {A: 5, B: 6}


def test_kind_is_part_of_the_identity() -> None:
    as_file = Manifest.make([FileNode(path="x", hash=A, size=9)])
    as_array = Manifest.make([ArrayNode(path="x", dtype="|u1", hash=A, shape=[1], size=9)])
    assert as_file.hash != as_array.hash


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 1 << 60, {1: 2}, object(), "\ud800", b"bytes", [[[1j]]], {"a": {"\udfff": 1}}]
)
def test_metadata_that_json_cannot_represent_is_rejected(value: object) -> None:
    with pytest.raises(InvalidInput, match="meta"):
        Manifest.make([], {"x": value})
    with pytest.raises(InvalidInput, match="raw: meta"):
        Manifest.make([GroupNode(path="raw", meta={"x": value})])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=5))
def test_any_metadata_round_trips(meta: dict[str, object]) -> None:
    manifest = Manifest.make([], meta)
    assert Manifest.parse(manifest.data).data == manifest.data
    assert manifest.meta == meta
