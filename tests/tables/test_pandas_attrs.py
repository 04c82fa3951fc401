"""attrs of DataFrames: what JSON can hold of them stays, in the table and as metadata; the rest is told of."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.format.canonical import check_metadata
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_attrs import attrs_as_meta, plain_attrs

PLAIN = {"title": "T", "n": 1, "x": 0.5, "yes": True, "nothing": None, "deep": {"list": [1, {"a": "é"}]}}


def kept(attrs: dict[Any, Any]) -> Any:
    """The attrs that a reader gets back."""
    frame = pd.DataFrame({"a": [1, 2]})
    frame.attrs = attrs
    table = table_from_frame(frame)
    assert frame.attrs == attrs
    back = table.to_pandas().attrs
    assert attrs_as_meta(table.schema) == back
    return check_metadata(back)


def test_attrs_round_trip_as_metadata() -> None:
    assert kept(PLAIN) == PLAIN
    assert kept({}) == {}
    assert kept({"columns": {"a": {"unit": "m"}}}) == {"columns": {"a": {"unit": "m"}}}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        ((1, (2,)), [1, [2]]),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (pd.Timestamp("2024-02-29 12:30", tz="UTC"), "2024-02-29T12:30:00+00:00"),
        (np.datetime64("2024-02-29"), "2024-02-29"),
        ({"a": (np.int8(1),)}, {"a": [1]}),
    ],
    ids=str,
)
def test_values_that_have_a_plain_form(value: Any, plain: Any) -> None:
    assert kept({"k": value}) == {"k": plain}


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"x", float("nan"), np.inf, 2**60, {3: 4}, np.ones(2), pd.DataFrame(), "\ud800", 1j, pd.NaT],
    ids=lambda value: type(value).__name__,
)
def test_attrs_that_json_cannot_hold_are_reported(value: Any) -> None:
    with pytest.warns(UserWarning, match=r"attrs\.odd.*left out"):
        assert kept({"odd": value, "n": 1}) == {"n": 1}


def test_keys_are_text() -> None:
    with pytest.warns(UserWarning, match="key '3' is not text"):
        assert kept({3: "a", "b": "c"}) == {"b": "c"}


def test_attrs_are_bounded() -> None:
    assert plain_attrs({"a": "x" * (600 << 10), "b": 1}) == ({}, ["attrs: more than 512 KiB; they are left out"])
    endless: list[Any] = []
    endless.append(endless)
    assert plain_attrs({"a": endless, "b": 1})[0] == {"b": 1}


def test_a_foreign_schema_gives_no_more_than_metadata_hold() -> None:
    schema = table_from_frame(pd.DataFrame({"a": [1]})).schema
    for text in (b'{"attributes": {"n": NaN, "ok": 1}}', b'{"attributes": {"ok": 1, "big": 1e999}}'):
        assert attrs_as_meta(schema.with_metadata({b"pandas": text})) == {"ok": 1}
    for text in (b'{"attributes": [1]}', b"[]", b"{", b"\xff"):
        assert attrs_as_meta(schema.with_metadata({b"pandas": text})) == {}
    assert attrs_as_meta(schema.with_metadata(None)) == {}


def test_odd_labels_and_an_index_do_not_lose_attrs() -> None:
    frame = pd.DataFrame([[1, 2, 2**70]], columns=["a", "a", 3], index=pd.Index(["x"], name="i"))
    frame.attrs = {"title": "T"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table_from_frame(frame).to_pandas().attrs == {"title": "T"}
