"""The changes between two manifests that matter to consumers."""

from __future__ import annotations

from typing import Any

from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import ArrayNode, Block, FileNode, Manifest, Node, TableNode
from datapkg.format.manifest.review import review


def table(path: str, columns: list[tuple[str, str]], rows: int = 3, content: str = "a", **more: Any) -> TableNode:
    block = Block(hash=hash_bytes(f"{path}{content}".encode()), rows=rows, size=9)
    return TableNode(
        path=path, columns=columns, content=f"c1:{hash_bytes(content.encode())}", blocks=[block], rows=rows, **more
    )


def file(path: str, data: bytes = b"x") -> FileNode:
    return FileNode(path=path, hash=hash_bytes(data), size=len(data))


def changes(old: list[Node], new: list[Node], **meta: Any) -> list[tuple[str, str, list[str]]]:
    found = review(Manifest.make(old), Manifest.make(new, meta))
    return [(each["change"], each["path"], each["what"]) for each in found]


def test_breaking_changes_are_listed_first() -> None:
    old = [file("gone"), file("was", b"moved"), table("t", [("a", "int64")])]
    new = [file("new", b"n"), file("now", b"moved"), table("t", [("a", "double")], content="b")]
    found = review(Manifest.make(old), Manifest.make(new))
    assert [(each["change"], each["old_path"], each["path"], each["kind"]) for each in found] == [
        ("removed", "", "gone", "file"),
        ("renamed", "was", "now", "file"),
        ("changed", "", "t", "table"),
        ("added", "", "new", "file"),
    ]


def test_columns_types_and_rows() -> None:
    old = [table("t", [("a", "int64"), ("b", "string"), ("c", "bool")])]
    new = [table("t", [("a", "double"), ("c", "bool"), ("d", "string")], rows=1200, content="b")]
    (entry,) = review(Manifest.make(old), Manifest.make(new))
    assert entry["columns"] == {
        "added": [("d", "string")],
        "removed": [("b", "string")],
        "changed": [("a", "int64", "double")],
    }
    assert entry["rows"] == {"old": 3, "new": 1200}
    assert entry["what"] == [
        "column b removed",
        "column a: int64 → double",
        "column d added (string)",
        "3 → 1,200 rows",
    ]


def test_values_order_metadata_and_kinds() -> None:
    one = [("a", "int64"), ("b", "string")]
    assert changes([table("t", one)], [table("t", one[::-1], content="b")]) == [
        ("changed", "t", ["order of columns", "values"])
    ]
    assert changes([table("t", one)], [table("t", one, meta={"title": "T"})]) == [("changed", "t", ["metadata"])]
    assert changes([table("t", one)], [file("t")]) == [("changed", "t", ["table → file"])]
    assert changes([file("f")], [file("f", b"longer")]) == [("changed", "f", ["bytes"])]
    array = {"hash": "a" * 64, "size": 8, "shape": [1]}
    typed = [ArrayNode(path="w", dtype=dtype, **array) for dtype in ("<f8", "<i8")]
    assert changes(typed[:1], typed[1:]) == [("changed", "w", ["type"])]
    assert changes([file("f")], [file("f")], title="T") == [("changed", "", ["metadata: title"])]


def test_equal_data_stored_differently_is_not_a_change() -> None:
    before, after = table("t", [("a", "int64")]), table("t", [("a", "int64")])
    after = TableNode(
        path="t", columns=after.columns, content=after.content, blocks=[Block(hash="b" * 64, rows=3, size=7)], rows=3
    )
    assert changes([before], [after]) == []


def test_all_nodes_of_a_first_state_are_added() -> None:
    found = review(None, Manifest.make([table("t", [("a", "int64")]), file("f")]))
    assert [(each["change"], each["path"], each["what"]) for each in found] == [
        ("added", "f", []),
        ("added", "t", ["3 rows", "1 column"]),
    ]
