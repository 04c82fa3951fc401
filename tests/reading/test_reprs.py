"""What nodes look like: bounded, nothing foreign unescaped or hidden, and never an error."""

from __future__ import annotations

import html.parser
import io
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.format.texts import padded, size_text, visible, visible_lines, width_of
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from datapkg.reading.reprs.histogram import histogram
from datapkg.reading.reprs.markdown import to_html
from datapkg.reading.reprs.sample import LOOK_BYTES, take_sample
from datapkg.reading.reprs.style import SHEET
from tests.examples import examples
from tests.reading.packages import array_node, file_node, group_node, install, install_iris, iris_frame, table_node

EVIL = "<script>alert('1')</script>\u202egpj.exe\u200b"
BAD = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def test_a_package_is_a_tree(iris: Package) -> None:
    assert repr(iris) == "\n".join(
        [
            f"uciml/iris@sha256:{iris.hash[:12]} · Iris · CC-BY-4.0 · 4 nodes · 3.1 kB",
            "├─ README.md     file   7 B",
            "├─ measurements  table  3 rows × 3 columns, 2.9 kB",
            "├─ raw           group  2 nodes",
            "│  ├─ a.jpg      file   3 B",
            "│  └─ b.jpg      file   3 B",
            "└─ weights       array  2 × 3, float64, 176 B",
        ]
    )


