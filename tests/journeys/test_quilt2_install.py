"""Behaviours 56 to 68 of Quilt 2: installing packages from a registry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import datapkg
from datapkg.format.names import Ref
from tests.conftest import Person
from tests.faulty_proxy import Fault, Way, faulty_way
from tests.journeys.conftest import Build, Ended, Files, Machine, Publish, at, write

FILES: Files = {
    "build.yml": """contents:
      small: {t: {file: t.csv}, README: {file: README.md}}
      big: {b: {file: b.bin}}
    """,
    "t.csv": "a,b\n1,x\n2,y\n",
    "README.md": "# Hello\n",
    "b.bin": os.urandom(3 << 20),
}


@pytest.fixture
def package(person: Person, publish: Publish) -> str:
    """Push a package of small objects and a big one."""
    publish(person, "p", FILES)
    return f"{person.name}/p"


@pytest.fixture
def other(person: Person) -> Machine:
    """Return a second machine without any package."""
    return at(person, "other")


@pytest.fixture
def way(person: Person, no_pauses: None) -> Iterator[Way]:
    """Return a route to the registry that can inject faults."""
    with faulty_way(person.url) as way:
        yield way


@pytest.fixture
def behind(person: Person, way: Way) -> Machine:
    """Return a machine without any package that reaches the registry by the faulty route."""
    return at(person, "behind", way.url)


def is_empty(machine: Machine) -> bool:
    """Return whether nothing is installed and all stored objects are valid."""
    return machine.ask("ls") == {"packages": []} and machine.ask("verify")["damaged"] == []


def test_056_objects_are_stored_unchanged(package: str, other: Machine) -> None:
    other.ask("install", package)
    objects = other.home.store.objects
    for hash in objects:
        with objects.open(hash) as stream:
            assert hashlib.sha256(stream.read()).hexdigest() == hash
    with other.here():
        assert datapkg.load(f"{package}/big/b").read_bytes() == FILES["b.bin"]


def test_057_registry_named_in_a_ref_is_used(package: str, way: Way, other: Machine) -> None:
    other.ask("config", "registries.team", way.url)
    assert other.fail("install", f"team:{package}")["code"] == "not_found"
    other.ask("login", "--registry", "team", "--token", other.environ["DATAPKG_TOKEN"])
    other.ask("install", f"team:{package}")
    assert other.ask("ls")["packages"][0]["origin"] == way.url


def test_058_part_of_a_package_installs_its_objects_and_the_whole_manifest(package: str, other: Machine) -> None:
    part = other.ask("install", f"{package}/small")["installed"][0]
    assert part["objects_received"] == 2
    assert part["bytes_received"] < 1 << 20
    assert len(other.ask("show", package)["nodes"]) == 3
    with other.here():
        assert datapkg.load(f"{package}/small/README").read_text() == "# Hello\n"
        with pytest.raises(datapkg.NotFound) as caught:
            datapkg.load(f"{package}/big/b").read_bytes()
    assert caught.value.hint.startswith(f"datapkg fetch {package}")
    assert other.ask("verify")["absent"] == 1


def test_058_missing_part(package: str, other: Machine) -> None:
    assert other.fail("install", f"{package}/absent")["code"] == "not_found"
    assert is_empty(other)


def test_059_local_objects_are_not_fetched_again(package: str, other: Machine, way: Way, person: Person) -> None:
    other.ask("install", f"{package}/big")
    rest = other.ask("install", package)["installed"][0]
    assert (rest["objects_received"], rest["bytes_received"] < 1 << 20) == (2, True)
    assert other.ask("install", package)["installed"][0]["objects_received"] == 0


def test_059_interrupted_install_is_resumed(package: str, behind: Machine, way: Way) -> None:
    way.faults.append(Fault("500", "/objects/", method="GET"))
    assert behind.fail("install", package)["code"] == "unreachable"
    assert is_empty(behind)
    way.faults.clear()
    way.seen.clear()
    behind.ask("install", package)
    assert not [path for _, path in way.seen if path.endswith("/objects/read")]


@pytest.mark.parametrize("kind", ["drop", "503"])
def test_060_two_failures_are_retried(package: str, behind: Machine, way: Way, kind: str) -> None:
    way.faults.append(Fault(kind, times=2))
    assert behind.ask("install", package)["installed"]


def test_060_hanging_registry_times_out(package: str, behind: Machine, way: Way) -> None:
    way.faults.append(Fault("slow", times=2))
    impatient = Machine({**behind.environ, "DATAPKG_TIMEOUT_S": "0.3"}, behind.folder)
    error = impatient.fail("install", package)
    assert error["code"] == "unreachable"
    assert "within 0.3 s (DATAPKG_TIMEOUT_S)" in error["message"]


def test_060_permanent_failures_are_an_error(package: str, behind: Machine, way: Way) -> None:
    way.faults.append(Fault("drop"))
    ended = behind.run("install", package, "--json")
    assert (ended.code, ended.error["code"]) == (8, "unreachable")
    assert is_empty(behind)


def test_061_wrong_manifest_is_rejected(package: str, behind: Machine, way: Way) -> None:
    way.faults.append(Fault("flip", "/manifests/"))
    ended = behind.run("install", package, "--json")
    assert (ended.code, ended.error["detail"]["type"]) == (6, "HashMismatch")
    assert is_empty(behind)


def test_062_wrong_object_is_rejected(package: str, behind: Machine, way: Way) -> None:
    way.faults.append(Fault("flip", "/objects/"))
    ended = behind.run("install", package, "--json")
    assert (ended.code, ended.error["detail"]["type"]) == (6, "HashMismatch")
    assert is_empty(behind)


def test_063_insufficient_disk_space_is_reported_before_the_transfer(
    package: str, behind: Machine, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total=1 << 30, used=1 << 30, free=1000))
    error = behind.fail("install", package)
    assert "1,000 free" in error["message"]
    assert not [path for _, path in way.seen if "/objects/" in path]
    monkeypatch.undo()
    assert is_empty(behind)


def test_064_manifest_only_install_and_later_fetch(package: str, other: Machine) -> None:
    meta = other.ask("install", package, "--meta-only")["installed"][0]
    assert meta["objects_received"] == 0
    assert other.ask("show", f"{package}/small/t")["nodes"][0]["columns"] == [["a", "int64"], ["b", "string"]]
    assert other.run("verify").code == 0
    with other.here():
        node = datapkg.load(f"{package}/small/t")
        assert node.rows == 2
        with pytest.raises(datapkg.NotFound) as caught:
            node()
        assert caught.value.hint.startswith("datapkg fetch ")
        assert len(datapkg.install(f"{package}/small/t")()) == 2
        assert len(node()) == 2
    assert other.ask("install", package)["installed"][0]["objects_received"] == 2


@pytest.fixture
def versions(person: Person, publish: Publish) -> list[str]:
    """Push three states of one package: version 1.0, tag stable, and latest."""
    states = [publish(person, "v", {"a.txt": "1", "b/c.txt": "c"}, "--version", "1.0")]
    states.append(publish(person, "v", {"a.txt": "2", "b/c.txt": "c"}, "--tag", "stable"))
    return [*states, publish(person, "v", {"a.txt": "3", "b/c.txt": "c"})]


@pytest.mark.parametrize("form", ["datapkg", "quilt"])
def test_065_requirements_are_installed_in_order(
    person: Person, package: str, versions: list[str], other: Machine, form: str
) -> None:
    me, short = person.name, versions[0][:10]
    texts = {
        "datapkg": [f"{me}/p", f"{me}/v@1.0", f"{me}/v@stable", f"{me}/v@sha256:{short}", f"{me}/v/b", f"{me}/v@>=1"],
        "quilt": [
            f"{me}/p",
            f"{me}/v:v:1.0",
            f"{me}/v:t:stable",
            f"{me}/v:h:{short}",
            f"{me}/v/b",
            f"{me}/v:version:1.0",
        ],
    }
    one, _, _ = versions
    wanted = [None, versions[0], versions[1], one, versions[2], one]
    for text, hash in zip(texts[form], wanted, strict=True):
        write(other.folder, {"asked.yml": f"packages:\n- {me}/p\n- '{text}'\n" if hash else f"packages: [{text}]\n"})
        installed = other.ask("install", "-r", "asked.yml")["installed"]
        assert [each["package"] for each in installed] == ([f"{me}/p", f"{me}/v"] if hash else [f"{me}/p"])
        assert hash in (None, installed[-1]["hash"])


def test_065_failing_requirement_does_not_stop_the_others(person: Person, package: str, other: Machine) -> None:
    write(other.folder, {"asked.yml": f"packages: [{person.name}/absent, {package}]\n"})
    ended = other.run("install", "-r", "asked.yml", "--json")
    assert ended.code == 3
    assert [each["package"] for each in other.ask("ls")["packages"]] == [package]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[a/b]",
        "packages: a/b",
        "packages: [nonsense]",
        "packages: [{a: b}]",
        "packages: [a/b@]",
        "other: [a/b]",
    ],
)
def test_066_invalid_requirements(other: Machine, text: str) -> None:
    write(other.folder, {"datapkg.yml": text})
    for words in (("install",), ("lock",), ("install", "-r", "datapkg.yml")):
        ended = other.run(*words, "--json")
        assert ended.code == 2
        assert "datapkg.yml" in ended.error["message"]
    assert is_empty(other)


def test_066_requirements_without_packages(other: Machine) -> None:
    write(other.folder, {"datapkg.yml": "packages: []\n"})
    assert other.ask("install") == {"installed": []}


def test_066_missing_requirements_file(other: Machine) -> None:
    other.folder.mkdir(parents=True)
    assert "datapkg.yml" in other.fail("install")["message"]
    assert "absent.yml" in other.fail("install", "-r", "absent.yml")["message"]


@pytest.mark.parametrize("state", ["@9.9", "@nosuchtag", "@sha256:" + "0" * 64, "@sha256:000000", "/no/such/part"])
def test_066_state_not_found_at_the_registry(package: str, other: Machine, state: str) -> None:
    ended = other.run("install", package + state, "--json")
    assert (ended.code, ended.error["code"]) == (3, "not_found")
    assert is_empty(other)


def alike() -> tuple[str, str]:
    """Return two build files whose package hashes begin with the same six digits."""
    seen: dict[str, int] = {}
    for number in range(1_000_000):
        manifest = b'{"datapkg":1,"meta":{"n":%d}}\n' % number
        other = seen.setdefault(hashlib.sha256(manifest).hexdigest()[:6], number)
        if other != number:
            return tuple(f"meta: {{n: {each}}}\ncontents: {{}}\n" for each in (other, number))  # type: ignore[return-value]
    raise AssertionError("none in a million")


def test_067_ambiguous_short_hash_lists_both_states(person: Person, publish: Publish, other: Machine) -> None:
    hashes = sorted(publish(person, "p", {"build.yml": text}) for text in alike())
    assert hashes[0][:6] == hashes[1][:6]
    error = other.fail("install", f"{person.name}/p", "-x", hashes[0][:6])
    assert error["code"] == "invalid"
    assert error["detail"]["candidates"] == hashes
    assert other.ask("install", f"{person.name}/p", "-x", hashes[0][:40])["installed"][0]["hash"] == hashes[0]


def test_067_ambiguous_short_hash_of_local_states_lists_both(build: Build) -> None:
    hashes = sorted(build({"build.yml": text}).hash for text in alike())
    with pytest.raises(datapkg.InvalidInput) as caught:
        datapkg.load(f"me/p@sha256:{hashes[0][:6]}")
    assert caught.value.detail["candidates"] == hashes


def test_068_hash_covers_visible_content_but_not_its_origin(build: Build) -> None:
    contents = "meta: {title: %s}\ncontents: {t: {file: t.csv}}\n"
    first = build({"build.yml": contents % "One", "t.csv": "a\n1\n"})
    again = build({"build.yml": contents % "One", "t.csv": "a\n1\n"})
    renamed = build({"build.yml": contents % "Two", "t.csv": "a\n1\n"})
    assert first.hash == again.hash != renamed.hash
    assert first.t.content == renamed.t.content


def test_installing_an_old_state_does_not_move_latest(person: Person, versions: list[str], other: Machine) -> None:
    package = f"{person.name}/v"
    other.ask("install", package)
    other.ask("install", package, "-x", versions[0])
    assert other.ask("ls")["packages"][0]["hash"] == versions[0]
    assert other.home.store.refs.tags(Ref(person.name, "v"))["latest"] == versions[2]
    assert other.ask("show", f"{package}@latest")["hash"] == versions[2]
    assert other.ask("install", package)["installed"][0]["hash"] == versions[2]


def test_installing_over_an_unpushed_build_keeps_it(person: Person, package: str, tmp_path: Path) -> None:
    mine = at(person)
    built = mine.ask("build", package, str(write(tmp_path / "unpushed", {"a.txt": "mine"})))["hash"]
    note = mine.ask("install", package)["installed"][0]["note"]
    assert built in note
    assert mine.ask("show", f"{package}@sha256:{built}")["hash"] == built


def test_local_state_installs_by_full_hash_without_a_registry(person: Person, versions: list[str]) -> None:
    offline = at(person, url="http://127.0.0.1:9")
    ended: Ended = offline.run("install", f"{person.name}/v@sha256:{versions[0]}", "--json")
    assert ended.json["installed"][0]["hash"] == versions[0]
    assert offline.ask("ls")["packages"][0]["hash"] == versions[0]
