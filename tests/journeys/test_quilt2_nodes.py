"""Behaviours 38 to 53 of Quilt 2: importing packages and reading their nodes."""

from __future__ import annotations

import importlib
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.reading.nodes.groups import Group
from tests.conftest import Person
from tests.faulty_proxy import faulty_way
from tests.journeys.conftest import Build, Machine, at, write

TABLE = "a,b\n1,x\n2,y\n"


@pytest.fixture
def package(build: Build) -> Any:
    """Build tables, files and an empty group, three levels deep."""
    contents = """contents:
      README: {file: README.md}
      tables: {one: {file: t.csv}, two: {file: t.csv}}
      raw: {deep: {bytes: {file: raw.bin}}}
      nothing:
    """
    return build({"build.yml": contents, "README.md": "# R", "t.csv": TABLE, "raw.bin": b"\x00\x01"})


@pytest.mark.parametrize(
    "line",
    [
        "import datapkg.data.nobody",
        "from datapkg.data import nobody",
        "from datapkg.data.nobody import p",
        "import datapkg.data.me.absent",
        "from datapkg.data.me import absent",
        "import datapkg.data.me.p.tables",
        "from datapkg.data.me.p import absent",
        "from datapkg.data.me.p.tables import one",
        "import datapkg.data.Me.p",
    ],
)
def test_038_bad_imports_are_import_errors(package: Any, line: str) -> None:
    with pytest.raises(ImportError):
        exec(line, {})


def test_038_good_imports(package: Any) -> None:
    import datapkg.data.me.p as p
    from datapkg.data.me import p as same
    from datapkg.data.me.p import tables

    from datapkg.data import me

    assert p is same is me.p
    assert tables.one().equals(p.tables.one())
    assert dir(me) == sorted(dir(me))
    assert "p" in dir(me)
    assert "me" in dir(datapkg.data)


@pytest.mark.parametrize("path", ["absent", "tables.absent", "tables.one.absent", "README.absent"])
def test_038_unknown_attributes_are_attribute_errors(package: Any, path: str) -> None:
    *groups, last = path.split(".")
    node = package
    for each in groups:
        node = getattr(node, each)
    with pytest.raises(AttributeError):
        getattr(node, last)
    assert not hasattr(node, last)


def test_039_objects_are_read_only(package: Any) -> None:
    path = package.raw.deep.bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    if os.getuid():
        with pytest.raises(PermissionError):
            path.open("wb")


def test_040_keys_items_length_and_dir_agree(package: Any) -> None:
    for group in (package, package.tables, package.raw, package.nothing):
        names = list(group)
        assert names == sorted(names) == datapkg.keys(group) == [name for name, _ in datapkg.items(group)]
        assert len(group) == len(names) == len(datapkg.values(group))
        assert all(name in group and name in dir(group) for name in names)
    assert {name: datapkg.kind(node) for name, node in package.items()} == {
        "README": "file",
        "nothing": "group",
        "raw": "group",
        "tables": "group",
    }


def test_041_one_name_at_two_registries_is_two_packages(person: Person, tmp_path: Path) -> None:
    mine = at(person)
    mine.ask("build", f"{person.name}/p", str(write(tmp_path / "source", {"a.csv": TABLE})))
    mine.ask("push", f"{person.name}/p")
    with faulty_way(person.url) as way:
        other = at(person, "other")
        other.ask("install", f"{person.name}/p")
        other.ask("config", "registries.team", way.url)
        other.ask("login", "--registry", "team", "--token", person.token)
        asked = f"team:{person.name}/p"
        assert other.fail("install", asked)["code"] == "conflict"
        assert other.ask("ls")["packages"][0]["origin"] == person.url
        other.ask("install", asked, "--replace")
        assert other.ask("ls")["packages"][0]["origin"] == way.url


def test_042_tables_of_a_group_are_concatenated(build: Build) -> None:
    package = build({"b.csv": "x\n3\n4\n", "a.csv": "x\n1\n2\n", "c.txt": "no table"})
    assert package.frames()["x"].tolist() == [1, 2, 3, 4]
    assert datapkg.frames(package).equals(package.frames())


def test_042_tables_with_different_columns_are_not_concatenated(build: Build) -> None:
    with pytest.raises(datapkg.InvalidInput, match="'a' and 'b'"):
        build({"a.csv": "x\n1\n", "b.csv": "y\n1\n"}).frames()


def test_042_group_without_tables_returns_none(package: Any) -> None:
    assert package.nothing.frames() is None
    assert package.raw.frames() is None


def test_043_same_tree_under_another_name_is_the_same_state(build: Build) -> None:
    files = {"a.csv": TABLE, "b/c.txt": "c"}
    assert build(files, "me/one").hash == build(files, "me/two").hash


@pytest.mark.parametrize(
    "meta", ["{a: .nan}", "{a: .inf}", "{a: !!binary aGk=}", "{a: 9007199254740993}", "text", "[1]"]
)
def test_045_metadata_that_is_not_json_is_an_error(build: Build, meta: str) -> None:
    with pytest.raises(datapkg.InvalidInput, match=r"build\.yml:1"):
        build({"build.yml": f"meta: {meta}\ncontents: {{}}\n"})


def test_045_metadata_round_trips(build: Build) -> None:
    contents = "meta: {a: [1, 2.5, null], d: 2024-01-02}\ncontents: {g: {meta: {x: é}, t: {file: t.csv, meta: {y: 1}}}}"
    package = build({"build.yml": contents, "t.csv": TABLE})
    assert datapkg.meta(package) == {"a": [1, 2.5, None], "d": "2024-01-02"}
    assert datapkg.meta(package.g) == {"x": "é"}
    assert datapkg.meta(package.g.t) == {"y": 1}


