"""A bit flip, truncation or emptying of any small file of a store is reported, and everything else still works."""

from __future__ import annotations

import errno
import os
import random
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.listing import list_packages, show
from datapkg.api.log import log
from datapkg.api.verify import verify
from datapkg.cli.main import main
from datapkg.errors import DamagedFile, DatapkgError, InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.files import NamedFile
from datapkg.reading.load import load
from datapkg.resolve import find_installed

ONE, OTHER = Ref("me", "one"), Ref("me", "other")
HASH = "a" * 64


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Create a home with two packages, tags, versions, a log of several events and a partial object."""
    home = Home({"DATAPKG_HOME": str(tmp_path / "home")})
    folder = tmp_path / "folder"
    folder.mkdir()
    for text in ("1", "2"):
        (folder / "t.csv").write_text(f"a,b\n{text},x\n")
        (folder / "f.txt").write_text(text)
        for ref in (ONE, OTHER):
            build_package(home, ref, folder)
    for ref in (ONE, OTHER):
        home.store.refs.set_pointers(ref, "tags", {"latest": HASH, "beta": HASH})
        home.store.refs.set_pointers(ref, "versions", {"1.0": HASH})
    with home.store.through(lambda: home.store.objects, "https://a.example").parts.part(HASH, 10) as part:
        part.write(0, b"12345")
        part.keep([(0, 5)])
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


def again(home: Home) -> Home:
    return Home({"DATAPKG_HOME": str(home.data)})


def small_files(home: Home) -> list[Path]:
    store = home.store.folder
    found = [store / "format", *(store / "packages/me/one").rglob("*"), *(store / "partial").rglob("*")]
    return sorted(path for path in [*found, home.cache / "index.db"] if path.is_file())


def damages(data: bytes, count: int) -> list[bytes]:
    flips = random.Random(0).choices(range(8 * len(data)), k=count)
    flipped = [data[: at // 8] + bytes([data[at // 8] ^ 1 << at % 8]) + data[at // 8 + 1 :] for at in flips]
    return [b"", data[: len(data) // 2], b"\0" * len(data), b"[" * 100_000, *flipped]


def use(home: Home) -> None:
    """Run every operation; failures on the damaged package are datapkg errors, and the other package works."""
    home = again(home)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedFile)
        listed = {each.package for each in list_packages(home)}
        assert "me/other" in listed
        for ref in (ONE, OTHER):
            try:
                log(home, ref, remote=False)
                show(home, ref)
                node = load(str(ref), home=home)["t"]
                assert node().b.tolist() == ["x"]
                (outcome,) = install_packages(home, [ref.at(State("hash", find_installed(home, ref).hash))])
                assert outcome.installed is not None
            except DatapkgError:
                assert ref == ONE
        verify(home, OTHER)
        verify(home)


@pytest.mark.parametrize("kind", ["format", "current", "tags", "versions", "log", "partial", "index.db"])
def test_damaged_file_does_not_affect_anything_else(home: Home, kind: str, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(home.data, whole, symlinks=True)
    path = next(each for each in small_files(home) if kind in str(each.relative_to(home.data)))
    for data in damages(path.read_bytes(), 4):
        path.unlink()
        path.write_bytes(data)
        if kind == "format" and data.strip().isdigit() and int(data) > 2:
            with pytest.raises(InvalidInput, match="this datapkg reads formats up to 2"):
                use(home)
        else:
            use(home)
        shutil.rmtree(home.data)
        shutil.copytree(whole, home.data, symlinks=True)


def test_empty_format_file_is_rewritten(home: Home) -> None:
    path = home.store.folder / "format"
    path.write_bytes(b"")
    assert load("me/one", home=again(home))["t"]().b.tolist() == ["x"]
    again(home).store.prepare()
    assert path.read_text() == "1\n"


def test_verify_sets_damaged_files_aside_and_repairs_what_it_can(home: Home) -> None:
    package = home.store.folder / "packages/me/one"
    before = home.store.refs.current(Ref("me", "one"))
    event = sorted((package / "log").iterdir())[0]
    for path in (package / "current", package / "tags.json", event):
        path.write_bytes(b"{")
    found = verify(again(home))
    assert [str(path) in "".join(found.set_aside) for path in (package / "current", package / "tags.json", event)] == [
        True
    ] * 3
    assert (found.damaged, verify(again(home)).set_aside) == ([], [])
    assert again(home).store.refs.current(Ref("me", "one")) == before
    assert again(home).store.refs.tags(Ref("me", "one")) == {}  # they return with the next install
    assert len(list(again(home).store.refs.log(Ref("me", "one")))) == 1
    assert sum(each.read_bytes() == b"{" for each in (home.store.folder / "quarantine").iterdir()) == 3


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
def test_file_that_may_not_be_read_is_not_set_aside(home: Home, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A file that may not be read, or not now, keeps its place: chaos trial `verify EACCES 13 950`."""
    pointer, read = home.store.folder / "packages" / "me" / "one" / "current", Path.read_bytes

    def failing(path: Path) -> bytes:
        if path == pointer:
            raise OSError(number, os.strerror(number), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(OSError, match=os.strerror(number)):
        verify(home)
    monkeypatch.undo()
    assert verify(home).set_aside == []
    assert find_installed(home, ONE)


def test_pointer_to_a_missing_state_falls_back_to_the_newest_present(home: Home) -> None:
    refs = home.store.refs
    before = refs.current(Ref("me", "one"))
    assert before is not None
    refs.set_current(
        Ref("me", "one"), replace(before, hash=before.hash[:-1] + ("0" if before.hash[-1] != "0" else "1"))
    )
    with pytest.warns(DamagedFile, match="the newest of its log that is, is used"):
        assert find_installed(again(home), ONE).hash == before.hash


def test_commands_report_damage_and_continue(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATAPKG_HOME", str(home.data))
    path = home.store.folder / "packages/me/one/current"
    path.write_bytes(b"")
    assert main(["ls"]) == 0
    out, err = capfd.readouterr()
    assert "me/one" in out
    assert "me/other" in out
    assert err.count(f"note: {path} is damaged") == 1
    assert main(["verify"]) == 6
    out, err = capfd.readouterr()
    assert f"{path} is damaged" in out
    assert "1 small file of packages damaged, and set aside" in err
    assert main(["verify"]) == 0


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_damaged_settings_and_credentials_do_not_block_local_packages(home: Home, data: bytes) -> None:
    (home.config / "settings.json").write_bytes(data)
    (home.config / "credentials.json").write_bytes(data)
    with pytest.warns(DamagedFile, match="settings"):
        assert load("me/one", home=again(home))["t"]().b.tolist() == ["x"]
    with pytest.warns(DamagedFile, match="credentials"):
        assert again(home).credential("https://a.example").token is None
    with pytest.raises(InvalidInput, match="cannot be read"):
        again(home).registry_url()
    with pytest.raises(InvalidInput, match="cannot be read"):
        again(home).credentials.keep("https://a.example", "dpk_x", "me")


@pytest.mark.parametrize("kind", ["file", "pack"])
def test_object_that_the_disk_cannot_read_is_damaged_and_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    home, folder = Home({"DATAPKG_HOME": str(tmp_path / "home")}), tmp_path / "folder"
    folder.mkdir()
    (folder / "long.bin").write_bytes(bytes(2 << 20))
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{number}" * 1000)
    build_package(home, ONE, folder)
    damaged = bytes(2 << 20) if kind == "file" else b"1" * 1000
    place = home.store.objects.packed.locate(hash_bytes(damaged))
    failing, readinto, readall = os.stat(place.path).st_ino, NamedFile.readinto, NamedFile.readall

    def fail(file: NamedFile, size: int) -> None:
        overlaps = file.tell() < place.offset + place.size and file.tell() + size > place.offset
        if overlaps and os.fstat(file.fileno()).st_ino == failing:
            raise OSError(errno.EIO, "Input/output error", file.name)

    monkeypatch.setattr(NamedFile, "readinto", lambda file, data: fail(file, len(data)) or readinto(file, data))
    monkeypatch.setattr(NamedFile, "readall", lambda file: fail(file, 1 << 30) or readall(file))
    home.index.path.unlink()
    assert [each.hash for each in verify(again(home)).damaged] == [hash_bytes(damaged)]
    build_package(again(home), ONE, folder)
    assert verify(again(home)).damaged == []
