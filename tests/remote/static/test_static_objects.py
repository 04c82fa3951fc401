"""The objects of a registry without a server fulfil the contract; what of them is a recipe is read like the rest."""

from __future__ import annotations

import hashlib
import io
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapkg.errors import CorruptObject
from datapkg.format.chunks import Step
from datapkg.format.hashing import hash_bytes
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation, decode_locations, encode_locations
from datapkg.format.names import Ref
from datapkg.format.static_registry import locations_key, object_key, recipe_key
from datapkg.objects.base import Readable, Writable
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.objects.bucket_packs import read_index
from datapkg.objects.pack_file import ENTRY_BYTES, MAGIC, MAX_ENTRIES
from datapkg.objects.recipes import encode_recipe
from datapkg.remote.static.objects import StaticObjects
from datapkg.remote.static.places import MAX_BASES, ObjectPlaces
from tests.contracts import BODIES, PutContract, ReadableContract

REF = Ref("ada", "iris")
STATES = [f"{number:064x}" for number in range(100)]


def opened(blobs: Blobs, states: list[str], push: str | None = None) -> StaticObjects:
    return StaticObjects(blobs, ObjectPlaces(blobs, REF, lambda: iter(states)), push)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "registry")


def written(objects: StaticObjects, state: str, bodies: list[bytes], before: str | None = None) -> None:
    """Put objects, and write where they are, as a push does."""
    with objects.batch():
        hashes = [objects.put_bytes(body) for body in bodies]
    objects.places.write(state, before, hashes, {"number": 1})


class TestPut(PutContract):
    @pytest.fixture
    def target(self, blobs: FolderBlobs) -> Iterator[Writable]:
        yield opened(blobs, [], STATES[0])


class TestRead(ReadableContract):
    @pytest.fixture
    def filled(self, blobs: FolderBlobs) -> Iterator[Readable]:
        written(opened(blobs, [], STATES[0]), STATES[0], BODIES)
        yield opened(blobs, [STATES[0]])


class TestReadOfRecipes(ReadableContract):
    """The same bodies, the long ones as ranges of another object and of a remainder."""

    @pytest.fixture
    def filled(self, blobs: FolderBlobs) -> Iterator[Readable]:
        objects = opened(blobs, [], STATES[0])
        written(objects, STATES[0], [*BODIES[:3], base := BODIES[3][:1_000_000] + b"!" * 100_000])
        steps = {
            BODIES[3]: [Step(hash_bytes(base), 0, 1_000_000), Step(None, 1_000_000, len(BODIES[3]) - 1_000_000)],
            BODIES[4]: [Step(None, 0, len(BODIES[4]))],  # of which nothing is saved: it is kept whole
        }
        for body, each in steps.items():
            objects.put_delta(hash_bytes(body), memoryview(body), each)
        objects.places.write(STATES[1], STATES[0], map(hash_bytes, BODIES), {"number": 2})
        reader = opened(blobs, STATES[:2])
        assert reader.places.find(hash_bytes(BODIES[3])).pack == RECIPE
        yield reader


def test_a_recipe_of_a_recipe_is_flat(blobs: FolderBlobs) -> None:
    objects, rng = opened(blobs, [], STATES[0]), random.Random(0)
    first = rng.randbytes(2 << 20)
    written(objects, STATES[0], [first])
    bodies = [first]
    for number in range(1, 6):
        before = bodies[-1]
        body = before[: 300_000 * number] + rng.randbytes(1000) + before[300_000 * number :]
        at = 300_000 * number
        steps = [Step(hash_bytes(before), 0, at), Step(None, at, 1000), Step(hash_bytes(before), at, len(before) - at)]
        objects.put_delta(hash_bytes(body), memoryview(body), steps)
        objects.places.write(STATES[number], STATES[number - 1], [hash_bytes(body)], {"number": number + 1})
        bodies.append(body)
    reader = opened(blobs, STATES[:6])
    for body in bodies:
        assert reader.read(hash_bytes(body)) == body
        with reader.open(hash_bytes(body), 299_000, 900_500) as stream:
            assert stream.read() == body[299_000:900_500]
        assert reader.chunks(hash_bytes(body), len(body))
    for body in bodies[1:]:
        for step in reader.places.recipe(hash_bytes(body)):
            assert reader.places.find(str(step.source)).pack != RECIPE


def test_a_small_change_writes_a_small_file_of_locations(blobs: FolderBlobs) -> None:
    bodies = [b"%d" % number for number in range(2_000)]
    written(opened(blobs, [], STATES[0]), STATES[0], bodies)
    for number in range(1, 40):
        bodies[number] = b"new %d" % number
        objects = opened(blobs, STATES[number - 1 :: -1], STATES[number])
        objects.places.of_state(STATES[number - 1])
        with objects.batch():
            objects.put_bytes(bodies[number])
        objects.places.write(STATES[number], STATES[number - 1], map(hash_bytes, bodies), {"number": number + 1})
    sizes = [blobs.size(f"packages/ada/iris/states/{state}.loc") or 0 for state in STATES[:40]]
    assert sum(size > 50_000 for size in sizes) == 1 + 39 // (MAX_BASES + 1)
    reader = opened(blobs, [STATES[39]])
    assert dict(reader.read_many(map(hash_bytes, bodies))) == {hash_bytes(body): body for body in bodies}


