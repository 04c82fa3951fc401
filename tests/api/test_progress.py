"""Progress moves inside one big thing: a file, a table, an object."""

from __future__ import annotations

import itertools
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from datapkg.api.build import build_package
from datapkg.api.export import export
from datapkg.api.verify import verify
from datapkg.building import build_context, node_builder, node_writer, scheduler
from datapkg.building.sources.download_cache import DownloadCache, FetchedFile
from datapkg.building.sources.extract import extract_members
from datapkg.building.sources.sql import query
from datapkg.building.spec.model import SqlSource
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import AGAIN, PartCounter, between
from datapkg.store.index import Index
from tests.building.sources.archives import tar_of, zip_of
from tests.examples import first

REF = Ref("me", "big")
Reports = list[tuple[str, int, int]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


@pytest.fixture(autouse=True)
def small_is_big(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (build_context, node_builder, node_writer, scheduler):
        monkeypatch.setattr(module, "BIG_BYTES", 1 << 20)


def write_file(path: Path) -> None:
    path.write_bytes(bytes(8 << 20))


def write_csv(path: Path) -> None:
    rows = "".join(f"{number},{number * 7919 % 1_000_003},{'x' * 60}\n" for number in range(300_000))
    path.write_text(f"a,b,c\n{rows}")


def write_parquet(path: Path) -> None:
    table = pa.table({"a": range(1_000_000), "b": [each * 7919 % 1_000_003 for each in range(1_000_000)]})
    pq.write_table(table, path, row_group_size=50_000, compression="none")


def shares(reports: Reports, what: str) -> list[float]:
    """Return the shares that were reported, after checking that they only grow and end with everything."""
    found = [(done, total) for each, done, total in reports if each == what]
    assert len({total for _, total in found}) == 1
    assert [done for done, _ in found] == sorted(done for done, _ in found)
    assert found[-1][0] == found[-1][1]
    return [done / total for done, total in found]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("a.bin", write_file), ("a.csv", write_csv), ("a.parquet", write_parquet)])
def test_build_export_and_verify_report_bytes_inside_one_big_thing(
    home: Home, tmp_path: Path, name: str, write: Any
) -> None:
    folder, reports = tmp_path / "data", Reports()
    folder.mkdir()
    write(folder / name)

    def progress(*report: Any) -> None:
        reports.append(report)

    build_package(home, REF, folder, progress=progress)
    export(home, REF, tmp_path / "out", progress=progress)
    verify(home, progress=progress)
    size = (folder / name).stat().st_size
    assert {total for what, _, total in reports if what == "building"} == {size}
    # The objects of the tables are too small for more than one report.
    for what in ("building", "exporting", *(["verifying"] if name == "a.bin" else [])):
        assert sum(0.05 < share < 0.95 for share in shares(reports, what)) >= 2, what


ROWS = 200_000


def frame() -> pandas.DataFrame:
    numbers = range(ROWS)
    return pandas.DataFrame({"a": numbers, "b": [each * 7919 % 1_000_003 for each in numbers], "c": "x" * 20})


def write_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        for name in ("one", "two"):
            frame().to_sql(name, database, index=False)


def write_orc(path: Path) -> None:
    pyarrow.orc.write_table(pa.Table.from_pandas(frame(), preserve_index=False), path)


SLOW_TO_READ = {
    "a.jsonl": lambda path: frame().to_json(path, orient="records", lines=True),
    "a.csv.gz": lambda path: frame().to_csv(path, index=False),
    "a.sqlite": write_database,
    "a.json": lambda path: frame().to_json(path, orient="records"),
    "a.jsonl.gz": lambda path: frame().to_json(path, orient="records", lines=True),
    "a.csv.bz2": lambda path: frame().to_csv(path, index=False),
    "a.csv.xz": lambda path: frame().to_csv(path, index=False),
    "a.orc": write_orc,
    "a.feather": lambda path: frame().to_feather(path, chunksize=20_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", first(3, SLOW_TO_READ))
def test_readers_report_how_much_of_a_file_they_read(
    home: Home, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (build_context, node_builder, node_writer, scheduler):
        monkeypatch.setattr(module, "BIG_BYTES", 1 << 16)
    (folder := tmp_path / "data").mkdir()
    SLOW_TO_READ[name](folder / name)
    reports = Reports()
    build_package(home, REF, folder, progress=lambda *report: reports.append(report))
    assert {total for what, _, total in reports if what == "building"} == {(folder / name).stat().st_size}
    found = {round(each, 2) for each in shares(reports, "building")}
    assert sum(0.05 < share < 0.5 for share in found) >= 1
    assert sum(0.5 < share < 0.97 for share in found) >= 1


@pytest.mark.slow
def test_a_file_that_is_read_again_begins_again(home: Home, tmp_path: Path) -> None:
    lines = [json.dumps({"a": number, "b": "x" * 20}) for number in range(ROWS)] + ['{"a": 1, "c": 1}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    reports = Reports()
    build_package(home, REF, tmp_path / "a.jsonl", progress=lambda *report: reports.append(report))
    done = [done for what, done, _ in reports if what == "building"]
    assert any(after < before for before, after in itertools.pairwise(done))
    assert done[-1] == max(done)


@pytest.mark.slow
def test_checks_and_values_that_are_verified_report_rows(home: Home, tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.parquet", index=False, row_group_size=50_000)
    checks = "checks: [{columns: a, unique: true}, {sql: a >= 0}]"
    (tmp_path / "build.yml").write_text(f"contents: {{a: {{file: a.parquet, {checks}}}}}\n")
    reports = Reports()
    build_package(home, REF, tmp_path, progress=lambda *report: reports.append(report))
    verify(home, progress=lambda *report: reports.append(report), content=True)
    for what in ("checking", "verifying values"):
        assert sum(0.05 < share < 0.95 for share in shares(reports, what)) >= 2, what


def test_a_query_reports_bytes(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        frame().head(30_000).to_sql("one", database, index=False)
    reports = Reports()
    query(
        SqlSource("select * from one", "DB"), f"sqlite:///{tmp_path / 'a.db'}", {}, lambda *each: reports.append(each)
    )
    assert len(reports) == 3
    assert {(what, total) for what, _, total in reports} == {("querying", 0)}
    assert 0 < reports[0][1] < reports[1][1] < reports[2][1]


@pytest.mark.parametrize("pack", [zip_of, tar_of])
def test_extraction_reports_bytes_of_the_archive(tmp_path: Path, pack: Any) -> None:
    data = pack({f"{number}.bin": pandas.util.hash_array(frame().a.to_numpy()[:100_000]).tobytes() for number in "abc"})
    (path := tmp_path / "archive").write_bytes(data)
    reports = Reports()
    cache = DownloadCache(tmp_path / "cache", Index(tmp_path / "index.db"))
    archive = FetchedFile(path, hash_bytes(data), "archive")
    extract_members(archive, ["*.bin"], cache, 1 << 30, lambda *each: reports.append(each))
    assert {(what, total) for what, _, total in reports} == {("extracting", len(data))}
    assert sum(0.05 < done / total < 0.95 for _, done, total in reports) >= 2


def test_a_smaller_share_changes_nothing_unless_it_begins_again() -> None:
    reports = Reports()
    share = between(PartCounter(lambda *each: reports.append(each), [100], ("a", "b")).share(0), 0.5, 1)
    for each in (0.5, 0.2, AGAIN, 0.1, 2):
        share(each)
    assert reports == [("a", 75, 100), ("a", 0, 100), ("a", 55, 100), ("a", 100, 100)]
