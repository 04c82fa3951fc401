"""What nodes look like: bounded, nothing foreign unescaped or hidden, and never an error."""

from __future__ import annotations

import html.parser
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from datapkg.reading.reprs.words import pad, size, visible, width
from tests.reading.packages import array_node, file_node, group_node, install, iris_frame, table_node

EVIL = "<script>alert('1')</script>\u202egpj.exe\u200b"
BAD = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def test_a_package_is_a_tree(iris: Package) -> None:
    assert repr(iris) == "\n".join(
        [
            f"uciml/iris@sha256:{iris.hash[:12]} · Iris · CC-BY-4.0 · 4 nodes · 3.06 kB",
            "├─ README.md     file   7 B",
            "├─ measurements  table  3 rows × 3 columns, 2.87 kB",
            "├─ raw           group  2 nodes",
            "│  ├─ a.jpg      file   3 B",
            "│  └─ b.jpg      file   3 B",
            "└─ weights       array  2 × 3, <f8, 176 B",
        ]
    )


def test_a_table_is_its_schema_and_first_rows(iris: Package) -> None:
    first, *rest = repr(iris["measurements"]).splitlines()
    assert first == f"uciml/iris/measurements@sha256:{iris.hash[:12]} · table · 3 rows × 3 columns · 2.87 kB"
    assert [line.split() for line in rest] == [
        ["petal_length", "petal_width", "class"],
        ["double", "double", "large_string"],
        ["1.4", "0.2", "setosa"],
        ["4.7", "1.4", "versicolor"],
        ["6.0", "2.5", "virginica"],
    ]


NOTES = {
    "petal_length": {"unit": "cm", "description": "From the base of the petal to its tip"},
    "class": "The species",
    "petal_width": {"unit": "cm"},
    "nowhere": {"unit": "m", "description": "No such column"},
}


@pytest.fixture
def described(home: Home) -> Package:
    """A package whose table is described, with what lies beside it."""
    meta = {"title": "Petals", "description": "Measured by hand", "columns": NOTES}
    nodes = [
        table_node(home, "measurements", iris_frame(), meta=meta),
        file_node(home, "readme.MD", b"# Small letters"),
        file_node(home, "Readme.txt", b"plain"),
        file_node(home, "LICENCE.txt", b"Do what you like"),
        file_node(home, "sub/README", b"below"),
    ]
    install(home, "me/described", *nodes)
    found = load("me/described", home)
    assert isinstance(found, Package)
    return found


def test_a_table_shows_what_is_said_of_it(described: Package) -> None:
    first, *rest = repr(described["measurements"]).splitlines()
    assert " · Petals · table · 3 rows × 3 columns" in first
    assert rest[0] == "  Measured by hand"
    assert [each for each in re.split(r"\s{2,}", rest[2]) if each] == ["double, cm", "double, cm", "large_string"]
    assert rest[-3:] == ["", "  petal_length  From the base of the petal to its tip", "  class         The species"]
    assert "No such column" not in repr(described["measurements"])


def test_a_table_shows_what_is_said_of_it_in_a_notebook(described: Package) -> None:
    page = described["measurements"]._repr_html_()
    for text in ("Petals", "Measured by hand", "double, cm", "2 columns described", "From the base", "The species"):
        assert text in page, text
    assert "No such column" not in page


def test_readme_and_licence_are_found_in_any_case(described: Package) -> None:
    page = described._repr_html_()
    assert "<summary>readme.MD</summary><pre># Small letters</pre>" in page
    assert "plain" not in page
    assert "see LICENCE.txt" in page
    assert "see LICENCE.txt" in repr(described)
    assert "<pre>below</pre>" in described["sub"]._repr_html_()
    assert "see " not in repr(described["sub"])


@pytest.mark.parametrize(
    "columns", [None, 5, "text", ["a"], {"class": 5}, {"class": {"unit": ["m"], "description": 7}}]
)
def test_notes_of_another_form_are_not_shown(home: Home, columns: object) -> None:
    install(home, "me/n", table_node(home, "t", iris_frame(), meta={"columns": columns, "title": 5, "description": []}))
    install(home, "me/plain", table_node(home, "t", iris_frame()))
    one, other = (load(f"me/{name}/t", home) for name in ("n", "plain"))
    assert repr(one).splitlines()[1:] == repr(other).splitlines()[1:]
    assert "described" not in one._repr_html_()


