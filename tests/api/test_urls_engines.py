"""Other engines read a private package by its addresses, with the lines of `docs/scale.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import datapkg
from tests.conftest import Person

ROOT = Path(__file__).resolve().parent.parent.parent
LINES, RAY, SPARK = re.findall(
    r"^```py\n(.*?)^```$", (ROOT / "docs" / "scale.md").read_text(), re.DOTALL | re.MULTILINE
)
BY_ENGINE = {line.partition(".")[0]: line for line in LINES.splitlines()}
ROWS = pd.DataFrame({"n": range(150_000), "text": [f"{number * 7919 % 100_003:x}" * 8 for number in range(150_000)]})


@pytest.fixture
def rows(person: Person, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table of several objects in a private package at a registry."""
    monkeypatch.setenv("DATAPKG_REGISTRY", person.url)
    monkeypatch.setenv("DATAPKG_TOKEN", person.token)
    found = datapkg.build(f"{person.name}/rows", {"rows": ROWS})
    datapkg.push(f"{person.name}/rows")
    assert len(datapkg.urls(found.rows)) > 1
    return found.rows


def run(line: str, **names: Any) -> Any:
    """Return the value of a line of the page; nothing is known of a registry or a token then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATAPKG_TOKEN")
        return eval(line, names)


def run_block(text: str, **names: Any) -> Any:
    """Return the value of the last line of a block, after the function before it was defined."""
    function, line = text.strip().split("\n\n")
    exec(function, names)
    return run(line, **names)


def test_no_line_is_without_a_test() -> None:
    assert set(BY_ENGINE) == {"pandas", "polars", "duckdb", "pyarrow", "ray", "spark"}


def test_pandas(rows: Any) -> None:
    found = [run(BY_ENGINE["pandas"], pandas=pd, urls=[each]) for each in datapkg.urls(rows, registry=True)]
    assert pd.concat(found)["n"].to_list() == ROWS["n"].to_list()


@pytest.mark.needs_library("polars")
def test_polars(rows: Any) -> None:
    import polars

    found = run(BY_ENGINE["polars"], polars=polars, urls=datapkg.urls(rows, registry=True))
    assert found.collect()["n"].to_list() == ROWS["n"].to_list()


@pytest.mark.needs_library("duckdb")
def test_duckdb(rows: Any) -> None:
    import duckdb

    found = run(BY_ENGINE["duckdb"], duckdb=duckdb, urls=datapkg.urls(rows))
    assert found.aggregate("count(*), sum(n)").limit(1).fetchall() == [(len(ROWS), ROWS["n"].sum())]


@pytest.mark.needs_library("fsspec", "aiohttp")
def test_pyarrow(rows: Any) -> None:
    import fsspec
    import pyarrow.dataset

    found = run(BY_ENGINE["pyarrow"], pyarrow=pyarrow, fsspec=fsspec, urls=datapkg.urls(rows, registry=True))
    assert found.to_table()["n"].to_pylist() == ROWS["n"].to_list()


@pytest.mark.big
@pytest.mark.needs_library("fsspec", "aiohttp")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
def test_ray(rows: Any) -> None:
    import fsspec
    import pyarrow.parquet

    ray = pytest.importorskip("ray")  # it and Spark are too large for `make test-all`
    ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR")
    try:
        found = run(BY_ENGINE["ray"], ray=ray, urls=datapkg.urls(rows))
        assert sorted(each["n"] for each in found.take_all()) == ROWS["n"].to_list()
        fetched = run_block(RAY, urls=datapkg.urls(rows, registry=True), ray=ray, fsspec=fsspec, pyarrow=pyarrow)
        assert sorted(each["n"] for each in fetched.take_all()) == ROWS["n"].to_list()
    finally:
        ray.shutdown()


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Spark with workers that are processes of this machine; it needs Java."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        yield from spark_session(tmp_path_factory)


def spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    builder: Any = (
        pytest.importorskip("pyspark.sql").SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    )
    folder = str(tmp_path_factory.mktemp("spark"))
    session = builder.config("spark.sql.warehouse.dir", folder).getOrCreate()
    yield session
    session.stop()


@pytest.mark.big
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(600)
class TestSpark:
    def test_files_that_its_workers_see(self, rows: Any, spark: Any) -> None:
        found = run(BY_ENGINE["spark"], spark=spark, urls=datapkg.urls(rows))
        assert sorted(each.n for each in found.collect()) == ROWS["n"].to_list()

    @pytest.mark.needs_library("fsspec", "aiohttp")
    def test_addresses_that_its_workers_fetch(self, rows: Any, spark: Any) -> None:
        import fsspec
        import pyarrow.parquet

        names = {"spark": spark, "fsspec": fsspec, "pyarrow": pyarrow, "schema": "n long, text string"}
        found = run_block(SPARK, urls=datapkg.urls(rows, registry=True), **names)
        assert sorted(each.n for each in found.collect()) == ROWS["n"].to_list()
