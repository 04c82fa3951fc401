"""The run cache of a package as the place between a build and its workers, at a real registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.api.sharing import grant
from datapkg.building.cluster.package_objects import PackageObjects, PackagePlace
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import DatapkgError, Forbidden, InvalidInput, NotLoggedIn, PackageNotFound, StageFailed
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.base import Readable, Writable
from tests.building.cluster.test_cluster import Project
from tests.conftest import Person
from tests.contracts import BODIES, PutContract, ReadableContract
from tests.static_registry import Static

NewPerson = Callable[[], Person]


def place_of(person: Person, name: str = "exchange") -> PackagePlace:
    """Push an empty package of a person, and return its place."""
    home, ref = person.home(), person.ref(name)
    build_package(home, ref, {}, BuildOptions(allow_empty=True))
    push_package(home, ref)
    return PackagePlace(person.url, ref.package)


class TestPackageObjects(ReadableContract, PutContract):
    @pytest.fixture
    def target(self, person: Person) -> Iterator[Writable]:
        yield place_of(person).opened(person.home())

    @pytest.fixture
    def filled(self, target: Writable) -> Iterator[Readable]:
        target.put_many(BODIES)
        yield target


def test_what_one_machine_puts_another_one_reads(new_person: NewPerson) -> None:
    ada, bob, eve = new_person(), new_person(), new_person()
    place = place_of(ada)
    grant(ada.home(), Ref.parse(place.package), bob.name, write=True)
    mine, theirs = place.opened(ada.home()), place.opened(bob.home("other"))
    with mine.batch():
        hashes = mine.put_many([b"a", b"b" * 3_000_000])
        assert theirs.missing(hashes) == set(hashes)  # nothing is there before the batch has ended
    assert [theirs.read(hash) for hash in hashes] == [b"a", b"b" * 3_000_000]
    assert eve.home().client(place.registry).objects(Ref.parse(place.package)).missing(hashes) == set(hashes)


def test_a_batch_that_failed_leaves_nothing(person: Person) -> None:
    target: PackageObjects = place_of(person).opened(person.home())
    with pytest.raises(KeyError), target.batch():
        target.put_bytes(b"in vain")
        raise KeyError
    assert target.missing([hash_bytes(b"in vain")])
    assert target.read(target.put_bytes(b"next")) == b"next"


def test_who_may_not_write_is_told(new_person: NewPerson, static: Static) -> None:
    ada, bob = new_person(), new_person()
    place = place_of(ada)
    wrong: list[tuple[Home, PackagePlace, type[DatapkgError]]] = [
        (bob.home(), place, PackageNotFound),
        (ada.home(), PackagePlace(ada.url, f"{ada.name}/absent"), PackageNotFound),
        (Home({"DATAPKG_HOME": str(ada.folder / "bare"), "DATAPKG_REGISTRY": ada.url}), place, NotLoggedIn),
        (ada.home(), PackagePlace(static.url, place.package), InvalidInput),
    ]
    for home, where, expected in wrong:
        with pytest.raises(expected):
            where.opened(home)
        assert where.problem(home)
    grant(ada.home(), Ref.parse(place.package), bob.name)
    with pytest.raises(Forbidden, match="not write to its run cache"):
        place.opened(bob.home())
    assert place.problem(ada.home()) == ""


big = [
    pytest.mark.big,
    pytest.mark.needs_library("distributed"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def use(person: Person, monkeypatch: pytest.MonkeyPatch, token: str = "") -> None:
    """Set the registry and the token of a person, for this process and for workers that start from now on."""
    monkeypatch.setenv("DATAPKG_REGISTRY", person.url)
    monkeypatch.setenv("DATAPKG_TOKEN", token or person.token)


class TestBuild:
    pytestmark = big

    def test_the_same_bytes_through_a_registry(
        self, project: Project, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(person, monkeypatch)
        place = place_of(person)
        here = project.build(tmp_path / "here")
        there = project.build(tmp_path / "there", "dask", place.package)
        assert there.hash == here.hash
        store = Home({"DATAPKG_HOME": str(tmp_path / "there")}).store
        assert not store.objects.missing(store.manifest(there.hash).objects())

    def test_errors_and_logs_come_back(
        self, project: Project, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(person, monkeypatch)
        (project.folder / "clean.py").write_text("print('some', 'words'); raise SystemExit(3)")
        with pytest.raises(StageFailed, match="some words"):
            project.build(tmp_path / "there", "dask", place_of(person).package)

    def test_workers_without_a_token_are_named(
        self, project: Project, new_person: NewPerson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from distributed import LocalCluster

        ada, bob = new_person(), new_person()
        place = place_of(ada)
        use(bob, monkeypatch)
        with LocalCluster(
            n_workers=1, memory_limit=None, dashboard_address=None, host="127.0.0.1", silence_logs=50
        ) as cluster:
            use(ada, monkeypatch)
            with pytest.raises(InvalidInput, match=r"worker tcp://.* cannot move objects through") as refused:
                project.build(tmp_path / "there", cluster.scheduler_address, place.package)
        assert "DATAPKG_TOKEN" in refused.value.hint
        assert bob.token not in str(refused.value)


@pytest.mark.needs_library("distributed")
def test_a_package_that_is_absent_is_told_before_a_cluster_is_started(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(person, monkeypatch)
    (tmp_path / "rows.csv").write_text("a\n" + "12345\n" * 200_000)
    options = BuildOptions(on="tcp://127.0.0.1:1", objects=f"{person.name}/absent")
    with pytest.raises(PackageNotFound):
        build_package(Home(), person.ref("data"), tmp_path, options)
