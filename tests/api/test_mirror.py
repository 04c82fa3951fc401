"""A mirror has all that its source has, and copies what is new only; `verify --registry` finds every damage."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.history import remove_tag, set_tag
from datapkg.api.install import install_packages
from datapkg.api.maintenance import delete
from datapkg.api.merge import MergeOptions, merge
from datapkg.api.mirror import mirror
from datapkg.api.push import push_package
from datapkg.api.verify import verify_registry
from datapkg.errors import Conflict, DatapkgError, HashMismatch, IntegrityError, InvalidInput
from datapkg.format.locations import decode_locations, encode_locations
from datapkg.format.names import Ref, State
from datapkg.format.static_registry import locations_key
from datapkg.home import Home
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.recipes import decode_recipe, encode_recipe
from tests.conftest import Person
from tests.static_registry import Static

REF = Ref("ada", "iris")
BIG = random.Random(0).randbytes(2 << 20)


def fill(home: Home, ref: Ref, folder: Path, numbers: range) -> None:
    """Push versions of a package with small tables, a big file, and checks."""
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / "big.bin").write_bytes(BIG + b"!" * number)
        (folder / "t.csv").write_text(f"n\n{number}\n")
        (folder / "build.yml").write_text(
            "checks: {all: {columns: [n], not_null: true}}\n"
            "contents: {t: {file: t.csv, checks: [all]}, big: {file: big.bin, transform: id}}\n"
        )
        build_package(home, ref, folder, message=f"number {number}")
        push_package(home, ref, version=f"1.{number}", tag=f"t{number}")


@pytest.fixture
def other(tmp_path: Path) -> Static:
    return Static(tmp_path / "mirror", tmp_path / "machines")


def test_the_files_of_a_mirror_are_the_same(static: Static, other: Static, tmp_path: Path) -> None:
    home = static.home()
    fill(home, REF, tmp_path / "data", range(2))
    static.push(Ref("ada", "small"), "1")
    done = mirror(home, static.url, other.url)
    assert (done.packages, done.entries) == (2, 3)
    assert other.files() == static.files()
    again = mirror(home, static.url, other.url)
    assert (again.packages, again.entries, again.objects, again.bytes_sent) == (0, 0, 0, 13)
    fill(home, REF, tmp_path / "data", range(2, 3))
    set_tag(home, REF, "stable")
    assert (mirror(home, static.url, other.url, [REF]).bytes_sent) < 1 << 20
    delete(home, Ref("ada", "small"))
    mirror(home, static.url, other.url)
    same = {key: data for key, data in static.files().items() if key.startswith(("packages/", "objects/", "recipes/"))}
    assert {key: data for key, data in other.files().items() if key in same} == same
    assert verify_registry(home, other.url).damaged == []


def test_a_dry_run_copies_nothing_and_says_what_would_be(
    static: Static, person: Person, other: Static, tmp_path: Path
) -> None:
    home = static.home()
    fill(home, REF, tmp_path / "data", range(2))
    planned = mirror(home, static.url, other.url, dry_run=True)
    assert other.files() == {}
    done = mirror(home, static.url, other.url)
    assert (planned.packages, planned.entries, planned.objects) == (done.packages, done.entries, done.objects)
    assert mirror(home, static.url, other.url, dry_run=True).packages == 0

    ref = person.ref("p")
    fill(person.home(), ref, tmp_path / "data", range(2))
    third = Static(tmp_path / "third", tmp_path / "others")
    planned = mirror(person.home(), person.url, third.url, [ref], dry_run=True)
    assert third.files() == {}
    assert (planned.failed, planned.packages, planned.entries) == ({}, 1, 2)
    assert planned.objects > 0


def test_a_mirror_of_a_server(person: Person, other: Static, tmp_path: Path) -> None:
    home, ref = person.home(), person.ref("p")
    fill(home, ref, tmp_path / "data", range(2))
    assert mirror(home, person.url, other.url, [ref]).packages == 1
    set_tag(home, ref, "stable")
    remove_tag(home, ref, "t0")
    fill(home, ref, tmp_path / "data", range(2, 3))
    mirror(home, person.url, other.url, [ref])
    assert mirror(home, person.url, other.url, [ref]).entries == 0
    server, files = home.client(), home.client(other.url)
    assert list(files.log(ref)) == list(server.log(ref))
    assert files.tag_list(ref).tags == server.tag_list(ref).tags
    assert files.tag_list(ref).moved_at.items() >= {"stable": server.tag_list(ref).moved_at["stable"]}.items()
    assert files.versions(ref) == server.versions(ref)
    for entry in server.log(ref):
        assert files.checks(ref, entry.hash) == server.checks(ref, entry.hash)
    assert verify_registry(home, other.url).damaged == []
    (outcome,) = install_packages(other.home("reader"), [ref])
    assert outcome.error is None


def test_private_packages_have_to_be_named(person: Person, other: Static, tmp_path: Path) -> None:
    home, secret, shown = person.home(), person.ref("secret"), person.ref("shown")
    (tmp_path / "a.csv").write_text("n\n1\n")
    for ref in (secret, shown):
        build_package(home, ref, tmp_path / "a.csv")
        push_package(home, ref, public=ref == shown)
    done = mirror(home, person.url, other.url)
    assert secret.package in done.left_out
    assert done.private == []
    assert {key.split("/")[2] for key in other.files() if key.startswith(f"packages/{person.name}/")} == {"shown"}
    assert secret.package not in {each.package for each in home.client(other.url).packages()}
    named = mirror(home, person.url, other.url, [secret])
    assert (named.private, named.left_out, named.packages) == ([secret.package], [], 1)


def test_a_recipe_that_makes_another_object_is_not_copied(static: Static, other: Static, tmp_path: Path) -> None:
    fill(static.home(), REF, tmp_path / "data", range(2))
    (recipe,) = [path for path in (static.folder / "recipes").rglob("*") if path.is_file()]
    steps = decode_recipe(recipe.read_bytes(), "")
    recipe.chmod(0o644)
    recipe.write_bytes(encode_recipe([steps[0]._replace(offset=1, size=steps[0].size - 1), *steps[1:]]))
    failed = mirror(static.home(), static.url, other.url).failed
    assert isinstance(failed[REF.package], HashMismatch)
    assert not any(key.startswith("recipes/") for key in other.files())
    assert other.client().resolve(REF).version is None
    assert [each.message for each in other.client().log(REF)] == ["number 0"], "the first state is whole"


def test_a_mirror_with_pushes_of_its_own(static: Static, other: Static) -> None:
    static.push(REF, "1")
    mirror(static.home(), static.url, other.url)
    other.push(REF, "2", "elsewhere", force=True)
    static.push(REF, "3")
    failed = mirror(static.home(), static.url, other.url).failed
    assert "has changes that file:" in failed[REF.package].message


def test_a_package_that_cannot_be_copied_does_not_stop_the_others(static: Static, other: Static) -> None:
    static.push(REF, "1")
    static.push(Ref("ada", "zoo"), "1")
    other.push(REF, "another")
    done = mirror(static.home(), static.url, other.url)
    assert (done.packages, list(done.failed), type(done.failed[REF.package])) == (1, [REF.package], Conflict)
    zoo = Ref("ada", "zoo")
    assert other.client().resolve(zoo).hash == static.client().resolve(zoo).hash


def test_what_cannot_be_a_mirror(person: Person, static: Static) -> None:
    static.push(REF, "1")
    with pytest.raises(InvalidInput, match="is a server; a mirror is a folder or a bucket"):
        mirror(person.home(), static.url, person.url)
    with pytest.raises(InvalidInput, match="mirror of itself"):
        mirror(person.home(), static.url, str(static.folder))
    with pytest.raises(InvalidInput, match="is a server, which verifies what it has itself"):
        verify_registry(person.home(), person.url)


def test_damage_is_not_copied(static: Static, other: Static) -> None:
    static.push(REF, "1")
    (pack,) = (static.folder / "packs").iterdir()
    flip(static, f"packs/{pack.name}", 10)
    failed = mirror(static.home(), static.url, other.url).failed
    assert isinstance(failed[REF.package], HashMismatch)
    assert not any(key.startswith("packages/ada/iris/log") for key in other.files())


def flip(static: Static, key: str, at: int) -> None:
    data = bytearray((static.folder / key).read_bytes())
    data[at] ^= 1
    FolderBlobs(static.folder).put(key, io.BytesIO(bytes(data)))


def edit(static: Static, key: str, **changes: object) -> None:
    value = json.loads((static.folder / key).read_bytes()) | changes
    FolderBlobs(static.folder).put(key, io.BytesIO(json.dumps(value).encode()))


def first(static: Static, start: str) -> str:
    return next(key for key in static.files() if key.startswith(start))


DAMAGES: dict[str, Callable[[Static], object]] = {
    "a large object": lambda static: flip(static, first(static, "objects/"), 1_000_000),
    "a lost object": lambda static: (static.folder / first(static, "objects/")).unlink(),
    "a pack": lambda static: flip(static, first(static, "packs/"), 9),
    "a lost pack": lambda static: (static.folder / first(static, "packs/")).unlink(),
    "a recipe": lambda static: flip(static, first(static, "recipes/"), 50),
    "a lost recipe": lambda static: (static.folder / first(static, "recipes/")).unlink(),
    "an entry": lambda static: edit(static, "packages/ada/iris/log/00000001.json", message="another"),
    "the last entry": lambda static: edit(static, "packages/ada/iris/log/00000002.json", hash="f" * 64),
    "a lost entry": lambda static: (static.folder / "packages/ada/iris/log/00000001.json").unlink(),
    "the pointers": lambda static: edit(static, "packages/ada/iris/heads.json", number=7),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_found(static: Static, tmp_path: Path, damage: str) -> None:
    fill(static.home(), REF, tmp_path / "data", range(2))
    good = verify_registry(static.home("verifier"), static.url)
    assert (good.damaged, good.checked > 4) == ([], True)
    DAMAGES[damage](static)
    found = verify_registry(static.home("other"), static.url, REF).damaged
    assert found
    assert {each.package for each in found} == {"ada/iris"}
    if "entry" in damage or "pointers" in damage:
        assert [each.hash for each in found] == [""]
    else:
        assert all(each.hash for each in found)


def test_what_is_derived_may_be_lost(static: Static, tmp_path: Path) -> None:
    fill(static.home(), REF, tmp_path / "data", range(2))
    for key in static.files():
        if key.startswith(("maps/", "index/")) or key.endswith("heads.json"):
            (static.folder / key).unlink()
    assert verify_registry(static.home("other"), static.url).damaged == []
    with pytest.raises(DatapkgError):
        static.home("other").client().resolve(Ref("ada", "nothing"))
    (outcome,) = install_packages(static.home("reader"), [REF])
    assert outcome.error is None


def test_parents_and_merges_are_in_the_log_of_a_mirror(
    person: Person, other: Static, static: Static, tmp_path: Path
) -> None:
    for home, ref in ((person.home(), person.ref("iris")), (static.home(), Ref("ada", "iris"))):
        path = tmp_path / "n.csv"
        states = {}
        for name, options in (("1", {}), ("2", {}), ("3", {"force": True})):
            if name == "3":
                install_packages(home, [ref.at(State("hash", states["1"]))])
            path.write_text(f"n\n{name}\n")
            build_package(home, ref, path)
            states[name] = push_package(home, ref, **options).hash  # type: ignore[arg-type]
        merge(home, [ref.at(State("hash", states[name])) for name in "32"], ref, MergeOptions(on_conflict="rename"))
        merged = push_package(home, ref).hash
        expected = [(merged, [states["3"], states["2"]]), (states["3"], [states["1"]]), (states["2"], [states["1"]])]
        assert [(each.hash, each.parents) for each in home.client().log(ref)] == [*expected, (states["1"], [])]
        mirror(home, home.client().url, other.url, [ref])
        assert [(each.hash, each.parents) for each in other.client().log(ref)] == [*expected, (states["1"], [])]


def test_a_log_that_was_edited_is_not_copied(static: Static, other: Static) -> None:
    for text in ("1", "2", "3"):
        static.push(REF, text)
    right = (static.folder / "packages/ada/iris/log/00000002.json").read_bytes()
    edit(static, "packages/ada/iris/log/00000002.json", message="another")
    failed = mirror(static.home("a"), static.url, other.url).failed
    assert isinstance(failed[REF.package], IntegrityError)
    assert not any("/log/" in key for key in other.files())
    FolderBlobs(static.folder).put("packages/ada/iris/log/00000002.json", io.BytesIO(right))
    assert mirror(static.home("a"), static.url, other.url).failed == {}
    assert [each.hash for each in other.client().log(REF)] == [each.hash for each in static.client().log(REF)]


def test_wrong_locations_are_not_copied(static: Static, other: Static) -> None:
    static.push(REF, "1")
    static.push(REF, "2")
    latest = locations_key(REF, static.client().resolve(REF).hash)
    found = decode_locations(static.files()[latest])
    wrong = {hash: place._replace(offset=place.offset + 1) for hash, place in found}
    FolderBlobs(static.folder).put(latest, io.BytesIO(encode_locations(wrong, bases=found.bases)))
    failed = mirror(static.home("a"), static.url, other.url).failed
    assert "it is not known where the objects of ada/iris" in failed[REF.package].message
    assert verify_registry(static.home("a"), other.url).damaged == []
    assert len(list(other.client().log(REF))) == 1, "the first state is whole"
