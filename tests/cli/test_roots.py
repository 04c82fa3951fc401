"""Every kind of file in the store and cache has a line in the table of roots, so that gc knows what names objects."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import datapkg
from datapkg.home import Home
from datapkg.store.roots import FILES, FileKind, all_states
from tests.cli.conftest import Ended, Person

HOLDING = {
    *(
        "packages/*/*/current",
        "packages/*/*/kept/*",
        "packages/*/*/log/*.json",
        "packages/*/*/tags.json",
    ),
    *(
        "packages/*/*/versions.json",
        "objects/*/*",
        "packs/*.pack",
        "stages/*/*.json",
        "links/*/*/*",
        "partial/*/*",
        "quarantine/*",
    ),
    *("trash/removed/**/*", "index.db*", "sources/**/*"),
}
"""The kinds of file that have the hash of an object in their name or bytes. Add to it after adding to `FILES`: is what
names the object a root, is it deleted with the object, or may it be wrong?"""
OUTSIDE = re.compile(r"(settings|credentials)\.json(\.lock)?|tmp/.*")


def kind_of(path: Path, home: Home) -> FileKind:
    """Return the kind of a file by the table."""
    in_cache = path.is_relative_to(home.cache)
    below = path.relative_to(home.cache if in_cache else home.store.folder).as_posix()
    for kind in FILES:
        pattern = re.escape(kind.glob).replace(r"\*\*/", "(?:.+/)?").replace(r"\*", "[^/]*")
        if kind.in_cache == in_cache and re.fullmatch(pattern, below):
            return kind
    raise AssertionError(f"{below} is in no line of FILES in datapkg/store/roots.py")


def rich_home(ada: Person, bob: Person, folder: Path, iris: Path) -> Home:
    """Do everything that leaves files in a home of ada's, and return it."""
    package, theirs = f"{ada.name}/flowers", f"{bob.name}/large"
    (iris / "large.bin").write_bytes(os.urandom(2 << 20))
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(iris / "picture.bin", "picture.bin")
    ok(bob("build", theirs, str(iris)))
    ok(bob("push", theirs, "--public", "--yes"))
    for version in ("1.0", "2.0"):
        (iris / "flowers.csv").write_text(f"petal\n{version}\n")
        (iris / "large.bin").write_bytes(os.urandom(2 << 20))
        ok(ada("build", package, str(iris)))
        ok(ada("push", package, "-v", version))
    (folder / "build.yml").write_text("contents:\n  picture: {file: a.zip, extract: picture.bin}\n")
    ok(ada("build", f"{ada.name}/zipped", "build.yml"))
    stages = "{copy: {run: [cp, '{a}', '{out}'], inputs: {a: a.zip}, outputs: {out: b.zip}}}"
    (folder / "build.yml").write_text(f"contents:\n  b: {{stage: copy}}\nstages: {stages}\n")
    ok(ada("build", f"{ada.name}/staged", "build.yml"))
    (folder / "datapkg.yml").write_text(f"packages: ['{package}@1.0']\n")
    ok(ada("install"))
    ok(ada("cache", "warm", package))
    ok(ada("cache", "keep", package))
    home = Home()
    assert datapkg.load(package)["flowers"].path.exists()
    assert datapkg.load(package)["large.bin"].path.exists()
    with datapkg.open(theirs)["large.bin"].open() as stream:
        stream.read(1000)
    ok(ada("build", f"{ada.name}/gone", str(iris / "README.md")))
    with home.store.writing():
        ok(ada("rm", f"{ada.name}/gone"))
    damaged = home.store.objects.packed.loose.path(datapkg.load(package)["large.bin"].hash)
    damaged.chmod(0o600)
    damaged.write_bytes(b"wrong")
    assert ada("verify").code == 6
    return home


def ok(ended: Ended) -> None:
    assert ended.code == 0, ended.err


def test_every_file_that_can_name_an_object_is_in_the_table(ada: Person, bob: Person, iris: Path) -> None:
    home = rich_home(ada, bob, Path.cwd(), iris)
    hashes = {*home.store.objects, *(states := all_states(home.store))}
    hashes.update(*(home.store.manifest(hash).objects() for hash in states if home.store.holds(hash)))
    needles = re.compile(b"|".join(form for hash in hashes for form in (hash.encode(), re.escape(bytes.fromhex(hash)))))
    found: dict[str, str] = {}
    for path in (each for each in home.data.rglob("*") if each.is_file()):
        if OUTSIDE.fullmatch(path.relative_to(home.data).as_posix()):
            continue
        kind = kind_of(path, home)
        name = path.relative_to(home.data).as_posix().replace("/", "")
        if needles.search(path.read_bytes()) or needles.search(name.encode()):
            found[kind.glob] = path.name
    assert found.keys() == HOLDING
    assert Path.cwd() / "datapkg.lock" in home.store.known_locks.paths().values()
