"""Chunk maps survive a restart, and a damaged one is made again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from datapkg.format import wire
from datapkg.format.chunks import Chunk, decode_chunks
from datapkg.objects.base import Readable
from registry_server.services import downloads
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import sweep
from tests.registry_server.asgi import Client, House, sha256

BIG = os.urandom(1 << 20)
CHUNKS = f"{wire.PACKAGES}/ada/iris/objects/{sha256(BIG)}/chunks"


def maps(house: House) -> list[Path]:
    return sorted(path for path in house.registry.chunk_maps.folder.rglob("*") if path.is_file())


def test_map_is_not_made_again_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    ada = house.user("ada")
    ada.publish("ada/iris", {"big": BIG})
    made = ada.get(CHUNKS).body
    house.close()
    made_again: list[str] = []
    make = downloads.chunks_of_object

    def counted(home: Readable, hash: str) -> list[Chunk]:
        made_again.append(hash)
        return make(home, hash)

    monkeypatch.setattr(downloads, "chunks_of_object", counted)
    again = House(tmp_path)
    reader = Client(again.app, ada.token)
    assert reader.get(CHUNKS).body == made
    assert made_again == []
    (path,) = maps(again)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], whole + b"x", bytes(68)):
        path.write_bytes(damaged)
        assert reader.get(CHUNKS).body == made
        assert path.read_bytes() == whole
    assert made_again == [sha256(BIG)] * 5
    assert decode_chunks(made)[-1].stop == len(BIG)
    again.close()


def test_sweep_deletes_maps_of_dead_objects_and_the_oldest_beyond_the_limit(tmp_path: Path) -> None:
    house = House(tmp_path, max_maps_bytes=2_500)
    ada = house.user("ada")
    bodies = [os.urandom(1 << 20) for _ in range(3)]
    for number, body in enumerate(bodies):
        ada.publish(f"ada/p{number}", {"big": body})
        assert ada.get(f"{wire.PACKAGES}/ada/p{number}/objects/{sha256(body)}/chunks").status == 200
    assert ada.delete(f"{wire.PACKAGES}/ada/p2").status < 300
    paths = {number: house.registry.chunk_maps._path("object", sha256(body)) for number, body in enumerate(bodies)}
    for number, path in paths.items():
        os.utime(path, (number, number))
    size = paths[0].stat().st_size
    assert size <= 2_500
    assert sweep(house.registry, THE_OPERATOR).removed_maps == 1 + (2 * size > 2_500)
    assert paths[1] in maps(house)
    assert paths[2] not in maps(house)
    assert sum(path.stat().st_size for path in maps(house)) <= 2_500
    house.close()


def test_map_that_cannot_be_written_is_served_all_the_same(house: House, ada: Client) -> None:
    ada.publish("ada/iris", {"big": BIG})
    house.registry.chunk_maps.folder.write_text("not a folder")
    first = ada.get(CHUNKS)
    assert (first.status, ada.get(CHUNKS).body) == (200, first.body)