def test_046_nodes_are_immutable(package: Any) -> None:
    for node in (package, package.tables, package.tables.one, package.README):
        with pytest.raises(TypeError):
            node.foo = "bar"
        with pytest.raises(TypeError):
            node["foo"] = "bar"


def test_047_build_inputs_and_read_results_are_independent() -> None:
    frame = pd.DataFrame({"x": [1, 2]})
    values = {"g": {"t": frame}, "n": None}
    package = datapkg.build("me/p", values)
    assert values["g"] == {"t": frame}
    read = package.g.t()
    read.loc[0, "x"] = 99
    assert frame["x"].tolist() == [1, 2] == package.g.t()["x"].tolist()
    assert datapkg.load("me/p").g.t()["x"].tolist() == [1, 2]


def test_051_two_states_side_by_side(build: Build) -> None:
    old = build({"a.csv": TABLE}).hash
    new = build({"a.csv": TABLE + "3,z\n"}).hash
    assert len(datapkg.load(f"me/p@sha256:{old}").a()) == 2
    assert len(datapkg.load(f"me/p@sha256:{old[:8]}").a()) == 2
    assert len(datapkg.load("me/p").a()) == 3
    assert datapkg.load("me/p").hash == new


def test_051_reload_shows_a_new_build(build: Build) -> None:
    build({"a.csv": TABLE})
    import datapkg.data.me.p as p

    build({"a.csv": TABLE + "3,z\n"})
    assert len(p.a()) == 2
    assert len(importlib.reload(p).a()) == 3
    assert len(p.a()) == 3


def test_052_additional_stores_are_searched_after_the_own_one(
    build: Build, here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build({"a.txt": "shared"}, "me/both")
    build({"a.txt": "shared"}, "me/there")
    shared = tmp_path / "shared"
    shutil.copytree(here.home.store.folder, shared)
    shutil.rmtree(here.home.store.folder)
    build({"a.txt": "own"}, "me/both")
    with pytest.raises(datapkg.PackageNotInstalled):
        datapkg.load("me/there")
    monkeypatch.setenv("DATAPKG_PATH", os.pathsep.join([str(tmp_path / "absent"), str(shared)]))
    assert datapkg.load("me/there")["a.txt"].read_text() == "shared"
    assert datapkg.load("me/both")["a.txt"].read_text() == "own"
    assert "there" in dir(importlib.import_module("datapkg.data.me"))


def test_052_nothing_is_written_to_an_additional_store(
    build: Build, here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build({"a.csv": TABLE, "b.txt": "b"}, "me/there")
    shared = tmp_path / "shared"
    shutil.move(here.home.store.folder, shared)
    before = {path: path.stat().st_mtime_ns for path in shared.rglob("*")}
    monkeypatch.setenv("DATAPKG_PATH", str(shared))
    assert len(datapkg.load("me/there").a()) == 2
    build({"build.yml": "contents: {x: {package: me/there/a}}"}, "me/new")
    here.ask("verify")
    assert here.fail("rm", "me/there")["code"] == "refused"
    assert {path: path.stat().st_mtime_ns for path in shared.rglob("*")} == before


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<i8", "|u1", "<c16", "|b1", "<M8[ns]", "<U3", "|S2"])
def test_053_arrays_round_trip_exactly(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype("<M8[ns]" if "M8" in dtype else dtype)
    back = datapkg.build("me/p", {"a": array}).a()
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_053_npy_file_is_an_array_and_pickles_are_rejected(build: Build, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    assert build({"a.npy": (tmp_path / "a.npy").read_bytes()}).a().tolist() == [0, 1, 2]
    np.save(tmp_path / "o.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(datapkg.BuildFailed):
        build({"o.npy": (tmp_path / "o.npy").read_bytes()})


def test_053_importing_and_displaying_a_package_does_not_load_pandas(package: Any, here: Machine) -> None:
    out = here.python(
        "import sys\n"
        "from datapkg.data.me import p\n"
        "p, list(p), p.tables.one.rows\n"
        "print([each for each in ('pandas', 'pyarrow', 'numpy', 'requests') if each in sys.modules])\n"
        "print(p.tables.one().shape, 'pandas' in sys.modules)\n"
    )
    assert out.splitlines() == ["[]", "(2, 2) True"]


def test_python_keywords_and_invalid_identifiers_have_attribute_names(build: Build) -> None:
    package = build({"class.csv": TABLE, "日本.txt": "日本", "2024 sales.csv": TABLE, "keys.txt": "k"})
    assert list(package) == ["2024 sales", "class", "keys.txt", "日本.txt"]
    assert package.class_().equals(package["class"]())
    assert package.日本_txt.read_text() == package["日本.txt"].read_text() == "日本"
    assert len(package.n2024_sales()) == 2


def test_node_names_take_precedence_over_methods(build: Build) -> None:
    package = build({"keys.csv": TABLE, "walk.csv": TABLE})
    assert len(package.keys()) == 2
    assert datapkg.keys(package) == ["keys", "walk"]
    assert [path for path, _ in datapkg.walk(package)] == ["keys", "walk"]
    assert isinstance(package, Group)


def test_package_may_have_the_name_of_a_module(build: Build) -> None:
    build({"a.csv": TABLE}, "me/json")
    from datapkg.data.me import json

    assert len(json.a()) == 2
    assert sys.modules["json"] is not json
