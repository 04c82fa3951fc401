"""Real mounts: created, refused, unmounted, left behind, and read during failures."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.files import mount_loop, mount_points
from datapkg.reading.files.mount_points import OURS, mounted_at
from tests.cli.conftest import Run
from tests.conftest import Person
from tests.faulty_proxy import Fault, faulty_way
from tests.mounts import ROOT, TIMEOUT_S, Mounts, mounts_below, needs_fuse, run
from tests.reading.packages import file_node, install, install_iris

BIG = bytes(range(256)) * 8192  # 2 MiB: an object in its own file


@pytest.fixture
def mounts(own_home: Path, tmp_path: Path) -> Iterator[Mounts]:
    install_iris(Home())
    with mounts_below(tmp_path / "mounts", own_home) as mounts:
        yield mounts


def files_below(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


IRIS = ["README.md", "measurements.parquet", "raw", "raw/a.jpg", "raw/b.jpg", "weights.npy"]


HEARD = [each for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]


@needs_fuse
@pytest.mark.parametrize("sign", HEARD)
def test_signal_unmounts_and_removes_the_folder(mounts: Mounts, sign: signal.Signals) -> None:
    folder = mounts.show("uciml/iris")
    assert files_below(folder) == IRIS
    assert mounts.end(sign) == 0
    assert mounted_at(folder) is None
    assert not folder.exists()
    assert mounts.processes[-1].stderr
    assert mounts.processes[-1].stderr.read() == ""


@needs_fuse
def test_existing_folder_is_kept(mounts: Mounts) -> None:
    (mounts.folder / "mnt").mkdir()
    folder = mounts.show("uciml/iris")
    run("fusermount3", "-u", folder)
    assert mounts.processes[-1].wait(TIMEOUT_S) == 0
    assert files_below(folder) == []


@needs_fuse
def test_first_line_of_json_output(mounts: Mounts) -> None:
    current = Home().store.refs.current(Ref("uciml", "iris"))
    assert current
    hash = current.hash
    started = mounts.started("uciml/iris", "mnt")
    assert started == {"mounted": str(mounts.folder / "mnt"), "package": "uciml/iris", "hash": hash}
    assert (mounted_at(mounts.folder / "mnt") or "").startswith(f"{OURS}uciml/iris@sha256:{hash[:16]}")


@needs_fuse
def test_background_mount_runs_until_unmounted(mounts: Mounts) -> None:
    folder = mounts.folder / "mnt"
    output = mounts.datapkg("mount", "uciml/iris", folder, "--background")
    assert output.startswith("mounted uciml/iris@sha256:")
    assert f"to unmount: datapkg unmount {folder}" in output
    assert files_below(folder) == IRIS
    assert len(mounts.left()) == 1
    assert mounts.datapkg("unmount", folder) == f"unmounted {folder}\n"
    assert not folder.exists()
    for _ in range(2):  # one right after the other
        value = json.loads(mounts.datapkg("mount", "uciml/iris", folder, "-b", "--json"))
        assert value["mounted"] == str(folder)
        assert json.loads(mounts.datapkg("unmount", folder, "--json")) == {"unmounted": str(folder)}


@needs_fuse
def test_nothing_is_mounted_if_standard_output_is_closed(mounts: Mounts) -> None:
    folder = mounts.folder / "mnt"
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            mounts.command("mount", "uciml/iris", folder), stdout=full, stderr=subprocess.PIPE, env=mounts.environ,
            text=True,
        )  # fmt: skip
    mounts.processes.append(process)
    assert process.wait(TIMEOUT_S) == 1
    assert process.stderr
    assert "No space left" in process.stderr.read()
    assert mounted_at(folder) is None
    assert not folder.exists()


@needs_fuse
def test_error_in_the_background_is_reported(mounts: Mounts) -> None:
    output = mounts.datapkg("mount", "uciml/wine", mounts.folder / "mnt", "-b", code=3)
    assert output == "error: uciml/wine is not installed\nhint: datapkg install uciml/wine\n"
    assert not (mounts.folder / "mnt").exists()
    (mounts.folder / "mnt").write_text("a file")
    assert "is a file, and no folder" in mounts.datapkg("mount", "uciml/iris", mounts.folder / "mnt", "-b", code=4)


@needs_fuse
def test_invalid_mount_points_are_rejected(mounts: Mounts) -> None:
    full = mounts.folder / "full"
    full.mkdir()
    (full / "mine").write_text("")
    assert "is not empty" in mounts.datapkg("mount", "uciml/iris", full, code=4)
    folder = mounts.show("uciml/iris")
    output = mounts.datapkg("mount", "uciml/iris", folder, code=4)
    assert "is mounted on" in output
    assert f"hint: datapkg unmount {folder}" in output
    (mounts.folder / "link").symlink_to(folder)
    assert "is mounted on" in mounts.datapkg("mount", "uciml/iris", mounts.folder / "link", code=4)
    assert "README.md is one file" in mounts.datapkg("mount", "uciml/iris/README.md", mounts.folder / "x", code=2)
    assert "did you mean 'raw'" in mounts.datapkg("mount", "uciml/iris/rew", mounts.folder / "x", code=3)
    assert "no package is mounted on" in mounts.datapkg("unmount", full, code=3)
    assert "but proc" in mounts.datapkg("unmount", "/proc", code=3)
    assert files_below(mounts.folder / "full") == ["mine"]


@needs_fuse
def test_mounted_part_keeps_its_state_after_an_update(mounts: Mounts) -> None:
    home = Home()
    folder = mounts.show("uciml/iris/raw", "raw")
    install(home, "uciml/iris", file_node(home, "other", b"new"))
    assert files_below(folder) == ["a.jpg", "b.jpg"]
    assert files_below(mounts.show("uciml/iris", "new")) == ["other"]


@needs_fuse
def test_mount_of_a_killed_process_is_cleaned_up_by_the_next(mounts: Mounts) -> None:
    folder = mounts.show("uciml/iris")
    mounts.end(signal.SIGKILL)
    assert "not connected" in run("ls", folder, code=2)
    assert mounted_at(folder)
    assert mounts.show("uciml/iris") == folder
    assert files_below(folder) == IRIS
    mounts.end(signal.SIGKILL)
    mounts.datapkg("unmount", folder)
    assert mounted_at(folder) is None


@needs_fuse
def test_unmount_during_many_reads(mounts: Mounts) -> None:
    home = Home()
    install(home, "me/busy", file_node(home, "big", BIG), *[file_node(home, f"f/{n}", b"%d" % n) for n in range(300)])
    folder = mounts.show("me/busy")
    loop = f"while cat {folder}/big {folder}/f/* >/dev/null 2>&1 && ls -l {folder}/f >/dev/null; do :; done"
    readers = [subprocess.Popen(["bash", "-c", loop]) for _ in range(6)]
    try:
        time.sleep(1)
        assert [each.poll() for each in readers] == [None] * 6
        assert mounts.end(signal.SIGINT) == 0
        assert mounted_at(folder) is None
        for each in readers:
            each.wait(TIMEOUT_S)
    finally:
        for each in readers:
            each.kill()
            each.wait()
    assert not folder.exists()


@needs_fuse
def test_busy_mount_is_unmounted_only_with_force(mounts: Mounts) -> None:
    folder = mounts.show("uciml/iris")
    with open(folder / "README.md") as stream:
        output = mounts.datapkg("unmount", folder, code=4)
        assert f"hint: leave the folder, close its files, or: datapkg unmount --force {folder}" in output
        assert files_below(folder) == IRIS
        mounts.datapkg("unmount", "--force", folder)
        assert mounted_at(folder) is None
        assert stream.read() == "# Iris\n"
    assert mounts.processes[-1].wait(TIMEOUT_S) == 0


@needs_fuse
def test_open_file_does_not_keep_the_program_running(mounts: Mounts) -> None:
    folder = mounts.show("uciml/iris")
    number = os.open(folder / "README.md", os.O_RDONLY)
    process = mounts.processes[-1]
    process.send_signal(signal.SIGINT)
    while mounted_at(folder):
        time.sleep(0.01)
    assert os.read(number, 100) == b"# Iris\n"
    assert mounts.end(signal.SIGINT) == 0  # the second one does not wait
    with pytest.raises(OSError, match="not connected"):
        os.fstatvfs(number)
    with pytest.raises(OSError, match="not connected"):
        os.close(number)


@needs_fuse
def test_corrupt_object_is_an_error_until_repaired(mounts: Mounts) -> None:
    home = Home()
    node = file_node(home, "big", BIG)
    install(home, "me/two", node, file_node(home, "small", b"small"))
    object = home.store.folder / "objects" / node.hash[:2] / node.hash[2:]
    object.chmod(0o644)
    object.write_bytes(b"X" + BIG[1:])
    folder = mounts.show("me/two")
    assert "Input/output error" in run("cat", folder / "big", code=1)
    assert run("cat", folder / "small") == "small"
    with pytest.raises(OSError, match="Input/output error"):
        (folder / "big").read_bytes()
    object.write_bytes(BIG)
    assert (folder / "big").read_bytes() == BIG
    mounts.end()
    assert mounts.processes[-1].stderr
    assert mounts.processes[-1].stderr.read() == ""  # --json; otherwise one line for each file


@needs_fuse
def test_opened_files_are_fetched_while_the_registry_is_reachable(mounts: Mounts, person: Person) -> None:
    files = {name: os.urandom(1 << 20) + name.encode() for name in ("one", "two", "three")}
    sources = mounts.folder.parent / "sources"
    sources.mkdir()
    for name, data in files.items():
        (sources / name).write_bytes(data)
    own = person.environ("publisher")
    run(*mounts.command("build", f"{person.name}/far", sources), **{**mounts.environ, **own})
    run(*mounts.command("push", f"{person.name}/far"), **{**mounts.environ, **own})
    with faulty_way(person.url) as way:
        mounts.environ |= person.environ("reader", way.url)
        mounts.datapkg("mount", f"{person.name}/far", mounts.folder / "mnt", code=3)
        folder = mounts.show(f"{person.name}/far", "mnt", "--lazy")
        asked = len(way.seen)
        assert {each.name: each.stat().st_size for each in folder.iterdir()} == {
            name: len(data) for name, data in files.items()
        }
        assert len(way.seen) == asked
        assert (folder / "one").read_bytes() == files["one"]
        for kind in ("drop", "flip"):
            way.faults = [Fault(kind)]
            assert "Input/output error" in run("cat", folder / "two", code=1)
        assert (folder / "one").read_bytes() == files["one"]
        assert len(os.listdir(folder)) == 3
        way.faults = []
        assert (folder / "two").read_bytes() == files["two"]
        assert not any(hash_bytes(files["three"]) in path for _, path in way.seen)
        assert mounts.end() == 0


DROPS = """
import sys
import time
from pathlib import Path
from datapkg.api import mount
from datapkg.cli.main import main
from datapkg.errors import Unreachable
from datapkg.reading.source import Source
from datapkg.resolve import find_installed

