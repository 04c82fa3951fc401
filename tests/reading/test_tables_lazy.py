"""Table nodes before they are loaded: what they know, what they refuse, and what the frames they give say and share."""

from __future__ import annotations

import multiprocessing
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import datapkg
from datapkg.errors import InvalidInput
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from datapkg.reading.nodes.tables import Table
from datapkg.reading.tables import arrow_cache_writer
from datapkg.tables.frame_to_arrow import table_from_frame
from datapkg.tables.pandas_metadata import observed, remember_categories
from tests.reading.packages import group_node, install, table_node
from tests.reading.test_tables import EVERYTHING, stored
from tests.reading.test_tables_rows import frame_of, node_of


@pytest.fixture(params=["objects", "warm"])
def everything(home: Home, request: pytest.FixtureRequest) -> Table:
    node = stored(home, remember_categories(table_from_frame(EVERYTHING)))
    if request.param == "warm":
        arrow_cache_writer.write(node.__stored__)
    return node


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """Whether frames are equal; lists in them are compared as lists."""
    lists = [
        [list(each) if pd.api.types.is_list_like(each) else None for each in frame["list"]] for frame in (one, other)
    ]
    assert lists[0] == lists[1]
    pd.testing.assert_frame_equal(one.drop(columns="list"), other.drop(columns="list"))


def test_frames_are_equal_from_objects_and_cached_copies(home: Home) -> None:
    node = stored(home, remember_categories(table_from_frame(EVERYTHING)))
    forms: list[dict[str, Any]] = [
        {},
        {"frozen": True},
        {"dtype_backend": "pyarrow"},
        {"dtype_backend": "numpy_nullable"},
    ]
    before = [node(**form) for form in forms]
    table, schema = node.arrow(), node.schema
    arrow_cache_writer.write(node.__stored__)
    for form, frame in zip(forms, before, strict=True):
        same(node(**form), frame)
    assert node.arrow().equals(table)
    assert node.arrow().schema.equals(schema, check_metadata=True)
    assert table.schema.equals(schema, check_metadata=True)


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_other_dtypes_are_those_of_pandas(everything: Table, backend: Any) -> None:
    expected = pd.read_parquet(everything.path, dtype_backend=backend)
    found = everything(dtype_backend=backend)
    others = [name for name in expected if name != "category"]  # of which Parquet forgets what was not used
    assert found.dtypes[others].equals(expected.dtypes[others])
    for name in others:
        assert found[name].astype(object).map(str).tolist() == expected[name].astype(object).map(str).tolist()
    for at, name in enumerate(others):
        if name not in ("list", "date", "exact", "period"):
            found[name].iloc[at % 3]
    found["int"] = found["int"] + 1
    found.loc[0, "text"] = "changed"
    assert everything(dtype_backend=backend)["text"].tolist()[0] == "a"


def test_an_unknown_dtype_backend_is_refused(everything: Table) -> None:
    with pytest.raises(InvalidInput, match="dtype_backend is None, 'pyarrow' or 'numpy_nullable', got 'polars'"):
        everything(dtype_backend="polars")


def test_frozen_frames_are_read_only(everything: Table) -> None:
    frame = everything(frozen=True)
    same(frame, EVERYTHING)
    for name in ("int", "float", "bool", "time", "length"):
        with pytest.raises(ValueError, match=r"read-only|Incompatible"):
            frame.iloc[0, frame.columns.get_loc(name)] = frame[name].iloc[2]
    same(everything(frozen=True), EVERYTHING)


def test_cached_copies_are_never_modified(everything: Table) -> None:
    for form in ({}, {"dtype_backend": "pyarrow"}, {"dtype_backend": "numpy_nullable"}):
        frame = everything(**form)
        for at in range(frame.shape[1] - 2):  # the last are lists and bytes
            frame.iloc[0, at] = frame.iloc[2, at]
    for batch in everything.iter_batches(2):
        batch.iloc[0, 0] = 77
    same(everything(), EVERYTHING)


def test_frame_records_its_origin(iris: Package) -> None:
    node = iris["measurements"]
    assert isinstance(node, Table)
    origin = {"package": "uciml/iris", "hash": iris.hash, "path": "measurements"}
    column, some = node["class"], node[["class"]]
    assert isinstance(column, pd.Series)
    for each in (node(), column, some, node.head(), node.tail(), node.sample(), next(node.iter_batches(2))):
        assert each.attrs == {"datapkg": origin}
    for form in ({"frozen": True}, {"dtype_backend": "pyarrow"}, {"filters": [("class", "=", "setosa")]}):
        assert node(**form).attrs == {"datapkg": origin}
    assert pd.concat([node(), node()]).attrs == {"datapkg": origin}
    assert pickle.loads(pickle.dumps(node())).attrs == {"datapkg": origin}
    node().attrs["datapkg"]["path"] = "changed"
    assert node().attrs == {"datapkg": origin}


