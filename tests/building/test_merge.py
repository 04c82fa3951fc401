"""How nodes of several packages that share a path are merged: a pure decision for each collision and policy."""

from __future__ import annotations

import pytest

from datapkg.building.merge import MergePart, MergePlan, plan_merge
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, Node, TableNode

COLUMNS = [("a", "int64"), ("b", "string")]


def file(path: str, content: str = "0") -> FileNode:
    return FileNode(path=path, hash=content * 64, size=1, file_name=path.rpartition("/")[2])


def table(path: str, content: str = "0", columns: list[tuple[str, str]] = COLUMNS) -> TableNode:
    blocks = [Block(content * 64, 1, 1)]
    return TableNode(path=path, columns=columns, content=f"c1:{content * 64}", blocks=blocks, rows=1)


def part(name: str, *nodes: Node, **meta: object) -> MergePart:
    return MergePart(name, sorted(nodes, key=lambda node: node.parts), meta)


def kept(found: MergePlan) -> dict[str, int]:
    """Return which part each node is from, checking that the merged nodes form a valid manifest."""
    Manifest.make(found.nodes.values(), found.meta)
    return {path: number for path, number in found.of.items() if not isinstance(found.nodes[path], GroupNode)}


def test_nodes_without_collisions_are_all_kept() -> None:
    found = plan_merge([part("a/x", file("f"), file("g/h")), part("b/y", file("e"), file("g/i"))])
    assert kept(found) == {"f": 0, "g/h": 0, "e": 1, "g/i": 1}


def test_equal_content_becomes_one_node() -> None:
    other = TableNode(
        path="t", columns=COLUMNS, content=table("t").content, blocks=[Block("9" * 64, 1, 5)], rows=1, file_name="z"
    )
    found = plan_merge([part("a/x", file("f"), table("t")), part("b/y", file("f"), other)])
    assert kept(found) == {"f": 0, "t": 0}
    assert found.nodes["t"] == table("t")


MEETINGS = {
    "two files": ((file("n/f.txt"),), (file("n/f.txt", "1"),), "n/f.txt"),
    "two kinds": ((file("n"),), (table("n", "1"),), "n"),
    "a node and a group": ((file("n"),), (file("n/a"), file("n/b")), "n"),
    "a group and a node": ((file("n/a"), file("n/b")), (file("n"),), "n"),
    "a node and a group deep in it": ((file("n"),), (file("n/a/b"),), "n"),
    "an empty group and a node": ((GroupNode(path="n"),), (file("n"),), "n"),
    "a node and an empty group": ((file("n"),), (GroupNode(path="n"),), "n"),
}


@pytest.mark.parametrize("meeting", MEETINGS)
def test_error_names_the_path(meeting: str) -> None:
    first, later, place = MEETINGS[meeting]
    with pytest.raises(Conflict) as caught:
        plan_merge([part("a/x", *first, file("z")), part("b/y", *later, file("z"))])
    assert caught.value.detail["paths"] == [place]
    assert "of a/x" in str(caught.value)


@pytest.mark.parametrize("meeting", MEETINGS)
def test_ours_keeps_the_first_and_theirs_the_last(meeting: str) -> None:
    first, later, _ = MEETINGS[meeting]
    parts = [part("a/x", *first), part("b/y", *later), part("c/z", file("other"))]
    ours, theirs = (plan_merge(parts, policy) for policy in ("ours", "theirs"))
    assert list(ours.nodes.values()) == [*first, file("other")]
    assert list(theirs.nodes.values()) == [*later, file("other")]
    assert ours.dropped == [node.path for node in later if node.kind != "group"]
    assert theirs.dropped == [node.path for node in first if node.kind != "group"]


def test_rename_keeps_both_under_clear_names() -> None:
    named = {}
    for meeting, (first, later, _) in MEETINGS.items():
        found = plan_merge([part("a/x", *first), part("b/y_z", *later)], "rename")
        kept(found)
        named[meeting] = sorted(found.nodes)
    assert named == {
        "two files": ["n/f.txt", "n/f__b_y_z.txt"],
        "two kinds": ["n", "n__b_y_z"],
        "a node and a group": ["n", "n__b_y_z/a", "n__b_y_z/b"],
        "a group and a node": ["n/a", "n/b", "n__b_y_z"],
        "a node and a group deep in it": ["n", "n__b_y_z/a/b"],
        "an empty group and a node": ["n", "n__b_y_z"],
        "a node and an empty group": ["n", "n__b_y_z"],
    }


def test_taken_name_gets_a_number() -> None:
    parts = [part("a/x", file("f", "0")), part("a/x", file("f", "1"), file("f__a_x", "5")), part("a/x", file("f", "2"))]
    found = plan_merge(parts, "rename")
    assert kept(found) == {"f": 0, "f__a_x": 1, "f__a_x_2": 1, "f__a_x_3": 2}
    assert found.renamed == {"f__a_x_2": "f", "f__a_x_3": "f"}
    assert found.nodes["f__a_x_2"].hash == "1" * 64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("policy", "package", "node"),
    [
        ("ours", {"title": "A", "x": 1, "y": 2}, {"unit": "cm", "a": 1, "b": 1}),
        ("theirs", {"title": "B", "x": 1, "y": 2}, {"unit": "mm", "a": 1, "b": 1}),
        (
            "rename",
            {"title": "A", "title__b_y": "B", "x": 1, "y": 2},
            {"unit": "cm", "unit__b_y": "mm", "a": 1, "b": 1},
        ),
    ],
)
def test_metadata_is_merged_by_key(policy: str, package: dict[str, object], node: dict[str, object]) -> None:
    metas = ({"unit": "cm", "a": 1}, {"unit": "mm", "b": 1})
    groups = [GroupNode(path="g", meta=meta) for meta in metas]
    files = [FileNode(path="g/f", hash="0" * 64, size=1, meta=meta) for meta in metas]
    parts = [
        part("a/x", groups[0], files[0], title="A", x=1),
        part("b/y", groups[1], files[1], title="B", x=1, y=2),
    ]
    found = plan_merge(parts, policy)
    assert found.meta == package
    assert [found.nodes[path].meta for path in ("g", "g/f")] == [node, node]
    with pytest.raises(Conflict) as caught:
        plan_merge(parts)
    assert caught.value.detail["paths"] == ["meta.title", "g: meta.unit", "g/f: meta.unit"]


def test_tables_with_equal_columns_are_concatenated_in_order() -> None:
    other = table("t", "1", COLUMNS[::-1])
    parts = [part("a/x", table("t")), part("b/y", other), part("c/z", table("t")), part("d/q", table("t", "2"))]
    found = plan_merge(parts, concat=True)
    assert kept(found) == {"t": 0}
    assert found.more == {"t": [(1, other), (3, table("t", "2"))]}  # equal content is taken once
    for columns in ([("a", "int64")], [("a", "double"), ("b", "string")]):
        with pytest.raises(Conflict):
            plan_merge([part("a/x", table("t")), part("b/y", table("t", "1", columns))], concat=True)


def test_replaced_table_drops_its_concatenated_rows() -> None:
    parts = [part("a/x", table("t")), part("b/y", table("t", "1")), part("c/z", file("t"))]
    found = plan_merge(parts, "theirs", concat=True)
    assert (kept(found), found.more) == ({"t": 2}, {})


def test_unknown_policy() -> None:
    with pytest.raises(InvalidInput, match="error, ours, theirs, rename"):
        plan_merge([part("a/x")], "mine")
