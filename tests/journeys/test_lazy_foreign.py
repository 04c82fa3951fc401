"""Lazily read Parquet files that other programs wrote: what is fetched is what the answer needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.reading.load import load
from tests.conftest import Person
from tests.examples import first
from tests.journeys.test_lazy import received

ROWS, GROUP = 300_000, 100_000


def frame() -> pd.DataFrame:
    random = np.random.default_rng(3)
    values = {f"v{at}": random.standard_normal(ROWS) for at in range(4)}
    text = pd.Series(random.integers(0, 10**12, ROWS)).astype(str)
    return pd.DataFrame({"key": np.arange(ROWS), **values, "text": text, "few": text.str[:1]})


def one_group(path: Path) -> None:
    frame().to_parquet(path, row_group_size=ROWS)


def groups(path: Path) -> None:
    frame().to_parquet(path, row_group_size=GROUP)


def indexed(path: Path) -> None:
    table = pa.Table.from_pandas(frame())
    nested = pa.array([[each, each + 1] for each in range(ROWS)])
    struct = pa.array([{"a": each, "b": f"{each}"} for each in range(ROWS)])
    table = table.append_column("list", nested).append_column("struct", struct)
    pq.write_table(table, path, row_group_size=2 * GROUP, write_page_index=True, use_dictionary=["few"])


def polars(path: Path) -> None:
    import polars as pl

    pl.from_pandas(frame()).write_parquet(path, row_group_size=ROWS)


def duckdb(path: Path) -> None:
    import duckdb

    data = frame()  # noqa: F841 - duckdb finds it by its name
    duckdb.sql("SELECT * FROM data").write_parquet(str(path), row_group_size=ROWS)


Writer = Callable[[Path], None]


@pytest.fixture
def published(person: Person, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    write: Writer = request.param
    write(tmp_path / "t.parquet")
    ref = person.ref("foreign")
    build_package(person.home("publisher"), ref, tmp_path / "t.parquet")
    push_package(person.home("publisher"), ref)
    table = load(ref, person.home("reader"), lazy=True)
    return getattr(table, "t", table)


@pytest.mark.parametrize("published", first(1, [groups, one_group, polars]), indirect=True)
def test_first_rows_of_a_foreign_file_do_not_fetch_whole_row_groups(published: Any) -> None:
    assert len(published.__entry__.blocks) == 1
    assert published.head(5)["key"].tolist() == [0, 1, 2, 3, 4]
    pd.testing.assert_frame_equal(published.head(5), frame().head(5), check_dtype=False)
    assert published(rows=slice(2000, 2010))["text"].tolist() == frame()["text"][2000:2010].tolist()
    assert received(published) < 0.7 * published.size
    pd.testing.assert_frame_equal(published(), frame(), check_dtype=False)


@pytest.mark.parametrize("published", [groups], indirect=True)
def test_filter_of_a_foreign_file_fetches_the_row_groups_that_may_have_rows(published: Any) -> None:
    found = published(filters=[("key", ">=", 150_000), ("key", "<", 150_010)])
    assert found["text"].tolist() == frame()["text"][150_000:150_010].tolist()
    assert received(published) < 0.4 * published.size
    assert published(columns=["key"], filters=[("key", "<", 0)]).empty
    assert published(rows=slice(99_990, 100_010), filters=[("key", ">", 100_004)])["key"].tolist() == [
        *range(100_005, 100_010)
    ]


@pytest.mark.parametrize("published", [indexed], indirect=True)
def test_page_index_chooses_the_pages_that_are_fetched(published: Any) -> None:
    size, columns = published.size, ["key", "v1", "text", "few"]
    found = published(columns=columns, filters=[("key", ">=", 150_000), ("key", "<", 150_010)])
    pd.testing.assert_frame_equal(found, frame()[columns][150_000:150_010].reset_index(drop=True), check_dtype=False)
    assert received(published) < 0.1 * size
    rows = published(columns=columns, rows=slice(219_995, 220_005))
    pd.testing.assert_frame_equal(rows, frame()[columns][219_995:220_005], check_dtype=False)
    assert received(published) < 0.15 * size
    some = published(columns=["key", "struct", "list"], filters=[("text", "==", frame()["text"][7])])
    assert some["key"].tolist() == [7]
    (pair,) = published(filters=[("key", "==", 250_000)])["list"]
    assert list(pair) == [250_000, 250_001]
