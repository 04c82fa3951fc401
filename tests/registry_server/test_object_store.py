"""A registry whose objects are in a bucket, of real servers, or in another folder."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from datapkg.errors import Conflict, InvalidInput, Unreachable
from datapkg.format import wire
from datapkg.format.frames import encode_frames, read_frames
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.cloud import CloudObjects, single_key
from datapkg.objects.files import write_atomic
from registry_server.services import exports, object_store
from registry_server.services.check import check
from registry_server.services.object_store import MARK, NOTE, open_objects
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import open_registry
from registry_server.services.sweep import sweep
from registry_server.settings import Settings
from tests.object_stores import AZURITE, CEPH, SWIFT, ObjectStore
from tests.registry_server.asgi import Client, Contents, House, check_clean, sha256, wheel_objects
from tests.registry_server.test_recipes_at_rest import DATA, FIRST, VERSIONS, push

DAY = timedelta(days=1)
LARGE = FIRST + b"more"
IRIS = f"{wire.PACKAGES}/ada/iris"
FILES = {f"raw/{number}": b"body %d" % number for number in range(100)} | {"large": FIRST}
STORES = [
    "folder",
    pytest.param("azurite", marks=[pytest.mark.needs(*AZURITE)]),
    pytest.param("ceph", marks=[pytest.mark.big, pytest.mark.needs(*CEPH)]),
    pytest.param("swift", marks=[pytest.mark.big, pytest.mark.needs(*SWIFT)]),
]


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the objects are."""
    if request.param == "folder":
        return (tmp_path / "bucket").as_uri()
    store: ObjectStore = request.getfixturevalue(request.param)
    store.set_environment(monkeypatch)
    return store.new_bucket("of/registry")


@pytest.fixture
def house(tmp_path: Path, url: str) -> Iterator[House]:
    house = House(tmp_path, objects=url, signed_urls_s=60)
    yield house
    house.close()


def keys(house: House, prefix: str = "") -> set[str]:
    return {each.key for each in house.registry.objects.blobs.list(prefix)}


def keys_of(house: House, hashes: Iterable[str]) -> set[str]:
    """Return the keys of those objects that have one of their own."""
    return {single_key(hash) for hash in hashes} & keys(house)


def sweep_later(house: House, days: float) -> None:
    house.registry = replace(house.registry, now=lambda: datetime.now(UTC) + days * DAY)
    sweep(house.registry, THE_OPERATOR)


def read(client: Client, package: str, hash: str) -> bytes:
    """Return an object, from the registry or from where it redirects to."""
    answer = client.get(f"{wire.PACKAGES}/{package}/objects/{hash}")
    if answer.status == 307:
        return requests.get(answer.headers["location"], timeout=10).content
    return answer.body


def test_what_is_published_comes_back(house: House, ada: Client, tmp_path: Path) -> None:
    hash = ada.publish("ada/iris", FILES)
    ada.publish("ada/iris", FILES, parent=hash)  # again
    contents = Contents(FILES)
    assert ada.get(f"{IRIS}/manifests/{hash}").body == contents.manifest.data
    body = ada.post(f"{IRIS}/objects/read", {"hashes": list(contents.bodies)[:50]}).body
    assert dict(read_frames(io.BytesIO(body))).items() <= contents.bodies.items()
    assert read(ada, "ada/iris", sha256(FIRST)) == FIRST
    chunks = ada.get(f"{IRIS}/objects/{sha256(FIRST)}/chunks")
    assert chunks.status == 200
    assert check_clean(house) == len(contents.bodies)
    in_folder = {path.name for path in house.settings.data.iterdir() if path.is_dir() and any(path.iterdir())}
    assert in_folder <= {"maps"}
    again = open_registry(house.settings)
    assert set(again.objects) == {*contents.bodies, *wheel_objects(house)}
    again.close()


def test_large_objects_are_redirected_to_signed_addresses(house: House, ada: Client, bob: Client, url: str) -> None:
    contents = Contents({"a": b"body 1", "large": LARGE})
    begun = f"{IRIS}/pushes/{ada.start('ada/iris', contents.manifest)['push']}"
    assert ada.put(f"{begun}/objects/{sha256(LARGE)}", body=LARGE).status == 200
    others = contents.bodies.keys() - {sha256(LARGE)}
    assert ada.post(f"{begun}/objects", body=b"".join(encode_frames(contents.needed(others)))).status == 200
    assert ada.post(f"{begun}/publish", {"manifest": contents.manifest.hash}).status == 200
    path = f"{IRIS}/objects/{sha256(LARGE)}"
    answer = ada.get(path)
    if url.startswith("file:"):
        assert (answer.status, answer.body) == (200, LARGE)
        return
    assert answer.status == 307
    assert answer.headers["cache-control"] == "no-store"
    address = answer.headers["location"]
    part = requests.get(address, headers={"Range": "bytes=100-199"}, timeout=10)
    assert (part.status_code, part.content) == (206, LARGE[100:200])
    other = address.replace(single_key(sha256(LARGE)), MARK)
    assert requests.get(other, timeout=10).status_code == 403
    assert requests.put(address, data=b"x", timeout=10).status_code in (400, 403)
    assert bob.get(path).status == 404
    head = ada.request("HEAD", path)
    assert (head.status, head.headers["content-length"]) == (200, str(len(LARGE)))
    assert ada.get(f"{IRIS}/objects/{sha256(b'body 1')}").status == 200


