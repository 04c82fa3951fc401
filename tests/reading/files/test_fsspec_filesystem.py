"""Packages as a file system of fsspec: what is listed, told and read, and that nothing can be written."""

from __future__ import annotations

import configparser
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from datapkg.errors import DatapkgError, NoSuchFile, NotAFile, ObjectNotFound, ReadOnly
from datapkg.format.manifest.parsed import FileNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.files.fsspec_filesystem import DatapkgFileSystem
from datapkg.store.refs import Current
from tests.reading.packages import array_node, file_node, install, install_iris, iris_frame, table_node

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def fs(home: Home) -> DatapkgFileSystem:
    """A file system with two states of one package and another package."""
    old = install(home, "me/mixed", file_node(home, "only old", b"1"), file_node(home, "notes.txt", b"old\n"))
    home.store.refs.set_pointers(Ref("me", "mixed"), "versions", {"1.2": old})
    home.store.refs.set_pointers(Ref("me", "mixed"), "tags", {"first": old})
    install(
        home,
        "me/mixed",
        table_node(home, "t", iris_frame()),
        table_node(home, "long", iris_frame(), iris_frame().head(2)),
        file_node(home, "notes.txt", b"first\nsecond\n"),
        file_node(home, "deep/er/a b@c%20.txt", b"0123456789"),
        array_node(home, "w", np.arange(3)),
    )
    install_iris(home)
    return DatapkgFileSystem()


def test_folders_are_users_packages_and_groups(fs: DatapkgFileSystem) -> None:
    assert fs.ls("datapkg://", detail=False) == ["me", "uciml"]
    assert fs.ls("me", detail=False) == ["me/mixed"]
    assert fs.ls("datapkg://me/mixed/", detail=False) == [
        *("me/mixed/deep", "me/mixed/long.parquet", "me/mixed/notes.txt", "me/mixed/t.parquet", "me/mixed/w.npy")
    ]
    assert fs.ls("me/mixed@1.2", detail=False) == ["me/mixed@1.2/notes.txt", "me/mixed@1.2/only old"]
    assert fs.ls("me/mixed/t.parquet", detail=False) == ["me/mixed/t.parquet"]
    assert fs.ls("me/mixed/long", detail=False) == [f"me/mixed/long/long-0000{at}.parquet" for at in (0, 1)]


def test_info_is_what_a_listing_says(fs: DatapkgFileSystem) -> None:
    for folder in ("", "me", "me/mixed", "me/mixed/deep/er", "me/mixed/long.parquet"):
        assert fs.ls(folder) == [fs.info(name) for name in fs.ls(folder, detail=False)]
    info = fs.info("datapkg://me/mixed/t.parquet")
    data = fs.cat_file("me/mixed/t.parquet")
    assert (info["name"], info["type"], info["kind"], info["rows"]) == ("me/mixed/t.parquet", "file", "table", 3)
    assert info["size"] == len(data) == fs.size("me/mixed/t.parquet")
    assert info["hash"] == info["ETag"] == fs.ukey("me/mixed/t.parquet")
    assert fs.checksum("me/mixed/t.parquet") == int(info["hash"], 16)
    assert fs.info("me/mixed/long")["rows"] == 5
    assert fs.info("me/mixed")["kind"] == "package"
    assert fs.info("me/mixed/deep") == {"name": "me/mixed/deep", "size": 0, "type": "directory", "kind": "group"}
    assert isinstance(fs.modified("me/mixed/t"), datetime)
    assert fs.modified("me/mixed") == fs.created("me/mixed/t") == info["mtime"]


def test_state_follows_the_package_or_the_path(fs: DatapkgFileSystem, home: Home) -> None:
    old = home.store.refs.versions(Ref("me", "mixed"))["1.2"]
    for state in ("1.2", "1.2.0", "first", f"sha256:{old}", f"sha256:{old[:12]}", "<2"):
        assert fs.cat_file(f"datapkg://me/mixed@{state}/notes.txt") == b"old\n", state
        assert fs.cat_file(f"datapkg://me/mixed/notes.txt@{state}") == b"old\n", state
    assert fs.cat_file("me/mixed/notes.txt") == b"first\nsecond\n"
    assert fs.exists("me/mixed/only old@1.2")
    assert not fs.exists("me/mixed/only old")
    assert not fs.exists("me/mixed@3.0/notes.txt")


