"""A diff of two states lists the changes that a reader can observe, and nothing else."""

from __future__ import annotations

from datapkg.format.manifest.diff import Change, diff, same_data
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, TableNode

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


def test_equal_values_stored_differently_are_the_same_data() -> None:
    assert same_data(Manifest.make([table("t", A)]), Manifest.make([table("t", B)]))
    assert not same_data(Manifest.make([table("t")]), Manifest.make([table("t", content=B)]))
    assert not same_data(Manifest.make([table("t")], {"a": 1}), Manifest.make([table("t")]))


def test_changed_metadata_of_a_group_is_a_change() -> None:
    old, new = Manifest.make([GroupNode(path="g", meta={"x": 1})]), Manifest.make([GroupNode(path="g", meta={"x": 2})])
    assert diff(old, new) == [Change("changed", "g", what=("meta",))]