def bare_schema(folder: Path, frame: pd.DataFrame) -> pa.Schema:
    frame.to_parquet(folder / "bare.parquet")
    return pq.read_schema(folder / "bare.parquet")


def test_stored_attrs_round_trip(home: Home, tmp_path: Path) -> None:
    frame = frame_of(None)[["n"]]
    frame.attrs = {"unit": "cm", "datapkg": {"package": "somebody/else"}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = table_from_frame(frame)
    bare = frame.copy()
    bare.attrs = {"unit": "cm"}
    assert table.schema.equals(table_from_frame(bare).schema, check_metadata=True)
    node = stored(home, table)
    assert node().attrs["unit"] == "cm"
    assert node().attrs["datapkg"]["package"] == "me/t"
    node().to_parquet(tmp_path / "written.parquet")
    again = pd.read_parquet(tmp_path / "written.parquet")
    assert again.attrs == node().attrs
    assert observed(pq.read_schema(tmp_path / "written.parquet")) == observed(bare_schema(tmp_path, bare))


def test_origin_is_not_stored(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2], "s": ["a", "b"]})
    first = datapkg.build("me/first", {"t": frame})
    loaded = datapkg.load("me/first")["t"]()  # type: ignore[operator]
    assert loaded.attrs["datapkg"]["hash"] == first.hash
    assert datapkg.build("me/second", {"t": loaded}).hash == first.hash
    loaded.to_parquet(tmp_path / "t.parquet")
    built = datapkg.build("me/third", tmp_path / "t.parquet")
    assert "datapkg" not in built["t"].meta
    assert built["t"].content == first["t"].content
    assert built["t"]().attrs["datapkg"]["package"] == "me/third"


def test_description_has_only_exact_values(home: Home, everything: Table) -> None:
    found = everything.describe()
    assert found.index.tolist() == everything.columns
    assert found.columns.tolist() == ["type", "count", "nulls", "min", "max"]
    assert found.loc["int"].tolist() == ["int64", 3, 0, 1, 3]
    assert found.loc["float", ["count", "nulls", "max"]].tolist() == [2, 1, 0.5]
    assert found.loc["text", "count"] == 2
    assert found.loc["text", ["min", "max"]].tolist() == [None, None]
    assert found.loc["nullable", "max"] == 2**60 + 1
    assert found.loc["date", "max"] == EVERYTHING["date"][2]
    assert pd.isna(found.loc["list", "count"])
    empty = stored(home, pa.table({"n": pa.array([], pa.int64())})).describe()
    assert empty.loc["n"].tolist() == ["int64", 0, 0, None, None]


def test_description_of_types_that_footers_have_as_other_values(home: Home) -> None:
    halves = pa.array(np.array([1, -2, 300], "float16"))
    spans, times = pa.array([1, -5, None], pa.duration("us")), pa.array([1, 2, 3], pa.time64("ns"))
    node = stored(home, pa.table({"h": halves, "d": spans, "t": times}))
    found = node.describe()
    assert found.loc["d", ["min", "max"]].tolist() == [pd.Timedelta(-5, "us"), pd.Timedelta(1, "us")]
    assert found.loc[["h", "t"], ["min", "max"]].isna().all(axis=None)
    page = node._repr_html_()
    assert "-5 us" in page
    assert "b&#x27;" not in page