def test_any_name_may_be_written_as_it_is_or_as_in_an_address(fs: DatapkgFileSystem) -> None:
    (name,) = fs.ls("me/mixed/deep/er", detail=False)
    assert name == "me/mixed/deep/er/a b@c%20.txt"
    for path in (name, "me/mixed/deep/er/a%20b%40c%2520.txt", "me/mixed/deep/er/a b%40c%2520.txt"):
        assert fs.cat_file(path) == b"0123456789"
    assert fs.unstrip_protocol(name) == "datapkg://" + name


def test_missing_file_is_our_error_and_file_not_found(fs: DatapkgFileSystem) -> None:
    cases = {
        "me/mixed/note.txt": r"did you mean 'notes.txt'",
        "me/wine/t": "type: datapkg install me/wine",
        "me/mixed@9.0/t": "type: datapkg install me/mixed@9.0",
        "me/mixed@nope/t": "me/mixed@nope is not installed here",
        "nobody": "no package of nobody is installed",
        "No body": "user name 'No body' is not allowed",
        "me/Bad-Name/x": "package name 'Bad-Name' is not allowed",
        "me/mixed/t.parquet/below": r"me/mixed/t\.parquet is a file, not a folder",
        "me/mixed/../mixed/t": r"has nothing called '\.\.'; there are 'deep', 'long.parquet', ",
    }
    for path, message in cases.items():
        for ask in (fs.info, fs.ls, fs.open, fs.cat_file, fs.ukey, fs.modified):
            with pytest.raises(FileNotFoundError, match=message) as caught:
                ask(path)
            assert isinstance(caught.value, NoSuchFile)
            assert isinstance(caught.value, DatapkgError)
        assert (fs.exists(path), fs.isfile(path), fs.isdir(path), fs.glob(path)) == (False, False, False, [])


def test_folder_is_not_a_file(fs: DatapkgFileSystem) -> None:
    for path in ("me/mixed", "me/mixed/deep", "me/mixed/long.parquet"):
        assert fs.isdir(path)
        with pytest.raises(IsADirectoryError) as caught:
            fs.open(path)
        assert isinstance(caught.value, NotAFile)
    for path in ("", "me"):
        with pytest.raises(FileNotFoundError, match="names no file"):
            fs.open(path)


def test_missing_object_is_not_a_missing_file(home: Home) -> None:
    """A reader of chunks would read zeros."""
    install(home, "me/part", FileNode(path="a/0", hash="0" * 64, size=4))
    fs = DatapkgFileSystem()
    assert fs.info("me/part/a/0")["size"] == 4
    with pytest.raises(ObjectNotFound, match="datapkg fetch me/part/") as caught:
        fs.cat_file("me/part/a/0")
    assert not isinstance(caught.value, FileNotFoundError)
    with pytest.raises(ObjectNotFound):
        dict(fs.get_mapper("me/part/a"))
    home.store.refs.set_current(Ref("me", "part"), Current("1" * 64, "local"))
    for ask in (fs.exists, fs.isfile, fs.isdir, fs.ls, fs.find, fs.glob):
        with pytest.raises(ObjectNotFound, match="the manifest of me/part"):
            ask("me/part/a")


def test_walking_finding_and_matching(fs: DatapkgFileSystem) -> None:
    files = fs.find("datapkg://me/mixed")
    assert [name.removeprefix("me/mixed/") for name in files] == [
        *("deep/er/a b@c%20.txt", "long.parquet/long-00000.parquet", "long.parquet/long-00001.parquet"),
        *("notes.txt", "t.parquet", "w.npy"),
    ]
    assert fs.glob("me/mixed/*.parquet") == ["me/mixed/long.parquet", "me/mixed/t.parquet"]
    assert fs.glob("me/*/**/*.txt") == ["me/mixed/deep/er/a b@c%20.txt", "me/mixed/notes.txt"]
    assert fs.glob("me/mixed@1.2/*.txt") == ["me/mixed@1.2/notes.txt"]
    assert fs.glob("*") == ["me", "uciml"]
    assert [(path, list(files)) for path, _, files in fs.walk("me/mixed/deep")] == [
        ("me/mixed/deep", []),
        ("me/mixed/deep/er", ["a b@c%20.txt"]),
    ]
    assert fs.du("me/mixed") == sum(fs.info(name)["size"] for name in files)
    assert fs.du("me/mixed/notes.txt", total=False) == {"me/mixed/notes.txt": 13}
    assert len(fs.find("")) == len(files) + 5


