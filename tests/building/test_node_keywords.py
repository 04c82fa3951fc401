"""Keywords of nodes (URLs, archives, queries, functions, sheets, column notes) and mistakes in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datapkg.building.spec.model import BuildSpec, FileSource, NodeSpec, PythonSource, SqlSource, UrlSource
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import InvalidBuildFile
from tests.building.builds import write

SUM = "ab" * 32
FILES: dict[str, str | bytes] = {
    "a.csv": "x\n1\n",
    "b.csv": "x\n2\n",
    "book.xlsx": "",
    "data.sqlite": b"SQLite format 3\x00",
    "make.py": "",
    "sub/more.py": "",
    "all.zip": "",
}


def read(folder: Path, text: str, **options: Any) -> BuildSpec:
    write(folder, {**FILES, "build.yml": text})
    return read_build_file(folder / "build.yml", **options)


def node(folder: Path, text: str, **options: Any) -> NodeSpec:
    """Return the one node `n` with these keywords."""
    (found,) = read(folder, f"contents:\n  n: {{{text}}}\n", **options).nodes
    return found


def mistakes(folder: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidBuildFile) as caught:
        node(folder, text, **options)
    return [f"{place.rpartition(': ')[2]}: {what}" for place, what in caught.value.problems]


def test_urls(tmp_path: Path) -> None:
    found = node(tmp_path, f"url: https://a.example/x/prices.csv?k=1, sha256: {SUM.upper()}, kwargs: {{nrows: 1}}")
    assert found.source == UrlSource("https://a.example/x/prices.csv?k=1", SUM)
    assert (found.transform, found.kwargs) == ("csv", {"nrows": 1})
    found = node(tmp_path, "url: http://a.example/x/prices.csv", update=True)
    assert found.source == UrlSource("http://a.example/x/prices.csv")


def test_archive_members(tmp_path: Path) -> None:
    found = node(tmp_path, f"url: https://a.example/all.zip, sha256: {SUM}, extract: data/a.tsv")
    assert found.source == UrlSource("https://a.example/all.zip", SUM, "data/a.tsv")
    assert found.transform == "tsv"
    found = node(tmp_path, 'file: all.zip, extract: "*.csv", kwargs: {nrows: 1}')
    assert found.source == UrlSource(extract="*.csv", inside=FileSource(tmp_path / "all.zip", "all.zip"))


def test_group_options_apply_to_urls(tmp_path: Path) -> None:
    text = (
        f"contents:\n  g:\n    transform: csv\n    kwargs: {{nrows: 2}}\n    n: {{url: 'http://a/x', sha256: {SUM}}}\n"
    )
    (found,) = read(tmp_path, text).nodes
    assert (found.transform, found.kwargs) == ("csv", {"nrows": 2})


def test_queries(tmp_path: Path) -> None:
    found = node(tmp_path, "sql: 'SELECT a, b FROM t', connection: SALES_DB, checks: [{row_count: 1}]")
    assert found.source == SqlSource("SELECT a, b FROM t", "SALES_DB")
    assert len(found.checks) == 1


def test_functions(tmp_path: Path) -> None:
    found = node(tmp_path, "python: make:prices, files: ['*.csv', book.xlsx], kwargs: {year: 2024, names: [a]}")
    files = tuple(FileSource(tmp_path / name, name) for name in ("a.csv", "b.csv", "book.xlsx"))
    assert found.source == PythonSource(tmp_path / "make.py", "prices", files)
    assert (found.transform, found.kwargs) == ("id", {"year": 2024, "names": ["a"]})
    found = node(tmp_path, "python: sub.more:f, file: a.csv, files: b.csv, transform: csv")
    assert isinstance(found.source, PythonSource)
    assert found.source.module == tmp_path / "sub" / "more.py"
    assert [each.shown for each in found.source.files] == ["a.csv", "b.csv"]
    assert found.transform == "csv"
    found = node(tmp_path, "python: make:prices")
    assert (found.source, found.kwargs) == (PythonSource(tmp_path / "make.py", "prices"), {})


def test_group_kwargs_do_not_apply_to_functions(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "contents:\n  kwargs: {nrows: 2}\n  n: {python: make:f}\n").nodes
    assert found.kwargs == {}


@pytest.mark.parametrize(
    ("text", "sheet"),
    [
        ("Prices", "Prices"),
        ("2", 2),
        ("'2'", "2"),
        ("'*'", "*"),
        ("[a, 1]", ["a", 1]),
        ("no", "no"),
        ("2024-01-02", "2024-01-02"),
    ],
)
def test_sheets(tmp_path: Path, text: str, sheet: object) -> None:
    assert node(tmp_path, f"file: book.xlsx, sheet: {text}").kwargs == {"sheet": sheet}


def test_keywords_of_globs(tmp_path: Path) -> None:
    spec = read(tmp_path, "contents:\n  '*.xlsx': {sheet: '*', columns: {x: {unit: m}}}\n  '*.sqlite': {table: t}\n")
    assert [each.kwargs for each in spec.nodes] == [{"sheet": "*"}, {"table": "t"}]
    assert spec.nodes[0].meta == {"columns": {"x": {"unit": "m"}}}


def test_tables(tmp_path: Path) -> None:
    assert node(tmp_path, "file: data.sqlite, table: prices").kwargs == {"table": "prices"}


def test_column_notes(tmp_path: Path) -> None:
    text = (
        "file: a.csv, meta: {m: 1}, columns: {x: {description: the price, unit: EUR}, 2024: yes, no: {unit: 1.10}, y: }"
    )
    assert node(tmp_path, text).meta == {
        "m": 1,
        "columns": {
            "x": {"description": "the price", "unit": "EUR"},
            "2024": {"description": "yes"},
            "no": {"unit": "1.10"},
            "y": {},
        },
    }


def test_groups_may_be_named_like_keywords(tmp_path: Path) -> None:
    words = ("connection", "extract", "files", "sha256", "sheet", "table", "file", "url", "sql", "python")
    text = "contents:\n" + "".join(f"  {word}: {{a: {{file: a.csv}}}}\n" for word in words[:6])
    text += "".join(f"  {word}: {{file: a.csv}}\n" for word in words[6:])
    assert [each.path for each in read(tmp_path, text).nodes] == [*(f"{word}/a" for word in words[:6]), *words[6:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "url: https://a.example/x.csv",
            "contents.n.url: an address needs the sum of its bytes, `sha256`; with --update",
        ),
        (
            f"url: a.csv, sha256: {SUM}",
            "contents.n.url: an address begins with https://, http://, s3://, gs:// or az://, got 'a.csv' without",
        ),
        (
            f"url: 'ftp://a/x', sha256: {SUM}",
            "contents.n.url: an address begins with https://, http://, s3://, gs:// or az://, got 'ftp':",
        ),
        (f"url: 'https://u:hidden@a/x', sha256: {SUM}", "contents.n.url: an address has no user and no password in it"),
        (f"url: , sha256: {SUM}", "contents.n.url: expected an address, https://…, got nothing"),
        (f"url: [a], sha256: {SUM}", "contents.n.url: expected an address, https://…, got a list"),
        ("url: https://a/x, sha256: [a]", "contents.n.sha256: expected 64 hex digits, got a list"),
        ("url: https://a/x, sha256: 'abc'", "contents.n.sha256: expected 64 hex digits, got 'abc'"),
        ("url: https://a/x, sha256: ", "contents.n.sha256: expected 64 hex digits, got nothing"),
        (f"url: https://a/x, sha265: {SUM}", "contents.n.sha265: unknown key 'sha265'; did you mean 'sha256'?"),
        (
            f"url: https://a/x, sha256: {SUM}, file: a.csv",
            "contents.n: has both `file` and `url`; a node has one source",
        ),
        (
            f"url: https://a/x, sha256: {SUM}, connection: A",
            "contents.n.connection: `connection` goes with `sql`, and this is a `url`",
        ),
        (
            f"url: https://a/x.csv, sha256: {SUM}, sheet: 1",
            "contents.n.sheet: `sheet` is for Excel files, and transform csv",
        ),
        (
            f"url: https://a/x.txt, sha256: {SUM}, kwargs: {{sep: x}}",
            "contents.n.kwargs: 'sep' is not supported: transform id",
        ),
        (
            f"url: https://a/x.txt, sha256: {SUM}, checks: [{{row_count: 1}}]",
            "contents.n.checks: checks are for tables",
        ),
        (f"file: a.csv, sha256: {SUM}", "contents.n.sha256: `sha256` goes with `url`, and this is a `file`"),
        ("file: all.zip, extract: ", "contents.n.extract: expected the path of a member of the archive, or a glob"),
        ("file: none.zip, extract: a", "contents.n.file: there is no file 'none.zip'"),
        ("file: a.csv, extarct: a", "contents.n.extarct: unknown key 'extarct'; did you mean 'extract'?"),
        ("sql: SELECT 1", "contents.n.sql: a query needs `connection`: the name of the environment variable"),
        (
            "sql: SELECT 1, connection: 'postgresql://me:hidden@h/d'",
            "contents.n.connection: expected the name of an environment",
        ),
        ("sql: , connection: DB", "contents.n.sql: expected a query, got nothing"),
        ("sql: SELECT 1, connection: DB, kwargs: {a: 1}", "contents.n.kwargs: a query gives a table as it is"),
        ("sql: SELECT 1, conection: DB", "contents.n.conection: unknown key 'conection'; did you mean 'connection'?"),
        (
            "python: make",
            "contents.n.python: expected module:function, such as prepare:prices for prices() of prepare.py",
        ),
        ("python: nothing:f", "contents.n.python: there is no file 'nothing.py'"),
        ("python: mak:f", "contents.n.python: there is no file 'mak.py'; did you mean 'make.py'?"),
        ("python: make:f, files: [nothing.csv]", "contents.n.files: there is no file 'nothing.csv'"),
        ("python: make:f, files: [[a]]", "contents.n.files: expected the path of a file, or a glob, got a list"),
        ("python: make:f, files: {a: b}", "contents.n.files: expected the path of a file, or a glob or a list of such"),
        ("python: make:f, files: ['*.jpg']", "contents.n.files: matches no file"),
        ("python: make:f, kwargs: {class: 1}", "contents.n.kwargs: 'class' cannot be the name of an argument"),
        ("python: make:f, kwargs: {a b: 1}", "contents.n.kwargs: 'a b' cannot be the name of an argument"),
        ("python: make:f, transform: scv", "contents.n.transform: unknown transform 'scv'; did you mean 'csv'?"),
        ("python: make:f, url: https://a/x", "contents.n: has both `url` and `python`"),
        ("file: book.xlsx, sheet: -1", "contents.n.sheet: sheets are counted from 0, got '-1'"),
        (
            "file: book.xlsx, sheet: {a: 1}",
            "contents.n.sheet: expected the name or the number of a sheet, a list of such, or",
        ),
        ("file: book.xlsx, sheet: ", "contents.n.sheet: expected the name or the number of a sheet"),
        ("file: a.csv, table: x", "contents.n.table: `table` is for SQLite databases, and transform csv has none"),
        (
            "file: a.csv, columns: [x]",
            "contents.n.columns: expected a mapping of columns to {description: …, unit: …}, got a list",
        ),
        (
            "file: a.csv, columns: {x: [1]}",
            "contents.n.columns.x: expected a text, or {description: …, unit: …}, got a list",
        ),
        ("file: a.csv, columns: {x: {unit: [1]}}", "contents.n.columns.x.unit: expected a text, got a list"),
        ("file: a.csv, columns: {x: a, x: b}", "contents.n.columns: key 'x' is here twice"),
        (
            "file: a.csv, columns: {x: a}, meta: {columns: 1}",
            "contents.n.columns: is given here and in `meta`; give it once",
        ),
        ("stage: x", "contents.n: there is no stage 'x'"),
        ("file: a.csv, environments: x", "contents.n.environments: `environments` is not supported"),
        (
            "package: u/p, extract: x",
            "contents.n.extract: `extract` goes with `file` or `url`, and this is a `package`",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    found = mistakes(tmp_path, text)
    assert any(each.startswith(expected) for each in found), found
    assert "hidden" not in " ".join(found).replace("(hidden files", "")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (f"sha256: {SUM}", "contents.g.sha256: `sha256` goes with `url`, and this is a group"),
        ("extract: x", "contents.g.extract: `extract` goes with `file` or `url`, and this is a group"),
        ("columns: {x: y}", "contents.g.columns: `columns` goes with"),
        ("sheet: x", "contents.g.sheet: `sheet` goes with `file`, `url` or `stage`, and this is a group"),
        ("environments: x", "contents.g.environments: `environments` is not supported"),
    ],
)
def test_node_keywords_at_groups_are_rejected(tmp_path: Path, word: str, expected: str) -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        read(tmp_path, f"contents:\n  g: {{{word}, a: {{file: a.csv}}}}\n")
    assert expected in str(caught.value)


def test_unknown_keyword_of_a_glob(tmp_path: Path) -> None:
    with pytest.raises(InvalidBuildFile, match="`extract` goes with `file` or `url`, and this is a glob"):
        read(tmp_path, "contents:\n  '*.zip': {extract: x}\n")


def test_mistakes_of_several_kinds_are_reported_together(tmp_path: Path) -> None:
    text = """\
contents:
  a: {url: ftp://a/x, sha256: abc, extract: [1]}
  b: {sql: '', connection: 'a:b'}
  c: {python: x, files: [none], kwargs: {1: 2}}
"""
    with pytest.raises(InvalidBuildFile) as caught:
        read(tmp_path, text)
    lines = [int(place.split(":")[1]) for place, _ in caught.value.problems]
    assert lines == [2, 2, 3, 3, 4, 4, 4]
