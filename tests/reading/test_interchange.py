"""Other libraries take a table as it is: what they make of it is what they make of its values otherwise."""

from __future__ import annotations

from typing import Any

import altair as alt
import duckdb
import matplotlib as mpl
import narwhals as nw
import narwhals.stable.v1 as nw_v1
import numpy as np
import pandas as pd
import plotly.express as px
import polars as pl
import pyarrow as pa
import pyarrow.interchange
import pytest

from datapkg.errors import InvalidInput, MissingDependency, NodeNotFound, ObjectNotFound, WrongType
from datapkg.home import Home
from datapkg.reading.adapters import blocks
from datapkg.reading.nodes.functions import prefetch
from datapkg.reading.nodes.tables import Table
from datapkg.tables.pandas_metadata import remember_categories
from tests.reading.example_tables import EVERYTHING, in_blocks, numbered, stored

mpl.use("Agg")


@pytest.fixture
def node(home: Home) -> Table:
    """Ten rows in three blocks."""
    return in_blocks(home)


@pytest.fixture
def everything(home: Home) -> Table:
    """A column of each type, in two blocks."""
    return stored(home, EVERYTHING, EVERYTHING)


def test_pyarrow_accepts_a_node(node: Table, everything: Table) -> None:
    for each in (node, everything):
        assert repr(pa.table(each).to_pydict()) == repr(each.arrow().to_pydict())
        assert pa.table(each).schema.equals(each.arrow().schema, check_metadata=True)
        assert pa.schema(each).equals(each.arrow().schema, check_metadata=True)
    assert pa.table(node).equals(node.arrow())
    assert pyarrow.interchange.from_dataframe(node).to_pydict() == node.arrow().to_pydict()


