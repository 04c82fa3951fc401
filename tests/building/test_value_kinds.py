"""Columns of Python objects: the result does not depend on the order of values, and values round-trip."""

from __future__ import annotations

import datetime
import itertools
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import datapkg
from datapkg.building.readers.type_inference import TypeInference
from datapkg.errors import DatapkgError, InvalidInput, TransformFailed
from datapkg.tables.frame_to_arrow import table_from_frame
from tests.building.builds import Bench, write

DAY, MOMENT = datetime.date(2024, 1, 2), pandas.Timestamp(2024, 1, 2, 13).to_pydatetime()
EAST = datetime.timezone(datetime.timedelta(hours=5))
VALUES: dict[str, list[Any]] = {
    "bool": [True, np.bool_(False)],
    "int": [5, np.int8(7), np.uint64(9)],
    "large int": [2**60, np.int64(2**53 + 1)],
    "huge int": [2**70],
    "float": [2.5, np.float64(0.5), np.float32(0.1)],
    "Decimal": [Decimal("1.5"), Decimal(10**20)],
    "str": ["é", np.str_("x")],
    "bytes": [b"\xff", bytearray(b"x")],
    "date": [DAY, np.datetime64("2024-01-05")],
    "datetime": [MOMENT, np.datetime64("2024-01-02T13", "h"), pandas.Timestamp("2024-01-02 00:00:00.000000001")],
    "zoned": [MOMENT.replace(tzinfo=EAST), pandas.Timestamp("2024-01-02", tz="Europe/Berlin")],
    "time": [datetime.time(12, 30)],
    "timedelta": [datetime.timedelta(1), np.timedelta64(3, "m"), pandas.Timedelta(1, "ns")],
    "missing": [None, float("nan"), pandas.NaT, pandas.NA, np.datetime64("NaT")],
}
# Sets of kinds with a common type; integers above 2^53 are exact beside integers and decimals only.
TOGETHER = [{"int", "large int", "huge int", "Decimal"}, {"int", "float"}]


def objects(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    for at, value in enumerate(values):
        array[at] = value
    return array


def series(values: Sequence[Any]) -> pandas.Series:
    return pandas.Series(objects(values), dtype=object)


def categories(values: Sequence[Any]) -> pandas.Series:
    index = pandas.Index(objects(values), dtype=object)
    return pandas.Series(pandas.Categorical.from_codes(range(len(values)), categories=index))


PLACES: dict[str, Callable[[Sequence[Any]], pandas.DataFrame]] = {
    "column": lambda values: pandas.DataFrame({"c": series(values)}),
    "index": lambda values: pandas.DataFrame({"a": 1}, index=pandas.Index(objects(values), dtype=object, name="c")),
    "list": lambda values: pandas.DataFrame({"c": series([list(values)])}),
    "lists": lambda values: pandas.DataFrame({"c": series([[each] for each in values])}),
    "dicts": lambda values: pandas.DataFrame({"c": series([{"k": each} for each in values])}),
}


def stored(place: str, values: Sequence[Any]) -> list[Any] | str:
    """Return the values after a round trip, or the kinds for which they are rejected."""
    try:
        column = table_from_frame(PLACES[place](values))["c"]
    except InvalidInput as error:
        return " ".join(sorted(re.findall(r"([\w ^]+) \(row \d+\)", str(error))))
    found = column.to_pylist()
    if place == "list":
        return list(found[0])
    if place == "lists":
        return [each[0] for each in found]
    return [each["k"] for each in found] if place == "dicts" else found


def expected(value: Any) -> Any:
    if isinstance(value, np.datetime64 | np.timedelta64):
        is_day = value.dtype == "datetime64[D]"
        return (
            value.item() if is_day else pandas.Timestamp(value) if value.dtype.kind == "M" else pandas.Timedelta(value)
        )
    return value.item() if isinstance(value, np.generic) else bytes(value) if isinstance(value, bytearray) else value


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[set[str], list[Any]]:
    kinds = draw(st.sets(st.sampled_from([each for each in VALUES if each != "missing"]), min_size=1, max_size=3))
    extra = draw(st.booleans())
    pools = [VALUES[kind] for kind in sorted(kinds)] + ([VALUES["missing"]] if extra else [])
    values = [draw(st.sampled_from(pool)) for pool in pools]
    return kinds, draw(st.permutations(values + draw(st.lists(st.sampled_from(values), max_size=3))))


def check_any_order(place: str, kinds: set[str], values: list[Any], order: list[int]) -> None:
    found, other = stored(place, values), stored(place, [values[at] for at in order])
    if isinstance(found, str):
        assert other == found
        is_nested_nanosecond = place in ("list", "lists", "dicts") and kinds == {"zoned"}
        assert not any(kinds <= each for each in TOGETHER), values
        assert len(kinds) > 1 or is_nested_nanosecond, values
        return
    assert [str(each) for each in other] == [str(found[at]) for at in order]
    assert len(kinds) == 1 or any(kinds <= each for each in TOGETHER), values
    for value, each in zip(values, found, strict=True):
        assert (each is None) if pandas.isna(value) else each == expected(value), (value, each)


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(list(PLACES)), mixture=mixtures(), data=st.data())
def test_order_of_values_does_not_matter(place: str, mixture: tuple[set[str], list[Any]], data: Any) -> None:
    kinds, values = mixture
    check_any_order(place, kinds, values, data.draw(st.permutations(range(len(values)))))


