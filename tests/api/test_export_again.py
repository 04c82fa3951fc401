"""A second export changes what changed and keeps edits; links never let anybody write the store."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.export import export
from datapkg.api.exporting import links
from datapkg.api.exporting.file_writer import make_tree
from datapkg.api.verify import verify
from datapkg.errors import Conflict, InvalidInput, Refused
from datapkg.format.names import Ref, State
from datapkg.home import Home

REF = Ref("me", "p")
BIG = bytes(range(256)) * 8192


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "big.bin").write_bytes(BIG)
    (folder / "raw" / "small.txt").write_text("small")
    (folder / "old" / "inner").mkdir(parents=True)
    (folder / "old" / "inner" / "gone.txt").write_text("gone")
    (folder / "t.csv").write_text("a,b\n1,2\n")
    return folder


@pytest.fixture
def dest(home: Home, source: Path, tmp_path: Path) -> Path:
    """A folder with the first state, which was exported."""
    build_package(home, REF, source)
    export(home, REF, tmp_path / "out")
    return tmp_path / "out"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def change(home: Home, source: Path) -> None:
    """Build a second state: a file and a table changed, one is new, a group is gone."""
    (source / "raw" / "small.txt").write_text("changed")
    (source / "t.csv").write_text("a,b\n1,3\n")
    (source / "new.txt").write_text("new")
    (source / "old" / "inner" / "gone.txt").unlink()
    build_package(home, REF, source)


def test_a_second_export_replaces_only_what_changed(home: Home, source: Path, dest: Path) -> None:
    before = stamps(dest)
    assert export(home, REF, dest).unchanged == 4
    assert stamps(dest) == before
    change(home, source)
    done = export(home, REF, dest)
    assert contents(dest) == contents(source)
    assert (done.unchanged, len(done.files), done.removed) == (1, 4, [dest / "old" / "inner" / "gone.txt"])
    assert {name for name, stamp in stamps(dest).items() if before.get(name) == stamp} == {"raw/big.bin"}
    assert not (dest / "old").exists(), "folders that became empty are removed"
    first = home.store.refs.log(REF)
    *_, oldest = first
    export(home, REF.at(State("hash", oldest.hash)), dest)
    assert contents(dest)["old/inner/gone.txt"] == b"gone"
    assert "new.txt" not in contents(dest)


def test_edits_are_not_overwritten(home: Home, source: Path, dest: Path) -> None:
    (dest / "raw" / "small.txt").write_text("edited")
    (dest / "new.txt").write_text("mine")
    change(home, source)
    before = stamps(dest)
    with pytest.raises(Conflict, match=r"since the last export: 'new\.txt', 'raw/small\.txt';") as caught:
        export(home, REF, dest)
    assert caught.value.hint == f"datapkg export --force me/p {dest}"
    assert stamps(dest) == before
    export(home, REF, dest, force=True)
    assert contents(dest) == contents(source)


def test_an_edit_of_the_same_length_and_time_is_noticed(home: Home, source: Path, dest: Path) -> None:
    path = dest / "raw" / "small.txt"
    time = path.stat().st_mtime_ns
    path.write_text("SMALL")
    os.utime(path, ns=(time, time))
    change(home, source)
    with pytest.raises(Conflict, match=r"raw/small\.txt"):
        export(home, REF, dest)


def test_what_is_not_the_exports_is_left_alone(home: Home, source: Path, dest: Path) -> None:
    (dest / "old" / "inner" / "gone.txt").write_text("edited")
    (dest / "old" / "mine.txt").write_text("mine")
    (dest / "raw" / "big.bin").unlink()
    os.utime(dest / "t.csv")
    change(home, source)
    done = export(home, REF, dest)
    assert done.notes == ["old/inner/gone.txt is no longer in the package; it was edited, so it stays"]
    assert done.removed == []
    kept = {"old/inner/gone.txt": b"edited", "old/mine.txt": b"mine"}
    assert contents(dest) == contents(source) | kept


def test_a_table_of_another_format_replaces_the_file_of_the_first(home: Home, dest: Path) -> None:
    done = export(home, REF, dest, format="parquet")
    assert done.removed == [dest / "t.csv"]
    assert (dest / "t.parquet").read_bytes()[:4] == b"PAR1"
    assert done.unchanged == 3
    export(home, REF, dest, with_build_file=True)
    assert (dest / "build.yml").exists()
    assert (dest / "t.csv").read_text() == "a,b\n1,2\n"
    assert not (dest / "t.parquet").exists()


def test_a_folder_that_no_export_of_the_package_made_is_not_touched(home: Home, dest: Path, tmp_path: Path) -> None:
    build_package(home, Ref("me", "other"), {"x": dest / "t.csv"})
    for ref, folder in ((Ref("me", "other"), dest), (Ref("me", "p", "raw"), dest)):
        with pytest.raises(Conflict, match=r"exists; nothing was written"):
            export(home, ref, folder)
    os.rename(dest, tmp_path / "moved")
    dest.mkdir()
    with pytest.raises(Conflict, match=r"exists; nothing was written"):
        export(home, REF, dest)


def test_a_damaged_record_is_as_none(home: Home, dest: Path) -> None:
    (record,) = (home.data / "exports").iterdir()
    text = record.read_text()
    for bad in ("", "{", "[]", text.replace("small.txt", "../../x"), text.replace('["raw","small.txt"]', "[]")):
        record.write_text(bad)
        with pytest.raises(Conflict, match=r"exists; nothing was written"):
            export(home, REF, dest)


@pytest.fixture
def plain_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer as for a user who is not root: read-only files cannot be written."""
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: access(path, mode, **more) and not (mode & os.W_OK and _is_file(path))
    )


