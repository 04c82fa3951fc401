"""Behaviours 1 to 31 of Quilt 2: building from files, build files and values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import datapkg
from datapkg.store import format_version
from tests.journeys.conftest import Build, Files, Machine

NULLS = "name,count,share\nann,1,0.5\n,2,\nnan,,1.5\n"
TABLE = "a,b\n1,x\n2,y\n"
NewFolder = Callable[[Files], Path]


def test_001_csv_with_nulls_and_a_readme(build: Build) -> None:
    contents = "contents:\n  README: {file: README.md}\n  dataframes:\n    csv: {file: nulls.csv}\n"
    package = build({"build.yml": contents, "README.md": "# Hello\n", "nulls.csv": NULLS})
    assert isinstance(package.dataframes.csv(), pd.DataFrame)
    assert package.dataframes.csv().shape == (3, 3)
    assert package.README().read_text() == "# Hello\n"


def test_002_second_build_is_identical_and_reuses_nodes(here: Machine, new_folder: NewFolder) -> None:
    folder = str(new_folder({"a.csv": TABLE, "b.txt": "text"}))
    first, second = here.ask("build", "me/p", folder), here.ask("build", "me/p", folder)
    assert first["nodes"] == {"built": 2, "reused": 0}
    assert second["nodes"] == {"built": 0, "reused": 2}
    assert first["hash"] == second["hash"]


def test_003_types_are_kept_and_nulls_stay_null(build: Build) -> None:
    text = "ints,floats,holes,texts\n1,1.5,1,a\n2,2.5,,\n3,3.5,3,nan\n"
    frame = build({"t.csv": text}).t()
    assert [frame[each].dtype.kind for each in ("ints", "floats", "holes")] == ["i", "f", "f"]
    assert pd.api.types.is_string_dtype(frame["texts"])
    assert frame.isna().sum().to_dict() == {"ints": 0, "floats": 0, "holes": 1, "texts": 2}
    assert "nan" not in frame["texts"].dropna().tolist()


def problems_of(build: Build, text: str, **files: str) -> str:
    """Return the error message for a build file with mistakes."""
    with pytest.raises(datapkg.InvalidInput) as caught:
        build({"build.yml": text, "a.csv": TABLE, **files})
    return str(caught.value)


def test_004_unknown_transform(build: Build) -> None:
    message = problems_of(build, "contents:\n  a:\n    file: a.csv\n    transform: magic\n")
    assert "build.yml:4" in message
    assert "'magic'" in message
    assert "parquet" in message


def test_005_leaf_without_a_source(build: Build) -> None:
    assert "build.yml:2" in problems_of(build, "contents:\n  a: {transform: csv}\n")


def test_006_missing_contents(build: Build) -> None:
    build({"build.yml": "contents: {}\n"})
    from datapkg.data.me import p

    assert list(p) == []
    assert p


def test_007_nodes_may_be_named_like_keywords(build: Build) -> None:
    names = ["file", "checks", "environments", "kwargs", "transform"]
    package = build({"build.yml": yaml.safe_dump({"contents": {n: {"file": "a.csv"} for n in names}}), "a.csv": TABLE})
    assert sorted(package) == sorted(names)
    assert all(getattr(package, name)().shape == (2, 2) for name in names)


def test_008_transform_is_inherited_and_overridden(build: Build) -> None:
    contents = """contents:
      group:
        transform: csv
        a: {file: a.txt}
        deeper:
          b: {file: a.txt}
        c: {file: c.txt, transform: tsv}
    """
    group = build({"build.yml": contents, "a.txt": "x,y\n1,2\n", "c.txt": "x\ty\n1\t2\n"}).group
    assert [list(frame().columns) for frame in (group.a, group.deeper.b, group.c)] == [["x", "y"]] * 3


def test_009_kwargs_are_inherited_and_merged(build: Build) -> None:
    contents = """contents:
      kwargs: {skiprows: 1}
      a: {file: a.csv}
      deep: {b: {file: a.csv, kwargs: {names: [p, q], header: null}}}
    """
    package = build({"build.yml": contents, "a.csv": "comment,\nx,y\n1,2\n"})
    assert list(package.a().columns) == ["x", "y"]
    assert package.deep.b().values.tolist() == [["x", "y"], ["1", "2"]]


def test_010_transform_is_guessed_from_the_name(build: Build) -> None:
    contents = "contents: {a: {file: a.txt}, b: {file: b.tsv}}"
    package = build({"build.yml": contents, "a.txt": "raw", "b.tsv": "x\ty\n1\t2\n"})
    assert package.a().read_text() == "raw"
    assert package.b().columns.tolist() == ["x", "y"]


def test_011_group_may_be_empty(build: Build) -> None:
    package = build({"build.yml": "contents:\n  group_empty:\n  full: {a: {file: a.csv}}\n", "a.csv": TABLE})
    assert list(package) == ["full", "group_empty"]
    assert list(package.group_empty) == []


MIXED = {
    "a.txt": "1",
    "a.csv": TABLE,
    "dir.ext/a__b___c": "2",
    "1": "3",
    "123": "4",
    "1.txt": "5",
    "x/2024 y.tsv": "q\n1",
}


def test_012_generated_file_builds_the_same_as_the_directory(here: Machine, new_folder: NewFolder) -> None:
    folder = new_folder({**MIXED, "README.md": "# R"})
    as_it_lies = here.ask("build", "me/p", str(folder))
    here.ask("generate", str(folder))
    contents = yaml.load((folder / "build.yml").read_text(), yaml.BaseLoader)["contents"]
    assert contents["a"] == {"file": "a.csv", "transform": "csv"}
    assert contents["a.txt"] == {"file": "a.txt"}
    assert contents["dir.ext"] == {"a__b___c": {"file": "dir.ext/a__b___c"}}
    assert contents["x"] == {"2024 y": {"file": "x/2024 y.tsv", "transform": "tsv"}}
    assert sorted(contents) == ["1", "1.txt", "123", "README.md", "a", "a.txt", "dir.ext", "x"]
    assert here.ask("build", "me/p", str(folder))["hash"] == as_it_lies["hash"]


def test_013_error_names_both_files_of_one_node_name(here: Machine, new_folder: NewFolder) -> None:
    folder = new_folder({"a.csv": TABLE, "a.tsv": "x\ty\n"})
    message = here.fail("build", "me/p", str(folder))["message"]
    assert "a.csv" in message
    assert "a.tsv" in message
    here.ask("generate", str(folder))
    assert {"a_csv", "a_tsv"} <= yaml.safe_load((folder / "build.yml").read_text())["contents"].keys()


def test_013_distinct_file_names_become_distinct_nodes(build: Build) -> None:
    package = build({"a.csv": TABLE, "a.txt": "1", "a_txt$": "2", "a-txt": "3"})
    assert list(package) == ["a", "a-txt", "a.txt", "a_txt$"]
    assert package.a_txt_.read_text() == "2"
    with pytest.raises(AttributeError, match=re.escape("['a.txt']")):
        _ = package.a_txt


def test_014_generate_never_overwrites(here: Machine, new_folder: NewFolder) -> None:
    folder = new_folder({"build.yml": "contents: {}", "a.csv": TABLE})
    assert here.fail("generate", str(folder))["code"] == "conflict"
    assert (folder / "build.yml").read_text() == "contents: {}"


def test_015_building_a_directory_does_not_change_it(build: Build, new_folder: NewFolder) -> None:
    folder = new_folder({"a.csv": TABLE, "b/c.txt": "x"})
    before = sorted(os.walk(folder))
    datapkg.build("me/p", folder)
    assert sorted(os.walk(folder)) == before


def test_016_malformed_csv_is_read_by_the_python_engine(build: Build) -> None:
    frame = build({"a.csv": "\r,b\n1\n3,4\n"}).a()
    assert frame.fillna(0).values.tolist() == [[1, 0], [3, 4]]


def test_016_unreadable_csv_is_an_error_with_its_row(here: Machine, new_folder: NewFolder) -> None:
    error = here.fail("build", "me/p", str(new_folder({"a.csv": "a,b\n1,2\n3,4,5\n"})))
    assert (error["code"], error["detail"]["row"]) == ("build_failed", 3)
    assert here.ask("ls") == {"packages": []}


def test_017_invalid_yaml_is_reported_with_its_line(build: Build) -> None:
    message = problems_of(build, "contents:\n  a: {file: a.csv\n  b: [}\n")
    assert re.search(r"build\.yml:[34]\b", message)
    assert "Traceback" not in message


@pytest.mark.parametrize("text", ["", "meta: {title: x}\n", "[1, 2]\n", "just text\n", "# nothing\n"])
def test_018_build_file_without_contents_is_named(build: Build, text: str) -> None:
    message = problems_of(build, text)
    assert "build.yml" in message
    assert "contents" in message


def test_019_yaml_tags_run_no_code(build: Build, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    message = problems_of(build, f"contents: !!python/object/apply:os.system ['touch {proof}']\n")
    assert "build.yml:1" in message
    assert not proof.exists()


GLOBBED = {"a.csv": TABLE, "bad.csv": TABLE, "data/c.csv": TABLE, "data/x/d.csv": TABLE, "data/x/e.txt": "e"}


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*.csv", ["a", "bad"]),
        ("[!b]*.csv", ["a"]),
        ("[!bt]*", ["a"]),
        ("data/*.csv", ["c"]),
        ("data/**/*", ["c", "x/d", "x/e.txt"]),
        ("data/**/*.csv", ["c", "x/d"]),
        ("**/*.csv", ["a", "bad", "data/c", "data/x/d"]),
        ("da?a/*.csv", ["data/c"]),
    ],
)
def test_020_glob_makes_a_node_of_every_match(build: Build, pattern: str, paths: list[str]) -> None:
    package = build({**GLOBBED, "build.yml": f'contents: {{g: {{"{pattern}": {{}}}}}}\n'})
    assert [path for path, node in package.g.walk() if datapkg.kind(node) != "group"] == paths


def test_020_kwargs_of_a_glob_apply_to_every_match(build: Build) -> None:
    package = build({**GLOBBED, "build.yml": 'contents: {"*.csv": {transform: csv, kwargs: {nrows: 1}}}\n'})
    assert [len(node) for node in package.values()] == [1, 1]


def test_021_two_matches_with_one_name_are_an_error(build: Build) -> None:
    text = 'contents: {"*.*sv": {}}\n'
    assert "'a'" in problems_of(build, text, **{"a.tsv": "x\n"})


def test_022_match_with_an_existing_name_is_an_error(build: Build) -> None:
    message = problems_of(build, 'contents:\n  a: {file: b.csv}\n  "*.csv": {}\n', **{"b.csv": TABLE})
    assert "'a' is named twice" in message
    assert "build.yml:3" in message


@pytest.fixture
def other(build: Build) -> Any:
    """Build another package, me/other, with a table below a group."""
    return build({"sub/t.csv": TABLE, "b.txt": "b", "build.yml": "x"}, "me/other", build_file=False)


def test_023_node_of_another_package(build: Build, other: Any) -> None:
    package = build({"build.yml": "contents: {mine: {package: me/other/sub/t}}"})
    assert package.mine().equals(other.sub.t())


def test_024_whole_package_becomes_a_group(build: Build, other: Any) -> None:
    package = build({"build.yml": "contents: {all: {package: me/other}, part: {package: me/other/sub}}"})
    assert [datapkg.kind(package[each]) for each in ("all", "part")] == ["group", "group"]
    assert list(package.all) == ["b.txt", "sub"]
    assert package.part.t().equals(other.sub.t())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{package: me/absent}", "me/absent"),
        ("{package: me/other/nothing}", "nothing"),
        ("{package: me/other/sub/t/deeper}", "deeper"),
        ("{file: a.csv, package: me/other}", "one source"),
        ("{package: nonsense}", "nonsense"),
    ],
)
def test_025_missing_package(build: Build, other: Any, source: str, message: str) -> None:
    with pytest.raises(datapkg.DatapkgError, match=message) as caught:
        build({"build.yml": f"contents:\n  x: {source}\n", "a.csv": TABLE}, "me/new")
    assert "build.yml:2" in str(caught.value)
    with pytest.raises(datapkg.PackageNotInstalled):
        datapkg.load("me/new")


def test_026_parquet_source_keeps_its_bytes(build: Build, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]})
    frame.to_parquet(tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    node = build({"t.parquet": data}).t
    pd.testing.assert_frame_equal(node(), frame)
    assert node.path.read_bytes() == data


def test_027_values_of_every_kind_are_built_at_their_paths(new_folder: NewFolder) -> None:
    array, frame = np.arange(6.0).reshape(2, 3), pd.DataFrame({"x": [1, 2]})
    file = new_folder({"raw.bin": b"\x00\x01"}) / "raw.bin"
    group = new_folder({"one.csv": TABLE, "two.txt": "2"})
    package = datapkg.build("me/p", {"a": {"b": {"c": array, "f": frame, "e": None}}, "raw": file, "g": group})
    assert np.array_equal(package["a/b/c"](), array)
    assert package.a.b.f().equals(frame)
    assert list(package.a.b.e) == []
    assert package.raw.read_bytes() == b"\x00\x01"
    assert list(package.g) == ["one", "two.txt"]


def test_027_build_of_part_of_a_package_is_rejected(here: Machine, new_folder: NewFolder) -> None:
    error = here.fail("build", "me/p/a/b", str(new_folder({"a.csv": TABLE})))
    assert error["hint"] == "datapkg build me/p"


def test_028_package_of_a_single_dataframe_is_callable() -> None:
    frame = pd.DataFrame({"x": [1, 2]})
    assert datapkg.build("me/p", frame)().equals(frame)
    from datapkg.data.me import p

    assert p().equals(frame)


def test_030_store_of_a_newer_format_is_rejected_and_not_changed(here: Machine, new_folder: NewFolder) -> None:
    folder = new_folder({"a.csv": TABLE})
    here.ask("build", "me/p", str(folder))
    store = here.home.store.folder
    (store / "format").write_text(f"{format_version.NEWEST + 1}\n")
    before = sorted(store.rglob("*"))
    for words in (("build", "me/q", str(folder)), ("ls",), ("show", "me/p")):
        error = here.fail(*words)
        assert error["code"] == "invalid"
        assert "upgrade datapkg" in error["hint"]
    assert sorted(store.rglob("*")) == before


def test_031_parquet_with_invalid_pandas_metadata_loads(build: Build, tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2]}).replace_schema_metadata({"pandas": '{"index_columns": ["gone"], "columns": [{}]}'})
    pq.write_table(table, tmp_path / "t.parquet")
    package = build({"t.parquet": (tmp_path / "t.parquet").read_bytes()})
    assert package.t()["a"].tolist() == [1, 2]
