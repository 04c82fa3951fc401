"""Each sheet of an OpenDocument spreadsheet (ODF 1.3, part 3, 9.1), written here by hand, becomes a table."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pandas
import pytest

from datapkg.errors import TransformFailed
from tests.building.builds import Bench, kinds, write

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?><office:document-content office:version="1.3"'
    ' xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>'
)
_TAIL = "</office:spreadsheet></office:body></office:document-content>"
_TYPE = "application/vnd.oasis.opendocument.spreadsheet"
_MANIFEST = (
    '<manifest:manifest manifest:version="1.3" xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
    f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{_TYPE}"/>'
    '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>'
)


def cell(kind: str, value: str, repeated: int = 1) -> str:
    """Return a cell; `kind` is a value type of the standard, or "" for an empty cell."""
    many = f' table:number-columns-repeated="{repeated}"' if repeated > 1 else ""
    if not kind:
        return f"<table:table-cell{many}/>"
    name = {"date": "date-value", "boolean": "boolean-value", "string": "string-value"}.get(kind, "value")
    text = f"<text:p>{escape(value)}</text:p>"
    return (
        f'<table:table-cell office:value-type="{kind}" office:{name}="{escape(value)}"{many}>{text}</table:table-cell>'
    )


def ods(**sheets: list[list[str]]) -> bytes:
    tables = "".join(
        f'<table:table table:name="{escape(name)}">'
        + "".join(f"<table:table-row>{''.join(row)}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("mimetype", _TYPE)
        archive.writestr("META-INF/manifest.xml", _MANIFEST)
        archive.writestr("content.xml", _HEAD + tables + _TAIL)
    return sink.getvalue()


def header(*names: str) -> list[str]:
    return [cell("string", name) for name in names]


BOOK = ods(
    One=[
        header("n", "t", "d", "b"),
        [cell("float", "1.5"), cell("string", "é & x"), cell("date", "2024-01-02"), cell("boolean", "true")],
        [cell("float", "2"), cell("", ""), cell("date", "2024-03-04T05:06:07"), cell("boolean", "false")],
    ],
    Zwei=[header("a", "b"), [cell("float", "7", repeated=2)]],
)


def test_each_sheet_is_a_table(tmp_path: Path) -> None:
    bench = Bench()
    built = bench.build(write(tmp_path, {"book.ods": BOOK}))
    assert kinds(built) == {"book/One": "table", "book/Zwei": "table"}
    frame = bench.frame(built, "book/One")
    pandas.testing.assert_frame_equal(frame, pandas.read_excel(tmp_path / "book.ods", engine="calamine"))
    assert frame["n"].tolist() == [1.5, 2.0]
    assert frame["t"].fillna("").tolist() == ["é & x", ""]
    assert frame["d"].astype(str).tolist() == ["2024-01-02 00:00:00", "2024-03-04 05:06:07"]
    assert frame["b"].tolist() == [True, False]


def test_sheet_by_name_or_number(tmp_path: Path) -> None:
    build_file = """\
contents:
  transform: ods
  by_name: {file: book.ods, kwargs: {sheet_name: Zwei}}
  by_number: {file: book.ods, kwargs: {sheet_name: 1, dtype: {a: float}}}
"""
    bench = Bench()
    built = bench.build(write(tmp_path, {"book.ods": BOOK, "build.yml": build_file}))
    assert bench.frame(built, "by_name").to_dict("list") == {"a": [7], "b": [7]}
    assert str(bench.frame(built, "by_number")["a"].dtype) == "float64"


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"text", "cannot be read as ods"), (b"", "cannot be read as ods"), (BOOK[:-40], "cannot be read as ods")],
    ids=["text", "empty", "cut"],
)
def test_file_that_is_not_a_spreadsheet(tmp_path: Path, body: bytes, reason: str) -> None:
    with pytest.raises(TransformFailed, match=reason):
        Bench().build(write(tmp_path, {"book.ods": body}))


def test_missing_sheet(tmp_path: Path) -> None:
    write(tmp_path, {"book.ods": BOOK, "build.yml": "contents:\n  a: {file: book.ods, kwargs: {sheet_name: Drei}}\n"})
    with pytest.raises(TransformFailed, match="Drei"):
        Bench().build(tmp_path)