def _is_file(path: Any) -> bool:
    return not os.path.isdir(path)


def stored(home: Home) -> Path:
    """The file of the big object."""
    files = (path for path in (home.store.folder / "objects").rglob("*") if path.is_file())
    return next(path for path in files if path.stat().st_size == len(BIG))


@pytest.mark.usefixtures("plain_user")
def test_links_are_to_the_read_only_files_of_the_store(home: Home, dest: Path, tmp_path: Path) -> None:
    export(home, REF, tmp_path / "hard", link="hardlink")
    export(home, REF, tmp_path / "soft", link="symlink")
    hard, soft = tmp_path / "hard" / "raw" / "big.bin", tmp_path / "soft" / "raw" / "big.bin"
    assert hard.stat().st_ino == stored(home).stat().st_ino
    assert soft.readlink() == stored(home)
    assert {path.stat().st_mode & 0o777 for path in (hard, soft)} == {0o444}
    assert not (tmp_path / "hard" / "raw" / "small.txt").is_symlink(), "small objects are in packs, and copied"
    assert contents(tmp_path / "hard") == contents(tmp_path / "soft") == contents(dest)
    assert home.store.objects.index.is_verified(stored(home)), "a link does not cost a second verification"
    assert verify(home).damaged == []
    for folder in ("hard", "soft"):
        link = "hardlink" if folder == "hard" else "symlink"
        assert export(home, REF, tmp_path / folder, link=link).unchanged == 4
    assert export(home, REF, tmp_path / "hard", link="copy").unchanged == 4
    export(home, REF, tmp_path / "hard", link="copy", force=True)


def test_no_link_is_made_that_this_user_could_write_through(
    home: Home, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_, **__: True)
    for link in ("hardlink", "symlink"):
        with pytest.raises(Refused, match="would change the store through a link") as caught:
            export(home, REF, tmp_path / "new", link=link)
        assert "--link auto" in caught.value.hint
        assert not (tmp_path / "new").exists()
    with pytest.raises(InvalidInput, match="there is no kind of link 'soft'"):
        export(home, REF, tmp_path / "new", link="soft")


def test_a_reflink_is_a_file_of_its_own(
    home: Home, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clone(fd: int, request: int, source: int) -> int:
        """Do what the ioctl does, by a copy."""
        assert request == 0x40049409
        os.pwrite(fd, os.pread(source, len(BIG) + 1, 0), 0)
        return 0

    monkeypatch.setattr(fcntl, "ioctl", clone)
    for link in ("auto", "reflink"):
        export(home, REF, tmp_path / link, link=link)
        assert contents(tmp_path / link) == contents(dest)
        (tmp_path / link / "raw" / "big.bin").write_bytes(b"edited")
    assert verify(home).damaged == []


def test_without_reflinks_auto_copies_and_reflink_is_refused(
    home: Home, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    export(home, REF, tmp_path / "auto")
    assert contents(tmp_path / "auto") == contents(dest)
    with pytest.raises(Refused, match=r"no reflink can be made in .*: Operation not supported"):
        export(home, REF, tmp_path / "new", link="reflink")
    assert not (tmp_path / "new").exists()
    assert links.LINKS[0] == "auto"


def test_an_edit_while_an_export_writes_is_not_overwritten(
    home: Home, source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited_meanwhile(*given: Any) -> Any:
        (dest / "raw" / "small.txt").write_text("edited")
        (dest / "old" / "inner" / "gone.txt").write_text("edited too")
        return make_tree(*given)

    change(home, source)
    monkeypatch.setattr("datapkg.api.export.make_tree", edited_meanwhile)
    with pytest.raises(Conflict, match=r"since the last export: 'raw/small\.txt';"):
        export(home, REF, dest)
    assert contents(dest)["raw/small.txt"] == b"edited"
    done = export(home, REF, dest, force=True)
    assert contents(dest)["old/inner/gone.txt"] == b"edited too"
    assert done.removed == []
