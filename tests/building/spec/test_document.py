"""Parse YAML with line numbers, without tags, and with a limit on everything."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from datapkg.building.spec.document import MAX_DEPTH, Item, parse, read_document, scalar_value
from datapkg.errors import InvalidBuildFile, NotFound


def doc(text: str | bytes) -> Item:
    item = parse(text if isinstance(text, bytes) else text.encode(), "b.yml")
    assert item is not None
    return item


def test_lines_and_text_as_written() -> None:
    root = doc("a: 1.10\n'b': 'no'\nc:\n  - x\n  - {d: }\n")
    pairs = {key.text: (key.line, value.kind, value.line) for key, value in root.pairs}
    assert pairs == {"a": (1, "scalar", 1), "b": (2, "scalar", 2), "c": (3, "list", 4)}
    (_, first), (_, second), _ = root.pairs
    assert (first.text, first.plain, second.plain) == ("1.10", True, False)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_empty_document(text: str) -> None:
    assert parse(text.encode(), "b.yml") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", False),
        ("on", True),
        ("~", None),
        ("", None),
        ("010", 8),
        ("0x1f", 31),
        ("1_000", 1000),
        ("1.10", 1.1),
        ("1e5", "1e5"),
        (".inf", float("inf")),
        ("12:30", 750),
        ("2024-01-02", datetime.date(2024, 1, 2)),
        ("2024-01-02T03:04:05Z", datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        ("'no'", "no"),
        ('"1"', "1"),
        ("=", "="),
        ("<<", "<<"),
        ("|\n  block\n", "block\n"),
    ],
)
def test_scalars_are_yaml_1_1(text: str, value: Any) -> None:
    ((_, item),) = doc(f"k: {text}").pairs
    assert scalar_value(item) == value
    assert type(scalar_value(item)) is type(value)


@pytest.mark.parametrize("text", ["2024-13-45", "9" * 5_000, "2024-01-02T99:00:00"])
def test_ambiguous_scalars_are_rejected(text: str) -> None:
    ((_, item),) = doc(f"k: {text}").pairs
    with pytest.raises(ValueError, match="looks like"):
        scalar_value(item)


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: b: c\n", "b.yml:1:5", "mapping values are not allowed"),
        ("a:\n  - b\n c: d\n", "b.yml:3:2", "expected|did not find"),
        ("a: 'x\n", "b.yml:2:1", "quoted scalar"),
        ("a:\n\tb: c\n", "b.yml:2:1", "never with tabs|cannot start any token"),
        ("a: [1, 2\n", "b.yml:2:1", "expected|did not find"),
        ("a: *x\n", "b.yml:1:4", "no anchor &x"),
        ("a: &x [*x]\n", "b.yml:1:8", "contains itself"),
        ("a: 1\n---\nb: 2\n", "b.yml:2:1", "second"),
        ("a: !!python/object/apply:os.system ['true']\n", "b.yml:1:4", "tags"),
        ("a: !!str x\n", "b.yml:1:4", "tags"),
        ("a: !local x\n", "b.yml:1:4", "tags"),
        ("a: x\0\n", "b.yml:1:5", "U\\+0000"),
        (b"a: x\nb: \xff\n", "b.yml:2:4", "UTF-8"),
        ("%YAML 9.9\n---\na: 1\n", "b.yml:1:", "incompatible YAML"),
    ],
)
def test_error_has_file_line_column_and_snippet(text: str | bytes, where: str, what: str) -> None:
    with pytest.raises(InvalidBuildFile, match=what) as caught:
        doc(text)
    first, snippet, caret = str(caught.value).split("\n")
    assert first.startswith(where)
    assert caret.strip() == "^"
    assert caught.value.problems[0][0].startswith(where)
    assert snippet.startswith("    ")


def test_caret_is_below_the_error_position() -> None:
    with pytest.raises(InvalidBuildFile) as caught:
        doc("contents:\n  a: b: c\n")
    _, snippet, caret = str(caught.value).split("\n")
    assert snippet[caret.index("^")] == ":"
    assert snippet.strip() == "a: b: c"


def test_utf_16_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidBuildFile, match="UTF-8"):
        doc("a: 1".encode("utf-16"))


def test_nesting_is_limited() -> None:
    assert doc("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)).kind == "list"
    for text in (
        "[" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        "{a: " * 10_000,
        "\n".join(" " * n + "a:" for n in range(3_000)),
    ):
        with pytest.raises(InvalidBuildFile, match="nested deeper"):
            doc(text)


def test_nesting_by_aliases_is_limited() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1_000))
    with pytest.raises(InvalidBuildFile, match="nested deeper"):
        doc(text)


def test_alias_bomb_is_rejected() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(InvalidBuildFile, match="more than 250,000 values"):
        doc("\n".join(lines))


def test_oversized_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "b.yml"
    with path.open("wb") as stream:
        stream.truncate(17 << 20)
    with pytest.raises(InvalidBuildFile, match="16 MiB"):
        read_document(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="No such file"):
        read_document(tmp_path / "b.yml")
