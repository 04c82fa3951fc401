"""Objects in buckets: the contract of every home of objects, on real servers, and what only these do."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapkg.errors import CorruptObject, ObjectNotFound
from datapkg.format.chunks import Step
from datapkg.format.hashing import hash_bytes
from datapkg.objects.blobs.base import BlobInfo
from datapkg.objects.blobs.bucket import BucketBlobs
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.pack_merging import MERGED_AT, merge_packs
from datapkg.objects.packs import PackedObjects
from datapkg.objects.recipe_maker import check_recipe, recipe_of
from tests.contracts import BODIES, ObjectsContract
from tests.object_stores import AZURITE, CEPH, SWIFT, ObjectStore

LARGE = bytes(range(256)) * 16_384


class _CloudContract(ObjectsContract):
    def test_nothing_temporary_is_left(self, filled: CloudObjects) -> None:
        assert [each for each in filled.tmp.rglob("*") if each.is_file()] == []

    def test_a_recipe_is_read(self, target: CloudObjects) -> None:
        base = target.put_bytes(LARGE)
        whole = LARGE[:3_000_000] + b"new" * 1000 + LARGE[3_000_000:]
        hash = target.put_bytes(whole)
        steps = [Step(base, 0, 3_000_000), Step(None, 3_000_000, 3000), Step(base, 3_000_000, len(LARGE) - 3_000_000)]
        ranges = recipe_of(target, target, hash, steps)
        check_recipe(target, hash, ranges)
        target.recipes.keep(hash, ranges)
        target.loose.delete(hash)
        other = CloudObjects(target.blobs, target.folder)
        assert other.missing([hash, base]) == set()
        assert other.missing_whole([hash, base]) == {hash}
        assert other.read(hash) == whole
        with other.open(hash, 2_999_990, 3_003_010) as stream:
            assert stream.read() == whole[2_999_990:3_003_010]
            stream.seek(5)
            assert stream.read(10) == whole[2_999_995:3_000_005]
        with other.local_places() as places:
            assert places(hash)[0].path.read_bytes() == whole
        other.delete(hash)
        assert target.missing([hash]) == {hash}


def _cloud(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CloudObjects:
    store.set_environment(monkeypatch)
    return CloudObjects(BucketBlobs(store.new_bucket("registry")), tmp_path)


class TestFolder(_CloudContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Iterator[CloudObjects]:
        yield CloudObjects(FolderBlobs(tmp_path / "bucket"), tmp_path / "local")


@pytest.mark.needs(*AZURITE)
class TestAzurite(_CloudContract):
    @pytest.fixture
    def target(self, azurite: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CloudObjects]:
        yield _cloud(azurite, monkeypatch, tmp_path)


@pytest.mark.big
@pytest.mark.needs(*CEPH)
class TestCeph(_CloudContract):
    @pytest.fixture
    def target(self, ceph: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CloudObjects]:
        yield _cloud(ceph, monkeypatch, tmp_path)


@pytest.mark.big
@pytest.mark.needs(*SWIFT)
class TestSwift(_CloudContract):
    @pytest.fixture
    def target(self, swift: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[CloudObjects]:
        yield _cloud(swift, monkeypatch, tmp_path)


class Counted(FolderBlobs):
    """A folder that notes the requests that a bucket would get."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.requests: list[str] = []

    def size(self, key: str) -> int | None:
        self.requests.append("size")
        return super().size(key)

    def read_ranges(self, key: str, ranges: object) -> list[bytes]:
        self.requests.append("ranges")
        return super().read_ranges(key, ranges)  # type: ignore[arg-type]

    def list(self, prefix: str = "") -> Iterator[BlobInfo]:
        self.requests.append("list")
        return super().list(prefix)


@pytest.fixture
def home(tmp_path: Path) -> CloudObjects:
    return CloudObjects(Counted(tmp_path / "bucket"), tmp_path / "local")


def test_many_small_objects_cost_few_requests(home: CloudObjects) -> None:
    bodies = [b"%d" % number * 100 for number in range(3_000)]
    hashes = home.put_many(bodies)
    other = CloudObjects(home.blobs, home.folder)
    requests = home.blobs.requests  # type: ignore[attr-defined]
    requests.clear()
    assert dict(other.read_many(hashes)) == dict(zip(hashes, bodies, strict=True))
    assert requests == ["list", "ranges", "ranges", "ranges", "ranges", "ranges"]


def test_nothing_is_listed_to_read_or_write(home: CloudObjects) -> None:
    home.packs()
    requests = home.blobs.requests  # type: ignore[attr-defined]
    requests.clear()
    hashes = [home.put_bytes(LARGE), *home.put_many([b"one", b"two"])]
    for hash in hashes:
        home.open(hash).close()
    assert "list" not in requests


def test_the_layout_is_that_of_a_folder(home: CloudObjects, tmp_path: Path) -> None:
    hashes = [home.put_bytes(LARGE), *home.put_many(BODIES)]
    folder = PackedObjects(tmp_path / "bucket")
    assert set(folder) == set(hashes)
    assert [folder.read(hash) for hash in hashes] == [LARGE, *BODIES]


def test_another_process_may_merge_packs(home: CloudObjects) -> None:
    bodies = [b"%d" % number for number in range(2 * MERGED_AT)]
    for pair in zip(bodies[::2], bodies[1::2], strict=True):
        home.writer().put_many(pair)
    home.packs()
    merge_packs(CloudObjects(home.blobs, home.folder))
    assert [home.read(hash_bytes(body)) for body in bodies] == bodies
    assert len(home.packs()) == 1


def test_right_bytes_replace_damaged_ones_of_a_pack(home: CloudObjects, tmp_path: Path) -> None:
    hash, other = home.put_many([b"right", b"other"])
    (pack,) = (tmp_path / "bucket" / "packs").iterdir()
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes().replace(b"right", b"wrong"))
    assert home.read(hash) == b"wrong"
    home.put(io.BytesIO(b"right"), hash)
    for each in (home, CloudObjects(home.blobs, home.folder)):
        assert [each.read(hash), each.read(other)] == [b"right", b"other"]


def test_a_damaged_pack_costs_its_objects_alone(home: CloudObjects, tmp_path: Path) -> None:
    home.put_many([b"a", b"b"])
    (pack,) = (tmp_path / "bucket" / "packs").iterdir()
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-3])
    kept = home.writer().put_many([b"c"])
    again = CloudObjects(home.blobs, home.folder)
    assert again.missing([hash_bytes(b"a"), *kept]) == {hash_bytes(b"a")}


def test_a_damaged_recipe_is_found(home: CloudObjects) -> None:
    hash = hash_bytes(b"never")
    home.blobs.put(f"recipes/{hash[:2]}/{hash[2:]}", io.BytesIO(b"dprecip1 damaged"))
    with pytest.raises(CorruptObject, match=f"the recipe of object {hash}"):
        home.read(hash)
    assert home.missing([hash]) == {hash}
    with pytest.raises(ObjectNotFound):
        home.loose.open(hash)


def test_an_interrupted_upload_goes_on(home: CloudObjects, tmp_path: Path) -> None:
    hash, begun = hash_bytes(LARGE), tmp_path / "begun"
    begun.write_bytes(LARGE[:1_000_000])
    assert home.loose.put_rest(io.BytesIO(LARGE[1_000_000:]), hash, begun, 1_000_000) == hash
    assert home.read(hash) == LARGE
    assert not begun.exists()
