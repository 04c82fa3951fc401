"""Parts of a package are disjoint, together everything, balanced by bytes, and follow from the manifest alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.errors import InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Block, FileNode, Manifest, Node, TableNode
from datapkg.format.manifest.shards import parse_part, shard, sharded
from datapkg.format.selection import Selection

SIZES = st.integers(0, 1000) | st.just(0) | st.just(10**12)
CONTENT = f"c1:{'0' * 64}"


def table(path: str, sizes: list[int]) -> TableNode:
    blocks = [Block(hash_bytes(f"{path} {number}".encode()), 1, size) for number, size in enumerate(sizes)]
    return TableNode(path=path, columns=[("n", "int64")], content=CONTENT, blocks=blocks, rows=len(blocks))


def file(path: str, size: int) -> FileNode:
    return FileNode(path=path, hash=hash_bytes(path.encode()), size=size)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    sizes = draw(st.lists(st.lists(SIZES, min_size=1, max_size=6), max_size=12))
    is_table = draw(st.lists(st.booleans(), min_size=12, max_size=12))
    nodes: list[Node] = [
        table(f"g{at % 3}/t{at}", each) if is_table[at] else file(f"g{at % 3}/f{at}", each[0])
        for at, each in enumerate(sizes)
    ]
    return Manifest.make(nodes)


def pieces(nodes: list[Node]) -> Counter[tuple[str, str, int]]:
    return Counter((node.path, *each) for node in nodes for each in node.objects())


@given(manifests(), st.integers(1, 9))
def test_parts_are_disjoint_complete_and_balanced(manifest: Manifest, of: int) -> None:
    parts = [list(shard(manifest.nodes, part, of)) for part in range(of)]
    found: Counter[tuple[str, str, int]] = Counter()
    for each in parts:
        found += pieces(each)
    assert found == pieces(manifest.nodes)
    sizes = [max(size, 1) for _, _, size in pieces(manifest.nodes)]
    assert sum(map(bool, map(pieces, parts))) == of or len(sizes) < of, "no part is empty if there is enough"
    for each in parts:
        weight = sum(max(size, 1) for _, _, size in pieces(each))
        assert abs(weight - sum(sizes) / of) <= max(sizes, default=0)


@given(manifests(), st.integers(1, 5))
def test_parts_of_a_group_keep_the_order_and_the_rows(manifest: Manifest, of: int) -> None:
    for path in manifest.children():
        parts = [sharded(manifest, path, part, of) for part in range(of)]
        order = [each for part in parts for each in pieces(part.nodes)]
        assert order == list(pieces(manifest.below(path)))
        rows = sum(node.rows for part in parts for node in part.nodes if isinstance(node, TableNode))
        assert rows == sum(node.rows for node in manifest.below(path) if isinstance(node, TableNode))
        assert all(part.children()[path] == "group" for part in parts)


@given(manifests(), st.integers(1, 5))
def test_an_install_selects_the_objects_of_the_part(manifest: Manifest, of: int) -> None:
    for part in range(of):
        assert Selection(part=(part, of)).of(manifest) == sharded(manifest, "", part, of).objects()


def test_whole_tables_keep_their_content_and_others_have_none() -> None:
    manifest = Manifest.make([table("a", [10, 10]), table("b", [10, 10])])
    assert [(node.path, node.content, node.rows) for node in sharded(manifest, "", 0, 2).nodes] == [("a", CONTENT, 2)]  # type: ignore[union-attr]
    assert [(node.content, node.rows) for node in sharded(manifest, "a", 1, 2).nodes] == [("", 1)]  # type: ignore[union-attr]


def test_selected_parts_are_those_of_the_whole_package() -> None:
    manifest = Manifest.make([file("a", 10), file("b", 10), file("c", 20)])
    assert list(Selection(exclude=("a",), part=(0, 2)).of(manifest)) == [hash_bytes(b"b")]
    assert list(Selection(max_size=10, part=(1, 2)).of(manifest)) == []


@pytest.mark.parametrize("text", ["4/4", "0/0", "-1/4", "0", "1/", "a/b", "0/4/2", "٠/4", "1/1000000000000"])
def test_what_is_not_a_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="part"):
        parse_part(text)
