"""A package at a path: what reads it by Python's own functions, what does not, and that everything is put back."""

# ruff: noqa: SIM115 (that files are opened is all that is tried)

from __future__ import annotations

import builtins
import bz2
import csv
import glob
import gzip
import io
import json
import mmap
import os
import pickle
import shutil
import sqlite3
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

import datapkg
from datapkg.errors import (
    DatapkgError,
    InvalidInput,
    NodeNotFound,
    NoSuchFile,
    NotAFile,
    NotAFolder,
    PackageNotInstalled,
    ReadOnly,
)
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.reading.packages import array_node, file_node, install, iris_frame, table_node

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # files are opened here, and left to be closed by themselves


def bytes_of(write: Callable[[Any], object]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def zipped() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("inner.txt", "inside\n")
    return sink.getvalue()


def tarred() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("inner.txt"))
    return sink.getvalue()


def database(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("create table t (a int)")
    connection.execute("insert into t values (1)")
    connection.commit()
    connection.close()
    return path.read_bytes()


def hdf(path: Path) -> bytes:
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2, 3]
    return path.read_bytes()


@pytest.fixture
def _package(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    aside = tmp_path_factory.mktemp("aside")
    old = install(home, "me/all", file_node(home, "notes.txt", b"old\n"))
    home.store.refs.set_pointers(Ref("me", "all"), "versions", {"1.0": old})
    red = Image.new("RGB", (4, 3), "red")
    install(
        home,
        "me/all",
        table_node(home, "iris", iris_frame()),
        table_node(home, "long", iris_frame(), iris_frame().head(2)),
        array_node(home, "w", np.arange(6.0)),
        file_node(home, "notes.txt", "first\nzweité\n".encode()),
        file_node(home, "text/iris.csv", iris_frame().to_csv(index=False).encode()),
        file_node(home, "text/numbers.txt", b"1 2\n3 4\n"),
        file_node(home, "text/data.json", b'{"a": [1, 2]}'),
        file_node(home, "text/zipped.csv.gz", gzip.compress(iris_frame().to_csv(index=False).encode())),
        file_node(home, "text/data.json.bz2", bz2.compress(b"{}")),
        file_node(home, "pictures/red.png", bytes_of(lambda sink: red.save(sink, "PNG"))),
        file_node(home, "all.zip", zipped()),
        file_node(home, "all.tar", tarred()),
        file_node(home, "t.sqlite", database(aside / "t.sqlite")),
        file_node(home, "x.h5", hdf(aside / "x.h5")),
    )


@pytest.fixture
def shown(_package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package below `data/all` of the working directory, where nothing of it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "real.txt").write_text("real\n")
    with datapkg.open_hook("data/all", "me/all") as folder:
        yield folder


FRAME = iris_frame()


def mapped(file: io.BufferedReader) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)