def test_a_table_is_its_schema_and_first_rows(iris: Package) -> None:
    first, *rest = repr(iris["measurements"]).splitlines()
    assert first == f"uciml/iris/measurements@sha256:{iris.hash[:12]} · table · 3 rows × 3 columns · 2.9 kB"
    assert [line.split() for line in rest] == [
        ["petal_length", "petal_width", "class"],
        ["double", "double", "string"],
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


def test_table_shows_its_descriptions(described: Package) -> None:
    first, *rest = repr(described["measurements"]).splitlines()
    assert " · Petals · table · 3 rows × 3 columns" in first
    assert rest[0] == "  Measured by hand"
    assert [each for each in re.split(r"\s{2,}", rest[2]) if each] == ["double, cm", "double, cm", "string"]
    assert rest[-3:] == ["", "  petal_length  From the base of the petal to its tip", "  class         The species"]
    assert "No such column" not in repr(described["measurements"])


def test_table_shows_its_descriptions_in_a_notebook(described: Package) -> None:
    page = described["measurements"]._repr_html_()
    for text in ("Petals", "Measured by hand", "double, cm", "2 columns described", "From the base", "The species"):
        assert text in page, text
    assert "No such column" not in page


def test_readme_and_licence_are_found_in_any_case(described: Package) -> None:
    page = described._repr_html_()
    assert '<summary>readme.MD</summary><div class="dp-read"><div class="dp-h1">Small letters</div></div>' in page
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
    assert len(package["wide"]._repr_html_()) < 100_000
    assert len(package["big"]._repr_html_()) < 30_000
    assert len(package._repr_html_()) < 100_000


TAGS = {
    *("blockquote code details div em hr li ol p pre span strong style summary svg title rect").split(),
    *("a table tbody td th thead tr ul").split(),
}
ATTRIBUTES = {
    *("aria-label class height href open preserveaspectratio rel role style target title viewbox width x y").split(),
}


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update((name, value or "") for name, value in attributes)


def check_safe(page: str) -> None:
    """Only tags and attributes of ours; links lead to the web alone; one style sheet, which is ours."""
    assert not BAD.search(page)
    tags = Tags(page)
    assert tags.seen <= TAGS
    assert {name for name, _ in tags.attributes} <= ATTRIBUTES
    assert all(re.match(r"https?://[^\s<>\"']+\Z", value) for name, value in tags.attributes if name == "href")
    assert all(re.fullmatch(r"--dp-in:\d", value) for name, value in tags.attributes if name == "style")
    assert page.count("<style>") == page.count("</style>") == page.count(SHEET)


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


def test_foreign_text_shows_hidden_characters(evil: Package) -> None:
    for node in [evil, *evil.values()]:
        assert not BAD.search(repr(node))
        assert "⟨U+202E⟩" in repr(node) or node.name == "README.md"


def test_foreign_text_is_escaped_in_html(evil: Package) -> None:
    for node in [evil, *evil.values()]:
        check_safe(node._repr_html_())
    assert "onerror" in evil._repr_html_()
    assert "javascript:" in evil._repr_html_()


PIECES = [
    *(
        "<script>alert(1)</script>",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "</style>",
        "</pre>",
        "&lt;",
        '"',
        "'",
        "`",
        "```\n",
    ),
    *(
        "[a](javascript:alert(1))",
        "[a](https://x.y/",
        '"onclick="a',
        "<https://x.y/>",
        "https://x.y/?a=1&b='",
        "![",
        "](",
    ),
    *(
        "**",
        "*",
        "_",
        "|a|b|\n|-|-|\n",
        "\n# ",
        "\n- ",
        "\n1. ",
        "\n> ",
        "\n===\n",
        "\\",
        "\u202e",
        "\x00",
        " ",
        "\n",
        "x",
    ),
    *("<img src=x onerror=alert(1)>", "{color:red}", "expression(alert(1))", "data:text/html,x", "\ud7ff", "é", "  "),
]


@settings(max_examples=examples(60, 300), deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_readme_is_escaped(text: str) -> None:
    check_safe(to_html(visible_lines(text[:10_000])))


@pytest.mark.parametrize(
    "piece", ["[", "![", "**", "*a", "_a ", "`a", "https://", "\\", "# ", "- - ", "|-", "<https://", ">"]
)
def test_readme_of_any_form_renders_quickly(piece: str) -> None:
    for text in (piece * 20_000, "# " + " " * 60_000 + "x", "a|b\n" + piece * 20_000):
        assert to_html(text)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("# A *b*\n\ntext\ngoes on", '<div class="dp-h1">A <em>b</em></div><p>text\ngoes on</p>'),
        ("Title\n=====", '<div class="dp-h1">Title</div>'),
        ("- a\n  more\n  - b", '<ul><li class="dp-in0">a\nmore</li><li class="dp-in1">b</li></ul>'),
        ("1. a\n2. b", '<ol><li class="dp-in0">a</li><li class="dp-in0">b</li></ol>'),
        ("```python\na < b\n```\nend", "<pre>a &lt; b</pre><p>end</p>"),
        ("> said\n> he", "<blockquote>said he</blockquote>"),
        ("a `<b>` **c** snake_case_name", "<p>a <code>&lt;b&gt;</code> <strong>c</strong> snake_case_name</p>"),
        ("---", "<hr>"),
        ("[x](mailto:a@b) [y](../z)", "<p>[x](mailto:a@b) y</p>"),
        ("![a cat](https://x.y/cat.png)", '<p><span class="dp-soft">a cat</span></p>'),
        ("\\*a\\*", "<p>*a*</p>"),
    ],
)
def test_markdown(text: str, page: str) -> None:
    assert to_html(text) == page


def test_relative_links_are_shown_as_text() -> None:
    text = "[the *counts*](data/c.csv), [usage](#usage), [x](javascript:alert) and [y](//e.org/)"
    assert to_html(text) == "<p>the <em>counts</em>, usage, [x](javascript:alert) and [y](//e.org/)</p>"


def test_links_and_tables_of_markdown() -> None:
    page = to_html(
        "see [the **page**](https://x.y/a?b=1&c) or https://x.y/z.\n\n| a | b |\n|---|--:|\n| 1 | `2` | 3 |\n"
    )
    rel = 'target="_blank" rel="noopener noreferrer nofollow"'
    assert f'<a href="https://x.y/a?b=1&amp;c" {rel}>the <strong>page</strong></a>' in page
    assert f'<a href="https://x.y/z" {rel}>https://x.y/z</a>.' in page
    assert "<th>a</th><th>b</th>" in page
    assert "<tr><td>1</td><td><code>2</code></td></tr>" in page


