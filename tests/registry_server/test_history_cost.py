"""What a request reads of the database does not grow with the history of its package, or with other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from datapkg.format import wire
from registry_server.db import tables
from tests.registry_server.asgi import Client, Contents, House, sha256

IRIS = f"{wire.PACKAGES}/ada/iris"
FILES = {"a": b"one", "b": b"two"}
FEW, MANY = 20, 600


@contextmanager
def steps_of(house: House) -> Iterator[list[int]]:
    """Count the instructions of SQLite's virtual machine inside, in hundreds: what a query scans, it steps over."""
    count = [0]

    def step() -> int:
        count[0] += 1
        return 0

    def checkout(connection: Any, *_: object) -> None:
        connection.set_progress_handler(step, 100)

    event.listen(house.registry.db.engine, "checkout", checkout)
    yield count
    event.remove(house.registry.db.engine, "checkout", checkout)


def add_states(house: House, ada: Client, count: int) -> None:
    """Push a package and add `count` earlier pushes of it to the database, each with a state, events and objects."""
    first = ada.publish("ada/iris", {**FILES, "old": b"old"})
    with house.registry.db.write() as connection:
        row = connection.execute(tables.states.select().where(tables.states.c.hash == first)).mappings().one()
        log = connection.execute(tables.log.select()).mappings().one()
        hashes = [sha256(b"%d" % number) for number in range(count)]
        now = house.registry.now()
        connection.execute(
            insert(tables.states),
            [dict(row) | {"hash": hash, "number": number} for number, hash in enumerate(hashes, 2)],
        )
        objects = [{"hash": hash, "size": 1, "created_at": now} for hash in sorted(hashes)]
        connection.execute(insert(tables.objects), objects)
        package = row["package_id"]
        connection.execute(insert(tables.package_objects), [{"package_id": package, "hash": each} for each in hashes])
        rows = [{key: log[key] for key in log if key != "id"} | {"hash": hash, "parent": hash} for hash in hashes]
        connection.execute(insert(tables.log), rows)
        told = {"at": now, "actor": "ada", "subject": "ada/iris"}
        for action in ("package:tag", "package:publish"):
            detail = '{"tag": "latest"}'
            connection.execute(insert(tables.events), [{**told, "action": action, "detail": detail}] * count)


def add_packages(house: House, ada: Client, count: int) -> None:
    """Add `count` packages of other users to the database, half of them public, with one state each."""
    ada.publish("ada/iris", {**FILES, "old": b"old"})
    now = house.registry.now()
    with house.registry.db.write() as connection:
        users = [{"name": f"u{number}", "created_at": now} for number in range(count // 10)]
        connection.execute(insert(tables.users), users)
        ids = list(connection.execute(tables.users.select().where(tables.users.c.name != "ada")).scalars())
        rows = [
            {
                "id": 1_000 + number,
                "user_id": ids[number % len(ids)],
                "user_name": f"u{number % len(ids)}",
                "name": f"p{number}",
                "public": number % 2 == 0,
                "created_at": now,
                "pushed_at": now,
            }
            for number in range(count)
        ]
        connection.execute(insert(tables.packages), rows)
        hash = sha256(b"state")
        keys = [{"package_id": row["id"]} for row in rows]
        state = {"manifest_size": 1, "bytes_logical": 1, "title": "", "description": "", "previews": "{}"}
        connection.execute(insert(tables.states), [{**key, **state, "hash": hash} for key in keys])
        connection.execute(insert(tables.tags), [{**key, "name": "latest", "hash": hash} for key in keys])
        texts = dict.fromkeys(("about", "nodes", "readme"), "")
        connection.execute(
            insert(tables.search),
            [{"package_id": row["id"], **texts, "name": f"{row['user_name']}/{row['name']}"} for row in rows],
        )
        connection.execute(insert(tables.grants), [{**key, "user_name": f"u{key['package_id'] % 7}"} for key in keys])


def requests(ada: Client) -> dict[str, Callable[[], Any]]:
    new = (Contents({**FILES, "new": b"%d" % number}) for number in range(9))
    hash = ada.get(f"{IRIS}/resolve").json()["hash"]
    cursor = ada.get(f"{wire.PACKAGES}?limit=1").json()["next"] or ""
    first = Contents({**FILES, "old": b"old"}).manifest.hash
    return {
        "resolve": lambda: ada.get(f"{IRIS}/resolve"),
        "resolve a hash": lambda: ada.get(f"{IRIS}/resolve?state=sha256:{hash[:20]}"),
        "package": lambda: ada.get(IRIS),
        "log": lambda: ada.get(f"{IRIS}/log?limit=10"),
        "tags": lambda: ada.get(f"{IRIS}/tags"),
        "versions": lambda: ada.get(f"{IRIS}/versions"),
        "checks": lambda: ada.get(f"{IRIS}/checks/{hash}"),
        "checks of the first state": lambda: ada.get(f"{IRIS}/checks/{first}"),
        "manifest": lambda: ada.get(f"{IRIS}/manifests/{hash}"),
        "object": lambda: ada.get(f"{IRIS}/objects/{sha256(b'one')}"),
        "objects": lambda: ada.post(f"{IRIS}/objects/read", {"hashes": [sha256(b"one"), sha256(b"two")]}),
        "page": lambda: ada.get("/ada/iris"),
        "push": lambda: ada.push("ada/iris", next(new)),
        "tag": lambda: ada.put(f"{IRIS}/tags/stable", {"hash": hash}),
        "version": lambda: ada.put(f"{IRIS}/versions/1.0", {"hash": hash}),
        "list": lambda: ada.get(f"{wire.PACKAGES}?limit=5"),
        "list of a user": lambda: ada.get(f"{wire.PACKAGES}?user=ada"),
        "recent": lambda: ada.get(f"{wire.PACKAGES}?recent=true&limit=5"),
        "second page": lambda: ada.get(f"{wire.PACKAGES}?limit=3&cursor={cursor}"),
        "whoami": lambda: ada.get(wire.ME),
    }


def steps(folder: Path, fill: Callable[[House, Client, int], None], count: int) -> dict[str, int]:
    house = House(folder)
    ada = house.user("ada")
    fill(house, ada, count)
    ada.publish("ada/iris", FILES, public=True, confirm_public=True)
    found = {}
    for name, run in requests(ada).items():
        run()
        with steps_of(house) as counted:
            answer = run()
        found[name] = counted[0]
        assert answer.status < 400, (name, answer.text)
    house.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fill", [add_states, add_packages])
def test_requests_read_no_more_of_a_long_history(tmp_path: Path, fill: Callable[[House, Client, int], None]) -> None:
    few, many = (steps(tmp_path / str(count), fill, count) for count in (FEW, MANY))
    grown = {name: (few[name], many[name]) for name in few if many[name] > 1.2 * few[name] + 4}
    assert grown == {}