READERS: dict[str, Callable[[Path], bool]] = {
    "open": lambda at: open(at / "notes.txt", encoding="utf-8").read() == "first\nzweité\n",
    "io.open": lambda at: io.open(at / "notes.txt", "rb").readline() == b"first\n",  # noqa: UP020
    "pathlib": lambda at: (at / "notes.txt").read_text("utf-8").startswith("first"),
    "os.open": lambda at: os.read(os.open(at / "notes.txt", os.O_RDONLY), 5) == b"first",
    "json": lambda at: json.load(open(at / "text/data.json")) == {"a": [1, 2]},
    "csv": lambda at: len(list(csv.reader(open(at / "text/iris.csv", newline="")))) == 4,
    "gzip": lambda at: gzip.open(at / "text/zipped.csv.gz", "rt").readline().startswith("petal"),
    "bz2": lambda at: bz2.open(at / "text/data.json.bz2").read() == b"{}",
    "zipfile": lambda at: zipfile.ZipFile(at / "all.zip").read("inner.txt") == b"inside\n",
    "tarfile": lambda at: tarfile.open(at / "all.tar").getnames() == ["inner.txt"],
    "mmap": lambda at: mapped(open(at / "notes.txt", "rb"))[:5] == b"first",
    "numpy.load": lambda at: bool((np.load(at / "w.npy") == np.arange(6.0)).all()),
    "numpy.load, mapped": lambda at: float(np.load(at / "w.npy", mmap_mode="r").sum()) == 15.0,
    "numpy.fromfile": lambda at: np.fromfile(str(at / "notes.txt"), np.uint8).size == 14,
    "numpy.memmap": lambda at: np.memmap(at / "notes.txt", np.uint8, "r").shape == (14,),
    "numpy.loadtxt": lambda at: np.loadtxt(at / "text/numbers.txt").sum() == 10,
    "numpy.genfromtxt": lambda at: np.genfromtxt(str(at / "text/numbers.txt")).sum() == 10,
    "pandas csv": lambda at: pd.read_csv(at / "text/iris.csv").equals(FRAME),
    "pandas csv, Python": lambda at: pd.read_csv(at / "text/iris.csv", engine="python").equals(FRAME),
    "pandas csv, pyarrow": lambda at: pd.read_csv(at / "text/iris.csv", engine="pyarrow").equals(FRAME),
    "pandas csv, gzip": lambda at: pd.read_csv(at / "text/zipped.csv.gz").equals(FRAME),
    "pandas parquet, of an open file": lambda at: pd.read_parquet(open(at / "iris.parquet", "rb")).equals(FRAME),
    "PIL": lambda at: Image.open(at / "pictures/red.png").convert("RGB").getpixel((0, 0)) == (255, 0, 0),
    "pyarrow, of an open file": lambda at: pq.read_table(open(at / "iris.parquet", "rb")).num_rows == 3,
    "polars, of an open file": lambda at: pl.read_csv(open(at / "text/iris.csv", "rb")).shape == (3, 3),
    "h5py, of an open file": lambda at: h5py.File(open(at / "x.h5", "rb"))["x"][:].tolist() == [1, 2, 3],
}

NOT_REACHED: dict[str, Callable[[Path], object]] = {
    "pandas parquet": lambda at: pd.read_parquet(at / "iris.parquet"),
    "pyarrow": lambda at: pq.read_table(at / "iris.parquet"),
    "pyarrow csv": lambda at: pa.csv.read_csv(at / "text/iris.csv"),
    "polars": lambda at: pl.read_parquet(at / "iris.parquet"),
    "duckdb": lambda at: duckdb.read_parquet(str(at / "iris.parquet")).fetchall(),
    "h5py": lambda at: h5py.File(at / "x.h5"),
    "sqlite3": lambda at: sqlite3.connect(f"file:{at / 't.sqlite'}?mode=ro", uri=True).execute("select * from t"),
    "io.FileIO": lambda at: io.FileIO(at / "notes.txt"),
    "os.chdir": lambda at: os.chdir(at),
}


def test_all_that_opens_files_in_python_reads_it(shown: Path) -> None:
    for at in (shown, Path("data/all"), Path("data/../data/./all")):
        assert [name for name, reads in READERS.items() if not reads(at)] == []


def test_c_code_is_not_redirected(shown: Path) -> None:
    """As docs/files.md says; should one of these be reached one day, the page may say less."""
    for read in NOT_REACHED.values():
        with pytest.raises((OSError, sqlite3.OperationalError, duckdb.IOException)):
            read(shown)


def test_folders_are_listed(shown: Path) -> None:
    top = ["all.tar", "all.zip", "iris.parquet", "long.parquet", "notes.txt", "pictures", "t.sqlite", "text"]
    top += ["w.npy", "x.h5"]
    assert (
        sorted(os.listdir(shown)) == os.listdir("data/all/") == [path.name for path in sorted(shown.iterdir())] == top
    )
    assert os.listdir(b"data/all") == [name.encode() for name in top]
    with os.scandir("data/all") as scan:
        found = {entry.name: entry for entry in scan}
    assert list(found) == top
    assert found["text"].is_dir()
    assert found["iris.parquet"].is_file()
    assert not found["text"].is_symlink()
    assert found["iris.parquet"].path == os.fspath(found["iris.parquet"]) == "data/all/iris.parquet"
    assert found["notes.txt"].stat() == os.stat(shown / "notes.txt")
    assert found["notes.txt"].inode() == os.stat("data/all/notes.txt").st_ino
    with os.scandir(b"data/all/text") as scan:
        assert next(scan).path == b"data/all/text/data.json"
    walked = {os.path.relpath(folder, shown): (folders, files) for folder, folders, files in os.walk(shown)}
    assert walked["."][0] == ["long.parquet", "pictures", "text"]
    assert walked["text"] == ([], ["data.json", "data.json.bz2", "iris.csv", "numbers.txt", "zipped.csv.gz"])
    assert walked["long.parquet"] == ([], ["long-00000.parquet", "long-00001.parquet"])


