"""`concat: true` makes one table of many files, with the values of their folder names as columns."""

from __future__ import annotations

from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.building.cache import BuildCache
from datapkg.building.pipeline import BuildOutput, build_package
from datapkg.building.readers.common_type import widened
from datapkg.building.spec.from_value import spec_for
from datapkg.errors import InvalidBuildFile, TransformFailed
from datapkg.format.manifest.parsed import TableNode
from datapkg.store.index import Index
from tests.building.builds import Bench, kinds, write

FOLDER = "contents:\n  t: {file: sales, concat: true}\n"


def parquet_files(folder: Path, files: dict[str, pa.Table]) -> Path:
    for name, table in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
    return folder


def one_table(folder: Path, text: str = FOLDER) -> tuple[pa.Table, list[str]]:
    """Return the one table of a build, and its warnings."""
    bench = Bench()
    built = bench.build(write(folder, {"build.yml": text}))
    assert kinds(built) == {"t": "table"}
    return bench.table(built, "t"), [each for each in built.warnings if each.startswith("t: ")]


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    """Write a folder as Spark does, partitioned by year and region."""
    return parquet_files(
        write(tmp_path, {"sales/_SUCCESS": "", "sales/.part.crc": "x", "sales/README.md": "# Sales"}),
        {
            "sales/year=2024/region=a%2Fb/part-0.parquet": pa.table({"n": [3], "t": ["x"]}),
            "sales/year=2023/region=north/part-1.parquet": pa.table({"n": [2], "t": ["y"]}),
            "sales/year=2023/region=north/part-0.parquet": pa.table({"n": [1, None], "t": [None, "z"]}),
            "sales/year=2023/region=__HIVE_DEFAULT_PARTITION__/part-0.parquet": pa.table({"n": [0], "t": ["q"]}),
        },
    )


ROWS = {
    "n": [0, 1, None, 2, 3],
    "t": ["q", None, "z", "y", "x"],
    "year": [2023, 2023, 2023, 2023, 2024],
    "region": [None, "north", "north", "north", "a/b"],
}


@pytest.mark.parametrize(
    "text",
    [
        "t: {file: sales, concat: true}",
        "t: {file: sales/, transform: parquet, concat: true}",
        't: {file: "sales/**/*.parquet", concat: true}',
        "t: {transform: parquet, file: sales, concat: true, meta: {title: T}}",
    ],
)
def test_partitioned_folder_is_one_table(text: str, hive: Path) -> None:
    table, warnings = one_table(hive, f"contents:\n  {text}\n")
    assert table.to_pydict() == ROWS
    assert table.schema.types == [pa.int64(), pa.string(), pa.int64(), pa.string()]
    assert warnings == []


def test_folder_without_a_build_file_gets_a_hint_for_one_table(hive: Path) -> None:
    built = Bench().build(hive)
    (note,) = [each for each in built.warnings if "concat: true" in each]
    assert note.startswith("folders such as 'year=2023' become groups")
    assert "sales/year=2024/region=a%2Fb/part-0" in kinds(built)


def test_node_of_a_glob_is_named_after_its_folder(hive: Path) -> None:
    bench = Bench()
    text = 'contents:\n  all:\n    "sales/**/*.parquet": {transform: parquet, concat: true}\n'
    built = bench.build(write(hive, {"build.yml": text}))
    assert kinds(built) == {"all/sales": "table"}
    assert bench.table(built, "all/sales").to_pydict() == ROWS


def test_same_as_pandas_on_the_folder(hive: Path) -> None:
    (hive / "sales" / "README.md").unlink()
    (hive / "sales/year=2023/region=__HIVE_DEFAULT_PARTITION__/part-0.parquet").unlink()  # pyarrow cannot join these
    theirs = pandas.read_parquet(hive / "sales")
    table, _ = one_table(hive)
    ours = table.to_pandas()[list(theirs.columns)]
    assert ours["year"].tolist() == theirs["year"].astype("int64").tolist()
    assert ours["n"].sum() == theirs["n"].sum()


def test_csv_files_equal_one_concatenated_file(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"sales/a.csv": "n,t,d\n1,x,\n2,y,\n", "sales/b.csv": "n,t,d\n2.5,z,7\n,w,8\n"}
    table, warnings = one_table(write(tmp_path, files))
    whole = "n,t,d\n1,x,\n2,y,\n2.5,z,7\n,w,8\n"
    write(tmp_path, {"w/whole.csv": whole})
    theirs = pandas.read_csv(tmp_path / "w" / "whole.csv")
    pandas.testing.assert_frame_equal(table.to_pandas(), theirs)
    assert any("column 'n' is double here" in each for each in warnings)


def test_types_that_depend_on_the_whole_file(tmp_path: Path) -> None:
    """Files large enough to be read in parts: the last row of the first and of the last file has another type."""
    rows = "".join(f"{i},{i}\n" for i in range(400_000))
    ends = {"a": "1.5,1\n", "b": "1,1\n", "c": "1,text\n"}
    files: dict[str, str | bytes] = {f"sales/{name}.csv": f"x,y\n{rows}{end}" for name, end in ends.items()}
    write(tmp_path, files)
    with pytest.raises(TransformFailed, match=r"sales/a\.csv' and 'sales/c\.csv' do not make one table: column 'y'"):
        one_table(tmp_path)
    write(tmp_path, {"sales/c.csv": f"x,y\n{rows}1,2\n"})
    table, _ = one_table(tmp_path)
    assert table.schema.types == [pa.float64(), pa.int64()]
    assert len(table) == 3 * 400_001
    assert table.column("x").to_pylist()[400_000] == 1.5


