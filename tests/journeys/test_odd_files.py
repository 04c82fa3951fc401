"""A directory of several hundred unusual files survives build, push, install and export with all names and bytes."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path

import pytest

import datapkg
from tests.conftest import Person
from tests.journeys.conftest import Build, Machine, Publish, at, write

LETTERS = "aZ09 _-.,;:!?#%&@+=~^`'\"()[]{}<>|*$éßЖ日本語한글العربيةעברית🦆e\u0301\u00a0\u200b\u202e"
CHOSEN = {
    "-rf": b"dash",
    "--help": b"dashes",
    "~": b"tilde",
    "con": b"reserved elsewhere",
    "a" * 255: b"long",
    "日" * 85: b"long in bytes",
    "no_end.": b"dot",
    " spaces ": b"blanks",
    "tables.parquet.txt": b"two",
    "EMPTY": b"",
    "kwargs/file/contents/meta/checks/x.bin": b"keywords",
    "__init__.py": b"import os",
    "hash": b"a method",
    "%2e%2e": b"escaped",
    "{0.__class__}": b"a format",
    "nul\u2044slash": b"a fraction slash",
    "/".join("abcdefgh"): b"deep",
}


def odd_files(seed: int, count: int) -> dict[str, bytes]:
    """Return files of all sizes whose names cover every character that a name may have."""
    chance = random.Random(seed)
    files = dict(CHOSEN)
    while len(files) < count:
        parts = ["".join(chance.choices(LETTERS, k=chance.randrange(1, 20))) for _ in range(chance.randrange(1, 4))]
        name = unicodedata.normalize("NFC", "/".join(parts))
        if not any(part.startswith(".") or part == "build.yml" for part in name.split("/")):
            files[f"{len(files)}{name}"] = chance.randbytes(chance.choice([0, 1, 100, 5000]))
    return files


def exported(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_name_and_byte_round_trips(person: Person, publish: Publish) -> None:
    files, package, other = odd_files(1, 300), f"{person.name}/odd", at(person, "other")
    hash = publish(person, "odd", files)
    assert other.ask("install", package)["installed"][0]["hash"] == hash
    with other.here():
        opened = datapkg.load(package)
        nodes = {path: node.read_bytes() for path, node in opened.walk() if datapkg.kind(node) == "file"}
        assert nodes == files
        assert all(opened[path].path.read_bytes() == data for path, data in files.items())
        assert repr(opened)
        assert opened._repr_html_()
    other.ask("export", package, "out")
    assert exported(other.folder / "out") == files
    assert at(person, "third").ask("build", package, str(other.folder / "out"))["hash"] == hash


def test_generate_names_every_file(here: Machine, tmp_path: Path) -> None:
    folder = write(tmp_path / "odd", {**odd_files(2, 300), "README.md": b"# Odd\n"})
    as_it_lies = here.ask("build", "me/odd", str(folder))["hash"]
    here.ask("generate", str(folder))
    assert here.ask("build", "me/odd", str(folder))["hash"] == as_it_lies


def test_every_node_has_a_reference(here: Machine, build: Build) -> None:
    files = odd_files(3, 60)
    build(files, "me/odd")
    for path, data in files.items():
        ref = str(datapkg.Ref("me", "odd", path))
        with here.here():
            assert datapkg.load(ref).read_bytes() == data
        assert here.ask("show", ref)["nodes"][0]["path"] == path


def test_name_in_another_normal_form_is_the_same_name(here: Machine, build: Build, tmp_path: Path) -> None:
    package = build({"e\u0301.txt": "composed of two"})
    assert list(package) == ["\u00e9.txt"]
    here.ask("export", "me/p", str(tmp_path / "out"))
    assert [unicodedata.normalize("NFC", name) for name in os.listdir(tmp_path / "out")] == ["\u00e9.txt"]
    with pytest.raises(datapkg.InvalidInput):
        build({"e\u0301.txt": "two", "\u00e9.txt": "one"})


@pytest.mark.parametrize("name", [b"a\nb", b"a\x1b[2J", b"not utf-8 \xff\xfe", b"back\\slash"])
def test_invalid_node_name_is_reported(here: Machine, tmp_path: Path, name: bytes) -> None:
    folder = write(tmp_path / "odd", {"fine.txt": "fine"})
    with open(os.path.join(os.fsencode(folder), name), "wb") as file:
        file.write(b"x")
    for words in (("build", "me/odd", str(folder)), ("generate", str(folder))):
        ended = here.run(*words)
        assert ended.code == 2
        assert "\x1b" not in ended.err
        assert "Traceback" not in ended.err
    assert here.ask("ls") == {"packages": []}


def test_hidden_files_and_links_to_the_outside_are_left_out(here: Machine, tmp_path: Path) -> None:
    folder = write(tmp_path / "odd", {"a.txt": "a", ".hidden": "x", ".git/config": "x", "__pycache__/x.pyc": "x"})
    outside = write(tmp_path / "outside", {"secret": "secret"})
    (folder / "link").symlink_to(outside / "secret")
    (folder / "links").symlink_to(outside)
    (folder / "nowhere").symlink_to("nothing")
    (folder / "self").symlink_to(".")
    (folder / "inside").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    built = here.ask("build", "me/odd", str(folder))
    with here.here():
        assert list(datapkg.load("me/odd")) == ["a.txt", "inside"]
    assert len(built["warnings"]) == 4