def test_patterns_are_matched(shown: Path) -> None:
    csvs = ["data/all/text/iris.csv"]
    assert glob.glob("data/all/*/*.csv") == glob.glob("data/all/**/*.csv", recursive=True) == csvs
    assert [str(path) for path in Path("data/all").glob("*/*.csv")] == csvs
    assert [str(path) for path in Path("data/all").rglob("*.csv")] == csvs
    assert len(list(shown.glob("**/*"))) == 18
    assert glob.glob("data/all/iris*") == ["data/all/iris.parquet"]


def test_status_of_files(shown: Path) -> None:
    path = shown / "notes.txt"
    found = path.stat()
    assert (found.st_size, os.path.getsize(path), stat.S_IMODE(found.st_mode)) == (14, 14, 0o444)
    assert (found.st_uid, found.st_mtime, found.st_mtime_ns) == (os.getuid(), 946684800.0, 946684800 * 10**9)
    assert (path.is_file(), path.exists(), path.is_dir(), path.is_symlink()) == (True, True, False, False)
    assert (shown.is_dir(), (shown / "text").is_dir(), (shown / "nope").exists()) == (True, True, False)
    assert (os.path.isfile("data/all/notes.txt"), os.path.isdir(b"data/all/text")) == (True, True)
    assert (os.access(path, os.R_OK), os.access(path, os.W_OK), os.access(shown, os.X_OK)) == (True, False, True)
    assert os.access(shown / "nope", os.F_OK) is False
    assert os.path.realpath("data/all/notes.txt") == str(path) == str(Path("data/all/notes.txt").resolve())
    assert os.path.samefile("data/all/notes.txt", path)
    assert os.path.lexists(shown / "iris")  # a table under its bare name, as in references
    with open(path, "rb") as file:
        assert os.fstat(file.fileno()).st_size == 14


def test_files_are_copied_out(shown: Path, tmp_path: Path) -> None:
    for copy in (shutil.copy, shutil.copy2, shutil.copyfile):
        target = tmp_path / f"{copy.__name__}.txt"
        copy(shown / "notes.txt", target)
        assert target.read_bytes() == b"first\nzweit\xc3\xa9\n"
    shutil.copytree("data/all/text", tmp_path / "tree")
    assert sorted(os.listdir(tmp_path / "tree")) == os.listdir(shown / "text")


def test_missing_file_is_our_error_and_what_python_expects(shown: Path) -> None:
    for ask in (open, os.stat, os.listdir, os.scandir, os.path.getsize, lambda path: os.open(path, os.O_RDONLY)):
        with pytest.raises(FileNotFoundError, match=r"did you mean 'notes\.txt'") as caught:
            ask("data/all/note.txt")
        assert isinstance(caught.value, NoSuchFile)
        assert (caught.value.filename, caught.value.errno) == ("data/all/note.txt", 2)
    with pytest.raises(IsADirectoryError, match="data/all/text is a folder of me/all") as folder:
        open("data/all/text")
    assert isinstance(folder.value, NotAFile)
    with pytest.raises(NotADirectoryError, match=r"notes\.txt is a file of me/all") as file:
        os.listdir(shown / "notes.txt")
    assert isinstance(file.value, NotAFolder)


