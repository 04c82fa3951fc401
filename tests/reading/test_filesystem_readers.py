"""Other libraries read packages through `datapkg://`: each the real one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from datapkg.home import Home
from tests.reading.packages import array_node, file_node, install, iris_frame, table_node

URL = "datapkg://me/flowers"


@pytest.fixture(autouse=True)
def _flowers(home: Home, register: None) -> None:
    install(
        home,
        "me/flowers",
        table_node(home, "iris", iris_frame()),
        table_node(home, "long", iris_frame(), iris_frame().head(2)),
        file_node(home, "text/iris 2024.csv", iris_frame().to_csv(index=False).encode()),
        array_node(home, "w", np.arange(3.0)),
    )


@pytest.mark.parametrize("engine", ["c", "python", "pyarrow"])
def test_pandas_reads_text(engine: Any) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(f"{URL}/text/iris 2024.csv", engine=engine), iris_frame())


def test_pandas_reads_tables() -> None:
    pd.testing.assert_frame_equal(pd.read_parquet(f"{URL}/iris.parquet"), iris_frame())
    pd.testing.assert_frame_equal(pd.read_parquet(f"{URL}/iris", columns=["class"]), iris_frame()[["class"]])
    assert len(pd.read_parquet(f"{URL}/long.parquet")) == 5
    assert len(pd.read_parquet(f"{URL}/long.parquet", filters=[("petal_length", ">", 5)])) == 1
    with pytest.raises(FileNotFoundError, match="did you mean"):
        pd.read_csv(f"{URL}/text/iris 2025.csv")
    with pytest.raises(PermissionError, match="datapkg build"):
        iris_frame().to_csv(f"{URL}/new.csv")


def test_numpy_reads_an_open_file() -> None:
    with fsspec.open(f"{URL}/w.npy") as file:
        assert np.load(file).tolist() == [0, 1, 2]


def test_polars_reads_open_files_and_by_way_of_arrow() -> None:
    with fsspec.open(f"{URL}/iris.parquet") as file:
        assert pl.read_parquet(file).to_dict(as_series=False) == iris_frame().to_dict("list")
    with fsspec.open(f"{URL}/iris.parquet") as file:
        assert pl.scan_parquet(file).select("class").collect().shape == (3, 1)
    with fsspec.open(f"{URL}/text/iris 2024.csv") as file:
        assert pl.read_csv(file).shape == (3, 3)
    assert pl.read_parquet(f"{URL}/iris.parquet", use_pyarrow=True).shape == (3, 3)
    dataset = ds.dataset("me/flowers/long.parquet", filesystem=fsspec.filesystem("datapkg"))
    assert pl.scan_pyarrow_dataset(dataset).filter(pl.col("petal_length") > 2).collect().shape == (3, 3)


def test_polars_does_not_ask_fsspec_for_addresses() -> None:
    """As docs/files.md says; should this fail one day, the page may say less."""
    with pytest.raises(FileNotFoundError):
        pl.read_parquet(f"{URL}/iris.parquet")


def test_duckdb_reads_files_and_patterns_and_sees_new_states(home: Home) -> None:
    with duckdb.connect() as connection:
        connection.register_filesystem(fsspec.filesystem("datapkg"))
        rows = connection.execute(f"from '{URL}/iris.parquet'").fetchall()
        assert rows == list(iris_frame().itertuples(index=False, name=None))
        assert connection.execute(f"select count(*) from '{URL}/long.parquet/*.parquet'").fetchall() == [(5,)]
        csv = connection.execute(f"select max(petal_width) from read_csv('{URL}/text/*.csv')").fetchall()
        assert csv == [(2.5,)]
        turned = iris_frame().assign(petal_length=[6.0, 4.7, 1.4])
        install(home, "me/flowers", table_node(home, "iris", turned))
        rows = connection.execute(f"from '{URL}/iris.parquet'").fetchall()
        assert rows == list(turned.itertuples(index=False, name=None))


def test_pyarrow_reads_files_and_folders() -> None:
    files = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fsspec.filesystem("datapkg")))
    assert pq.read_table("me/flowers/iris.parquet", filesystem=files).num_rows == 3
    dataset = ds.dataset("me/flowers/long.parquet", filesystem=files)
    assert (len(dataset.files), dataset.count_rows()) == (2, 5)
    assert dataset.to_table(columns=["class"], filter=ds.field("petal_length") > 5).num_rows == 1
    with files.open_input_file("me/flowers/text/iris 2024.csv") as file:
        assert file.read(5) == b"petal"
    selector = pa.fs.FileSelector("me/flowers", recursive=True)
    assert sorted(info.base_name for info in files.get_file_info(selector) if info.is_file) == [
        *("iris 2024.csv", "iris.parquet", "long-00000.parquet", "long-00001.parquet", "w.npy")
    ]
    with pytest.raises(PermissionError):
        files.open_output_stream("me/flowers/new")


def test_dask_reads_tables_and_text(home: Home) -> None:
    import dask.dataframe as dd

    assert len(dd.read_parquet(f"{URL}/long.parquet")) == 5
    frame = dd.read_parquet(f"{URL}/iris.parquet", columns=["class"]).compute(scheduler="sync")
    assert frame["class"].tolist() == iris_frame()["class"].tolist()
    assert dd.read_csv(f"{URL}/text/*.csv").compute(scheduler="sync").shape == (3, 3)
    before = dd.read_parquet(f"{URL}/iris.parquet")._name
    assert dd.read_parquet(f"{URL}/iris.parquet")._name == before
    turned = iris_frame().assign(petal_length=[6.0, 4.7, 1.4])
    install(home, "me/flowers", table_node(home, "iris", turned))
    after = dd.read_parquet(f"{URL}/iris.parquet")
    assert after._name != before
    assert after.compute(scheduler="sync")["petal_length"].tolist() == [6.0, 4.7, 1.4]


@pytest.mark.needs_library("datasets")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_datasets_reads_tables_and_text(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    options: dict[str, Any] = {"cache_dir": str(tmp_path), "split": "train"}
    whole = datasets.load_dataset("parquet", data_files=f"{URL}/iris.parquet", **options)
    assert whole.to_pandas()["class"].tolist() == iris_frame()["class"].tolist()
    streamed = datasets.load_dataset("parquet", data_files=f"{URL}/long.parquet/*.parquet", streaming=True, **options)
    assert sum(1 for _ in streamed) == 5
    assert datasets.load_dataset("csv", data_files=f"{URL}/text/iris 2024.csv", **options).num_rows == 3


@pytest.mark.needs_library("xarray", "zarr")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_xarray_and_zarr_read_a_store_that_is_kept_as_files(home: Home, tmp_path: Path) -> None:
    import xarray
    import zarr

    values = np.arange(1.0, 13.0).reshape(3, 4)
    xarray.Dataset({"t": (("x", "y"), values)}).to_zarr(tmp_path / "store", consolidated=False)
    paths = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    nodes = [file_node(home, str(path.relative_to(tmp_path)), path.read_bytes()) for path in paths]
    install(home, "me/cube", *nodes)
    cube = "datapkg://me/cube/store"
    assert (zarr.open_group(cube, mode="r")["t"][:] == values).all()
    assert (xarray.open_zarr(cube, consolidated=False)["t"].values == values).all()
    mapper = fsspec.get_mapper(cube)
    assert (xarray.open_dataset(mapper, engine="zarr", consolidated=False)["t"].values == values).all()


def test_a_zip_in_a_package_is_a_file_system_too(home: Home) -> None:
    import zipfile

    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a/b.csv", "x\n1\n")
    install(home, "me/zipped", file_node(home, "all.zip", sink.getvalue()))
    assert pd.read_csv("zip://a/b.csv::datapkg://me/zipped/all.zip")["x"].tolist() == [1]