def test_the_stream_is_read_block_by_block(node: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[int] = []
    read = blocks.read

    def noted(table: Table, number: int, columns: list[str] | None = None) -> pa.Table:
        reached.append(number)
        return read(table, number, columns)

    monkeypatch.setattr(blocks, "read", noted)
    reader = pa.RecordBatchReader.from_stream(node)
    assert reached == [0]
    assert [len(reader.read_next_batch()) for _ in range(2)] == [4, 4]
    assert reached == [0, 1]


def test_a_long_object_is_streamed_in_parts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_LONG", 9)
    monkeypatch.setattr(blocks, "_BATCH", 4)
    node = stored(home, numbered())
    assert [len(each) for each in pa.RecordBatchReader.from_stream(node)] == [4, 4, 2]
    assert pa.table(node).equals(node.arrow(), check_metadata=True)


def test_another_schema_can_be_asked_for(node: Table) -> None:
    wanted = pa.schema([("n", pa.int32()), ("x", pa.float32()), ("s", pa.large_string())])
    found = pa.RecordBatchReader.from_stream(node, schema=wanted).read_all()
    assert found.schema.equals(wanted)
    assert found["n"].to_pylist() == list(range(10))
    with pytest.raises((pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, ValueError)):
        pa.RecordBatchReader.from_stream(node, schema=pa.schema([("other", pa.int32())])).read_all()


def test_missing_object_is_reported_through_the_stream(home: Home, node: Table) -> None:
    objects = node.__entry__.blocks
    home.store.objects.delete(objects[2].hash)
    reader = pa.RecordBatchReader.from_stream(node)
    with pytest.raises(pa.ArrowException, match="datapkg fetch me/t/"):
        reader.read_all()
    home.store.objects.delete(objects[0].hash)
    with pytest.raises(ObjectNotFound):
        pa.table(node)


def test_stream_has_categories_that_parquet_loses(home: Home) -> None:
    table = remember_categories(pa.Table.from_pandas(pd.DataFrame({"c": pd.Categorical([3, 1], categories=[9, 3, 1])})))
    node = stored(home, table, table)
    assert pa.schema(node) == pa.table(node).schema
    assert pa.table(node).to_pandas()["c"].cat.categories.tolist() == [9, 3, 1]


def test_polars_accepts_a_node(node: Table, everything: Table) -> None:
    assert pl.DataFrame(node).equals(pl.from_pandas(numbered()))
    assert pl.from_arrow(node).struct.unnest().equals(pl.from_pandas(numbered()))
    assert pl.from_dataframe(node).equals(pl.from_pandas(numbered()))
    assert pl.DataFrame(everything).equals(pl.DataFrame(everything.arrow()))


def test_duckdb_accepts_a_node(node: Table, everything: Table) -> None:
    assert duckdb.sql("select sum(n), max(s) from node where x > 4").fetchall() == [(9, "row 9")]
    whole = everything.arrow()
    assert repr(duckdb.sql("from everything").fetchall()) == repr(duckdb.sql("from whole").fetchall())
    assert len(duckdb.sql("from everything join node on true").fetchall()) == 60
    assert whole.num_rows == 6


def test_narwhals_accepts_a_node(node: Table) -> None:
    frame = nw.from_native(node)
    assert frame.filter(nw.col("x") > 4).to_dict(as_series=False) == {"n": [9], "x": [4.5], "s": ["row 9"]}
    assert frame.to_native().equals(node.arrow())
    assert nw_v1.from_native(node, eager_or_interchange_only=True).columns == ["n", "x", "s"]
    assert nw.from_arrow(node, backend="polars").to_native().equals(pl.DataFrame(node))


def test_pandas_accepts_a_node(node: Table) -> None:
    pd.testing.assert_frame_equal(pd.DataFrame.from_arrow(node), numbered())
    pd.testing.assert_frame_equal(pd.api.interchange.from_dataframe(node), numbered())


def test_seaborn_draws_a_node(node: Table) -> None:
    import seaborn
    from matplotlib import pyplot

    axes = seaborn.scatterplot(data=node, x="n", y="x", hue="s", legend=False)
    assert axes.collections[0].get_offsets().tolist() == [[at, at / 2] for at in range(10)]
    pyplot.close("all")


def test_matplotlib_draws_columns_of_a_node(node: Table) -> None:
    from matplotlib import pyplot

    (line,) = pyplot.plot("n", "x", "", data=node)
    assert line.get_xydata().tolist() == [[at, at / 2] for at in range(10)]
    pyplot.close("all")


def test_plotly_draws_a_node(node: Table) -> None:
    figure = px.scatter(node, x="n", y="x", hover_name="s")
    assert figure.data[0].y.tolist() == [at / 2 for at in range(10)]
    assert figure.layout.xaxis.title.text == "n"
    assert len(px.line(node, y=["x", "n"]).data) == 2


def test_altair_draws_a_node(node: Table) -> None:
    chart = alt.Chart(node).mark_point().encode(x="n", y="x", color="s").to_dict()
    (rows,) = chart["datasets"].values()
    assert rows == numbered().to_dict("records")
    assert chart["encoding"]["color"]["type"] == "nominal"


@pytest.mark.needs_library("sklearn")
def test_scikit_learn_learns_from_a_node(home: Home, node: Table) -> None:
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(node[["n"]], node["x"])
    assert fitted.feature_names_in_.tolist() == ["n"]
    assert fitted.coef_.tolist() == pytest.approx([0.5])
    numbers = stored(home, numbered()[["n", "x"]])
    assert LinearRegression().fit(numbers, range(10)).feature_names_in_.tolist() == ["n", "x"]


def test_numpy_accepts_a_node_of_numbers(home: Home) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, None], "c": [True, False]})
    node = stored(home, frame, frame)
    found = np.asarray(node)
    assert found.tolist()[0] == [1.0, 0.5, 1.0]
    assert np.isnan(found[1, 1])
    assert found.shape == (4, 3)
    found[0, 0] = 9
    assert np.asarray(node, dtype=np.float32).dtype == np.float32
    assert np.array(node, copy=True)[0, 0] == 1
    with pytest.raises(ValueError, match="copy=False"):
        np.asarray(node, copy=False)


def test_an_array_of_floats_rounds_no_integer(home: Home) -> None:
    node = stored(home, pd.DataFrame({"a": [1, 2**53 + 1], "b": [0.5, 1.5]}))
    for give in (np.asarray, Table.numpy):
        with pytest.raises(WrongType, match="column 'a' holds integers above 2\\^53"):
            give(node)
    assert np.asarray(node, dtype=object).tolist() == [[1, 0.5], [2**53 + 1, 1.5]]
    assert np.asarray(stored(home, pd.DataFrame({"a": [2**53 + 1]}))).tolist() == [[2**53 + 1]]


def test_records_of_categories_and_nested_values_keep_nulls_and_integers(home: Home) -> None:
    codes = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), pa.array([2**53 + 1, 2]))
    columns = {
        "c": pa.array(["z", None, "a"]).dictionary_encode(),
        "i": codes,
        "s": [{"n": 2**53 + 1}, {"n": None}, None],
    }
    found = stored(home, pa.table(columns)).numpy()
    assert found["c"].tolist() == ["z", None, "a"]
    assert found["i"].tolist() == [2, None, 2**53 + 1]
    assert found["s"].tolist() == [{"n": 2**53 + 1}, {"n": None}, None]


