"""Filters that do not fit a table: errors that name column, type and value, and a filter that can be typed."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from datapkg.errors import InvalidInput
from datapkg.home import Home
from tests.reading.test_tables import stored

OF_TYPES = {
    "int": pa.array([1, 2]),
    "small": pa.array([1, 2], pa.uint8()),
    "float": pa.array([1.5, 2.5]),
    "text": pa.array(["a", "b"]),
    "truth": pa.array([True, False]),
    "naive": pa.array([dt.datetime(2024, 1, 1), dt.datetime(2025, 1, 1)]),  # noqa: DTZ001 - one without a zone is meant
    "zoned": pa.array([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 2),
    "day": pa.array([dt.date(2024, 1, 1), dt.date(2025, 1, 1)]),
    "time": pa.array([dt.time(1), dt.time(2)]),
    "exact": pa.array([Decimal("1.5"), Decimal("2.5")]),
    "category": pa.array(["a", "b"]).dictionary_encode(),
    "bytes": pa.array([b"a", b"b"]),
    "list": pa.array([[1], [2]]),
    "struct": pa.array([{"a": 1}] * 2),
    "span": pa.array([dt.timedelta(1), dt.timedelta(2)]),
}


@pytest.mark.parametrize(
    ("term", "line"),
    [
        (("int", ">", "1"), "('int', '>', 1)"),
        (("int", ">", "x"), "('int', '>', 1)"),
        (("int", "in", ["1", "x"]), "('int', 'in', [1])"),
        (("int", "in", "12"), "('int', 'in', ['12'])"),
        (("int", "in", 1), "('int', 'in', [1])"),
        (("small", "==", "300"), "('small', '==', 1)"),
        (("float", "<", "2"), "('float', '<', 2.0)"),
        (("text", "==", 7), "('text', '==', '7')"),
        (("text", "not in", [1]), "('text', 'not in', ['1'])"),
        (("category", "==", 7), "('category', '==', '7')"),
        (("truth", "==", 1), "('truth', '==', True)"),
        (("truth", "==", "false"), "('truth', '==', False)"),
        (("naive", ">", "2024-06-01"), "('naive', '>', pandas.Timestamp('2024-06-01 00:00:00'))"),
        (("zoned", ">", "2024-06-01"), "pandas.Timestamp('2024-06-01 00:00:00+0000', tz='UTC')"),
        (("zoned", ">", dt.datetime(2024, 6, 1)), "pandas.Timestamp('2024-06-01 00:00:00+0000', tz='UTC')"),  # noqa: DTZ001
        (("day", "==", "2024-01-01"), "('day', '==', datetime.date(2024, 1, 1))"),
        (("time", "==", "01:00:00"), ""),
        (("exact", "==", "1.5"), "('exact', '==', Decimal('1.5'))"),
        (("exact", "==", 1), "('exact', '==', Decimal('1.0'))"),
        (("bytes", "==", 7), "('bytes', '==', b'7')"),
        (("int", "==", None), "pyarrow.compute.field('int').is_null()"),
        (("int", "!=", None), "pyarrow.compute.field('int').is_valid()"),
        (("list", "==", 1), ""),
        (("struct", "==", 1), ""),
        (("span", "==", "x"), ""),
    ],
)
def test_filter_of_another_type_shows_what_to_write(home: Home, term: tuple[str, str, Any], line: str) -> None:
    node = stored(home, pa.table(OF_TYPES))
    ways: list[Callable[[Any], object]] = [
        lambda filters: node(filters=filters),
        lambda filters: node.arrow(["int"], [[("int", "==", 1)], filters]),
        lambda filters: next(node.iter_batches(1, filters=filters)),
        lambda filters: node.polars(filters=filters),
    ]
    for way in ways:
        with pytest.raises(InvalidInput, match=re.escape(repr(term[0]))) as caught:
            way([term])
        assert str(caught.value).startswith("me/t/t: ")
        assert line in caught.value.hint
        assert "kernel" not in caught.value.message
        if caught.value.hint:
            names = {"pandas": pd, "datetime": dt, "Decimal": Decimal, "pyarrow": pa}
            assert len(node(filters=eval(caught.value.hint.removeprefix("filters="), names))) <= 2


NAN = float("nan")
WITH_NAN = [pa.table({"x": [7.0, NAN, 7.0], "id": [0, 1, 2]}), pa.table({"x": [7.0, 7.0, None], "id": [3, 4, 5]})]
CONDITIONS = [
    ([("x", "!=", 7.0)], [1]),
    ([("x", "not in", [7.0])], [1, 5]),
    ([[("x", "!=", 7.0), ("id", "<", 1)], [("id", "==", 4)]], [4]),
    (~(pc.field("x") >= 7), [1]),
    (pc.field("x").is_nan(), [1]),
    ([("x", "in", [NAN])], [1]),
    ([("x", "<", 7.0)], []),
]


@pytest.mark.parametrize("types", [pa.float64(), pa.float32(), pa.float16()], ids=str)
@pytest.mark.parametrize(("filters", "rows"), CONDITIONS, ids=str)
def test_rows_with_nan_pass_the_filters_that_hold_for_them(
    home: Home, filters: Any, rows: list[int], types: pa.DataType
) -> None:
    blocks = [each.set_column(0, "x", each["x"].cast(types)) for each in WITH_NAN]
    for node in (stored(home, *blocks), stored(home, pa.concat_tables(blocks)), stored(home, blocks[0])):
        wanted = [row for row in rows if row < len(node)]
        try:
            assert node.arrow(filters=filters)["id"].to_pylist() == wanted
        except InvalidInput:
            assert types == pa.float16()  # of which Arrow compares few
            continue
        assert node.arrow(filters=filters, columns=["id"])["id"].to_pylist() == wanted
        assert [each for batch in node.iter_batches(2, filters=filters) for each in batch["id"]] == wanted


@pytest.mark.parametrize("types", [pa.float64(), pa.float32()], ids=str)
@pytest.mark.parametrize("zero", [0, 0.0, -0.0], ids=str)
def test_lists_with_zero_take_both_zeros(home: Home, zero: float, types: pa.DataType) -> None:
    node = stored(home, pa.table({"x": pa.array([0.0, -0.0, 1.5, None], types), "id": range(4)}))
    for values in ([zero, 7], (zero,), {zero}, np.array([zero], "f8"), np.array([zero], object)):
        assert node.arrow(filters=[("x", "in", values)])["id"].to_pylist() == [0, 1]
        assert node.arrow(filters=[("x", "not in", values)])["id"].to_pylist() == [2, 3]
    assert node.arrow(filters=[("x", "in", [zero, None])])["id"].to_pylist() == [0, 1, 3]
    assert node.arrow(filters=[("id", "in", [0, 3])])["id"].to_pylist() == [0, 3]


BIG = 2**53 + 1
NUMBERS = {
    "i": pa.array([BIG, BIG - 1, 5, None, -7]),
    "u": pa.array([2**64 - 1, 2**63, 1, None, 0], pa.uint64()),
    "s": pa.array([1, 127, -128, None, 0], pa.int8()),
    "f": pa.array([2.0**53, 0.5, -0.0, None, 1e300]),
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LIMITS: list[Any] = [0, 5.0, 0.5, -0.5, BIG, float(BIG - 1), 2**63, 2**64 - 1, 2**70, -(2**70), 1e300, float("inf")]
MORE: list[Any] = [-float("inf"), 127, 128.0, np.float64(127.5), np.uint64(2**64 - 1), np.int8(-128), -128.5]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_compared_exactly(home: Home, name: str) -> None:
    node = stored(home, pa.table(NUMBERS))
    values = NUMBERS[name].to_pylist()
    for limit in [*LIMITS, *MORE]:
        exact = limit.item() if isinstance(limit, np.generic) else limit
        if name == "f" and float(exact) != exact:
            continue
        for sign, holds in OPERATORS.items():
            found = node.arrow([name], [(name, sign, limit)])[name].to_pylist()
            assert found == [each for each in values if each is not None and holds(each, exact)], (sign, limit)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "some", [[0.5, BIG], [5, 0.5, float(BIG - 1)], [-1, 1, 2**64 - 1], [2**70, NAN, 127.0], [None, 0], LIMITS], ids=str
)
def test_lists_of_numbers_are_compared_exactly(home: Home, name: str, some: list[Any]) -> None:
    node = stored(home, pa.table(NUMBERS))
    values = NUMBERS[name].to_pylist()
    assert node.arrow([name], [(name, "in", some)])[name].to_pylist() == [each for each in values if each in some]
    assert node.arrow([name], [(name, "not in", some)])[name].to_pylist() == [
        each for each in values if each not in some
    ]


def test_integers_that_no_column_of_floats_holds_are_refused(home: Home) -> None:
    node = stored(home, pa.table(NUMBERS))
    for value in (BIG, 2**64 + 1):
        with pytest.raises(InvalidInput) as caught:
            node(filters=[("f", "<", value)])
        assert "9007199254740992" not in caught.value.hint, "another number"


def test_short_floats_are_compared_in_their_precision(home: Home) -> None:
    node = stored(home, pa.table({"x": pa.array([0.1, 2.0, 0.3], pa.float32()), "id": [0, 1, 2]}))
    for term, rows in [("==", [0]), ("!=", [1, 2]), ("<=", [0]), (">", [1, 2])]:
        assert node.arrow(["id"], [("x", term, 0.1)])["id"].to_pylist() == rows
    assert node.arrow(["id"], [("x", "in", [0.1, 2])])["id"].to_pylist() == [0, 1]