def test_description_and_memory_read_no_values(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    node = node_of(home, frame_of(None), 5, 23)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("values were read")

    for name in ("read", "read_row_groups", "iter_batches"):
        monkeypatch.setattr(pq.ParquetFile, name, refuse)
    assert node.describe().loc["n", ["min", "max"]].tolist() == [0, 22]
    assert node.nbytes > 23 * 16


def test_nbytes_is_close_to_arrow(home: Home) -> None:
    random = np.random.default_rng(1)
    numbers = {"n": random.integers(0, 9, 40_000), "x": random.random(40_000), "b": random.random(40_000) > 0.5}
    assert stored(home, pa.table(numbers)).nbytes == pa.table(numbers).nbytes
    text = pa.table({"s": [f"{value:.12f}" for value in random.random(40_000)]})
    assert 0.8 < stored(home, text).nbytes / text.nbytes < 1.2


def test_frame_attributes_show_what_to_type(home: Home) -> None:
    frame = frame_of(None)
    install(
        home,
        "me/p",
        *(table_node(home, path, frame[["n"]]) for path in ("2024 sales", "a/b c", "a/b_c", "a/deep/class", "plain")),
        group_node("a"),
    )
    package = load("me/p", home)
    assert isinstance(package, Package)
    expected = {
        "plain": "p.plain()",
        "2024 sales": "p.n2024_sales()",
        "a/b c": "p.a['b c']()",
        "a/b_c": "p.a['b_c']()",
        "a/deep/class": "p.a.deep.class_()",
    }
    for path, written in expected.items():
        with pytest.raises(AttributeError) as caught:
            package[path].groupby  # type: ignore[attr-defined]  # noqa: B018
        assert str(caught.value).endswith(f"load it first: {written}.groupby(…)")
    node: Any = package["plain"]
    for name, form in {"loc": r"loc\[…\]", "T": "T$", "iterrows": r"iterrows\(…\)"}.items():
        with pytest.raises(AttributeError, match=rf"load it first: p\.plain\(\)\.{form}"):
            getattr(node, name)
    with pytest.raises(AttributeError, match=r"no 'hed'; did you mean \.head"):
        node.hed  # noqa: B018
    with pytest.raises(AttributeError, match=r"no 'zzz'; load it with p\.plain\(\)$"):
        node.zzz  # noqa: B018
    assert not hasattr(node, "_mgr")
    assert not hasattr(node, "__array_ufunc__")


def test_operators_and_assignment_show_what_to_type(iris: Package) -> None:
    node: Any = iris["measurements"]
    for ask, form in [
        (lambda: node + 1, r"iris\.measurements\(\) \+ …"),
        (lambda: 2 * node, r"… \* iris\.measurements\(\)"),
        (lambda: node > 3, r"iris\.measurements\(\) > …"),
        (lambda: ~node, r"~iris\.measurements\(\)"),
    ]:
        with pytest.raises(TypeError, match=form):
            ask()
    with pytest.raises(TypeError, match=r"frame = iris\.measurements\(\); frame\['new'\] = …"):
        node["new"] = 1
    with pytest.raises(TypeError, match=r"del frame\['class'\]"):
        del node["class"]
    assert node != 3
    assert node in [node]


def test_many_threads_read_one_node(home: Home) -> None:
    node = node_of(home, frame_of(None), 5, 10, 22, 23)
    expected = frame_of(None)

    def ask(number: int) -> None:
        pd.testing.assert_frame_equal(node(), expected)
        pd.testing.assert_frame_equal(node(rows=slice(number % 20, None)), expected[number % 20 :])
        assert sum(map(len, node.iter_batches(4))) == len(expected)
        if number == 7:
            arrow_cache_writer.write(node.__stored__)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(ask, range(40)))) == 40


def in_child(node: Table, results: Any) -> None:
    results.put([len(node()), node["n"].sum(), len(node.arrow()), node.tail(1)["n"].iloc[0]])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_nodes_are_read_after_a_fork(home: Home, is_warm_too: bool) -> None:
    node = node_of(home, frame_of(None), 5, 10, 22, 23)
    if is_warm_too:
        arrow_cache_writer.write(node.__stored__)
    assert len(node()) == 23
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=in_child, args=(node, results)) for _ in range(2)]
    for child in children:
        child.start()
    assert [results.get(timeout=30) for _ in children] == [[23, 253, 23, 22]] * 2
    for child in children:
        child.join(30)
        assert child.exitcode == 0
    assert len(node()) == 23


@pytest.fixture(params=[False, True])
def is_warm_too(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_values_that_pandas_cannot_hold_are_rejected(home: Home) -> None:
    node = stored(home, pa.table({"at": pa.array([1, 2], pa.time64("ns"))}))
    with pytest.raises(InvalidInput, match="non-zero nanoseconds"):
        node()
    assert node(dtype_backend="pyarrow")["at"].dtype == pd.ArrowDtype(pa.time64("ns"))


def test_single_condition_error_shows_the_list(home: Home) -> None:
    node = stored(home, pa.table({"a": [1, 2]}))
    with pytest.raises(InvalidInput, match=r"write: filters=\[\('a', '>', 1\)\]$"):
        node(filters=("a", ">", 1))
