"""Progress moves inside one big thing: a file, a table, an object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.api.build import build_package
from datapkg.api.export import export
from datapkg.api.verify import verify
from datapkg.building import build_context, node_builder, node_writer, scheduler
from datapkg.format.names import Ref
from datapkg.home import Home

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