WRITERS: list[Callable[[Path, Path], object]] = [
    lambda at, real: open(at / "notes.txt", "w"),
    lambda at, real: open(at / "new.txt", mode="xb"),
    lambda at, real: open(at / "notes.txt", "r+"),
    lambda at, real: (at / "notes.txt").write_text("x"),
    lambda at, real: os.open(at / "notes.txt", os.O_RDWR),
    lambda at, real: os.open(at / "new.txt", os.O_CREAT),
    lambda at, real: (at / "new").mkdir(),
    lambda at, real: (at / "notes.txt").unlink(),
    lambda at, real: os.remove(at / "notes.txt"),
    lambda at, real: os.rmdir(at / "text"),
    lambda at, real: os.rename(real, at / "new.txt"),
    lambda at, real: os.replace(at / "notes.txt", real),
    lambda at, real: os.symlink(real, at / "new.txt"),
    lambda at, real: os.link(real, at / "new.txt"),
    lambda at, real: os.chmod(at / "notes.txt", 0o600),
    lambda at, real: os.utime(at / "notes.txt"),
    lambda at, real: os.truncate(at / "notes.txt", 0),
    lambda at, real: shutil.copy(real, at / "new.txt"),
    lambda at, real: FRAME.to_csv(at / "new.csv"),
]


def test_file_system_is_read_only(shown: Path) -> None:
    before = sorted(path.stat().st_size for path in shown.rglob("*"))
    for write in WRITERS:
        with pytest.raises(PermissionError, match="only read here") as caught:
            write(shown, Path("data/real.txt").absolute())
        assert isinstance(caught.value, ReadOnly)
    assert sorted(path.stat().st_size for path in shown.rglob("*")) == before
    assert Path("data/real.txt").read_text() == "real\n"
    assert os.listdir("data") == ["real.txt"]


def test_other_files_are_left_alone(shown: Path, tmp_path: Path) -> None:
    Path("data/new.txt").write_text("new")
    assert sorted(os.listdir("data")) == sorted(os.listdir(tmp_path / "data")) == ["new.txt", "real.txt"]
    assert open("data/all/../real.txt").read() == "real\n"
    assert Path("data/all/text/../../real.txt").read_text() == "real\n"
    assert os.stat(b"data/real.txt").st_size == 5
    assert not os.path.exists("data/al")
    assert not os.path.exists("data/all2")
    with open("data/real.txt") as file, open(file.fileno(), closefd=False) as same:
        assert same.read() == "real\n"
        assert os.stat(file.fileno()).st_size == 5
    folder = os.open("data", os.O_RDONLY)
    try:
        assert sorted(os.listdir(folder)) == ["new.txt", "real.txt"]
        assert os.stat("real.txt", dir_fd=folder).st_size == 5
    finally:
        os.close(folder)
    for ask in (open, os.stat, os.listdir):
        with pytest.raises(FileNotFoundError) as caught:
            ask("nowhere/at/all")
        assert not isinstance(caught.value, DatapkgError)
        with pytest.raises(TypeError):
            ask(1.5)
    with pytest.raises(ValueError, match="null"):
        open("data\0/x")
    os.rename("data/new.txt", "data/newer.txt")
    os.remove("data/newer.txt")


def test_paths_are_relative_to_the_working_directory_of_the_moment(shown: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "beside").mkdir()
    os.chdir(tmp_path / "data" / "beside")
    assert Path("../all/notes.txt").exists()
    assert not Path("data/all/notes.txt").exists()


@pytest.mark.usefixtures("_package")
def test_a_real_folder_is_hidden_meanwhile_and_may_be_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "real.txt").write_text("real")
    (tmp_path / "way").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.chdir(tmp_path / "here")
    with datapkg.open_hook(tmp_path / "way" / "here", "me/all/text") as folder:
        assert folder == tmp_path / "way" / "here"
        assert os.listdir() == os.listdir(folder) == os.listdir(tmp_path / "here") != ["real.txt"]
        assert open("numbers.txt").readline() == "1 2\n"
        assert not os.path.exists("real.txt")
    assert os.listdir() == ["real.txt"]


ORIGINALS = {
    (module, name): getattr(module, name)
    for module, names in (
        (builtins, ["open"]),
        (io, ["open"]),
        (tarfile, ["bltn_open"]),
        (bz2, ["_builtin_open"]),
        (os, [name for name in dir(os) if callable(getattr(os, name))]),
    )
    for name in names
}


KEPT = {cls: vars(cls).get("scandir") for cls in vars(glob).values() if isinstance(cls, type)}  # from Python 3.13 on


def replaced() -> set[str]:
    found = {name for (module, name), real in ORIGINALS.items() if getattr(module, name) is not real}
    return found | {cls.__name__ for cls, real in KEPT.items() if vars(cls).get("scandir") is not real}


