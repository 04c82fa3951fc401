"""Small random tables of unusual values, generated from a seed, with every kind of value beside every other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

INTEGERS = ["1", "-7", "007", "0", "+5", " 3", "12 ", "9223372036854775807", "-0", "00000000000000000000012"]
FLOATS = [
    "1.5",
    "-0.0",
    "1e5",
    "1E-3",
    ".5",
    "2.",
    "inf",
    "-Infinity",
    "0.30000000000000004",
    " 1.5",
    "1e400",
    "5e-324",
]
BOOLEANS = ["True", "False", "true", "FALSE", "tRuE"]
MISSING = ["", "NA", "nan", "NULL", "None", "n/a", "#N/A", "null", "NaN"]
TEXTS = [
    "x",
    "1x",
    "2024-01-01",
    "0x1F",
    "1_000",
    "é日本",
    " NA",
    "NA ",
    "a b",
    "--1",
    "Yes",
    "nan(1)",
    "12:30",
    "-",
    "+",
]
QUOTED = ['"a,b"', '"say ""hi"""', '"x\ny"', '"1"', '"NA"', '""', '"True"', '"a\r\nb"', '"x\n\n1,2"']
STRAY = ['ab"c', '"ab"c', '"ab"c"d', '5"', ' "q"', '"', '""""', '"a""']
BIG = ["9223372036854775808", "18446744073709551616", "-9223372036854775809", "99999999999999999999999999"]
KINDS = (INTEGERS[:2], INTEGERS, FLOATS, BOOLEANS, TEXTS, INTEGERS + FLOATS, ["1.5", "2.25"], BOOLEANS[:2], MISSING)
DTYPES = ("str", "float64", "int64", "Int64", "bool", "boolean", "string", "float32", "int32", "category", "object")


@dataclass
class OddTable:
    """A file and the kwargs to read it with."""

    body: bytes
    kwargs: dict[str, Any] = field(default_factory=dict)


def odd_table(seed: int) -> OddTable:
    """Return the table of a seed; it is the same on every machine."""
    made = random.Random(f"odd table {seed}")
    width, rows = made.choice([1, 1, 2, 2, 3, 4]), made.randint(1, 25)
    separator = made.choice([",", ",", ",", "\t", ";", "|"])
    columns = [_column(made, rows) for _ in range(width)]
    labels = made.choice([[f"c{i}" for i in range(width)]] * 6 + [["a"] * width, [""] * width, ['"x y"'] * width])
    lines = [separator.join(each) for each in [labels, *zip(*columns, strict=True)]]
    _spoil(made, lines, separator, width)
    end = made.choice(["\n"] * 5 + ["\r\n", "\r\n", "\r"])
    body = (end.join(lines) + made.choice([end, end, "", end * 2])).encode()
    if made.random() < 0.05:
        body = b"\xef\xbb\xbf" + body
    if made.random() < 0.02:
        body = body.replace(b"x", b"\xff")
    return OddTable(body, {**({} if separator == "," else {"sep": separator}), **_kwargs(made, width)})


def _column(made: random.Random, rows: int) -> list[str]:
    """Return values of one kind, some missing, quoted or of another kind; one of these may come late."""
    pool = list(made.choice(KINDS)) * 3
    if made.random() < 0.4:
        pool += made.sample(MISSING, made.randint(1, len(MISSING)))
    for chance, others in ((0.15, made.choice(KINDS)[:2]), (0.2, QUOTED), (0.1, STRAY), (0.04, BIG)):
        if made.random() < chance:
            pool += made.sample(others, made.randint(1, 2))
    values = [made.choice(pool) for _ in range(rows)]
    if made.random() < 0.5:
        values[made.randrange(rows)] = made.choice([*INTEGERS, *FLOATS, *BOOLEANS, *MISSING, *TEXTS, *QUOTED, *BIG[:1]])
    return values


def _spoil(made: random.Random, lines: list[str], separator: str, width: int) -> None:
    """Insert blank lines, short rows, long rows and NUL characters."""
    place = made.randint(1, len(lines) - 1)
    if made.random() < 0.15:
        lines.insert(place, made.choice(["", " ", "\t", separator * (width - 1)]))
    if made.random() < 0.08 and width > 1:
        lines[place] = separator.join(["1"] * (width - 1))
    if made.random() < 0.03:
        lines[place] += separator + "1"
    if made.random() < 0.03:
        lines[place] = separator.join(["a\0b"] * width)


def _kwargs(made: random.Random, width: int) -> dict[str, Any]:
    names = [f"c{i}" for i in range(width)]
    rare: list[tuple[str, Any]] = [
        ("thousands", ","),
        ("decimal", ","),
        ("comment", "#"),
        ("skiprows", 1),
        ("skipinitialspace", True),
        ("quoting", 3),
        ("skip_blank_lines", False),
        ("true_values", ["Yes"]),
        ("on_bad_lines", "skip"),
        ("index_col", False),
        ("escapechar", "\\"),
        ("quotechar", "'"),
        ("doublequote", False),
        ("encoding", "latin-1"),
    ]
    common: list[tuple[str, Any]] = [
        ("header", None),
        ("header", 0),
        ("names", [f"n{i}" for i in range(width + made.choice([0, 0, 0, 1, -1]))]),
        ("usecols", made.sample(names, made.randint(1, width))),
        ("usecols", made.sample(range(width), made.randint(1, width))),
        ("na_values", made.choice([["x"], "a b", ["1"], ["-", "Yes"], {"c0": ["x"]}])),
        ("keep_default_na", False),
        ("na_filter", False),
        ("dtype", made.choice(DTYPES)),
        ("dtype", {made.choice(names): made.choice(DTYPES)}),
    ]
    chosen = [each for each in common if made.random() < 0.06] + [each for each in rare if made.random() < 0.02]
    return dict(chosen)
