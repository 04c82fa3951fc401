"""What a mount answers: read by programs and libraries on a real one, and asked without one while streams fail."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datapkg.errors import DatapkgError, Unreachable
from datapkg.format.manifest.parsed import FileNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.files.mount import MountedTree
from datapkg.reading.files.tree import FileTree
from datapkg.reading.source import Source
from tests.mounts import mounts_below, needs_fuse, run
from tests.reading.packages import array_node, file_node, group_node, install, iris_frame, table_node

MANY = 10_000
BIG = np.random.default_rng(0).bytes(5_000_001)
FRAMES = [pd.DataFrame({"number": range(start, start + 1000), "text": "abc"}) for start in (0, 1000, 2000)]


def png_bytes() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.arange(12, dtype="uint8").reshape(3, 4)).save(sink, "png")
    return sink.getvalue()


def h5_bytes() -> bytes:
    sink = io.BytesIO()
    with h5py.File(sink, "w") as file:
        file.create_dataset("a/values", data=np.arange(1000.0), chunks=(100,), compression="gzip")
    return sink.getvalue()


def sqlite_bytes(folder: Path) -> bytes:
    path = folder / "shop.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sales (day TEXT, amount REAL)")
    connection.executemany("INSERT INTO sales VALUES (?, ?)", [(f"day {n}", n / 2) for n in range(5000)])
    connection.commit()
    connection.close()
    return path.read_bytes()


def install_zoo(home: Home, folder: Path) -> dict[str, bytes]:
    """A package with a file of each kind that readers are tried on; gives path to bytes of its files."""
    files = {
        "README.md": b"# Zoo\n",
        "big.bin": BIG,
        "empty": b"",
        "odd names/a b, c;'\"$x.txt": b"spaces",
        "odd names/日本 é.txt": b"letters",
        "readers/picture.png": png_bytes(),
        "readers/series.h5": h5_bytes(),
        "readers/shop.sqlite": sqlite_bytes(folder),
        **{f"many/{number:05}.txt": b"needle" if number == 4321 else b"%d" % number for number in range(MANY)},
    }
    hashes = home.store.objects.put_many(list(files.values()))
    nodes = [
        FileNode(path=path, hash=hash, size=len(data)) for (path, data), hash in zip(files.items(), hashes, strict=True)
    ]
    more = [
        table_node(home, "iris", iris_frame()),
        table_node(home, "long", *FRAMES),
        array_node(home, "weights", np.arange(6.0).reshape(2, 3)),
        group_node("nothing"),
    ]
    install(home, "me/zoo", *nodes, *more)
    return files


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, bytes]]]:
    """The folder on which it is mounted, by a process that all tests of this file share, and its files."""
    folder = tmp_path_factory.mktemp("zoo")
    files = install_zoo(Home({"DATAPKG_HOME": str(folder / "home")}), folder)
    with mounts_below(folder / "mounts", folder / "home") as mounts:
        yield mounts.show("me/zoo"), files


Zoo = tuple[Path, dict[str, bytes]]


@needs_fuse
def test_programs_see_true_names_and_sizes(zoo: Zoo) -> None:
    folder, files = zoo
    listed = run("ls", "-l", folder).splitlines()
    assert [line.split(maxsplit=8)[8] for line in listed[1:]] == [
        *("README.md", "big.bin", "empty", "iris.parquet", "long.parquet"),
        *("many", "nothing", "odd names", "readers", "weights.npy"),
    ]
    assert [line[:10] for line in listed if line.endswith((" big.bin", " many"))] == ["-r--r--r--", "dr-xr-xr-x"]
    found = run("find", folder, "-type", "f", "-printf", "%s %P\n").splitlines()
    sizes = {path: int(size) for size, path in (line.split(" ", 1) for line in found)}
    assert {path: len(data) for path, data in files.items()}.items() <= sizes.items()
    assert len(sizes) == len(files) + 5
    assert run("stat", "-c", "%s %a %F %u", folder / "big.bin").split("\n")[0] == (
        f"{len(BIG)} 444 regular file {os.getuid()}"
    )
    assert run("du", "-b", folder / "big.bin").split()[0] == str(len(BIG))


@needs_fuse
def test_programs_read_true_bytes(zoo: Zoo, tmp_path: Path) -> None:
    folder, files = zoo
    assert run("cat", folder / "README.md") == "# Zoo\n"
    assert run("sha256sum", folder / "big.bin").split()[0] == hashlib.sha256(BIG).hexdigest()
    assert run("tail", "-c", "3", folder / "odd names/日本 é.txt") == "ers"
    assert run("grep", "-rl", "needle", folder) == f"{folder}/many/04321.txt\n"
    run("cp", "-r", folder, tmp_path / "copy")
    copied = {str(each.relative_to(tmp_path / "copy")): each for each in (tmp_path / "copy").rglob("*")}
    assert {path: copied[path].read_bytes() for path in files} == files
    assert copied["nothing"].is_dir()
    assert len(copied) == len(files) + 5 + 5


@needs_fuse
def test_a_long_folder_is_listed_again_and_again(zoo: Zoo) -> None:
    folder, _ = zoo
    for words in (["ls"], ["ls", "-l"], ["ls", "-l"]):
        assert len(run(*words, folder / "many").splitlines()) == MANY + (words != ["ls"])
    assert len({each.name for each in os.scandir(folder / "many") if each.is_file()}) == MANY


@needs_fuse
def test_tables_and_arrays_are_read_by_their_libraries(zoo: Zoo) -> None:
    folder, _ = zoo
    assert pd.read_parquet(folder / "iris.parquet").equals(iris_frame())
    assert pd.read_parquet(folder / "long.parquet").equals(pd.concat(FRAMES, ignore_index=True))
    assert pd.read_parquet(folder / "long.parquet/long-00001.parquet", columns=["number"])["number"].iloc[0] == 1000
    with pa.memory_map(str(folder / "iris.parquet")) as mapped:
        assert pq.read_table(mapped).num_rows == 3
    assert pq.read_table(folder / "long.parquet", memory_map=True).num_rows == 3000
    array = np.load(folder / "weights.npy", mmap_mode="r")
    assert array.sum() == 15.0
    assert bytes(np.memmap(folder / "big.bin", mode="r")[4_000_000:]) == BIG[4_000_000:]


@needs_fuse
def test_files_are_read_by_their_libraries(zoo: Zoo) -> None:
    readers = zoo[0] / "readers"
    with Image.open(readers / "picture.png") as picture:
        assert picture.size == (4, 3)
        assert picture.getpixel((3, 2)) == 11
    with h5py.File(readers / "series.h5", "r") as file:
        assert file["a/values"][500:503].tolist() == [500.0, 501.0, 502.0]
    for options in ("mode=ro&immutable=1", "mode=ro"):
        connection = sqlite3.connect(f"file:{readers}/shop.sqlite?{options}", uri=True)
        assert connection.execute("SELECT count(*), sum(amount) FROM sales").fetchone() == (5000, 6248750.0)
        connection.close()


@needs_fuse
def test_nothing_can_be_changed(zoo: Zoo) -> None:
    folder, _ = zoo
    attempts: list[Any] = [
        lambda: (folder / "README.md").write_text(""),
        lambda: (folder / "new").write_text(""),
        lambda: os.remove(folder / "README.md"),
        lambda: os.mkdir(folder / "new"),
        lambda: os.rmdir(folder / "nothing"),
        lambda: os.rename(folder / "README.md", folder / "other"),
        lambda: os.chmod(folder / "README.md", 0o644),
        lambda: os.utime(folder / "README.md"),
        lambda: os.symlink("README.md", folder / "link"),
        lambda: os.truncate(folder / "README.md", 0),
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno == errno.EROFS
    assert not os.access(folder / "README.md", os.W_OK)
    assert os.access(folder / "README.md", os.R_OK)


@needs_fuse
def test_unlisted_paths_do_not_exist(zoo: Zoo) -> None:
    folder, _ = zoo
    for name in ("iris", "weights", "no", "many/no", "README.md/no", "long.parquet/long-00003.parquet"):
        assert not (folder / name).exists()
    with pytest.raises(FileNotFoundError):
        (folder / "weights").read_bytes()
    with pytest.raises(IsADirectoryError):
        (folder / "many").read_bytes()
    assert os.listdir(folder / "nothing") == []
    assert os.statvfs(folder).f_bavail == 0
    assert os.statvfs(folder).f_blocks * 4096 >= len(BIG)


@needs_fuse
def test_many_processes_read_at_once(zoo: Zoo) -> None:
    folder, files = zoo
    line = f"cat {folder}/many/0[0-2]*.txt {folder}/big.bin {folder}/readers/* | sha256sum"
    names = sorted(path for path in files if path.startswith(("many/00", "many/01", "many/02")))
    names += ["big.bin", "readers/picture.png", "readers/series.h5", "readers/shop.sqlite"]
    expected = hashlib.sha256(b"".join(files[name] for name in names)).hexdigest()
    readers = [subprocess.Popen(["bash", "-c", line], stdout=subprocess.PIPE, text=True) for _ in range(8)]
    assert [each.communicate(timeout=60)[0].split()[0] for each in readers] == [expected] * 8


class Flaky(Source):
    """A source whose objects come only while `works`, and are cut short where `ends` says so."""

    works = True
    ends: int | None = None

    def open(self, path: str, hash: str, **options: Any) -> BinaryIO:
        self.check()
        stream = super().open(path, hash, **options)
        return Dropping(self, stream)  # type: ignore[return-value]

    def check(self) -> None:
        if not self.works:
            raise Unreachable("the registry does not answer")


class Dropping:
    def __init__(self, source: Flaky, stream: BinaryIO) -> None:
        self.source = source
        self.stream = stream

    def read(self, size: int) -> bytes:
        self.source.check()
        return self.stream.read(size)[: self.source.ends]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@pytest.fixture
def flaky(home: Home) -> Flaky:
    data = [file_node(home, "data", b"0123456789"), file_node(home, "group/other", b"other")]
    return Flaky(home.store, Ref.parse("me/flaky"), install(home, "me/flaky", *data))


def test_failed_read_is_an_error_and_is_retried(flaky: Flaky) -> None:
    told: list[tuple[str, DatapkgError]] = []
    shown = MountedTree(FileTree(flaky), 5, lambda path, error: told.append((path, error)))
    handle = shown.open("/data", os.O_RDONLY)
    assert shown.read("/data", 4, 8, handle) == b"89"
    flaky.works = False
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            shown.read("/data", 4, 0, handle)
        assert caught.value.errno == errno.EIO
    with pytest.raises(OSError):
        shown.open("/data", os.O_RDONLY)
    assert [(path, type(error)) for path, error in told] == [("me/flaky/data", Unreachable)] * 3
    flaky.works = True
    assert shown.read("/data", 4, 0, handle) == b"0123"
    assert shown.read("/data", 4, 10, handle) == shown.read("/data", 4, 99, handle) == b""
    shown.release("/data", handle)


def test_truncated_bytes_are_an_error(flaky: Flaky) -> None:
    told: list[str] = []
    shown = MountedTree(FileTree(flaky), 5, lambda path, error: told.append(error.message))
    handle = shown.open("/data", os.O_RDONLY)
    flaky.ends = 3
    with pytest.raises(OSError) as caught:
        shown.read("/data", 10, 2, handle)
    assert (caught.value.errno, told) == (errno.EIO, ["it ends after 5 of 10 bytes"])
    shown.destroy("/")


def test_a_part_of_a_package_is_the_whole_of_a_mount(flaky: Flaky) -> None:
    shown = MountedTree(FileTree(flaky, "group"), 7, lambda *_: None)
    assert [name for name, _, _ in shown.readdir("/", 0)] == [".", "..", "other"]
    status = shown.getattr("/other")
    assert (status["st_size"], status["st_mtime"], stat.S_IMODE(status["st_mode"])) == (5, 7, 0o444)
    assert shown.statfs("/")["f_blocks"] == 1
    for path in ("/data", "/group", "/other/x"):
        with pytest.raises(OSError) as caught:
            shown.getattr(path)
        assert caught.value.errno in (errno.ENOENT, errno.ENOTDIR)
    with pytest.raises(OSError) as caught:
        shown.open("/other", os.O_RDWR)
    assert caught.value.errno == errno.EROFS
