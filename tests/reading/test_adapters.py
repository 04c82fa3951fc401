"""What a table turns into for other libraries: equal values, no more read than is asked for, and what to type."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import sys
from typing import Any

import cloudpickle
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import datapkg
from datapkg.errors import CorruptObject, InvalidInput, MissingDependency, NodeNotFound, WrongType
from datapkg.home import Home
from datapkg.reading.adapters import ADAPTERS, blocks, files
from datapkg.reading.nodes.tables import Table
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import remember_categories
from tests.conftest import Person
from tests.reading.example_tables import EVERYTHING, in_blocks, numbered, stored


@pytest.fixture
def node(home: Home) -> Table:
    """Ten rows in three blocks."""
    return in_blocks(home)


@pytest.fixture
def everything(home: Home) -> Table:
    """A column of each type, in two blocks."""
    return stored(home, EVERYTHING, EVERYTHING)


@pytest.mark.parametrize("library", sorted(ADAPTERS))
def test_missing_library_names_the_pip_command(node: Table, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, ADAPTERS[library], raising=False)
    ask = node.__narwhals_dataframe__ if library == "narwhals" else getattr(node, library)
    with pytest.raises(MissingDependency, match=f"^{library} is not installed; type: pip install {library}$") as told:
        ask()
    assert told.value.hint == f"pip install {library}"


class TestPandas:
    def test_it_is_the_frame_of_the_node(self, node: Table) -> None:
        pd.testing.assert_frame_equal(node.pandas(), node())
        assert node.pandas(["n"], [("n", ">", 7)])["n"].tolist() == [8, 9]

    def test_types_of_arrow(self, everything: Table) -> None:
        frame = everything.pandas(dtype_backend="pyarrow")
        assert all(isinstance(each, pd.ArrowDtype) for each in frame.dtypes)
        assert frame["big"].tolist()[0] == 2**64 - 1
        assert frame["big"].isna().tolist() == [False, True, False] * 2

    def test_types_with_nulls(self, node: Table, home: Home) -> None:
        frame = stored(home, pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})).pandas(
            dtype_backend="numpy_nullable"
        )
        assert frame["a"].dtype == "Int64"
        assert node.pandas(dtype_backend="numpy_nullable").dtypes.astype(str).tolist() == ["Int64", "Float64", "string"]

    def test_index_is_kept(self, home: Home) -> None:
        node = stored(home, numbered().set_index("s"))
        assert node.pandas(dtype_backend="pyarrow").index.tolist() == numbered()["s"].tolist()

    def test_unknown_dtype_backend_is_rejected(self, node: Table) -> None:
        with pytest.raises(InvalidInput, match="dtype_backend is None, 'pyarrow' or 'numpy_nullable', got 'arrow'"):
            node.pandas(dtype_backend="arrow")


class TestNumpy:
    def test_numbers_are_rows_by_columns(self, node: Table) -> None:
        found = node.numpy(["n", "x"])
        assert found.shape == (10, 2)
        assert found.dtype == np.float64
        found[:] = 0
        assert node.numpy(["x", "n"], [("n", "=", 3)]).tolist() == [[1.5, 3.0]]
        assert node.numpy(["n"]).dtype == np.int64

    def test_other_columns_make_records(self, node: Table) -> None:
        found = node.numpy()
        assert found.dtype.names == ("n", "x", "s")
        assert found["n"].tolist() == list(range(10))
        assert found[9].item() == (9, 4.5, "row 9")
        found["n"] += 1
        assert node.numpy()["n"].tolist() == list(range(10))

    def test_nulls_and_times(self, everything: Table) -> None:
        found = everything.numpy()
        assert np.isnan(found["small"][1])
        assert np.isnat(found["time"][1])
        assert found["nanos"][2] == np.datetime64(10**18 + 1, "ns")
        assert found["text"].tolist() == ["a", None, "ç"] * 2

    def test_no_rows_and_no_columns(self, home: Home) -> None:
        node = stored(home, numbered()[:0])
        assert node.numpy(["n", "x"]).shape == (0, 2)
        assert node.numpy([]).shape == (0,)


class TestPolars:
    def test_a_frame(self, node: Table) -> None:
        assert node.polars().equals(pl.from_pandas(numbered()))
        assert node.polars(["n"], [("x", ">", 4)]).to_dict(as_series=False) == {"n": [9]}

    def test_a_lazy_frame_has_equal_values(self, everything: Table) -> None:
        lazy = everything.polars(lazy=True)
        assert isinstance(lazy, pl.LazyFrame)
        assert lazy.collect().equals(everything.polars())
        assert lazy.collect_schema() == everything.polars().schema

    def test_a_lazy_frame_reads_what_a_query_needs(self, node: Table) -> None:
        query = node.lazy().filter(pl.col("x") > 4).select("n")
        plan = query.explain()
        assert "Parquet SCAN" in plan
        assert "PROJECT 2/3 COLUMNS" in plan
        assert "SELECTION" in plan
        assert query.collect().to_dict(as_series=False) == {"n": [9]}
        assert node.polars(["s"], lazy=True).collect().columns == ["s"]

    @pytest.mark.parametrize("path", ["a=1/t", "a*[b]", "{a}"])
    def test_node_names_are_not_patterns(self, home: Home, path: str) -> None:
        node = stored(home, numbered(), path=path)
        assert node.lazy().collect().equals(node.polars())
        assert node.duckdb().fetchall() == node.polars().rows()

    def test_categories_that_parquet_loses_are_kept(self, home: Home) -> None:
        numbers = pd.DataFrame({"c": pd.Categorical([3, 1], categories=[9, 3, 1])})
        table = remember_categories(pa.Table.from_pandas(numbers))
        node = stored(home, table, table)
        assert node.lazy().collect()["c"].to_list() == node.polars()["c"].to_list() == [3, 1, 3, 1]
        assert node.lazy().collect().schema == node.polars().schema

    def test_categories_that_differ_by_block(self, home: Home) -> None:
        node = stored(home, *(pd.DataFrame({"c": pd.Categorical(list(each))}) for each in ("ab", "bz")))
        for found in (node.polars(), node.lazy().collect(), pl.DataFrame(node)):
            assert found["c"].to_list() == list("abbz")
        assert node.duckdb().fetchall() == [("a",), ("b",), ("b",), ("z",)]

    def test_types_unsupported_by_polars_are_rejected(self, home: Home) -> None:
        wide = pa.array([decimal.Decimal("1.5")], pa.decimal256(60, 2))
        node = stored(home, pa.table({"wide": wide, "n": [1]}))
        with pytest.raises(WrongType, match="me/t/t: polars does not support all of its types"):
            node.polars()
        assert node.polars(["n"]).to_dict(as_series=False) == {"n": [1]}

    def test_invalid_arguments_are_rejected(self, node: Table) -> None:
        with pytest.raises(NodeNotFound, match="no column 'm'"):
            node.polars(["m"], lazy=True)
        with pytest.raises(InvalidInput, match=r"\.filter"):
            node.polars(filters=[("n", ">", 1)], lazy=True)


def us(count: int) -> dt.timedelta:
    return dt.timedelta(microseconds=count)


class TestDuckdb:
    def test_a_relation_reads_the_objects(self, node: Table) -> None:
        found = node.duckdb()
        assert found.filter("x > 4").project("n").fetchall() == [(9,)]
        assert "PARQUET_SCAN" in found.explain()
        assert found.fetchall() == list(numbered().itertuples(index=False, name=None))
        assert node.duckdb(["s", "n"]).columns == ["s", "n"]
        assert node.duckdb(["n"], [("n", ">", 7)]).fetchall() == [(8,), (9,)]

    def test_values_are_those_of_arrow(self, everything: Table) -> None:
        found, whole = everything.duckdb(), duckdb.from_arrow(everything.arrow())
        assert (found.columns, found.types) == (whole.columns, whole.types)
        assert repr(found.fetchall()) == repr(whole.fetchall())

    def test_half_floats_become_single(self, home: Home) -> None:
        node = stored(home, pa.table({"h": pa.array([1.5, None], pa.float16())}))
        assert node.duckdb().fetchall() == [(1.5,), (None,)]

    def test_durations_keep_their_digits(self, home: Home) -> None:
        spans = pa.array([1_000, None, -2_000], pa.duration("ns"))
        nested = pa.array([[5_000], None, []], pa.list_(pa.duration("ns")))
        node = stored(home, pa.table({"s": spans, "l": nested}))
        assert node.duckdb().fetchall() == [(us(1), [us(5)]), (None, None), (us(-2), [])]
        fine = pa.table({"s": pa.array([1_500], pa.duration("ns")), "n": [1]})
        node = stored(home, fine, path="fine")
        with pytest.raises(WrongType, match="fine: duckdb has durations of whole microseconds"):
            node.duckdb()
        assert node.duckdb(["n"]).fetchall() == [(1,)]

    def test_names_that_differ_in_case(self, home: Home) -> None:
        node = stored(home, pd.DataFrame({"A": [1], "a": [-1], "b": [0]}))
        assert node.duckdb(["a"]).fetchall() == [(-1,)]
        assert node.duckdb(["b", "a"], [("a", "<", 0)]).fetchall() == [(0, -1)]
        assert node.duckdb().fetchall() == [(1, -1, 0)]

    def test_own_connection(self, node: Table) -> None:
        with duckdb.connect() as connection:
            node.duckdb(connection=connection).create("kept")
            assert connection.sql("select count(*) from kept").fetchall() == [(10,)]

    def test_names_that_look_like_sql(self, home: Home) -> None:
        node = stored(home, pd.DataFrame({'a"b': [1], "select": [2], "x; drop table t": [3]}))
        assert node.duckdb(["x; drop table t", 'a"b']).fetchall() == [(3, 1)]


class TestDask:
    def test_a_partition_a_block(self, node: Table) -> None:
        frame = node.dask()
        assert frame.npartitions == 3
        assert not frame.known_divisions
        pd.testing.assert_frame_equal(
            frame.compute(scheduler="sync"), node(), check_dtype=False
        )  # dask has its own text
        assert frame[frame.x > 4].n.compute(scheduler="sync").to_dict() == {9: 9}
        assert frame.s.compute(scheduler="sync").tolist() == numbered()["s"].tolist()
        assert node.dask(["n"]).sum().compute(scheduler="threads").to_dict() == {"n": 45}

    def test_only_needed_columns_are_read(self, node: Table, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        read = blocks.read_frame

        def noted(table: Table, number: int, columns: list[str] | None = None) -> pd.DataFrame:
            asked.append(columns)
            return read(table, number, columns)

        monkeypatch.setattr(blocks, "read_frame", noted)
        frame = node.dask()
        assert frame[frame.x > 4].n.sum().compute(scheduler="sync") == 9
        assert sorted(asked[0]) == ["n", "x"]

    def test_python_objects_are_not_made_text(self, home: Home) -> None:
        days = [dt.date(1, 1, 1), None, dt.date(2024, 2, 29)]
        exact = pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(2)], pa.decimal128(5, 2))
        columns = {"d": days, "e": exact, "b": [True, None, False], "y": [b"\xff", None, b""], "t": ["a", None, "b"]}
        node = stored(home, pa.table(columns))
        pd.testing.assert_frame_equal(node.dask().compute(scheduler="sync"), node())

    def test_partitions_have_the_types_of_the_whole(self, home: Home) -> None:
        first = pa.table({"i": [1, 2], "b": [True, False], "big": [2**53 + 1, 1], "n": [1, 2]})
        node = stored(home, first, pa.table({"i": [1, None], "b": [None, False], "big": [None, 1], "n": [3, 4]}))
        found, whole = node.dask(), node()
        for frame in (found, *(found.get_partition(at).compute(scheduler="sync") for at in (0, 1))):
            assert frame.dtypes.to_dict() == whole.dtypes.to_dict()
        pd.testing.assert_frame_equal(found.compute(scheduler="sync"), whole)
        assert found[["big", "i"]].compute(scheduler="sync")["big"].tolist() == [2**53 + 1, 1, pd.NA, 1]
        assert dict(node.dask(["b"]).dtypes) == {"b": object}

    def test_labels_that_are_not_text(self, home: Home) -> None:
        node = stored(home, table_from_frame(numbered().set_axis([0, 1, "n"], axis=1)))
        assert node.dask()[0].sum().compute(scheduler="sync") == 45

    def test_in_other_processes(self, node: Table) -> None:
        assert node.dask().n.sum().compute(scheduler="processes", num_workers=1) == 45

    def test_tasks_carry_no_rows(self, home: Home) -> None:
        frames = [pd.DataFrame({"n": np.random.default_rng(number).random(100_000)}) for number in range(2)]
        tasks = stored(home, *frames).dask().optimize().__dask_graph__()
        assert len(cloudpickle.dumps(tasks)) < 20_000

    @pytest.mark.needs_library("distributed")
    @pytest.mark.filterwarnings("ignore")
    def test_in_a_cluster(self, node: Table) -> None:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
            Client(cluster),
        ):
            assert node.dask().n.sum().compute() == 45

    @pytest.mark.needs_library("distributed")
    @pytest.mark.filterwarnings("ignore")
    def test_processes_read_a_private_package_from_its_registry(
        self, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from distributed import Client, LocalCluster

        for name, value in person.environ().items():
            monkeypatch.setenv(name, value)
        package = person.ref("numbers").package
        datapkg.build(package, {"rows": pd.DataFrame({"n": range(1_000)})})
        datapkg.push(package)
        monkeypatch.setenv("DATAPKG_HOME", str(person.folder / "elsewhere"))
        node = datapkg.open(package).rows
        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
            Client(cluster),
        ):
            assert node.dask().n.sum().compute() == sum(range(1_000))

    def test_index_and_categories(self, home: Home) -> None:
        frames = [
            pd.DataFrame({"c": pd.Categorical(list(each)), "k": list(each)}).set_index("k") for each in ("ab", "bz")
        ]
        node = stored(home, *frames)
        found = node.dask()
        assert not found.c.cat.known
        assert found.compute(scheduler="sync").c.tolist() == list("abbz")
        assert found.compute(scheduler="sync").index.tolist() == list("abbz")
        kept = remember_categories(pa.Table.from_pandas(pd.DataFrame({"c": pd.Categorical([3, 1, 3])})))
        assert stored(home, kept, kept).dask().c.cat.known

    def test_range_index_continues_over_partitions(self, home: Home) -> None:
        frame = numbered().set_index(pd.RangeIndex(5, 25, 2, name="r"))
        node = stored(home, pa.Table.from_pandas(frame)[:4], pa.Table.from_pandas(frame)[4:])
        found = node.dask().compute(scheduler="sync")
        pd.testing.assert_frame_equal(found, frame, check_dtype=False)

    def test_one_name_for_one_node(self, node: Table) -> None:
        from dask.base import tokenize

        assert tokenize(node) == tokenize(datapkg.load(str(node.ref)))


POINTS = b"\x01\x01\x00\x00\x00" + np.array([1.0, 2.0]).tobytes()
GEO = {"version": "1.1.0", "primary_column": "where", "columns": {"where": {"encoding": "WKB", "geometry_types": []}}}


@pytest.mark.needs_library("geopandas")
class TestGeopandas:
    def table(self, **said: Any) -> pa.Table:
        table = pa.table({"name": ["a", "b"], "where": pa.array([POINTS, None], pa.binary())})
        return table.replace_schema_metadata({name: json.dumps(value) for name, value in said.items()} or None)

    @pytest.mark.parametrize(("crs", "epsg"), [({"crs": "EPSG:3857"}, 3857), ({}, None), ({"crs": None}, None)])
    def test_geoparquet(self, home: Home, crs: dict[str, Any], epsg: int | None) -> None:
        geo = {**GEO, "columns": {"where": {**GEO["columns"]["where"], **crs}}}  # type: ignore[index]
        node = stored(home, self.table(geo=geo), self.table(geo=geo))
        found = node.geopandas()
        assert found.geometry.name == "where"
        assert (found.geometry.x[0], found.geometry.y[0]) == (1.0, 2.0)
        assert found["where"].isna().tolist() == [False, True] * 2
        assert (found.crs is None) == (crs == {"crs": None})
        assert epsg is None or found.crs.to_epsg() == epsg
        assert found.set_crs("EPSG:4326", allow_override=True).to_crs("EPSG:3857").shape == (4, 2)

    def test_what_geopandas_writes(self, home: Home) -> None:
        import geopandas

        points = geopandas.points_from_xy([1, 2], [3, 4])
        frame = geopandas.GeoDataFrame({"n": [1, 2]}, geometry=points, crs="EPSG:25832")
        sink = io.BytesIO()
        frame.to_parquet(sink)
        node = stored(home, pq.read_table(pa.BufferReader(sink.getvalue())))
        assert node.geopandas().equals(frame)
        assert node.geopandas().crs == frame.crs

    @pytest.mark.parametrize("kind", ["wkb", "wkt"])
    def test_publisher_names_the_geometry(self, home: Home, kind: str) -> None:
        values = [POINTS] if kind == "wkb" else ["POINT (1 2)"]
        node = stored(home, pd.DataFrame({"g": values}), meta={"geometry": "g", "crs": "EPSG:4326"})
        assert node.geopandas().geometry.x.tolist() == [1.0]
        assert node.geopandas().crs.to_epsg() == 4326

    def test_non_geometries_are_rejected(self, home: Home, node: Table) -> None:
        with pytest.raises(InvalidInput, match="names no column of geometries"):
            node.geopandas()
        bad = stored(home, pd.DataFrame({"g": [b"no"]}), meta={"geometry": "g"})
        with pytest.raises(CorruptObject, match="'g' cannot be read as geometries"):
            bad.geopandas()
        with pytest.raises(InvalidInput, match="'where' is one"):
            stored(home, self.table(geo=GEO)).geopandas(["name"])
        other = {**GEO, "columns": {"where": {"encoding": "point"}}}
        with pytest.raises(InvalidInput, match="not in WKB"):
            stored(home, self.table(geo=other)).geopandas()
        with pytest.raises(CorruptObject, match="GeoParquet"):
            stored(home, self.table(geo=[])).geopandas()


def test_paths_are_in_the_order_of_rows(home: Home) -> None:
    node = in_blocks(home, 26, 2)
    assert [pl.read_parquet(each)["n"][0] for each in files.paths(node)] == list(range(0, 26, 2))


def test_types_unsupported_by_a_library_are_rejected(home: Home) -> None:
    node = stored(
        home,
        pa.table(
            {
                "n": [1],
                "wide": pa.array([decimal.Decimal("1.5")], pa.decimal256(50, 2)),
                "fine": pa.array([1], pa.time64("ns")),
            }
        ),
    )
    with pytest.raises(WrongType, match=r"duckdb does not support all of its types, so choose other columns"):
        node.duckdb()
    assert node.duckdb(["n"]).fetchall() == [(1,)]
    with pytest.raises(WrongType, match=r"numpy cannot hold the values of column 'fine', so choose other columns"):
        node.numpy()
    assert node.numpy(["n"]).tolist() == [[1]]
