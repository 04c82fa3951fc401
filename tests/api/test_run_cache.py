"""The shared run cache: what one person ran, another one takes, verified, if both want it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.api.push import push_package
from datapkg.api.run_cache import CachePush, check_may_fill, push_results
from datapkg.api.sharing import grant
from datapkg.building.spec.options import BuildOptions
from datapkg.building.stages.lock import NAME
from datapkg.errors import Forbidden, InvalidInput, PackageNotFound
from datapkg.format import run_cache_wire
from datapkg.format.hashing import hash_stream
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.packs import PackedObjects
from datapkg.remote.http_client import HttpClient
from datapkg.remote.session import RegistrySession
from datapkg.store.stage_results import FOLDER, key_of
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import open_registry
from registry_server.settings import read_settings
from tests.conftest import Person
from tests.examples import first
from tests.live_registry import LiveRegistry
from tests.static_registry import Static

NewPerson = Callable[[], Person]
CLEAN = """
import os, sys
import rows
source, target, size = sys.argv[1:]
with open(target, "w") as file:
    file.write(rows.kept(open(source).read()) + "x" * int(size) + "\\n")
open("ran", "a").write("clean ")
"""
ROWS = "def kept(text): return text.upper()\n"
BUILD_FILE = """
contents:
  raw: {file: raw.txt, transform: id}
  clean: {stage: clean, transform: id}
  parts: {stage: split, transform: id}
stages:
  clean:
    run: "PYTHON clean.py {raw} {out} {size}"
    inputs: {raw: contents.raw}
    params: {size: 10}
    outputs: {out: clean.txt}
  split:
    shell: true
    run: "cat {whole} {whole} > {out}/a.txt && wc -c < {whole} > {out}/b.txt && printf 'split ' >> ran"
    inputs: {whole: stages.clean.out}
    outputs: {out: parts/}