def test_versions_take_the_space_of_one(house: House, ada: Client) -> None:
    parent = ada.publish("ada/data", {"raw/a": FIRST})
    for number, (old, new) in enumerate(pairwise(VERSIONS), start=1):
        parent = push(ada, old, new, number * 100_000, parent)
    assert len(keys(house, "recipes/")) == len(VERSIONS) - 1
    stored = sum(each.size for each in house.registry.objects.blobs.list("objects/"))
    assert stored < 1.1 * len(FIRST)
    for version in VERSIONS:
        assert read(ada, "ada/data", sha256(version)) == version
        part = ada.get(f"{DATA}/objects/{sha256(version)}", headers={"range": "bytes=99990-100020"})
        assert part.status == 307 or part.body == version[99_990:100_021]
    sweep_later(house, 2)
    sweep_later(house, 4)
    check_clean(house)


def test_unused_objects_are_swept(house: House, ada: Client) -> None:
    ada.publish("ada/kept", {"a": b"kept"})
    kept = keys(house)
    ada.publish("ada/iris", FILES)
    kept |= keys_of(house, wheel_objects(house))
    assert ada.delete(f"{IRIS}").status == 200
    sweep_later(house, 2)
    assert keys(house, "trash/")
    assert keys(house) - keys(house, "trash/") == kept
    sweep_later(house, 4)
    assert keys(house) == kept
    assert not house.registry.trash.folder.exists()
    check_clean(house)
    ada.publish("ada/iris", FILES)
    check_clean(house)


def test_an_object_in_the_trash_is_restored(house: House, ada: Client) -> None:
    ada.publish("ada/iris", FILES)
    before = keys(house)
    for key in before - {MARK}:
        house.registry.trash.move(key)
    house.registry.objects.look_again()
    assert keys(house) - keys(house, "trash/") == {MARK}
    needed = [*Contents(FILES).bodies, *wheel_objects(house)]
    assert house.registry.restore(needed, house.registry.deletions) == set()
    assert keys(house) == before
    check_clean(house)


def test_damaged_objects_are_repaired_by_the_next_push(house: House, ada: Client) -> None:
    hash = ada.publish("ada/iris", FILES)
    home = house.registry.objects
    home.blobs.put(single_key(sha256(FIRST)), io.BytesIO(FIRST[:-1] + b"x"))
    (pack,) = keys(house, "packs/")
    data = home.blobs.read(pack, 1 << 20)
    home.blobs.put(pack, io.BytesIO(data.replace(b"body 7", b"body X", 1)))
    damaged = {each.hash for each in check(house.registry, THE_OPERATOR, repair=True).damaged}
    assert damaged == {sha256(FIRST), sha256(b"body 7")}
    assert {each.partition("/")[2].partition("/")[0] for each in keys(house, "quarantine/")} == {"objects", "packs"}
    ada.publish("ada/iris", FILES, parent=hash)
    check_clean(house)
    assert read(ada, "ada/iris", sha256(b"body 7")) == b"body 7"


def test_a_registry_moves_from_a_folder_to_a_bucket_and_back(
    tmp_path: Path, url: str, house: House, ada: Client
) -> None:
    parent = ada.publish("ada/data", {"raw/a": FIRST, **FILES})
    exports.export(house.registry, THE_OPERATOR, tmp_path / "export")
    folder = open_registry(Settings(data=tmp_path / "folder"), create=True)
    exports.load(folder, THE_OPERATOR, tmp_path / "export")
    assert check(folder, THE_OPERATOR).is_clean
    assert set(folder.objects) == set(house.registry.objects)
    exports.export(folder, THE_OPERATOR, tmp_path / "back.tar")
    folder.close()
    other = open_registry(Settings(data=tmp_path / "bucket-again", objects=f"{url}/again"), create=True)
    exports.load(other, THE_OPERATOR, tmp_path / "back.tar")
    assert check(other, THE_OPERATOR).is_clean
    assert other.objects.read(parent) == Contents({"raw/a": FIRST, **FILES}).manifest.data
    other.close()


def test_folder_of_the_objects_is_private(tmp_path: Path) -> None:
    House(tmp_path, objects=(tmp_path / "mount" / "bucket").as_uri()).close()
    assert not (tmp_path / "mount" / "bucket").stat().st_mode & 0o077