def test_table_shows_footers_and_first_rows(home: Home) -> None:
    one = pa.table(
        {"n": [1, 2, None, 4], "s": ["a", "b", "a", None], "l": [[1]] * 4, "f": [0.1234567891, 1.0, 2.0, 3.0]}
    )
    two = pa.table({"n": [9, 9], "s": ["a", "a"], "l": [[1]] * 2, "f": [1.0, float("nan")]})
    install(home, "me/t", table_node(home, "t", one, two))
    page = load("me/t/t", home)._repr_html_()
    assert "<span>1</span><span>9</span>" in page
    assert "1 null (17%)" in page
    assert "<title>a: 4</title>" in page
    assert "<title>9: 2</title>" in page
    assert page.count("<svg") == 3
    assert "… and 1 more row · bars are of all rows" in page
    assert ">0.123457<" in page
    assert '<span class="dp-null">null</span>' in page


def test_bars_state_how_many_rows_they_show(home: Home) -> None:
    frame = pd.DataFrame({"n": np.arange(70_000), "s": [f"{n}" for n in range(70_000)]})
    install(home, "me/t", table_node(home, "t", frame))
    page = load("me/t/t", home)._repr_html_()
    assert "bars are of the first 65,536 rows" in page
    assert "65,536 different values in 65,536 rows" in page
    assert "<span>0</span><span>69999</span>" in page


def test_long_values_are_sampled_within_limits(home: Home) -> None:
    table = pa.table({"s": ["x" * 10_000 + str(number) for number in range(5_000)], "n": list(range(5_000))})
    install(home, "me/t", table_node(home, "t", table))
    node = load("me/t/t", home)
    seen = take_sample(node.__stored__, ["s", "n"])
    assert len(seen.rows) < 5_000
    assert seen.rows.nbytes < 2 * LOOK_BYTES
    assert len(node._repr_html_()) < 20_000


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.0, float("inf"), float("nan"), None]),
        pa.array([1.7e308, -1.7e308]),
        pa.array([2**63 - 1, -(2**63)]),
        pa.array([5, 5, 5]),
        pa.array([True, False, None]),
        pa.array([2**62], pa.timestamp("ns")),
        pa.array([1, 10**6], pa.duration("s")),
        pa.array([1, 2], pa.date32()),
        pa.array([1, 2], pa.time32("s")),
        pa.array([1, 2]).cast(pa.decimal128(38, 2)),
        pa.array(["b", "a", "a"]).dictionary_encode(),
        pa.array([None, None], pa.int8()),
        pa.array([], pa.string()),
        pa.array([[1]]),
        pa.array([b"x"]),
    ],
    ids=lambda values: str(values.type) + str(len(values)),
)
def test_histogram_never_fails(values: pa.Array) -> None:
    found = histogram(pa.chunked_array([values]))
    if found is not None and found.bars:
        valued = values.drop_null()
        finite = valued.filter(pc.is_finite(valued)) if pa.types.is_floating(values.type) else valued
        assert sum(number for number, _ in found.bars) == len(finite)
        assert len(found.bars) <= 16


def test_tables_of_odd_columns_are_shown(home: Home) -> None:
    twins = pa.table([pa.array([1]), pa.array(["x"]), pa.array([[1]])], ["a", "a", "b.c"])
    install(home, "me/t", table_node(home, "t", twins))
    node = load("me/t/t", home)
    assert [line.split() for line in repr(node).splitlines()[1:4]][2] == ["1", "x", "[1]"]
    check_safe(node._repr_html_())