@pytest.mark.big
@settings(max_examples=3_000, deadline=None)
@given(place=st.sampled_from(list(PLACES)), mixture=mixtures(), data=st.data())
def test_order_of_many_values_does_not_matter(place: str, mixture: tuple[set[str], list[Any]], data: Any) -> None:
    kinds, values = mixture
    check_any_order(place, kinds, values, data.draw(st.permutations(range(len(values)))))


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.sampled_from([None, 1, 2**60, 2.5, True, "x", b"x", DAY, MOMENT, Decimal("1.5")]), min_size=2)
)
def test_batched_rows_get_one_type_in_every_order(values: list[Any]) -> None:
    """As for JSON and queries: the boundaries of batches do not matter either."""

    def inferred(batches: Sequence[Sequence[Any]]) -> str:
        column = TypeInference("c")
        try:
            for each in batches:
                column.see(each)
        except InvalidInput:
            return "refused"
        return str(column.type)

    whole = inferred([values])
    assert inferred([[each] for each in values]) == whole
    assert inferred([[each] for each in reversed(values)]) == whole
    assert inferred([values[1:], values[:1]]) == whole


@pytest.mark.parametrize("order", [1, -1])
def test_categories_of_several_kinds_are_rejected_with_their_rows(order: int) -> None:
    rows = " (row 1), str (row 2)" if order == 1 else " (row 2), str (row 1)"
    frame = pandas.DataFrame({"c": categories([5, "x"][::order])})
    with pytest.raises(InvalidInput, match=re.escape(f"column 'c' holds values of several types: int{rows}")):
        table_from_frame(frame)
    frame = pandas.DataFrame(
        {"a": [1, 2]}, index=pandas.MultiIndex.from_arrays([["u", "v"], objects([5, "x"][::order])])
    )
    with pytest.raises(InvalidInput, match=re.escape(f"the index holds values of several types: int{rows}")):
        table_from_frame(frame)
    mixed = categories([2, 0.5][::order])
    assert str(table_from_frame(pandas.DataFrame({"c": mixed}))["c"].type.value_type) == "double"


def test_values_that_crash_type_inference_of_pyarrow_are_rejected() -> None:
    day, seven = np.datetime64("2024-01-01"), np.int64(7)
    for values in itertools.permutations([day, seven]):
        for make in PLACES.values():
            with pytest.raises(InvalidInput, match="date"):
                table_from_frame(make(values))
        with pytest.raises(InvalidInput, match="several types"):
            table_from_frame(pandas.DataFrame({"c": categories(values)}))
        with pytest.raises(InvalidInput, match="several types"):
            table_from_frame(pandas.DataFrame({"c": series([np.array([each]) for each in values])}))


def test_filters_of_several_kinds_are_rejected() -> None:
    node = datapkg.build("me/f", {"t": pandas.DataFrame({"t": pandas.to_datetime(["2024-01-01", "2024-02-01"])})}).t
    for values in itertools.permutations([np.datetime64("2024-01-01"), np.int64(7)]):
        with pytest.raises(InvalidInput, match="column 't' holds values of several types: date"):
            node(filters=[[("t", "in", list(values))]])
    assert len(node(filters=[("t", "in", [np.datetime64("2024-01-01", "ns")])])) == 1


def test_arrays_of_one_dtype_keep_the_dtype() -> None:
    arrays = [np.array([0.5], "f4"), None, np.array([1.5, 2.5], "f4")]
    assert table_from_frame(pandas.DataFrame({"c": series(arrays)}))["c"].type == pa.list_(pa.float32())
    wider = table_from_frame(pandas.DataFrame({"c": series([*arrays, np.array([0.1])])}))["c"]
    assert wider.to_pylist()[-1] == [0.1]


def test_timestamps_of_several_time_zones_are_stored_in_utc() -> None:
    moments = [MOMENT.replace(tzinfo=EAST), MOMENT.replace(tzinfo=datetime.UTC)]
    back = datapkg.build("me/z", pandas.DataFrame({"c": series(moments)}))()["c"]
    assert str(back.dtype) == "datetime64[us, UTC]"
    assert back.tolist() == moments


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([DAY, 5], "column 'c' holds values of several types: date (row 1), int (row 2)"),
        ([[1], ["x"]], "column 'c', level [], holds values of several types: int (row 1), str (row 2)"),
        (
            [{"k": [1]}, {"k": [True]}],
            "column 'c', level .k[], holds values of several types: bool (row 2), int (row 1)",
        ),
        ([datetime.time(1, tzinfo=EAST)], "values that no type holds exactly: time with a time zone (row 1)"),
        ([Decimal("1"), Decimal("Infinity")], "several types: Decimal (row 1), infinite Decimal (row 2)"),
        ([pandas.Timestamp(1), np.datetime64("9999-01-01T00")], "9999-01-01T00 is out of the range"),
        ([pandas.Period("2024"), 1], "several types: Period (row 1), int (row 2)"),
        ([0.5, 2**53 + 1], "several types: float (row 1), int above 2^53 (row 2)"),
    ],
)
def test_rejected_values_are_located(values: list[Any], reason: str) -> None:
    with pytest.raises(TransformFailed, match=re.escape(reason)) as caught:
        Bench().build({"t": pandas.DataFrame({"c": series(values)})})
    assert caught.value.hint == "frame['c'] = frame['c'].astype(str)"


def test_date_followed_by_numbers_in_a_workbook(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"day": series([MOMENT, 5, 2.5])})
    frame.to_excel(tmp_path / "book.xlsx", index=False)
    with pytest.raises(DatapkgError, match=r"column 'day' holds .*datetime \(row 1\), float \(row 3\), int") as caught:
        Bench().build(tmp_path)
    assert caught.value.hint == "to read it as text say kwargs: {dtype: {day: str}}"
    write(tmp_path, {"build.yml": "contents: {t: {file: book.xlsx, kwargs: {dtype: {day: str}}}}\n"})
    bench = Bench()
    assert bench.frame(bench.build(tmp_path), "t")["day"].tolist() == ["2024-01-02 13:00:00", "5", "2.5"]