@pytest.mark.usefixtures("_package")
def test_everything_is_restored(tmp_path: Path) -> None:
    sets = [set(each) for each in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks)]
    assert replaced() == set()
    with pytest.raises(ZeroDivisionError), datapkg.open_hook(tmp_path / "a", "me/all"):
        assert {"open", "bltn_open", "stat", "lstat", "listdir", "scandir", "rename"} <= replaced()
        keeps = any(kept.__func__ is ORIGINALS[os, "scandir"] for kept in KEPT.values() if kept)
        assert ("_StringGlobber" in replaced()) == keeps
        assert builtins.open is io.open
        assert pickle.loads(pickle.dumps(open)) is open
        assert os.stat in os.supports_dir_fd
        raise ZeroDivisionError
    assert replaced() == set()
    assert [set(each) for each in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks)] == sets
    with pytest.raises(FileNotFoundError):
        open(tmp_path / "a" / "notes.txt")
    for ref, error in (("me/nope", PackageNotInstalled), ("me/all/nope", NodeNotFound)):
        with pytest.raises(error), datapkg.open_hook(tmp_path / "a", ref):
            pass
        assert replaced() == set()


@pytest.mark.usefixtures("_package")
def test_hooks_nest_and_end_in_any_order(tmp_path: Path) -> None:
    new = datapkg.open_hook(tmp_path / "a", "me/all")
    old = datapkg.open_hook(tmp_path / "a", "me/all@1.0")
    inner = datapkg.open_hook(tmp_path / "a" / "sub", "me/all/text")
    with new:
        assert len(os.listdir(tmp_path / "a")) == 10
        old.__enter__()
        inner.__enter__()
        assert (tmp_path / "a" / "notes.txt").read_text() == "old\n"
        assert (tmp_path / "a" / "sub" / "numbers.txt").exists()
        with new:
            assert len(os.listdir(tmp_path / "a")) == 10
        assert os.listdir(tmp_path / "a") == ["notes.txt"]
    assert (tmp_path / "a" / "notes.txt").read_text() == "old\n"
    old.__exit__()
    assert (tmp_path / "a" / "sub" / "numbers.txt").exists()
    inner.__exit__()
    assert replaced() == set()


@pytest.mark.usefixtures("_package")
def test_later_replacements_by_others_keep_working(tmp_path: Path) -> None:
    with datapkg.open_hook(tmp_path / "a", "me/all"):
        ours = os.stat

        def theirs(*args: Any, **kwargs: Any) -> Any:
            return ours(*args, **kwargs)

        os.stat = theirs  # type: ignore[assignment]
    try:
        assert os.stat is theirs
        assert os.stat(tmp_path).st_ino
        assert not (tmp_path / "a").exists()
    finally:
        os.stat = ORIGINALS[os, "stat"]
    assert replaced() == set()


@pytest.mark.usefixtures("_package")
def test_threads_share_hooks_and_may_have_their_own(tmp_path: Path) -> None:
    gate = threading.Barrier(8)

    def work(number: int) -> str:
        gate.wait()
        for _ in range(20):
            with datapkg.open_hook(tmp_path / str(number), "me/all@1.0" if number % 2 else "me/all") as folder:
                text = (folder / "notes.txt").read_text("utf-8")
        return text[:5]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == ["first", "old\n"] * 4
    assert replaced() == set()


@pytest.mark.usefixtures("_package")
def test_store_may_be_below_the_folder(own_home: Path) -> None:
    with datapkg.open_hook(own_home, "me/all"):
        assert (own_home / "notes.txt").read_text("utf-8").startswith("first")
        assert len(os.listdir(own_home)) == 10


@pytest.mark.usefixtures("_package")
def test_a_ref_names_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with datapkg.open_hook("me/all@1.0") as folder:
        assert folder == tmp_path / "me" / "all"
        assert open("me/all/notes.txt").read() == "old\n"
    with datapkg.open_hook("me/all/notes.txt"):
        assert open("me/all/notes.txt", "rb").read(5) == b"first"
        assert not os.path.exists("me/all/iris.parquet")
    with pytest.raises(InvalidInput, match="root of all files"):
        datapkg.open_hook("/", "me/all")