def test_a_package_folds_its_groups_and_shows_columns_of_its_tables(home: Home) -> None:
    tables = [table_node(home, f"t{number}", iris_frame()) for number in range(5)]
    install(home, "me/p", *tables, file_node(home, "g/h/x.txt", b"1"), file_node(home, "g/y", b"22"))
    page = load("me/p", home)._repr_html_()
    check_safe(page)
    assert page.count("<details") == 7
    assert page.count('class="dp-grid"') == 3
    assert page.count('class="dp-columns"') == 2
    assert "<span>group</span><span>2 nodes</span><span>3 B</span>" in page
    assert f"me/p@sha256:{load('me/p', home).hash}" in page


def test_missing_data_are_not_fetched_to_display(home: Home) -> None:
    install_iris(home)
    node: Any = load("uciml/iris", home)
    nodes = {name: node[name] for name in node}
    shown = nodes["measurements"]._repr_html_()
    for name in ("measurements", "README.md", "weights"):
        for hash in node.__source__.manifest.objects(name):
            home.store.objects.delete(hash)
    for name in ("measurements", "README.md", "weights"):
        page = nodes[name]._repr_html_()
        assert "is not on this machine; type: datapkg fetch uciml/iris@sha256:" in page
        check_safe(page)
    assert "petal_length" in nodes["measurements"]._repr_html_()
    assert "3 rows × 3 columns" in shown
    assert "is not on this machine" in repr(nodes["measurements"])


def test_files_and_arrays_show_their_beginning(home: Home) -> None:
    install(
        home,
        "me/f",
        file_node(home, "a.txt", "<b>é\n".encode() * 5_000),
        file_node(home, "b.bin", b"\x00\xff" * 100),
        file_node(home, "c.md", b"# Title", file_name="c.md"),
        array_node(home, "w", np.arange(600.0).reshape(20, 30)),
        array_node(home, "columns", np.asfortranarray(np.arange(6).reshape(2, 3))),
        array_node(home, "one", np.array(7)),
        array_node(home, "cube", np.arange(24).reshape(2, 3, 4)),
        array_node(home, "none", np.zeros((0, 3))),
        array_node(home, "long", np.zeros((2, 100_000))),
    )
    node: Any = load("me/f", home)
    pages = {name: node[name]._repr_html_() for name in node}
    for page in pages.values():
        check_safe(page)
    assert "&lt;b&gt;é" in pages["a.txt"]
    assert "… and more" in pages["a.txt"]
    assert "<pre>" not in pages["b.bin"]
    assert '<div class="dp-h1">Title</div>' in pages["c.md"]
    assert '<td class="dp-num">159</td>' in pages["w"]
    assert "… and 540 more values" in pages["w"]
    assert ">7<" in pages["one"]
    assert "… and 14 more values" in pages["cube"]
    assert "more value" not in pages["none"]
    assert "more values" in pages["long"]


def test_notebooks_get_text_and_html_at_once(iris: Package) -> None:
    for node in [iris, *iris.values()]:
        assert node._repr_mimebundle_() == {"text/plain": repr(node), "text/html": node._repr_html_()}


def test_binary_readme_is_shown(home: Home) -> None:
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
    assert [size_text(n) for n in (0, 999, 1000, 12_345, 999_999, 10**9, 2**60)] == [
        *("0 B", "999 B", "1.0 kB", "12.3 kB", "1.0 MB", "1.0 GB", "1.2 EB"),
    ]
    assert visible("a\x00\u202eé日\n") == "a⟨U+0000⟩⟨U+202E⟩é日⟨U+000A⟩"
    assert visible("x" * 20, 5) == "xxxxx…"
    assert (width_of("日本a"), padded("日", 4)) == (5, "日  ")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8", "latin-1", "cp437"])
def test_print_never_fails(home: Home, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        home, "me/odd", file_node(home, "日本/é.txt", b"x"), file_node(home, "\U0001f600", b""), meta={"title": "ž…"}
    )
    package = load("me/odd", home)
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stream)
    stream.write(f"{package} {package['日本']} {package['日本/é.txt']}")
    stream.flush()
    said = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "me/odd" in said
    assert ("日本" in said) == (encoding == "utf-8")
    assert (str(package) == repr(package)) == (encoding == "utf-8")