@pytest.mark.parametrize("pack", ["0" * 64, WHOLE, RECIPE])
def test_a_small_object_with_a_huge_place_is_not_read_into_memory(blobs: FolderBlobs, pack: str) -> None:
    """A web server could send as many bytes as the file of locations says."""
    hash = hash_bytes(b"small")
    blobs.put(locations_key(REF, STATES[0]), io.BytesIO(encode_locations({hash: ObjectLocation(pack, 0, 1 << 40)})))
    reader = opened(blobs, STATES[:1])
    with pytest.raises(CorruptObject, match="1,099,511,627,776 bytes, where few were expected"):
        list(reader.read_many([hash]))


def test_what_says_where_objects_are_may_be_lost(blobs: FolderBlobs) -> None:
    written(opened(blobs, [], STATES[0]), STATES[0], [BODIES[3]])
    blobs.delete(f"packages/ada/iris/states/{STATES[0]}.loc")
    assert opened(blobs, [STATES[0]]).read(hash_bytes(BODIES[3])) == BODIES[3]


def test_locations_come_back() -> None:
    found = {
        hash_bytes(b"%d" % number): ObjectLocation(pack, number, 10 * number)
        for number, pack in enumerate(["whole", "recipe", STATES[3], STATES[4], STATES[3]])
    }
    data = encode_locations(found, number=7, manifest_size=8, bytes_logical=9, bases=STATES[5:7])
    read = decode_locations(data)
    assert (read.number, read.manifest_size, read.bytes_logical, list(read.bases)) == (7, 8, 9, STATES[5:7])
    assert dict(read) == found
    assert {hash: read.find(hash) for hash in found} == found
    assert read.find(STATES[0]) is None


def test_a_recipe_of_itself_is_refused(blobs: FolderBlobs) -> None:
    hash = hash_bytes(b"never")
    blobs.put(recipe_key(hash), io.BytesIO(encode_recipe([Step(hash, 0, 10)])))
    data = encode_locations({hash: ObjectLocation(RECIPE, 0, 10)}, number=1, bases=[STATES[0]])
    blobs.put(locations_key(REF, STATES[0]), io.BytesIO(data))
    with pytest.raises(CorruptObject, match="is made of a recipe"):
        opened(blobs, [STATES[0]]).open(hash)


def test_a_file_of_locations_that_names_no_pack(blobs: FolderBlobs) -> None:
    hash = hash_bytes(b"never")
    body = bytearray(encode_locations({hash: ObjectLocation(STATES[3], 0, 10)}, number=1)[:-32])
    body[-20:-16] = (7).to_bytes(4, "little")
    data = bytes(body) + hashlib.sha256(body).digest()
    blobs.put(locations_key(REF, STATES[0]), io.BytesIO(data))
    with pytest.raises(CorruptObject, match="names a pack that it does not list"):
        opened(blobs, [STATES[0]]).size(hash)


def test_locations_beyond_any_file(blobs: FolderBlobs) -> None:
    hash = hash_bytes(b"never")
    for offset, size in ((2**64 - 10, 10), (8, 2**64 - 1)):
        data = encode_locations({hash: ObjectLocation(STATES[3], offset, size)}, number=1)
        blobs.put(locations_key(REF, STATES[0]), io.BytesIO(data))
        with pytest.raises(CorruptObject, match="a file of locations has an object at"):
            opened(blobs, [STATES[0]]).read(hash)


@pytest.mark.parametrize("damage", [b"", b"dplocat1", b"x" * 200])
def test_a_damaged_file_of_locations_is_as_if_it_were_lost(blobs: FolderBlobs, damage: bytes) -> None:
    written(opened(blobs, [], STATES[0]), STATES[0], [BODIES[3]])
    written(opened(blobs, [], STATES[1]), STATES[1], [b"other"])
    blobs.put(locations_key(REF, STATES[0]), io.BytesIO(damage))
    assert opened(blobs, STATES[:2]).read(hash_bytes(BODIES[3])) == BODIES[3]
    foreign = blobs.read(locations_key(REF, STATES[1]), 10_000)
    blobs.put(locations_key(REF, STATES[0]), io.BytesIO(foreign))
    assert opened(blobs, STATES[:2]).read(hash_bytes(BODIES[3])) == BODIES[3]


def test_no_more_is_read_than_is_stated(blobs: FolderBlobs) -> None:
    written(opened(blobs, [], STATES[0]), STATES[0], [BODIES[3]])
    hash = hash_bytes(BODIES[3])
    blobs.put(object_key(hash), io.BytesIO(BODIES[3] + b"more" * 1_000_000))
    reader = opened(blobs, [STATES[0]])
    reader.places.of_state(STATES[0])
    assert reader.read(hash) == BODIES[3]


def test_a_pack_with_a_huge_index_is_not_read_into_memory(blobs: FolderBlobs, tmp_path: Path) -> None:
    """Whoever writes a bucket says how many entries an index has; a sparse file makes that cheap."""
    key, count = f"packs/{STATES[1]}.pack", MAX_ENTRIES + 1
    path = tmp_path / "registry" / key
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.write(MAGIC)
        file.seek(len(MAGIC) + count * ENTRY_BYTES)
        file.write(count.to_bytes(8, "little") + MAGIC)
    tracemalloc.start()
    with pytest.raises(CorruptObject, match="the limit is"):
        read_index(blobs, key, path.stat().st_size)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_very_many_small_objects_make_several_packs(blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.static.objects.PACK_OBJECTS", 10)
    written(opened(blobs, [], STATES[0]), STATES[0], [b"%d" % number for number in range(25)])
    assert len(list(blobs.list("packs/"))) == 3