down = Path(sys.argv[1])
silent = down.with_name("silent")

class Stream:
    def __init__(self, stream):
        self.stream = stream
    def read(self, size):
        while silent.exists():
            time.sleep(0.05)
        if down.exists():
            raise Unreachable("the registry does not answer")
        return self.stream.read(size)
    def __getattr__(self, name):
        return getattr(self.stream, name)

class Remote(Source):
    def open(self, path, hash, **options):
        if down.exists():
            raise Unreachable("the registry does not answer")
        return Stream(super().open(path, hash, **options))

def open_source(home, ref, lazy, registry):
    found = find_installed(home, ref)
    return Remote(found.store, ref, found.hash)

mount.open_source = open_source
sys.exit(main(sys.argv[2:]))
"""


@needs_fuse
def test_registry_outage_is_recovered(mounts: Mounts, tmp_path: Path) -> None:
    home, down = Home(), tmp_path / "down"
    install(home, "me/far", file_node(home, "big", BIG), file_node(home, "read", b"known"))
    folder = mounts.show("me/far", program=[sys.executable, "-c", DROPS, str(down)])
    assert run("cat", folder / "read") == "known"
    with open(folder / "big", "rb", buffering=0) as stream:
        assert stream.read(10) == BIG[:10]
        down.touch()
        with pytest.raises(OSError, match="Input/output error"):
            os.pread(stream.fileno(), 10, 1 << 20)
        assert "Input/output error" in run("cat", folder / "big", code=1)
        assert "big" in run("ls", "-l", folder)
        down.unlink()
        assert os.pread(stream.fileno(), 10, 1 << 20) == BIG[:10]
    assert run("cmp", folder / "big", folder / "big") == ""
    assert mounts.end() == 0


@needs_fuse
def test_hanging_registry_blocks_neither_other_readers_nor_unmount(mounts: Mounts, tmp_path: Path) -> None:
    home = Home()
    install(home, "me/far", *[file_node(home, str(n), b"%d" % n * 999) for n in range(30)], file_node(home, "x", b"x"))
    folder = mounts.show("me/far", program=[sys.executable, "-c", DROPS, str(tmp_path / "down")])
    assert run("cat", folder / "x") == "x"
    (tmp_path / "silent").touch()
    readers = [subprocess.Popen(["cat", folder / str(n)], stderr=subprocess.DEVNULL) for n in range(30)]
    time.sleep(0.5)
    assert "29" in run("ls", "-l", folder)
    assert run("cat", folder / "x") == "x"
    mounts.processes[-1].send_signal(signal.SIGINT)
    while mounted_at(folder):
        time.sleep(0.01)
    assert mounts.end(signal.SIGINT) == 0
    assert [each.wait(TIMEOUT_S) for each in readers] == [1] * 30


@needs_fuse
def test_reason_for_an_unreadable_file_is_printed_once(mounts: Mounts, tmp_path: Path) -> None:
    home = Home()
    node = file_node(home, "gone", BIG)
    hash = install(home, "me/part", node)
    (home.store.folder / "objects" / node.hash[:2] / node.hash[2:]).unlink()
    folder = mounts.folder / "mnt"
    process = subprocess.Popen(
        mounts.command("mount", "me/part", folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=mounts.environ,
        text=True,
    )  # fmt: skip
    mounts.processes.append(process)
    assert process.stdout
    assert process.stderr
    assert "Ctrl-C" in process.stdout.readline()
    for _ in range(3):
        run("cat", folder / "gone", code=1)
    mounts.end(signal.SIGINT)
    errors = process.stderr.read()
    assert errors.count("note: me/part/gone could not be read: ") == 1
    assert f"type: datapkg fetch me/part/gone@sha256:{hash[:16]}" in errors


@needs_fuse
def test_file_times_are_the_build_time(mounts: Mounts, iris: Path, run: Run) -> None:
    before = time.time()
    hash = run("build", "me/flowers", str(iris), "--json").json["hash"]
    built = next(Home().store.refs.log(Ref("me", "flowers"))).at
    folder = mounts.show(f"me/flowers@sha256:{hash}")
    times = {each.stat().st_mtime for each in (folder, *folder.rglob("*"))}
    assert len(times) == 1
    assert before - 1 < times.pop() < time.time() + 1
    assert (folder / "README.md").stat().st_mtime_ns // 1000 == pd.Timestamp(built).value // 1000


@needs_fuse
def test_other_users_have_access_only_on_request(mounts: Mounts) -> None:
    if os.getuid() != 0:
        allowed = "user_allow_other" in Path("/etc/fuse.conf").read_text().splitlines()
        assert allowed or "user_allow_other" in mounts.datapkg(
            "mount", "uciml/iris", mounts.folder / "x", "--allow-other", code=2
        )
        return
    with tempfile.TemporaryDirectory() as public:  # other users cannot enter pytest's folders
        os.chmod(public, 0o755)
        with mounts_below(Path(public), Path(mounts.environ["DATAPKG_HOME"])) as outside:
            closed, opened = outside.show("uciml/iris", "a"), outside.show("uciml/iris", "b", "--allow-other")
            nobody = ["setpriv", "--reuid", "65534", "--clear-groups"]
            assert "Permission denied" in run(*nobody, "cat", closed / "README.md", code=1)
            assert run(*nobody, "cat", opened / "README.md") == "# Iris\n"


def test_missing_requirement_is_named(monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path) -> None:
    install_iris(Home())
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    ended = run("mount", "uciml/iris", "mnt", "--json")
    assert (ended.code, ended.error["hint"]) == (9, "pip install mfusepy")
    monkeypatch.setattr(mount_loop, "library", lambda: None)
    monkeypatch.setattr(mount_points, "DEVICE", tmp_path / "fuse")
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/fusermount3")
    ended = run("mount", "uciml/iris", "mnt")
    assert (ended.code, "fuse, which cannot be opened here: No such file" in ended.err) == (9, True)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    ended = run("mount", "uciml/iris", "mnt", "--json")
    assert (ended.code, ended.error["hint"]) == (9, "apt-get install fuse3")
    assert not Path("mnt").exists()


@needs_fuse
def test_missing_mount_permission_is_reported(mounts: Mounts) -> None:
    """Run a process without the right to mount, as is common in containers."""
    drop = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]
    if os.getuid() != 0:
        drop = ["setpriv", "--no-new-privs"]
    output = run(*drop, *mounts.command("mount", "uciml/iris", mounts.folder / "mnt"), code=7, **mounts.environ)
    assert output.startswith(f"error: {mounts.folder}/mnt could not be mounted: fuse")
    assert "Operation not permitted" in output
    assert "hint: a container needs: docker run --device /dev/fuse" in output
    assert not (mounts.folder / "mnt").exists()


@needs_fuse
def test_documented_session(mounts: Mounts) -> None:
    page = (ROOT / "docs" / "files.md").read_text()
    session = page.partition("\n## Mount\n")[2].partition("```sh\n")[2].partition("```")[0]
    mounts.datapkg("build", "examples/penguins", ROOT / "sample_packages" / "penguins")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    parts = session.split("$ ")[1:]
    assert len(parts) == 5
    for part in parts:
        line, _, expected = part.partition("\n")
        output = run("bash", "-c", f"cd {mounts.folder} && {line}", **{**mounts.environ, "PATH": path})
        assert re.fullmatch(re.escape(expected).replace("…", ".*"), output), line


def test_last_line_of_libfuse_needs_no_end() -> None:
    with mount_loop._kept_stderr() as output:
        os.write(mount_loop.STDERR, b"fuse: one\nfuse: two")
    assert output() == "fuse: one fuse: two"
