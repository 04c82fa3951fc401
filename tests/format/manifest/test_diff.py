"""A diff of two states lists the changes that a reader can observe, and nothing else."""

from __future__ import annotations

from datapkg.format.manifest.diff import Change, changed, diff, same_data
from datapkg.format.manifest.earlier import replaced_objects
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, Node, TableNode

A, B, C = "a" * 64, "b" * 64, "c" * 64


def table(path: str, hash: str = A, content: str = A, rows: int = 2) -> TableNode:
    return TableNode(
        path=path, columns=[("x", "int64")], content="c1:" + content, blocks=[Block(hash, rows, 9)], rows=rows
    )


def test_each_kind_of_change() -> None:
    old = Manifest.make([FileNode(path="gone", hash=A, size=9), FileNode(path="old", hash=B, size=9), table("t")])
    new = Manifest.make(
        [FileNode(path="came", hash=C, size=9), FileNode(path="new", hash=B, size=9), table("t", B, B, 3)]
    )
    assert diff(old, new) == [
        Change("added", "came"),
        Change("removed", "gone"),
        Change("renamed", "new", "old"),
        Change("changed", "t", what=("content", "rows")),
    ]
    assert diff(old, old) == []


def test_one_long_state_is_compared_with_itself_without_chunk_maps() -> None:
    data = Manifest.make([table("t"), FileNode(path="f", hash=B, size=9)])
    one, other = MappedManifest(data.data, data.hash), MappedManifest(data.data, data.hash)
    assert changed(one, other) == ({}, {})
    assert "chunks" not in vars(one) | vars(other)


def test_equal_values_stored_differently_are_the_same_data() -> None:
    assert same_data(Manifest.make([table("t", A)]), Manifest.make([table("t", B)]))
    assert not same_data(Manifest.make([table("t")]), Manifest.make([table("t", content=B)]))
    assert not same_data(Manifest.make([table("t")], {"a": 1}), Manifest.make([table("t")]))


def test_changed_metadata_of_a_group_is_a_change() -> None:
    old, new = Manifest.make([GroupNode(path="g", meta={"x": 1})]), Manifest.make([GroupNode(path="g", meta={"x": 2})])
    assert diff(old, new) == [Change("changed", "g", what=("meta",))]


def hashes(number: int) -> str:
    return f"{number:064x}"


def blocks(path: str, numbers: list[int], columns: str = "x") -> TableNode:
    found = [Block(hashes(number), 1, 9) for number in numbers]
    return TableNode(path=path, columns=[(columns, "int64")], content="c1:" + A, blocks=found, rows=len(numbers))


def file(path: str, number: int, size: int) -> FileNode:
    return FileNode(path=path, hash=hashes(number), size=size)


def compared(old: list[Node], new: list[Node]) -> dict[int, set[int]]:
    """Return with which objects each new one is compared."""
    found: dict[int, set[int]] = {}
    for removed, added, _ in replaced_objects(Manifest.make(old), Manifest.make(new)):
        for hash in added:
            found.setdefault(int(hash, 16), set()).update(int(each, 16) for each in removed)
    return found


def test_a_node_is_compared_with_the_one_at_its_path() -> None:
    assert compared([blocks("t", [1, 2, 3]), file("f", 9, 5)], [blocks("t", [1, 4, 3]), file("f", 8, 7)]) == {
        4: {2},
        8: {9},
    }
    assert compared([GroupNode(path="a", meta={"x": 1}), file("b", 1, 5)], [file("a", 2, 5)]) == {2: {1}}


def test_tables_are_compared_with_those_whose_objects_they_have() -> None:
    """Tables that were split, joined, copied or have swapped their names."""
    one, two = [1, 2, 3, 4], [5, 6, 7, 8]
    assert compared([blocks("t", one)], [blocks("t", [1, 2]), blocks("u", [9, 4])]) == {9: {1, 2, 3}}
    assert compared([blocks("t", one), blocks("u", two)], [blocks("v", [1, 2, 3, 9, 6, 7, 8])]) == {9: {4, 5}}
    assert compared([blocks("t", one)], [blocks("t", one), blocks("u", [1, 9, 3, 4])]) == {9: {2}}
    swapped = [blocks("t", [9, 6, 7, 8]), blocks("u", [1, 10, 3, 4])]
    assert compared([blocks("t", one), blocks("u", two)], swapped) == {9: {1, 2, 3, 4, 5}, 10: {2, 5, 6, 7, 8}}


def test_renamed_nodes_are_compared_with_the_most_similar_ones() -> None:
    old = [file("a.bin", 1, 100), file("b.bin", 2, 200), file("c.bin", 3, 300), file("d.txt", 4, 100)]
    new = [file("n/a.bin", 11, 101), file("n/c.bin", 13, 299), file("n/d.txt", 14, 99)]
    assert compared(old, new) == {11: {1, 2}, 13: {2, 3}, 14: {4}}
    assert compared([file("a.csv", 1, 100)], [file("b.log", 2, 101)]) == {2: {1}}
    pages = [file(f"{number:02}.tif", number, 100) for number in range(1, 21)]
    renamed = [file(f"scan-{number:02}.tif", 100 + number, 104) for number in range(1, 21)]
    assert all(number in compared(pages, renamed)[100 + number] for number in range(1, 21))
    moved = [file(f"new/{number:02}.tif", 100 + number, 104) for number in range(5, 12)]
    assert all(number in compared(pages, moved)[100 + number] for number in range(5, 12))
    assert compared([blocks("t", [1])], [blocks("u", [2], columns="y")]) == {2: {1}}
    assert compared([blocks("t", [1])], [file("u", 2, 9)]) == {}
    group = GroupNode(path="a.tif", meta={"x": 1})
    assert compared([group, file("b.tif", 1, 5)], [file("a.tif", 2, 5), file("c.tif", 3, 5)]) == {2: {1}, 3: {1}}
