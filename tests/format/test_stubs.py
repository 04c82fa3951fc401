"""Text of stubs: always Python, never more than it may be, and only what is so."""

from __future__ import annotations

import ast
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.errors import InvalidName
from datapkg.format import stubs
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, Node, TableNode
from datapkg.format.names import check_node_name
from datapkg.format.stubs import package_stub, user_stub
from datapkg.format.texts import hidden
from tests.examples import examples

HASH = "0" * 64
ODD = [
    *(
        '"',
        "'",
        "\\",
        '"""',
        '\\"',
        "'''",
        "\u202e",
        "\u2066",
        "\u200b",
        "\ufeff",
        "🌷",
        "é",
        "ß",
        "½",
        "名前",
        "x" * 200,
    ),
    *("class", "__init__", "a b", "a_b", "_Package", "__table__", "self", "Literal", "int", "#", "{x}", "%s", "]:"),
]


def file(path: str, **meta: Any) -> FileNode:
    return FileNode(path=path, hash=HASH, size=3, meta=meta)


def table(path: str, *columns: str, **meta: Any) -> TableNode:
    block = Block(HASH, 0, 3)
    named = [(each, "double") for each in columns]
    return TableNode(path=path, columns=named, content=f"c1:{HASH}", blocks=[block], rows=0, meta=meta)


def stub_of(*nodes: Node, **meta: Any) -> stubs.PackageStub:
    return package_stub("u/p", Manifest.make(nodes, meta))


def classes_of(text: str) -> dict[str, ast.ClassDef]:
    return {each.name: each for each in ast.parse(text).body if isinstance(each, ast.ClassDef)}


def attributes_of(stub: stubs.PackageStub) -> dict[str, str]:
    """The attributes of the package by name, with their classes."""
    body = classes_of(stub.classes)[stub.package_class].body
    found = {ast.unparse(each.target): ast.unparse(each.annotation) for each in body if isinstance(each, ast.AnnAssign)}
    return {name: kind for name, kind in found.items() if name[:2] != "__"}


def keys_of(text: str) -> set[object]:
    """Everything that stands in brackets as a name; not the names of attributes."""
    tree = ast.parse(text)
    for each in ast.walk(tree):
        if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) in ("__getattribute__", "__methods__"):
            each.annotation = each.value = ast.Constant(None)
    literals = (each for each in ast.walk(tree) if isinstance(each, ast.Subscript))
    return {
        each.value
        for literal in literals
        if ast.unparse(literal.value) == "__t__.Literal"
        for each in ast.walk(literal.slice)
        if isinstance(each, ast.Constant)
    }


def names() -> st.SearchStrategy[str]:
    def allowed(name: str) -> bool:
        try:
            return bool(check_node_name(name))
        except InvalidName:
            return False

    return (st.sampled_from(ODD) | st.text(min_size=1, max_size=12)).filter(allowed)


@settings(deadline=None, max_examples=examples(40, 150))
@given(st.sets(names(), max_size=6), st.lists(st.text(max_size=20) | st.sampled_from(ODD), max_size=5), st.text())
def test_manifest_text_cannot_end_a_string_literal(nodes: set[str], columns: list[str], text: str) -> None:
    entry = {"columns": {each: {"description": text} for each in columns}}
    below = [file(f"group/{name}", description=text) for name in nodes]
    tables = [table(f"{name}", *columns, description=text, **entry) for name in nodes - {"group"}]
    stub = stub_of(*below, *tables, title=text, description=text)
    for written in (stub.classes, stub.module, user_stub("u", {"p": stub})):
        tree = ast.parse(written)
        assert all(isinstance(each, KNOWN) for each in tree.body)
        assert not any(hidden().search(each) for each in written.splitlines())
        assert not any(category(each) in {"Cc", "Co", "Cs", "Zl", "Zp"} for each in written.replace("\n", ""))
    assert keys_of(stub.classes) >= {
        *nodes - {"group"},
        *(f"group/{name}" for name in nodes),
        *(columns * bool(tables)),
    }
    assert ast.get_docstring(ast.parse(stub.module), clean=False) is not None


