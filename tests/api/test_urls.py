"""URLs of objects, which other programs read: of this machine, of a registry and of its storage."""

from __future__ import annotations

import io
import itertools
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests

import datapkg
from datapkg.errors import NotFound, Refused, WrongType
from tests.live_registry import LiveRegistry, live_registry
from tests.object_stores import AZURITE, ObjectStore
from tests.static_registry import Static

_numbers = itertools.count(1)
RANDOM = random.Random(1)
ROWS = pd.DataFrame({"n": range(200_000), "text": [RANDOM.randbytes(24).hex() for _ in range(200_000)]})

WHOLE = np.frombuffer(RANDOM.randbytes(2 << 20), dtype="<i4")
"""An object of its own, which no pack has."""


@pytest.fixture
def package(registry: LiveRegistry, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package of a new user, pushed to the registry."""
    user = f"u{next(_numbers)}"
    monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
    monkeypatch.setenv("DATAPKG_TOKEN", registry.add_user(user))
    found = datapkg.build(f"{user}/rows", {"rows": ROWS, "few": ROWS[:3], "group": {"note": ROWS[:1]}})
    datapkg.push(f"{user}/rows")
    return found


def frame(answers: list[bytes]) -> pd.DataFrame:
    return pd.concat([pq.read_table(io.BytesIO(each)).to_pandas() for each in answers], ignore_index=True)


def test_files_of_this_machine_in_order(package: Any) -> None:
    urls = datapkg.urls(package.rows)
    assert len(urls) == len(package.rows.__entry__.blocks) > 1
    assert all(each.startswith("file:///") for each in urls)
    found = frame([Path(each.removeprefix("file://")).read_bytes() for each in urls])
    pd.testing.assert_frame_equal(found, ROWS, check_dtype=False)


def test_a_private_package_takes_the_header(package: Any) -> None:
    urls = datapkg.urls(package.rows, registry=True, signed=False)
    assert requests.get(urls[0], timeout=10).status_code == 404
    headers = {"Authorization": f"Bearer {os.environ['DATAPKG_TOKEN']}"}
    found = frame([requests.get(each, headers=headers, timeout=10).content for each in urls])
    pd.testing.assert_frame_equal(found, ROWS, check_dtype=False)


def test_signed_addresses_of_a_private_package_need_no_token(package: Any, registry: LiveRegistry) -> None:
    urls = datapkg.urls(package.rows, registry=True)
    assert all(each.startswith(registry.url) for each in urls)
    found = frame([requests.get(each, timeout=10).content for each in urls])
    pd.testing.assert_frame_equal(found, ROWS, check_dtype=False)
    assert requests.get(urls[0].partition("?")[0], timeout=10).status_code == 404


def test_pandas_reads_them(package: Any) -> None:
    found = pd.concat(map(pd.read_parquet, datapkg.urls(package.rows, registry=True)), ignore_index=True)
    pd.testing.assert_frame_equal(found, ROWS, check_dtype=False)


@pytest.mark.needs_library("fsspec", "aiohttp")
def test_pyarrow_and_fsspec_read_them(package: Any) -> None:
    import fsspec
    from pyarrow import dataset

    urls = datapkg.urls(package.rows, registry=True)
    found = dataset.dataset(urls, filesystem=fsspec.filesystem("http"))
    pd.testing.assert_frame_equal(found.to_table().to_pandas(), ROWS, check_dtype=False)
    with fsspec.open(urls[-1]) as file:
        last = pq.ParquetFile(file).read().to_pandas()
    pd.testing.assert_frame_equal(last, ROWS[-len(last) :].reset_index(drop=True), check_dtype=False)


@pytest.mark.needs_library("polars")
def test_polars_reads_them(package: Any) -> None:
    import polars

    urls = datapkg.urls(package.rows, registry=True)
    found = polars.scan_parquet(urls).collect()
    assert found["n"].to_list() == ROWS["n"].to_list()
    assert found["text"].to_list() == ROWS["text"].to_list()
    assert polars.scan_parquet(urls).filter(polars.col("n") >= 199_990).collect().height == 10  # by ranges


@pytest.mark.needs_library("duckdb", "fsspec", "aiohttp")
def test_duckdb_reads_them_without_an_extension(package: Any) -> None:
    import duckdb
    import fsspec
    from pyarrow import dataset

    rows = dataset.dataset(datapkg.urls(package.rows, registry=True), filesystem=fsspec.filesystem("http"))
    with duckdb.connect() as connection:
        connection.register("rows", rows)
        found = connection.sql("select count(*), sum(n), max(text) from rows").limit(1).fetchall()
    assert found == [(len(ROWS), ROWS["n"].sum(), ROWS["text"].max())]


@pytest.mark.needs_library("duckdb")
def test_duckdb_reads_them_with_its_extension(package: Any) -> None:
    import duckdb

    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        try:
            connection.sql("load httpfs")
        except duckdb.Error:
            pytest.skip("the extension httpfs of DuckDB is not installed")
        found = connection.read_parquet(datapkg.urls(package.rows, registry=True)).aggregate("count(*), sum(n)")
        assert found.limit(1).fetchall() == [(len(ROWS), ROWS["n"].sum())]


def test_a_public_package_needs_no_token(package: Any) -> None:
    datapkg.push(str(package.ref.at(None)), public=True, confirm=True)
    urls = datapkg.urls(package.rows, registry=True)
    found = frame([requests.get(each, timeout=10).content for each in urls])
    pd.testing.assert_frame_equal(found, ROWS, check_dtype=False)


def test_what_is_not_on_this_machine_is_at_the_registry(
    package: Any, registry: LiveRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "other"))
    remote = datapkg.load(str(package.ref.at(None)), lazy=True)
    assert datapkg.urls(remote.few, signed=False)[0].startswith(registry.url)


def test_what_has_no_urls(package: Any) -> None:
    with pytest.raises(WrongType, match="is a group"):
        datapkg.urls(package.group)
    with pytest.raises(WrongType, match="is a package"):
        datapkg.urls(package)
    assert len(datapkg.urls(package.group.note)) == 1


def test_a_state_that_was_not_pushed(package: Any) -> None:
    changed = datapkg.build(str(package.ref.at(None)), {"rows": ROWS[:5]})
    with pytest.raises(NotFound):
        datapkg.urls(changed.rows, registry=True)


@pytest.mark.needs(*AZURITE)
def test_signed_addresses_of_the_storage(azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    azurite.set_environment(monkeypatch)
    url = azurite.new_bucket("registry")
    with live_registry(tmp_path, DATAPKG_REGISTRY_OBJECTS=url, DATAPKG_REGISTRY_SIGNED_URLS_S="60") as registry:
        monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
        monkeypatch.setenv("DATAPKG_TOKEN", registry.add_user("ada"))
        package = datapkg.build("ada/rows", {"whole": WHOLE, "few": ROWS[:3]})
        datapkg.push("ada/rows")
        (found,) = datapkg.urls(package.whole, registry=True)
        assert not found.startswith(registry.url)
        data = requests.get(found, timeout=10).content
        (few,) = datapkg.urls(package.few, registry=True)  # part of a pack
        assert few.startswith(registry.url)
        assert len(pd.read_parquet(few)) == 3
    assert np.array_equal(np.load(io.BytesIO(data)), WHOLE)


def test_a_registry_in_a_folder(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPKG_REGISTRY", static.url)
    package = datapkg.build("me/rows", {"whole": WHOLE, "few": ROWS[:3]})
    datapkg.push("me/rows")
    (found,) = datapkg.urls(package.whole, registry=True)
    assert np.array_equal(np.load(found.removeprefix("file://")), WHOLE)
    with pytest.raises(Refused, match="has no address"):  # a part of a pack
        datapkg.urls(package.few, registry=True)