def test_column_missing_in_some_files(tmp_path: Path) -> None:
    parquet_files(
        tmp_path, {"sales/a.parquet": pa.table({"n": [1]}), "sales/b.parquet": pa.table({"n": [2], "m": [7]})}
    )
    table, warnings = one_table(tmp_path)
    assert table.to_pydict() == {"n": [1, 2], "m": [None, 7]}
    assert table.to_pandas()["m"].dtype == "Int64"
    assert warnings == ["t: column 'm' is missing in 1 of 2 files, the first is 'sales/a.parquet'; it is null there"]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (pa.array([1]), pa.array(["x"]), "column 'v' is int64 in one and string in the other"),
        (pa.array([2**53 + 1]), pa.array([0.5]), "does not fit into double exactly"),
        (pa.array([1], pa.timestamp("s")), pa.array([1], pa.timestamp("s", "UTC")), "tz=UTC"),
    ],
)
def test_incompatible_types(one: pa.Array, other: pa.Array, message: str, tmp_path: Path) -> None:
    parquet_files(tmp_path, {"sales/a.parquet": pa.table({"v": one}), "sales/b.parquet": pa.table({"v": other})})
    with pytest.raises(TransformFailed, match=message) as caught:
        one_table(tmp_path)
    assert "a.parquet" in str(caught.value)


def test_partition_key_that_is_also_a_column(tmp_path: Path) -> None:
    files = {f"sales/y={y}/a.parquet": pa.table({"y": pa.array([y], pa.int32()), "n": [1]}) for y in (1, 2)}
    table, _ = one_table(parquet_files(tmp_path, files))
    assert table.to_pydict() == {"y": [1, 2], "n": [1, 1]}
    parquet_files(tmp_path, {"sales/y=3/a.parquet": pa.table({"y": pa.array([4], pa.int32()), "n": [1]})})
    with pytest.raises(TransformFailed, match="column 'y' is not '3' everywhere"):
        one_table(tmp_path)


def test_error_names_the_unreadable_file(hive: Path) -> None:
    write(hive, {"sales/year=2023/region=north/bad.parquet": "PAR1", "build.yml": FOLDER})
    with pytest.raises(TransformFailed, match=r"north/bad\.parquet' cannot be read as parquet") as caught:
        Bench().build(hive)
    assert str(caught.value).count("contents.t") == 1
    assert "leave it out" in caught.value.hint


def test_partition_values_that_are_not_integers_stay_text(tmp_path: Path) -> None:
    files = {f"sales/k={k}/a.parquet": pa.table({"n": [1]}) for k in ("01", "2")}
    table, _ = one_table(parquet_files(tmp_path, files))
    assert table.column("k").to_pylist() == ["01", "2"]


def test_folders_with_different_partition_keys(tmp_path: Path) -> None:
    files = {"sales/y=1/a.parquet": pa.table({"n": [1]}), "sales/a.parquet": pa.table({"n": [1]})}
    with pytest.raises(TransformFailed, match="different partitions: none, and y"):
        one_table(parquet_files(tmp_path, files))


def test_unchanged_files_are_not_read_again(hive: Path) -> None:
    bench, index = Bench(), Index(hive / "index.db")

    def build() -> BuildOutput:
        cache = BuildCache(index, "me/x")
        return build_package(spec_for(hive), bench.objects, previous=None, find_package=bench.find, cache=cache)

    write(hive, {"build.yml": FOLDER})
    first, again = build(), build()
    assert again.manifest == first.manifest
    assert again.why == {"t": "unchanged"}
    parquet_files(hive, {"sales/year=2025/region=z/a.parquet": pa.table({"n": [9], "t": ["new"]})})
    more = build()
    node = more.manifest.get("t")
    assert isinstance(node, TableNode)
    assert node.rows == 6
    (source,) = more.record["sources"]
    assert [each["file"] for each in source["files"]][-1] == "sales/year=2025/region=z/a.parquet"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("t: {file: sales, concat: maybe}", "expected true or false"),
        ("t: {file: nothing, concat: true}", "there is no folder"),
        ("t: {file: sales, transform: id, concat: true}", "transform id gives none"),
        ('"*.csv": {concat: true}', "name the table"),
        ("t: {file: mixed, concat: true}", "files of 2 kinds: csv, parquet; set `transform`"),
        ("t: {file: empty, concat: true}", "no file that is read as a table"),
        ("t: {url: 'https://example.com/a.csv', concat: true}", "`concat` goes with `file`"),
    ],
)
def test_mistakes(text: str, reason: str, hive: Path) -> None:
    parquet_files(hive, {"mixed/a.parquet": pa.table({"n": [1]})})
    write(hive, {"mixed/b.csv": "a\n1\n", "empty/a.txt": "x", "build.yml": f"contents:\n  {text}\n"})
    with pytest.raises(InvalidBuildFile, match=reason):
        Bench().build(hive)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int8(), pa.int32(), pa.int32()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.decimal128(5, 2), pa.decimal128(7, 0), pa.decimal128(9, 2)),
        (pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("ns")),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.list_(pa.int8()), pa.list_(pa.null()), pa.large_list(pa.int8())),
        (pa.null(), pa.date32(), pa.date32()),
    ],
)
def test_common_type(one: pa.DataType, other: pa.DataType, both: pa.DataType) -> None:
    assert widened(one, other) == widened(other, one) == both


@pytest.mark.parametrize("other", [pa.bool_(), pa.string(), pa.uint64(), pa.date32()])
def test_types_without_a_common_type(other: pa.DataType) -> None:
    with pytest.raises(TypeError):
        widened(pa.int64(), other)