def test_other_requests_do_not_wait_for_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked in threads, never in the one that serves all requests."""
    image, large = b"\x89PNG\r\n\x1a\n" + bytes(100), FIRST[:900_000]
    house = House(tmp_path, objects=(tmp_path / "bucket").as_uri(), signed_urls_s=60)
    state = house.user("ada").publish("ada/iris", {"a.png": image, "large": large}, public=True)
    waited = set()

    def watched(name: str, plain: Any) -> Any:
        def method(*args: Any, **options: Any) -> Any:
            with suppress(RuntimeError):
                asyncio.get_running_loop()
                waited.add((name, path))
            return plain(*args, **options)

        return method

    for name in ("size", "open", "read", "read_ranges", "list", "signed_url"):
        monkeypatch.setattr(FolderBlobs, name, watched(name, getattr(FolderBlobs, name)))
    objects = [f"{IRIS}/objects/{sha256(each)}" for each in (image, large)]
    paths = [f"{IRIS}/manifests/{state}", *objects, "/ada/iris", f"/ada/iris/images/{sha256(image)}"]
    for path in [*paths, *(f"{each}/chunks" for each in (paths[0], *objects))]:
        assert house.nobody.get(path).status == 200
    assert not waited
    house.close()


class TestWhereTheObjectsAre:
    """Each command uses the objects that the registry was made with, and no others."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return (tmp_path / "bucket").as_uri()

    def test_the_folder_notes_it(self, house: House, ada: Client) -> None:
        ada.publish("ada/iris", FILES)
        found = open_registry(Settings(data=house.settings.data))
        assert isinstance(found.objects, CloudObjects)
        assert check(found, THE_OPERATOR).is_clean
        found.close()

    def test_another_url_is_refused(self, house: House, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match=r"are in file:.*bucket, not in file:.*other"):
            open_registry(replace(house.settings, objects=(tmp_path / "other").as_uri()))
        assert not (tmp_path / "other").exists()

    def test_objects_in_the_data_folder_are_not_left_behind(self, tmp_path: Path, url: str) -> None:
        plain = House(tmp_path / "plain")
        plain.user("ada").publish("ada/iris", FILES)
        plain.close()
        with pytest.raises(InvalidInput, match="objects of this registry are in") as caught:
            open_registry(replace(plain.settings, objects=url), create=True)
        assert "datapkg-registry export" in caught.value.hint

    def test_two_registries_do_not_share_a_place(self, house: House, tmp_path: Path, url: str) -> None:
        with pytest.raises(Conflict, match="objects of another registry"):
            open_registry(Settings(data=tmp_path / "second", objects=url), create=True)

    @pytest.mark.parametrize("step", ["first note", "mark", "answer to the mark", "note"])
    def test_a_first_start_that_failed_is_repeated(
        self, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        settings = Settings(data=tmp_path / "first", objects=url)
        settings.data.mkdir()
        with monkeypatch.context() as patch:
            create, calls = FolderBlobs.create, iter([step == "first note", step == "note"])

            def written(path: Path, *arguments: Any) -> None:
                if next(calls):
                    raise OSError("the disk is full")
                write_atomic(path, *arguments)

            def created(blobs: FolderBlobs, key: str, data: bytes) -> bool:
                if step == "answer to the mark":
                    create(blobs, key, data)
                if "mark" in step:
                    raise Unreachable("it broke off")
                return create(blobs, key, data)

            patch.setattr(object_store, "write_atomic", written)
            patch.setattr(FolderBlobs, "create", created)
            with pytest.raises((OSError, Unreachable)):
                open_objects(settings, create=True)
        for _ in range(2):
            assert isinstance(open_objects(settings, create=True), CloudObjects)
        assert list(settings.data.glob("objects*.json")) == [settings.data / NOTE]
        with pytest.raises(Conflict, match="objects of another registry"):
            open_objects(Settings(data=tmp_path / "second", objects=url), create=True)

    def test_a_lost_database_is_not_made_anew(self, house: House) -> None:
        house.close()
        for path in house.settings.data.glob("registry.db*"):
            path.unlink()
        with pytest.raises(InvalidInput, match=rf"but .*{NOTE} is not"):
            open_registry(house.settings, create=True)


@pytest.mark.needs(*AZURITE)
class TestStorageThatRefuses:
    @pytest.fixture
    def url(self, azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
        azurite.set_environment(monkeypatch)
        return azurite.new_bucket()

    def test_wrong_credentials_do_not_damage_anything(
        self, house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ada.publish("ada/iris", FILES)
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA")
        with pytest.raises(Unreachable, match="the storage of the registry refuses its request: 403") as caught:
            open_registry(house.settings)
        assert "credentials" in caught.value.hint
        monkeypatch.undo()
        check_clean(house)