def test_many_files_and_ranges(fs: DatapkgFileSystem) -> None:
    name = "me/mixed/deep/er/a b@c%20.txt"
    assert [fs.cat_file(name, *each) for each in ((2, 4), (-3, None), (None, -8), (8, 99))] == [
        *(b"23", b"789", b"01", b"89")
    ]
    assert fs.cat_ranges([name, "me/mixed/notes.txt"], [0, 6], [3, 12]) == [b"012", b"second"]
    assert fs.cat([name, "me/mixed/notes.txt"]) == {name: b"0123456789", "me/mixed/notes.txt": b"first\nsecond\n"}
    assert fs.cat("me/mixed@1.2/*") == {"me/mixed@1.2/notes.txt": b"old\n", "me/mixed@1.2/only old": b"1"}
    assert (fs.head("me/mixed/notes.txt", 3), fs.tail("me/mixed/notes.txt", 3)) == (b"fir", b"nd\n")
    assert fs.read_block("me/mixed/notes.txt", 3, 4, delimiter=b"\n") == b"second\n"


def test_open_files(fs: DatapkgFileSystem, register: None) -> None:
    with fs.open("me/mixed/notes.txt") as file:
        assert (file.read(3), file.tell(), file.readline(), list(file)) == (b"fir", 3, b"st\n", [b"second\n"])
        assert (file.seek(-2, 2), file.read1(), file.read()) == (11, b"d\n", b"")
        buffer = bytearray(5)
        file.seek(0)
        assert (file.readinto(buffer), bytes(buffer)) == (5, b"first")
        assert (file.readable(), file.seekable(), file.writable(), file.size, file.mode) == (
            True,
            True,
            False,
            13,
            "rb",
        )
        assert (file.name, file.details["size"]) == ("me/mixed/notes.txt", 13)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.read()
    with fsspec.open("datapkg://me/mixed/notes.txt", "rt") as text:
        assert text.readlines() == ["first\n", "second\n"]
    assert fs.read_text("me/mixed/notes.txt") == "first\nsecond\n"
    with fsspec.open_files("datapkg://me/mixed@1.2/*")[0] as file:
        assert file.read() == b"old\n"


def test_copies_to_a_folder_of_this_machine(fs: DatapkgFileSystem, tmp_path: Path) -> None:
    fs.get("me/mixed/", str(tmp_path / "all"), recursive=True)
    found = {str(p.relative_to(tmp_path / "all")): p.read_bytes() for p in (tmp_path / "all").rglob("*") if p.is_file()}
    assert found == {name.removeprefix("me/mixed/"): fs.cat_file(name) for name in fs.find("me/mixed")}
    fs.download("me/mixed/notes.txt", str(tmp_path / "copy.txt"))
    assert (tmp_path / "copy.txt").read_bytes() == b"first\nsecond\n"


WRITERS: list[Callable[[Any, Path], object]] = [
    lambda fs, _: fs.open("me/mixed/new", "wb"),
    lambda fs, _: fs.open("me/mixed/notes.txt", "r+b"),
    lambda fs, _: fs.open("me/mixed/notes.txt", "a"),
    lambda fs, _: fs.write_text("me/mixed/notes.txt", "x"),
    lambda fs, _: fs.pipe("me/mixed/notes.txt", b"x"),
    lambda fs, _: fs.pipe({"me/mixed/notes.txt": b"x"}),
    lambda fs, _: fs.pipe_file("me/mixed/notes.txt", b"x"),
    lambda fs, local: fs.put(str(local), "me/mixed/new"),
    lambda fs, local: fs.upload(str(local), "me/mixed/new"),
    lambda fs, local: fs.put_file(str(local), "me/mixed/new"),
    lambda fs, _: fs.touch("me/mixed/new"),
    lambda fs, _: fs.mkdir("me/new"),
    lambda fs, _: fs.mkdirs("me/new"),
    lambda fs, _: fs.makedirs("me/new", exist_ok=True),
    lambda fs, _: fs.makedir("me/new"),
    lambda fs, _: fs.rmdir("me/mixed"),
    lambda fs, _: fs.rm("me/mixed", recursive=True),
    lambda fs, _: fs.rm_file("me/mixed/notes.txt"),
    lambda fs, _: fs.delete("me/mixed/notes.txt"),
    lambda fs, _: fs.mv("me/mixed/notes.txt", "me/mixed/x"),
    lambda fs, _: fs.rename("me/mixed/notes.txt", "me/mixed/x"),
    lambda fs, _: fs.cp("me/mixed/notes.txt", "me/mixed/x"),
    lambda fs, _: fs.copy("me/mixed/notes.txt", "me/mixed/x"),
    lambda fs, _: fs.get_mapper("me/mixed").__setitem__("notes.txt", b"x"),
]