KNOWN = (ast.AnnAssign, ast.Assign, ast.ClassDef, ast.Expr, ast.Import, ast.ImportFrom, ast.FunctionDef)


def test_attributes_are_those_that_nodes_have() -> None:
    stub = stub_of(file("a b"), file("a_b"), file("2024"), file("class"), file("__init__"), file("_repr_html_"))
    assert attributes_of(stub) == {"n2024": "__file_node__", "class_": "__file_node__"}
    assert keys_of(stub.classes) == {"a b", "a_b", "2024", "class", "__init__", "_repr_html_"}


def test_a_class_never_has_the_name_of_a_node() -> None:
    stub = stub_of(table("raw", "a"), file("_Raw"), file("raw 2/x"), table("x/raw", "b"))
    classes = classes_of(stub.classes)
    assert attributes_of(stub) == {"_Raw": "__file_node__", "raw": "_Raw2", "raw_2": "_Raw22", "x": "_X"}
    assert {"_Raw2", "_Raw22", "_X", "_Raw3"} <= classes.keys()


def test_the_same_manifest_has_the_same_stub() -> None:
    nodes = [table("t", "a", "b"), file("g/f"), GroupNode(path="empty")]
    assert stub_of(*nodes) == stub_of(*reversed(nodes))


def test_descriptions_are_in_docstrings() -> None:
    columns = {"petal": {"unit": "cm", "description": "of\na  petal"}}
    stub = stub_of(table("t", "petal", description="![x](http://y) <img src=z>", columns=columns))
    for line in ("table: 0 rows × 1 column, 3 B", "![x] (http://y) < img src=z>", "- petal: double, cm, of a petal"):
        assert line in stub.classes
        assert line in stub.module


def test_a_wide_table_takes_any_column() -> None:
    stub = stub_of(table("wide", *map(str, range(10_000))), table("narrow", *map(str, range(1_000))))
    assert attributes_of(stub) == {"wide": "__any_table__", "narrow": "_Narrow"}
    assert len(stub.classes) < 30_000


def test_a_huge_package_has_a_small_stub_that_takes_anything_else() -> None:
    nodes = [file(f"many/{number:06}.jpg") for number in range(100_000)]
    stub = stub_of(*nodes, table("t", "a"))
    assert len(stub.classes) < 500_000
    assert attributes_of(stub) == {"many": "_Many", "t": "_T"}
    bodies = {name: ast.unparse(each) for name, each in classes_of(stub.classes).items()}
    assert "__getattr__" not in bodies["_Many"]
    assert "__getattr__" in bodies["_P"]


@pytest.mark.parametrize("nodes", [
    [table(f"{number:05}/" + "é" * 100, *["\u202e" * 50] * 20, description="x" * 5_000) for number in range(3_000)],
    [file("/".join(["\u2066" * 80] * 60 + [str(number)])) for number in range(3_000)],
])  # fmt: skip
def test_limits_hold_for_any_names(nodes: list[Node]) -> None:
    stub = stub_of(*nodes)
    ast.parse(stub.classes)
    assert max(map(len, stub[:2])) < 1.2 * stubs.MAX_CHARACTERS


def test_no_more_classes_than_checkers_compare_quickly() -> None:
    stub = stub_of(*(table(f"t{number}", "a") for number in range(1_000)))
    assert len(classes_of(stub.classes)) <= stubs.MAX_CLASSES + 4
    assert set(attributes_of(stub).values()) >= {"_T0", "__any_table__"}


def test_a_package_of_any_name_can_be_written() -> None:
    packages = {name: stub_of(file("f")) for name in ("all", "builtins", "file", "name", "path", "typing")}
    text = user_stub("u", packages)
    targets = {ast.unparse(each.target) for each in ast.parse(text).body if isinstance(each, ast.AnnAssign)}
    assert targets == packages.keys()
    assert "__all__" not in text