PANDAS: list[Any] = [
    *(pd.DataFrame, pd.Series, pd.Index, pd.array, pd.isna, pd.to_numeric, pd.unique),
    *(lambda node: pd.DataFrame(node, columns=["n"]), lambda node: pd.DataFrame({"x": node})),
    *(lambda node: pd.melt(node, id_vars=["n"]), lambda node: pd.wide_to_long(node, "n", i="x", j="k")),
    *(
        lambda node: pd.pivot(node, columns="n"),
        lambda node: pd.pivot_table(node, index="n"),
        lambda node: pd.lreshape(node, {"n": ["n"]}),
    ),
    *(lambda node: pd.crosstab(node, node), lambda node: pd.json_normalize(node), pd.get_dummies, pd.factorize),
    *(lambda node: pd.cut(node, 2), lambda node: pd.qcut(node, 2), lambda node: pd.merge_ordered(node, numbered())),
    *(lambda node: numbered() + node, lambda node: numbered() == node, lambda node: numbered().assign(new=node)),
    *(lambda node: numbered().where(node), lambda node: numbered().join(node), lambda node: numbered().align(node)),
    *(lambda node: numbered()["n"].map(node), lambda node: pd.util.hash_pandas_object(node)),
    *(lambda node: pd.concat([node]), lambda node: pd.DataFrame({"n": [1]}).merge(node)),
]


@pytest.mark.parametrize(
    "take",
    [
        lambda node: numbered().combine_first(node),
        lambda node: numbered().reindex_like(node),
        pd.plotting.scatter_matrix,
        pd.plotting.lag_plot,
    ],
)
def test_attribute_that_pandas_tests_shows_the_call(node: Table, take: Any) -> None:
    with pytest.raises(AttributeError, match=r"me/t/t is a table node, and pandas takes a DataFrame; write: t\.t\(\)"):
        take(node)
    assert not hasattr(node, "_values")


def test_pandas_reads_a_node_by_the_protocols_of_arrow_and_frames(node: Table) -> None:
    for frame in (pd.DataFrame.from_arrow(node), pd.api.interchange.from_dataframe(node[["n", "x"]])):
        assert frame["n"].tolist() == list(range(10))
    assert node.columns == ["n", "x", "s"]


@pytest.mark.parametrize("take", PANDAS)
def test_pandas_functions_need_the_loaded_frame(home: Home, take: Any) -> None:
    """A function of pandas would make a table of an array: without names, and floats of its integers."""
    for frame in (numbered()[["n", "x"]], numbered()):
        with pytest.raises(WrongType, match=r"me/t/t is a table node, and pandas takes a DataFrame; write: t\.t\(\)"):
            take(stored(home, frame))
    assert not hasattr(stored(home, numbered()), "_typ")


@pytest.mark.parametrize(
    "take", [list, tuple, dict, sorted, enumerate, lambda node: [*node], lambda node: pd.DataFrame([node])]
)
def test_unloaded_table_cannot_be_iterated(node: Table, take: Any) -> None:
    with pytest.raises(TypeError, match=r"write: (for each in )?t\.t\(\)"):
        take(node)


def test_pandas_rejects_a_group(iris: Any) -> None:
    for take in (pd.DataFrame, pd.Series, pd.Index):
        with pytest.raises(WrongType, match=r"uciml/iris is a package node, and pandas takes a DataFrame; write: "):
            take(iris)
    assert np.asarray(iris).tolist() == list(iris)


def test_index_is_not_a_column_of_an_array(home: Home) -> None:
    node = stored(home, pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="k")))
    assert np.asarray(node).tolist() == [[1], [2]]


def test_table_is_read_only_and_wrong_arguments_are_rejected(node: Table) -> None:
    with pytest.raises(TypeError, match="does not change"):
        del node.t
    with pytest.raises(InvalidInput, match="columns is a list of names, got '3'"):
        node(3)  # type: ignore[arg-type]
    with pytest.raises(NodeNotFound, match=r"'read_bytes'; its Parquet file is at \.path"):
        node.read_bytes()
    with pytest.raises(WrongType, match="prefetch takes a package or node"):
        prefetch("me/t")  # type: ignore[arg-type]


def test_numpy_error_names_the_columns_that_are_not_numbers(node: Table) -> None:
    with pytest.raises(WrongType, match=r"me/t/t is not an array of numbers.*'s'.*node\.numpy\(\)") as told:
        np.asarray(node)
    assert isinstance(told.value, TypeError)
    assert isinstance(told.value, InvalidInput)


def test_missing_narwhals_names_the_pip_command(node: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "narwhals", None)
    monkeypatch.delitem(__import__("sys").modules, "datapkg.reading.adapters.narwhals_frame", raising=False)
    with pytest.raises(MissingDependency, match=r"pip install narwhals$"):
        node.__narwhals_dataframe__()
