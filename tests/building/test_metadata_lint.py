"""Suspicious metadata is reported with its location, but never fails a build."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.building.metadata_lint import MAX_WARNINGS, column_warnings, licence_hint, meta_warnings, metadata_warnings
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Block, FileNode, GroupNode, Manifest, TableNode
from datapkg.objects.memory import MemoryObjects

HASH = hash_bytes(b"x")
EXAMPLE = "such as CC-BY-4.0, MIT OR Apache-2.0 or LicenseRef-own"


def table(meta: dict[str, Any], *columns: str, path: str = "t") -> TableNode:
    names = [(name, "double") for name in columns or ("length", "width")]
    block = Block(hash=HASH, rows=1, size=1)
    return TableNode(path=path, meta=meta, columns=names, content="c1:" + "0" * 64, blocks=[block], rows=1)


def test_valid_metadata_causes_no_warning() -> None:
    meta = {
        "title": "Iris",
        "description": "Sepals and petals",
        "licence": "CC-BY-4.0",
        "license": "CC-BY-4.0",
        "keywords": ["flowers", "日本"],
        "citation": "Fisher (1936)",
        "homepage": "https://example.org/iris?a=b#c",
        "origin": 5,
        "instrument": None,
        "a b": [{}],
    }
    assert meta_warnings(meta) == []
    assert meta_warnings({"citation": {"doi": "10.1/x"}}) == meta_warnings({"citation": ["a", {"doi": "b"}]}) == []
    assert metadata_warnings(Manifest.make([], {})) == []


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"title": 5}, "meta.title: expected text, got a number"),
        ({"title": None}, "meta.title: expected text, got nothing"),
        ({"title": " "}, "meta.title: is empty"),
        ({"description": ["a"]}, "meta.description: expected text, got a list"),
        ({"licence": 4.0}, "meta.licence: expected text, got a number"),
        (
            {"licence": ["MIT"]},
            "meta.licence: expected text; several licences are one expression, such as MIT OR Apache",
        ),
        ({"license": "cc-by-4"}, "meta.license: 'cc-by-4' is not an SPDX expression, such as CC-BY-4.0"),
        ({"licence": "MIT OR"}, "meta.licence: 'MIT OR' is not an SPDX expression"),
        ({"licence": "(" * 9_999}, "meta.licence: '((("),
        ({"licence": "MIT", "license": "0BSD"}, "meta.licence and meta.license differ: '0BSD' and 'MIT'"),
        ({"keywords": "iris, flowers"}, "meta.keywords: expected a list of text; write [iris, flowers]"),
        ({"keywords": {}}, "meta.keywords: expected a list of text, got a mapping"),
        ({"keywords": ["a", 2024]}, "meta.keywords: [1]: expected text, got a number"),
        ({"citation": True}, "meta.citation: expected text, got a truth value"),
        ({"citation": [""]}, "meta.citation: [0]: is empty"),
        (
            {"homepage": "example.org"},
            "meta.homepage: expected an address that begins with https://, got 'example.org'",
        ),
        ({"homepage": "javascript:alert(1)"}, "meta.homepage: expected an address"),
        ({"homepage": "https://me:secret@example.org"}, "meta.homepage: expected an address"),
        ({"tittle": "x"}, "meta.tittle; did you mean 'title'?"),
        ({"Title": "x"}, "meta.Title; did you mean 'title'?"),
        ({"licenses": "MIT"}, "meta.licenses; did you mean 'licence'?"),
    ],
)
def test_suspicious_metadata_causes_a_warning(meta: dict[str, Any], message: str) -> None:
    (found,) = meta_warnings(meta)
    assert found.startswith(message)


def test_misspelt_key_beside_the_correct_one_is_intended() -> None:
    assert meta_warnings({"title": "a", "titles": ["b"]}) == []


def test_groups_and_nodes_are_reported_with_their_path() -> None:
    nodes = [
        GroupNode(path="raw", meta={"title": 1}),
        FileNode(path="raw/a", hash=HASH, size=1, meta={"licence": "m"}),
    ]
    assert metadata_warnings(Manifest.make(nodes, {"homepage": "x"})) == [
        "meta.homepage: expected an address that begins with https://, got 'x'",
        "raw: meta.title: expected text, got a number",
        f"raw/a: meta.licence: 'm' is not an SPDX expression, {EXAMPLE}",
    ]


def test_equal_warnings_are_combined() -> None:
    files = [FileNode(path=f"f{number:04}", hash=HASH, size=1, meta={"licence": "m"}) for number in range(1_000)]
    assert metadata_warnings(Manifest.make(files)) == [
        f"f0000 (and 999 more): meta.licence: 'm' is not an SPDX expression, {EXAMPLE}"
    ]
    files = [FileNode(path=f"f{n:04}", hash=HASH, size=1, meta={"licence": f"x{n}y"}) for n in range(1_000)]
    assert len(metadata_warnings(Manifest.make(files))) == MAX_WARNINGS + 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"lenght": "x"}, "columns.lenght: the table has no such column; did you mean 'length'?"),
        ({"petals per plant": {}}, "columns.'petals per plant': the table has no such column"),
        (["length"], "columns: expected a mapping of columns, such as {length: {unit: cm}}, got a list"),
        ({"length": 5}, "columns.length: expected a mapping such as {description: …, unit: …}, got a number"),
        ({"length": {"unit": 1}}, "columns.length.unit: expected text, got a number"),
        ({"length": {"description": None}}, "columns.length.description: expected text, got nothing"),
        ({"length": {"units": "cm"}}, "columns.length.units; did you mean 'unit'?"),
        ({"length": {"descripton": "x"}}, "columns.length.descripton; did you mean 'description'?"),
    ],
)
def test_suspicious_column_metadata_causes_a_warning(columns: Any, message: str) -> None:
    assert column_warnings(table({"columns": columns})) == [message]


def test_valid_column_metadata_causes_no_warning() -> None:
    notes = {"length": {"unit": "cm", "description": "of the petal", "sensor": 3}, "width": "of the petal"}
    assert column_warnings(table({"columns": notes})) == []
    assert column_warnings(FileNode(path="a", hash=HASH, size=1, meta={"columns": 5})) == []
    assert column_warnings(table({"a\nb": "x", "": ""}, "a\nb", "")) == []


def test_many_invalid_columns_are_counted() -> None:
    wide = table({"columns": {f"x{n}": {} for n in range(10_000)}}, *(f"c{n}" for n in range(10_000)))
    found = column_warnings(wide)
    assert len(found) == MAX_WARNINGS + 1
    assert found[-1] == "columns: 9,980 more are not columns of the table"
    assert len(metadata_warnings(Manifest.make([wide]))) <= MAX_WARNINGS + 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=20),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from([*"title description licence license keywords citation homepage columns".split(), "x", "titel"])


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_warnings_contain_only_printable_characters(meta: dict[str, Any]) -> None:
    for line in metadata_warnings(Manifest.make([table(meta)], meta)):
        assert line.isprintable()


def hint(files: dict[str, bytes], meta: dict[str, Any] | None = None) -> str:
    objects = MemoryObjects()
    nodes = [FileNode(path=path, hash=objects.put_bytes(data), size=len(data)) for path, data in files.items()]
    return licence_hint(Manifest.make(nodes, meta), objects)


def test_licence_hint() -> None:
    assert hint({}, {"license": "anything"}) == ""
    assert hint({}).startswith("no licence is named")
    assert hint({"LICENSE": b"do what you like"}).startswith("which licence is in 'LICENSE'?")
    marked = b"# SPDX-License-Identifier: MIT OR Apache-2.0 */\r\nmore"
    assert hint({"licence.txt": marked}).endswith("build.yml too: meta: {licence: MIT OR Apache-2.0}")
    assert hint({"sub/LICENSE": marked}).startswith("no licence is named")
    for text in (b"SPDX-License-Identifier: nonsense", b"\xff\x00SPDX-License-Identifier:", b""):
        assert hint({"LICENSE": text}).startswith("which licence")
    two = {"LICENSE-MIT": b"SPDX-License-Identifier: MIT", "LICENSE-BSD": b"SPDX-License-Identifier: 0BSD"}
    assert hint(two).startswith("which licence")
    absent = Manifest.make([FileNode(path="LICENSE", hash=HASH, size=1)])
    assert licence_hint(absent, MemoryObjects()).startswith("which licence")
