"""A running registry whose bucket fails: clear errors, retries that help, and nothing half is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.api.push_result import PushResult
from datapkg.api.verify import verify
from datapkg.errors import DatapkgError, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.load import load
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import open_registry
from registry_server.settings import Settings
from tests.faulty_proxy import Fault, Way, faulty_way
from tests.live_registry import LiveRegistry, live_registry
from tests.object_stores import AZURE_ACCOUNT, AZURITE, CEPH, ObjectStore

MB = 1 << 20
THINGS = Ref("ada", "things")

pytestmark = [pytest.mark.big, pytest.mark.needs(*AZURITE)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.session.pause_s", lambda number, retry_after: 0.05)


@dataclass
class World:
    """A registry with a bucket behind a proxy, and a user of it."""

    registry: LiveRegistry
    way: Way
    token: str
    folder: Path

    def home(self, machine: str) -> Home:
        environ = {
            "DATAPKG_HOME": str(self.folder / machine),
            "DATAPKG_REGISTRY": self.registry.url,
            "DATAPKG_TOKEN": self.token,
        }
        return Home(environ)

    def build(self) -> None:
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        for i in range(20):
            (source / f"small{i}.bin").write_bytes(os.urandom(1000))
        for i in range(3):
            (source / f"big{i}.bin").write_bytes(os.urandom(3 * MB))
        build_package(self.home("own"), THINGS, source)

    def push(self) -> PushResult:
        return push_package(self.home("own"), THINGS)

    def install(self, machine: str = "other") -> DatapkgError | None:
        (outcome,) = install_packages(self.home(machine), [THINGS])
        if outcome.error is None:
            assert verify(self.home(machine)).damaged == []
        return outcome.error

    def check(self) -> None:
        """Assert that nothing half or damaged is kept."""
        registry = open_registry(Settings(data=self.registry.data))
        assert check(registry, THE_OPERATOR).is_clean
        registry.close()
        assert not [each for each in (self.registry.data / "tmp").rglob("*") if not each.name.startswith("upload-")]


@pytest.fixture
def way(azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    azurite.set_environment(monkeypatch)
    with faulty_way(azurite.endpoint.removesuffix(f"/{AZURE_ACCOUNT}")) as way:
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{way.url}/{AZURE_ACCOUNT}")
        yield way


@pytest.fixture
def signed_urls_s() -> str:
    return "0"


@pytest.fixture
def world(way: Way, azurite: ObjectStore, tmp_path: Path, signed_urls_s: str) -> Iterator[World]:
    url = azurite.new_bucket("registry")
    with live_registry(
        tmp_path, DATAPKG_REGISTRY_OBJECTS=url, DATAPKG_REGISTRY_SIGNED_URLS_S=signed_urls_s
    ) as registry:
        world = World(registry, way, registry.add_user("ada"), tmp_path)
        world.build()
        yield world


@pytest.mark.parametrize("kind", ["503", "500", "drop", "cut upload"])
def test_a_store_that_fails_for_a_moment_costs_nothing_but_time(world: World, kind: str) -> None:
    world.way.faults.append(Fault(kind, "/objects/", times=2))
    world.way.faults.append(Fault(kind, "/packs/", times=1))
    world.push()
    assert world.way.happened
    world.check()
    assert world.install() is None


def test_a_store_that_is_down_is_one_clear_error_and_the_push_goes_on_later(world: World) -> None:
    fault = Fault("503", "/objects/", method="PUT", skip=1)
    world.way.faults.append(fault)
    with pytest.raises(Unreachable, match="the storage of the registry did not answer as it should: 503"):
        world.push()
    assert "az://" in world.registry.log.read_text()
    world.way.faults.clear()
    assert world.push().bytes_sent < 7 * MB
    world.check()
    assert world.install() is None


def test_credentials_that_expire_during_a_push(world: World) -> None:
    world.way.faults.append(Fault("403", "/objects/", method="PUT", skip=1))
    with pytest.raises(Unreachable, match="the storage of the registry refuses its request: 403") as caught:
        world.push()
    assert caught.value.hint == "tell the administrator of the registry"
    assert "check the credentials of the registry" in world.registry.log.read_text()
    world.way.faults.clear()
    assert world.push().bytes_sent < 7 * MB
    world.check()
    assert world.install() is None


@pytest.mark.parametrize("kind", ["503", "drop", "half", "cut", "slow"])
def test_reads_from_a_store_that_fails_for_a_moment(world: World, kind: str) -> None:
    world.push()
    world.way.faults.append(Fault(kind, "/objects/", method="GET", times=2))
    world.way.faults.append(Fault(kind, "/packs/", method="GET", times=1))
    assert world.install() is None
    assert world.way.happened


@pytest.mark.parametrize("kind", ["503", "half", "flip"])
def test_a_store_that_gives_no_whole_objects_gives_no_wrong_ones(world: World, kind: str) -> None:
    world.push()
    world.way.faults.append(Fault(kind, "/objects/", method="GET"))
    assert world.install() is not None
    assert world.home("other").store.refs.current(THINGS) is None
    world.way.faults.clear()
    assert world.install() is None
    if kind != "flip":
        world.check()


class TestSignedAddresses:
    """Clients fetch large objects from the store itself, without their token."""

    @pytest.fixture
    def signed_urls_s(self) -> str:
        return "60"

    def test_install_and_lazy_reads(self, world: World) -> None:
        world.push()
        world.way.seen.clear()
        assert world.install() is None
        signed = [path for method, path in world.way.seen if method == "GET" and "sig=" in path]
        assert len(signed) >= 3
        node = load(THINGS, world.home("lazy"), lazy=True)["big1.bin"]
        with node.open() as stream:
            stream.seek(MB)
            assert stream.read(10) == (world.folder / "source" / "big1.bin").read_bytes()[MB:][:10]

    @pytest.mark.parametrize("kind", ["403", "503", "half", "drop"])
    def test_a_store_that_fails_is_asked_again_by_a_new_address(self, world: World, kind: str) -> None:
        world.push()
        world.way.faults.append(Fault(kind, "sig=", method="GET", times=2))
        assert world.install() is None
        assert world.way.happened.count(kind) == 2

    def test_wrong_bytes_of_the_store_are_not_kept(self, world: World) -> None:
        world.push()
        world.way.faults.append(Fault("flip", "sig=", method="GET"))
        assert world.install() is not None
        assert world.home("other").store.refs.current(THINGS) is None


@pytest.mark.big
@pytest.mark.needs(*CEPH)
def test_a_push_to_ceph_with_signed_addresses(
    ceph: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ceph.set_environment(monkeypatch)
    url = ceph.new_bucket("registry")
    with live_registry(tmp_path, DATAPKG_REGISTRY_OBJECTS=url, DATAPKG_REGISTRY_SIGNED_URLS_S="60") as registry:
        world = World(registry, Way(""), registry.add_user("ada"), tmp_path)
        world.build()
        world.push()
        assert world.install() is None
        world.check()