""".replace("PYTHON", sys.executable)


class Machine:
    """A folder with the build file, and the home of a person who builds it."""

    def __init__(self, person: Person, folder: Path, ref: Ref) -> None:
        self.home, self.folder, self.ref = person.home(), folder, ref
        folder.mkdir()
        self.write(build_yml=BUILD_FILE, clean_py=CLEAN, rows_py=ROWS, raw_txt=f"words of {ref}\n")

    def write(self, **files: str) -> None:
        for name, text in files.items():
            path = self.folder / name.replace("_", ".")
            path.write_text(text)
            os.utime(path, ns=(time.time_ns() - 10**10,) * 2)  # older than the run that is to rely on it

    def build(self, *, ref: Ref | None = None, **options: Any) -> BuildResult:
        return build_package(self.home, ref or self.ref, self.folder, BuildOptions(**options))

    def pull(self, **options: Any) -> dict[str, str]:
        return actions(self.build(pull_cache=True, **options))

    def push(self, **options: Any) -> CachePush:
        return push_results(self.home, self.ref, self.build(**options))

    @property
    def ran(self) -> str:
        """The stages that ran here until now."""
        path = self.folder / "ran"
        return path.read_text() if path.exists() else ""


def actions(built: BuildResult) -> dict[str, str]:
    return {each["stage"]: each["action"] for each in built.stages}


BOTH_TAKEN = {"clean": "taken", "split": "taken"}
BOTH_RAN = {"clean": "ran", "split": "ran"}


@pytest.fixture
def ada(person: Person, tmp_path: Path) -> Machine:
    """A machine whose package is at the registry, and whose results are in its run cache."""
    made = Machine(person, tmp_path / "of_ada", person.ref("data"))
    built = made.build()
    push_package(made.home, made.ref)
    assert push_results(made.home, made.ref, built).added == 2
    return made


@pytest.fixture
def other(new_person: NewPerson, tmp_path: Path, ada: Machine) -> Iterator[Machine]:
    """The machine of another person, who may read the package."""
    bob = new_person()
    grant(ada.home, ada.ref, bob.name)
    yield Machine(bob, tmp_path / "of_bob", ada.ref)


def make_writer(ada: Machine, other: Machine) -> None:
    grant(ada.home, ada.ref, name_of(other), write=True)


def name_of(machine: Machine) -> str:
    name = machine.home.client().me().user
    assert name
    return name


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield a list to which the path of each request is added."""
    made, request = [], RegistrySession.request

    def count(self: RegistrySession, method: str, path: str, **how: Any) -> Any:
        made.append(path.rpartition("/data")[2])
        return request(self, method, path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(RegistrySession, "request", count)
        yield made


def test_what_one_ran_another_takes(ada: Machine, other: Machine) -> None:
    mine = ada.build()
    taken = other.build(pull_cache=True)
    assert (actions(taken), other.ran, taken.hash) == (BOTH_TAKEN, "", mine.hash)
    origin = f"from the cache of {ada.ref.package} (by {ada.ref.user}, {time.strftime('%Y-%m-%d', time.gmtime())})"
    assert [each["why"] for each in taken.stages] == [origin, origin]
    assert (other.folder / NAME).read_text() == (ada.folder / NAME).read_text()
    assert actions(other.build()) == {"clean": "reused", "split": "reused"}, "also without the registry"
    assert other.ran == ""


def test_by_python(ada: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    package, how = ada.ref.package, {"pull_cache": True, "push_cache": True}
    for name, value in other.home.settings.environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Forbidden, match="only its writers can"):
        datapkg.build(package, other.folder, **how)
    assert other.ran == "", "it is refused before anything runs"
    datapkg.build(package, other.folder, pull_cache=True)
    assert other.ran == ""
    datapkg.build(package, other.folder, again=["split"], jobs=1)
    assert other.ran == "split "
    make_writer(ada, other)
    other.write(raw_txt="other words\n")
    datapkg.build(package, other.folder, **how)
    assert ada.home.client().find_stages(ada.ref, [key_of(other.build().results["clean"].known)])
    with pytest.raises(InvalidInput, match="objects goes with on"):
        datapkg.build(package, other.folder, objects="s3://x")


def test_nothing_is_taken_unless_it_is_asked_for(other: Machine) -> None:
    assert actions(other.build()) == BOTH_RAN
    assert other.ran == "clean split "


def test_few_requests_are_made(ada: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted(monkeypatch) as requests:
        assert other.pull() == BOTH_TAKEN
    assert requests == ["/stages/find", "/objects/read", "/objects/read"] * 2, "a wave: keys, manifests, objects"
    third = Machine(Person("", "", "", Path()), ada.folder.parent / "third", ada.ref)
    third.home = Home({**other.home.settings.environ, "DATAPKG_HOME": str(ada.folder.parent / "third_home")})
    (third.folder / NAME).write_bytes((ada.folder / NAME).read_bytes())
    with counted(monkeypatch) as requests:
        assert third.pull() == BOTH_TAKEN
    assert requests == ["/stages/find", "/objects/read", "/objects/read", "/objects/read"], "the lock names all keys"
    with counted(monkeypatch) as requests:
        assert third.pull() == {"clean": "reused", "split": "reused"}
    assert requests == []
    ada.write(raw_txt="other words\n")
    built = ada.build()
    with counted(monkeypatch) as requests:
        assert push_results(ada.home, ada.ref, built).added == 2
    assert [path.rpartition("/")[2] for path in requests] == ["find", "pushes", "objects", "stages"]
    with counted(monkeypatch) as requests:
        assert push_results(ada.home, ada.ref, built).added == 0
    assert requests == ["/stages/find"]


@pytest.mark.parametrize("files", [{"rows_py": ROWS + "# a comment\n"}, {"raw_txt": "other words\n"}])
def test_a_change_misses(other: Machine, files: dict[str, str]) -> None:
    before = {name: (other.folder / name.replace("_", ".")).read_text() for name in files}
    other.write(**files)
    assert other.pull()["clean"] == "ran"
    other.write(**before)
    assert other.pull()["clean"] == "taken"


def test_a_dry_run_shows_what_would_be_taken_and_fetches_nothing(other: Machine) -> None:
    assert other.pull(dry_run=True) == {"clean": "would be taken", "split": "would be taken"}
    assert set(other.home.store.objects) == set()
    # A node is built of what a dry run does not have.
    other.write(build_yml=BUILD_FILE.replace("whole: stages.clean.out", "whole: contents.clean"))
    assert other.pull(dry_run=True) == {"clean": "would be taken", "split": "would run"}
    other.write(rows_py="def kept(text): return text\n")
    assert other.pull(dry_run=True) == {"clean": "would run", "split": "would run"}
    assert other.ran == ""


def test_forced_stages_run(other: Machine) -> None:
    assert other.pull(force=True) == BOTH_RAN
    assert other.pull(again=("split",)) == {"clean": "reused", "split": "ran"}


def test_a_reader_cannot_fill_it(ada: Machine, other: Machine) -> None:
    with pytest.raises(Forbidden, match="only its writers can"):
        check_may_fill(other.home, other.ref, None, is_pushed=False)
    built = other.build(force=True)
    other.write(raw_txt="other words\n")
    with pytest.raises(Forbidden):
        other.push()
    make_writer(ada, other)
    check_may_fill(other.home, other.ref, None, is_pushed=False)
    assert push_results(other.home, other.ref, built).added == 0, "it gave the same"
    assert other.push().added == 2


def test_a_stranger_sees_no_package_and_runs_the_stages(ada: Machine, new_person: NewPerson, tmp_path: Path) -> None:
    stranger = Machine(new_person(), tmp_path / "of_eve", ada.ref)
    built = stranger.build(pull_cache=True)
    assert actions(built) == BOTH_RAN
    (warning,) = built.warnings
    assert f"package '{ada.ref.package}' not found" in warning
    with pytest.raises(PackageNotFound):
        stranger.home.client().find_stages(ada.ref, ["0" * 64])
    with pytest.raises(PackageNotFound) as found:
        check_may_fill(stranger.home, ada.ref, None, is_pushed=False)
    assert found.value.hint == f"push it too: datapkg build {ada.ref.package} --push --push-cache"


def test_a_registry_without_a_server_has_none(static: Static, ada: Machine) -> None:
    ada.home = static.home()
    for call in (ada.pull, ada.push, lambda: check_may_fill(ada.home, ada.ref, None, is_pushed=True)):
        with pytest.raises(InvalidInput, match="a registry without a server: it has no run cache") as found:
            call()
        assert "--registry" in found.value.hint


@pytest.mark.parametrize("size", first(1, [11, 2 << 20]))
@pytest.mark.parametrize("what", ["object", "manifest"])
def test_a_damaged_result_is_refused_and_the_stage_runs(
    ada: Machine, other: Machine, registry: LiveRegistry, what: str, size: int
) -> None:
    for machine in (ada, other):
        machine.write(build_yml=BUILD_FILE.replace("size: 10", f"size: {size}"))
    built = ada.build()
    assert push_results(ada.home, ada.ref, built).added == 2
    result = built.results["clean"]
    (node,) = result.nodes
    assert isinstance(node, FileNode)
    flip_bit(registry, node.hash if what == "object" else result.manifest)
    theirs = other.build(pull_cache=True)
    assert actions(theirs) == {"clean": "ran", "split": "taken"}
    assert theirs.hash == built.hash
    assert any("run cache" in warning for warning in theirs.warnings)
    assert other.home.store.objects.missing([node.hash]) == set()
    make_writer(ada, other)
    check_registry(registry)  # so that it knows of the damage; of a small object it does by now
    push_results(other.home, other.ref, theirs)
    assert {hit.manifest for hit in find(ada, built)} == {each.manifest for each in built.results.values()}
    with other.home.client().objects(other.ref).open(node.hash) as stream:
        assert hash_stream(stream) == (node.hash, node.size)


def check_registry(live: LiveRegistry) -> None:
    opened = open_registry(read_settings({}, data=live.data))
    check(opened, THE_OPERATOR)
    opened.close()


def flip_bit(registry: LiveRegistry, hash: str) -> None:
    place = PackedObjects(registry.data).locate(hash)
    place.path.chmod(0o600)
    with place.path.open("r+b") as file:
        file.seek(place.offset)
        first = file.read(1)
        file.seek(place.offset)
        file.write(bytes([first[0] ^ 1]))


def find(machine: Machine, built: BuildResult) -> list[run_cache_wire.StageHit]:
    return machine.home.client().find_stages(machine.ref, [key_of(each.known) for each in built.results.values()])


def test_a_result_that_cannot_be_the_outputs_is_refused(ada: Machine, other: Machine) -> None:
    built = ada.build()
    data = b"another file"
    hash = ada.home.store.objects.put_bytes(data)
    manifest = Manifest.make([FileNode(path="other", hash=hash, size=len(data))], {})
    ada.home.store.save(manifest)
    client = ada.home.client()
    push = client.start_push(ada.ref, manifest.hash, []).push
    client.objects(ada.ref, push).put_verified([(hash, data), (manifest.hash, manifest.data)])
    result = built.results["clean"]
    entry = run_cache_wire.StageEntry(key=key_of(result.known), code=result.code, manifest=manifest.hash)
    outside = run_cache_wire.StageEntry(key=entry.key, code={"../of_ada/rows.py": "0" * 64}, manifest=result.manifest)
    assert client.keep_stages(ada.ref, push, [entry, outside]) == 2
    theirs = other.build(pull_cache=True)
    assert actions(theirs) == {"clean": "ran", "split": "taken"}
    assert [each for each in theirs.warnings if "it has no file for the output 'out'" in each]


def test_a_result_with_more_than_the_outputs_is_refused(ada: Machine, other: Machine) -> None:
    """An object that was not requested could have any size."""
    built = ada.build()
    result, data = built.results["clean"], b"another file"
    hash = ada.home.store.objects.put_bytes(data)
    manifest = Manifest.make([*result.nodes, FileNode(path="zz", hash=hash, size=len(data))], {})
    client = ada.home.client()
    push = client.start_push(ada.ref, manifest.hash, []).push
    client.objects(ada.ref, push).put_verified([(hash, data), (manifest.hash, manifest.data)])
    entry = run_cache_wire.StageEntry(key=key_of(result.known), code=result.code, manifest=manifest.hash)
    assert client.keep_stages(ada.ref, push, [entry]) == 1
    theirs = other.build(pull_cache=True)
    assert actions(theirs) == {"clean": "ran", "split": "taken"}
    assert [each for each in theirs.warnings if "'zz' is not an output of it" in each]
    assert other.home.store.objects.missing([hash]) == {hash}


def test_manifests_of_results_are_bounded_together(other: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.building.stages.shared_results.MAX_MANIFESTS_BYTES", 400)
    built = other.build(pull_cache=True)
    assert "ran" in actions(built).values()
    assert [each for each in built.warnings if "their lists of files are longer" in each]


def test_what_ran_here_comes_before_what_was_taken(other: Machine) -> None:
    """Whatever time a registry states: who runs a stage again, since its result was wrong, is not given that again."""
    assert other.pull() == BOTH_TAKEN
    folder = other.home.store.folder / FOLDER
    for path in folder.glob("*/*.json"):
        stated = json.loads(path.read_text())
        path.write_text(json.dumps({**stated, "at": "2999-01-01T00:00:00+00:00"}))
    assert actions(other.build(force=True)) == BOTH_RAN
    again = other.build()
    assert {each.package for each in again.results.values()} == {""}


def test_what_is_in_the_cache_of_one_package_is_no_result_of_another(other: Machine) -> None:
    mine = Ref(name_of(other), "mine")
    assert other.pull() == BOTH_TAKEN
    built = other.build(ref=mine)
    assert actions(built) == BOTH_RAN
    push_package(other.home, mine)
    assert push_results(other.home, mine, built).added == 2
    assert other.build().results.keys() == {"clean", "split"}, "the same ran here now"


def test_only_what_ran_here_is_pushed(ada: Machine, other: Machine) -> None:
    make_writer(ada, other)
    built = other.build(pull_cache=True)
    assert actions(built) == BOTH_TAKEN
    assert push_results(other.home, other.ref, built) == CachePush(other.ref.package)


def test_a_forced_run_replaces_a_result(ada: Machine, other: Machine) -> None:
    make_writer(ada, other)
    text = BUILD_FILE.replace("cat {whole} {whole} > {out}/a.txt", "date +%N > {out}/a.txt")
    for machine in (ada, other):
        machine.write(build_yml=text)
    assert ada.push().added == 1
    first = find(ada, ada.build())
    assert other.push().added == 1, "it gave something else"
    second = {hit.key: hit for hit in find(ada, ada.build())}
    changed = [hit.key for hit in first if hit.manifest != second[hit.key].manifest]
    assert [second[key].by for key in changed] == [name_of(other)]
    assert ada.push().added == 0, "what was reused here does not replace it"


def test_a_push_that_is_killed_leaves_nothing_and_is_resumed(
    ada: Machine, other: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for machine in (ada, other):
        machine.write(raw_txt="other words\n")
    built = ada.build()

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(HttpClient, "keep_stages", killed)
        with pytest.raises(KeyboardInterrupt):
            push_results(ada.home, ada.ref, built)
    assert find(ada, built) == []
    assert other.pull(dry_run=True) == {"clean": "would run", "split": "would run"}
    pushed = push_results(ada.home, ada.ref, built)
    assert (pushed.added, pushed.objects_sent) == (2, 0)
    assert other.pull() == BOTH_TAKEN


def test_who_pushes_to_a_public_package_is_told_so_beside_other_warnings(
    ada: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_package(ada.home, ada.ref, public=True, confirm=True)
    ada.write(raw_txt="other words\n")
    built = ada.build()
    sizes = sorted(len(ada.home.store.objects.read(each.manifest)) for each in built.results.values())
    monkeypatch.setattr(run_cache_wire, "MAX_STAGE_MANIFEST_BYTES", sizes[0])
    pushed = push_results(ada.home, ada.ref, built)
    assert (pushed.added, pushed.present, len(pushed.warnings)) == (1, 0, 2)