def test_file_system_is_read_only(fs: DatapkgFileSystem, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_text("x")
    before = fs.find("", detail=True)
    for write in WRITERS:
        with pytest.raises(PermissionError, match="datapkg build") as caught:
            write(fs, local)
        assert isinstance(caught.value, ReadOnly)
    assert fs.find("", detail=True) == before


def test_a_new_state_is_seen_and_an_open_file_stays_with_its_own(fs: DatapkgFileSystem, home: Home) -> None:
    file = fs.open("me/mixed/notes.txt")
    assert file.read(2) == b"fi"
    install(home, "me/mixed", file_node(home, "notes.txt", b"newest\n"))
    assert fs.cat_file("me/mixed/notes.txt") == b"newest\n"
    again = pickle.loads(pickle.dumps(file))
    assert file.read() == again.read() == b"rst\nsecond\n"
    assert file.details["size"] == 13
    file.close()
    again.close()


def test_instances_of_one_home_are_equal_and_others_are_not(
    fs: DatapkgFileSystem, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, register: None
) -> None:
    same = pickle.loads(pickle.dumps(fs))
    assert (same == fs, hash(same) == hash(fs)) == (True, True)
    assert same.cat_file("me/mixed/notes.txt") == b"first\nsecond\n"
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(DatapkgFileSystem).result() == fs
    assert DatapkgFileSystem(lazy=True) != fs
    other = Home({"DATAPKG_HOME": str(tmp_path / "other")})
    install(other, "me/mixed", file_node(other, "notes.txt", b"elsewhere"))
    there = DatapkgFileSystem(home=str(tmp_path / "other"))
    assert there != fs
    with fsspec.open("datapkg://me/mixed/notes.txt", home=str(tmp_path / "other")) as file:
        assert file.read() == b"elsewhere"
    assert pickle.loads(pickle.dumps(there)).cat_file("me/mixed/notes.txt") == b"elsewhere"
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "other"))
    assert fsspec.filesystem("datapkg").cat_file("me/mixed/notes.txt") == b"elsewhere"
    assert fs.cat_file("me/mixed/notes.txt") == b"first\nsecond\n"


def test_threads_read_side_by_side(fs: DatapkgFileSystem) -> None:
    names = fs.find("me/mixed") * 10
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fs.cat_file, names)) == [fs.cat_file(name) for name in names]


def test_a_mapper_is_a_mapping_of_keys_to_bytes(fs: DatapkgFileSystem, register: None) -> None:
    mapper = fsspec.get_mapper("datapkg://me/mixed@1.2")
    assert dict(mapper) == {"notes.txt": b"old\n", "only old": b"1"}
    assert "nope" not in mapper
    assert mapper.getitems(["notes.txt", "nope"], on_error="omit") == {"notes.txt": b"old\n"}


def test_fsspec_finds_it_by_the_entry_point(fs: DatapkgFileSystem, tmp_path: Path) -> None:
    """What an installation writes from setup.cfg, beside an interpreter that has not heard of us before."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["fsspec.specs"].strip()
    (tmp_path / "ours-1.dist-info").mkdir()
    (tmp_path / "ours-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (tmp_path / "ours-1.dist-info" / "entry_points.txt").write_text(f"[fsspec.specs]\n{lines}\n")
    code = "import fsspec; print(fsspec.open('datapkg://me/mixed/notes.txt').open().read().decode())"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "first\nsecond\n\n"


def test_missing_fsspec_names_the_pip_command() -> None:
    code = "import json, sys; sys.modules['fsspec'] = None\ntry:\n    import datapkg.reading.files.fsspec_filesystem\n"
    code += "except ImportError as error:\n    print(json.dumps([type(error).__name__, str(error), error.hint]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    line = "pip install fsspec"
    assert json.loads(done.stdout) == ["MissingDependency", f"fsspec is not installed; type: {line}", line]