def test_big_things_are_bounded(home: Home) -> None:
    body = file_node(home, "x", b"")
    many = [type(body)(path=f"big/{number:05}", hash=body.hash, size=0) for number in range(10_000)]
    wide = pd.DataFrame(np.zeros((100, 1_000))).rename(columns=str)
    deep = file_node(home, "/".join("abcdefghijkl"), b"")
    said = {"description": "d" * 10_000}
    notes = {name: {"unit": "u" * 200, "description": "x" * 400} for name in list(wide)}
    table = table_node(home, "wide", wide, meta={"columns": notes, **said})
    install(home, "me/big", *many, table, deep)
    package = load("me/big", home)
    assert "… and 9,992 more" in repr(package)
    assert "… and 9,970 more" in repr(package["big"])
    assert "… and 95 more rows and 9" in repr(package["wide"])
    for shown in (repr(package), repr(package["big"]), repr(package["wide"])):
        assert max(map(len, shown.splitlines())) <= 120
        assert shown.count("\n") < 60
    assert len(package["wide"]._repr_html_()) < 20_000
    assert len(package["big"]._repr_html_()) < 20_000


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attributes)


@pytest.fixture
def evil(home: Home) -> Package:
    frame = pd.DataFrame({EVIL.replace("/", ""): [EVIL, "\x1b[31mred", "a\nb"]})
    readme = f"# {EVIL}\n\n[x](javascript:alert(1)) <img src=x onerror=alert(1)>\n\x1b[2J".encode()
    name = EVIL.replace("/", "")
    notes = {column: {"unit": EVIL, "description": f"{EVIL}\n\x1b[2J"} for column in frame.columns}
    nodes = [
        table_node(home, name, frame, meta={"title": EVIL, "description": EVIL, "columns": notes}),
        file_node(home, f"{name}2", b"", file_name=name),
        file_node(home, "README.md", readme),
        group_node(f"{name}3", title=EVIL, description=EVIL),
        array_node(home, f"{name}4", np.array([EVIL])),
    ]
    install(home, "me/evil", *nodes, meta={"title": EVIL, "licence": EVIL, "description": EVIL, "more": [EVIL]})
    found = load("me/evil", home)
    assert isinstance(found, Package)
    return found


def test_nothing_foreign_is_hidden_in_text(evil: Package) -> None:
    for node in [evil, *evil.values()]:
        assert not BAD.search(repr(node))
        assert r"\u202e" in repr(node) or node.name == "README.md"


def test_nothing_foreign_is_markup_in_html(evil: Package) -> None:
    for node in [evil, *evil.values()]:
        page = node._repr_html_()
        assert not BAD.search(page)
        tags = Tags(page)
        assert tags.seen <= {*"div p strong small br details summary pre table thead tbody tr th td".split()}
        assert tags.attributes <= {"class", "style", "open"}
    assert "onerror" in evil._repr_html_()
    assert "javascript:" in evil._repr_html_()


def test_a_readme_that_is_no_text_is_shown_all_the_same(home: Home) -> None:
    install(home, "me/r", file_node(home, "README.md", b"\xff\xfe\x00" * 50_000))
    assert "README.md" in load("me/r", home)._repr_html_()
    install(home, "me/r", file_node(home, "README/inside", b""))
    assert "README" in load("me/r", home)._repr_html_()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**62], pa.timestamp("ns")),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([2**62], pa.duration("s")),
        pa.array([[{"a": b"\xff"}]]),
        pa.array(["x" * 10_000]),
        pa.array([None], pa.null()),
        pa.array([b"\x00\xff"]),
    ],
    ids=str,
)
def test_any_value_can_be_shown(home: Home, values: pa.Array) -> None:
    install(home, "me/v", table_node(home, "t", pa.table({"v": values})))
    node = load("me/v/t", home)
    assert "1 row × 1 column" in repr(node)
    assert "<Table" not in repr(node)
    assert max(map(len, repr(node).splitlines())) < 120


def test_tables_without_rows_or_columns_are_shown(home: Home) -> None:
    install(home, "me/e", table_node(home, "rows", iris_frame()[:0]))
    assert "0 rows × 3 columns" in repr(load("me/e/rows", home))


def test_words() -> None:
    assert [size(n) for n in (0, 999, 1000, 12_345, 999_999, 10**9, 2**60)] == [
        *("0 B", "999 B", "1 kB", "12.3 kB", "1 MB", "1 GB", "1.15 EB"),
    ]
    assert visible("a\x00\u202eé日\n") == r"a\x00\u202eé日\n"
    assert visible("x" * 20, 5) == "xxxxx…"
    assert (width("日本a"), pad("日", 4)) == (5, "日  ")
