"""The table of columns that can hold the hash of an object is complete, and so is the table of folders."""

from __future__ import annotations

import re

from sqlalchemy import String, select

from datapkg.format import wire
from datapkg.format.chunks import Step
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.delta import encode_delta
from datapkg.format.record_lists import split_record
from registry_server.db.roots import HASH_COLUMNS, Role, columns
from registry_server.db.tables import Hash, metadata
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import FOLDERS
from registry_server.services.sweep import sweep
from tests.registry_server.asgi import Client, Contents, House, sha256
from tests.registry_server.test_sweep import DAY, bodies, later, send

HEX = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def fill(house: House, ada: Client) -> None:
    """Use all of a registry: pushes, packs, tags, versions, grants, texts with hashes, damage, deletion, sweeps."""
    hash = sha256(b"elsewhere")
    texts = {"record": {"sources": [hash]}, "previews": {"t": hash}, "message": f"from {hash}"}
    long = {f"long{number}": bytes([number]) * (1 << 20) for number in range(2)}
    files = {**bodies("a", 100), **long, "README.md": f"# {hash}".encode()}
    first = Contents(files, meta={"title": hash, "description": hash, "keywords": [hash]})
    assert ada.push("ada/iris", first, tag="stable", version="1.0", **texts).status == 200
    second = ada.publish("ada/iris", {**files, "b": b"b"}, public=True, confirm_public=True, **texts)
    assert ada.put(f"{wire.PACKAGES}/ada/iris/access/bob", {"write": True}).status == 200
    derived = long["long0"] + b"more"
    third = Contents({**files, "long0": derived})
    push = f"{wire.PACKAGES}/ada/iris/pushes/{ada.start('ada/iris', third.manifest)['push']}"
    steps = [Step(sha256(long["long0"]), 0, 1 << 20), Step(None, 0, 4)]
    body = b"".join(encode_delta(steps, memoryview(b"more")))
    assert ada.put(f"{push}/objects/{sha256(derived)}/delta", body=body).status == 200
    short, lists = split_record({"sources": [{"path": f"a{number}"} for number in range(9_000)]})
    sent = [*third.needed([third.manifest.hash]), (sha256(lists), lists)]
    assert ada.post(f"{push}/objects", body=b"".join(encode_frames(sent))).status == 200
    named = {"record": short, "record_object": sha256(lists)}
    assert ada.post(f"{push}/publish", {"manifest": third.manifest.hash, "parent": second, **named}).status == 200
    cached = Contents({"out/rows": b"cached"})
    push = f"{wire.PACKAGES}/ada/iris/pushes/{ada.start('ada/iris', cached.manifest)['push']}"
    assert ada.post(f"{push}/objects", body=b"".join(encode_frames(cached.bodies.items()))).status == 200
    entry = {"key": hash, "code": {"rows.py": hash}, "manifest": cached.manifest.hash}
    assert ada.post(f"{push}/stages", {"entries": [entry]}).json() == {"added": 1}
    for each in (sha256(long["long0"]), second):
        ada.get(f"{wire.PACKAGES}/ada/iris/objects/{each}/chunks")
    ada.publish("ada/gone", bodies("gone", 80), version="1.0")
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    send(ada, "ada/iris", bodies("open", 2))
    later(house, DAY / 2)
    sweep(house.registry, THE_OPERATOR)
    house.damage(sha256(b"b"))
    assert ada.get(f"{wire.PACKAGES}/ada/iris/objects/{sha256(b'b')}").status >= 400


def test_every_column_that_can_hold_a_hash_has_a_role() -> None:
    able = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if column.type is Hash or (isinstance(column.type, String) and (column.type.length or 1_000) > 64)
    }
    assert able - HASH_COLUMNS.keys() == set()
    for role in Role:
        list(columns(role))  # all of them exist
    # Only what keeps an object may refer to its row; the rows of the others are deleted with it.
    keyed = {
        f"{key.parent.table.name}.{key.parent.name}"
        for table in metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name == "objects"
    }
    assert keyed == {name for name, role in HASH_COLUMNS.items() if role in (Role.ROOT, Role.BASE)} | {
        "damaged_objects.hash",
        "recipe_bases.hash",
    }


def test_every_hash_in_a_registry_in_use_is_in_the_table(house: House, ada: Client) -> None:
    fill(house, ada)
    held: dict[str, set[str]] = {}
    with house.registry.db.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                for column, value in row.items():
                    if isinstance(value, str) and (found := HEX.findall(value)):
                        held.setdefault(f"{table.name}.{column}", set()).update(found)
    assert held.keys() - HASH_COLUMNS.keys() == set()
    roots = set().union(*(held[name] for name, role in HASH_COLUMNS.items() if role is Role.ROOT))
    for name, role in HASH_COLUMNS.items():
        assert role is not Role.HELD or held[name] <= roots, name
    unseen = {name for name, role in HASH_COLUMNS.items() if role is not Role.TEXT} - held.keys()
    assert unseen == {"checked_tables.key"}


def test_every_file_that_names_an_object_is_in_a_known_folder(house: House, ada: Client) -> None:
    fill(house, ada)
    with house.registry.db.read() as connection:
        known = set(connection.execute(select(metadata.tables["objects"].c.hash)).scalars())
    found: set[str] = set()
    for path in house.settings.data.rglob("*"):
        relative = path.relative_to(house.settings.data)
        if path.is_file() and not relative.name.startswith("registry.db"):
            where = path.read_bytes() + "".join(relative.parts).encode()
            if any(hash.encode() in where or bytes.fromhex(hash) in where for hash in known):
                found.add(relative.parts[0])
    assert found <= FOLDERS.keys()
    assert {"objects", "packs", "recipes", "maps"} <= found
    assert {path.name for path in house.settings.data.iterdir() if path.is_dir()} <= FOLDERS.keys()
