"""Delimited text is what the slow definition gives, cell by cell, for any values, and comes a few rows at a time."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datapkg.home import Home
from datapkg.reading.tables.cell_text import cell_text, json_values
from datapkg.reading.tables.delimited_text import Dialect, write_text
from datapkg.tables.storage_types import to_storage_types
from tests.examples import examples
from tests.reading.example_tables import stored
from tests.reading.tables.slow_text import slow_text

INT64 = st.integers(-(2**63), 2**63 - 1)
# Of each step, so that whole seconds and days occur in every unit.
STEPS = st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000, 86_400, 86_400_000, 86_400_000_000])
TEXT = st.text(st.sampled_from("ab,;\t\n\r\f\v \"'é\u00a0𝔘0.-"), max_size=6)
KINDS: dict[pa.DataType, Any] = {
    pa.int64(): INT64,
    pa.uint8(): st.integers(0, 255),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats()
    | st.integers(-(10**18), 10**18).map(float)
    | st.sampled_from([0.0, -0.0, 1e15, 1e16])
    | st.integers(-70_000, 70_000).map(lambda value: value / 100),
    pa.float32(): st.floats(width=32) | st.integers(-(10**8), 10**8).map(np.float32),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.dictionary(pa.int32(), pa.string()): TEXT,
    pa.date32(): st.integers(-800_000, 3_000_000),
    pa.time64("us"): st.integers(0, 86_399_999_999),
    pa.decimal128(20, 8): st.decimals(-(10**11), 10**11, places=8),
    pa.decimal128(9, 2): st.decimals(-(10**6), 10**6, places=2),
    pa.null(): st.none(),
} | {pa.duration(unit): INT64.map(lambda value: value // 2) for unit in ("ms", "us", "ns")}
LIMITS = {"ms": 10**15, "us": 2**62, "ns": 2**62}


@st.composite
def columns(draw: Any, rows: int) -> pa.Array:
    """Return an array of some kind that may be a slice, with values that repeat."""
    zones = st.sampled_from([None, None, "UTC", "Europe/Berlin", "+05:30"])
    times = st.builds(pa.timestamp, st.sampled_from("ms us ns".split()), zones)
    kind = draw(st.sampled_from(list(KINDS)) | times)
    if pa.types.is_timestamp(kind):
        limit, step = LIMITS[kind.unit] if kind.tz is None else 10**9, draw(STEPS)
        values = st.integers(-limit // step, limit // step).map(lambda value: value * step)
    else:
        values = KINDS[kind]
    some = draw(st.lists(st.none() | values, min_size=1, max_size=5))
    picked = draw(st.lists(st.sampled_from(some), min_size=rows + 2, max_size=rows + 2))
    if pa.types.is_dictionary(kind):
        return pa.array(picked, pa.string()).dictionary_encode().slice(1, rows)
    return pa.array(picked, kind).slice(1, rows)


@st.composite
def tables(draw: Any) -> pa.Table:
    rows = draw(st.integers(0, 12))
    found = draw(st.lists(columns(rows), min_size=1, max_size=4))
    return pa.table(found, [f"c{at}" for at in range(len(found))])


DIALECTS = st.builds(
    Dialect,
    separator=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'é"),
    missing=st.sampled_from(["", "NA"]),
    booleans=st.sampled_from([("True", "False"), ("yes", "no")]),
)


@settings(max_examples=examples(40, 1_500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(), dialect=DIALECTS)
def test_text_is_what_the_definition_gives(home: Home, table: pa.Table, dialect: Dialect) -> None:
    node = stored(home, to_storage_types(table))
    assert b"".join(write_text(node.__stored__, dialect)).decode() == slow_text(node.arrow(), dialect)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["Europe/Amsterdam", "America/New_York", "Africa/Monrovia", "Asia/Kolkata", "+05:30"])
def test_offsets_with_seconds_keep_the_moment(unit: str, zone: str) -> None:
    width = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = [-2_208_988_800, None, -30 * 86_400, -1, 0, 3_660 * 86_400, -5_000_000_000]
    times = pa.array([each and each * width for each in seconds], pa.timestamp(unit, zone))
    for texts in (cell_text(times).to_pylist(), json_values(times)):
        found = [each and round(dt.datetime.fromisoformat(each).timestamp()) for each in texts]
        assert found == seconds
    assert cell_text(times[-1:]).to_pylist()[0][-3] == ":"


def test_first_text_of_a_table_needs_no_pandas(home: Home) -> None:
    times = pa.array([None, 86_400_000], pa.timestamp("ms"))
    stored(home, pa.table({"x": [1.5, 2.0], "y": ["a,b", None], "z": [True, None], "time": times}))
    code = (
        "import sys\n"
        "from datapkg.api.cat import cat\n"
        "from datapkg.format.names import Ref\n"
        "from datapkg.home import Home\n"
        f"cat(Home({{'DATAPKG_HOME': {str(home.data)!r}}}), Ref.parse('me/t/t'), sys.stdout.buffer.write)\n"
        "sys.stdout.buffer.flush()\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'x,y,z,time\n1.5,"a,b",True,\n2.0,,,1970-01-02\nFalse\n'


def test_repeated_floats_keep_their_signs(home: Home) -> None:
    values = np.tile([0.0, -0.0, 1.5, 2.0, np.nan, np.inf, 1e300], 1_000)
    node = stored(home, pa.table({"x": pa.array(values), "y": pa.array(values[::-1], mask=values == 2.0)}))
    assert b"".join(write_text(node.__stored__, Dialect())).decode() == slow_text(node.arrow(), Dialect())


SPECIAL = [
    np.nan,
    np.inf,
    -np.inf,
    -0.0,
    0.0,
    655.35,
    655.36,
    -0.01,
    0.1 + 0.2,
    5e-324,
    1e300,
    0.125,
    np.nextafter(1.1, 2),
]


@settings(max_examples=examples(10, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0, 0.01, 0.2]))
def test_numbers_of_few_digits_are_as_others(home: Home, seed: int, share: float) -> None:
    random, rows = np.random.default_rng(seed), 500
    is_other, is_null = random.random(rows) < share, random.random(rows) < 0.1
    floats = np.where(is_other, random.choice(SPECIAL, rows), np.round(random.random(rows) * 700, 2))
    whole = np.where(is_other, random.integers(-(2**63), 2**63, rows), random.integers(-10_005, 10_005, rows))
    columns = [pa.array(floats), pa.array(floats, mask=is_null), pa.array(whole, mask=is_null)]
    node = stored(home, pa.table([*columns, pa.array(random.integers(0, 2**32, rows, np.uint32))], list("abcd")))
    assert b"".join(write_text(node.__stored__, Dialect())).decode() == slow_text(node.arrow(), Dialect())


@settings(max_examples=examples(10, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    places=st.integers(0, 9),
    size=st.sampled_from([1e-3, 1.0, 700.0, 9_999.0, 99_999.0, 200_000.0]),
    share=st.sampled_from([0, 0.01, 0.2]),
    missing=st.sampled_from(["", "NA", ","]),
)
def test_floats_of_few_decimals_are_as_others(
    home: Home, seed: int, places: int, size: float, share: float, missing: str
) -> None:
    random, rows = np.random.default_rng(seed), 500
    decimals = np.round(random.uniform(-size, size, rows), places)
    others = random.choice([*SPECIAL, 1e-4, 9_999.995, 1e-5, -1e5, 99_999.5, -99_999.99, 0.1 + 0.2], rows)
    near = np.nextafter(decimals, random.choice([-np.inf, np.inf], rows))
    others = np.where(random.random(rows) < 0.5, others, near)
    floats = np.where(random.random(rows) < share, others, decimals)
    columns = [pa.array(floats), pa.array(floats, mask=random.random(rows) < 0.1)]
    node, dialect = stored(home, pa.table(columns, list("ab"))), Dialect(missing=missing)
    assert b"".join(write_text(node.__stored__, dialect)).decode() == slow_text(node.arrow(), dialect)


def test_marker_of_nulls_with_a_quote_or_separator_stays_as_it_is(home: Home) -> None:
    node = stored(home, pa.table({"x": pa.array([1, None]), "y": pa.array(["a", None])}))
    for marker in ('"', "a,b", "\r"):
        text = b"".join(write_text(node.__stored__, Dialect(missing=marker))).decode()
        assert text == f"x,y\n1,a\n{marker},{marker}\n"


def test_long_dictionary_of_few_rows_is_written(home: Home) -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([7, None, 3], pa.int32()), pa.array([f'"{n},' for n in range(9)]))
    node = stored(home, pa.table({"x": words}))
    assert b"".join(write_text(node.__stored__, Dialect())).decode() == 'x\n"""7,"\n""\n"""3,"\n'


def test_first_lines_of_long_row_group_need_little_memory(home: Home) -> None:
    rows = 1_000_000
    columns = {f"c{at}": np.arange(rows) + at for at in range(8)}
    node = stored(home, pa.table({**columns, "time": pa.array(np.arange(rows) * 1_000, pa.timestamp("us"))}))
    before = pa.total_allocated_bytes()
    text = write_text(node.__stored__, Dialect())
    lines = next(text) + next(text)
    assert lines.startswith(b"c0,c1,c2,c3,c4,c5,c6,c7,time\n0,1,2,3,4,5,6,7,1970-01-01 00:00:00.000\n")
    assert pa.total_allocated_bytes() - before < rows * 9 * 8 // 2
    text.close()  # type: ignore[attr-defined]
