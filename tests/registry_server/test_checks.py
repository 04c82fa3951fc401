"""Content checks at the registry, in processes that hostile Parquet can crash without harm."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alembic import command
from sqlalchemy import text

from datapkg.errors import HashMismatch, ObjectNotFound
from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import Block, Manifest, Node, TableNode
from datapkg.tables.content_hash import content_of_table
from registry_server.db import database, schema, states
from registry_server.services import checking
from registry_server.services.policy import THE_OPERATOR
from tests.examples import first
from tests.registry_server.asgi import Client, Contents, House, sha256

IRIS = f"{wire.PACKAGES}/ada/iris"
ROWS = pa.table({"n": [1, 2, 3], "s": ["a", "b", None]})
OTHER = pa.table({"n": [1, 2, 4], "s": ["a", "b", None]})


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def stated(table: pa.Table, *bodies: bytes, rows: Sequence[int] = (), path: str = "t") -> TableNode:
    """Return the correct manifest node of a table with these objects."""
    content, rows = content_of_table(table), rows or [len(table)]
    blocks = [Block(sha256(body), count, len(body)) for body, count in zip(bodies, rows, strict=True)]
    return TableNode(path=path, columns=content.columns, content=content.hash, blocks=blocks, rows=len(table))


def contents(nodes: Sequence[Node], *bodies: bytes, meta: dict[str, Any] | None = None) -> Contents:
    made = Contents({})
    made.manifest = Manifest.make(list(nodes), meta)
    made.bodies = {sha256(body): body for body in [*bodies, made.manifest.data]}
    return made


def resolved(client: Client) -> Any:
    return client.get(f"{IRIS}/resolve").json()


def test_correct_table_is_published_and_checked_once(house: House, ada: Client) -> None:
    body = parquet(ROWS)
    answer = ada.push("ada/iris", contents([stated(ROWS, body)], body))
    assert (answer.status, answer.json()["unchecked"]) == (200, [])
    assert resolved(ada)["unchecked"] == []
    house.registry.checker.close()
    again = ada.push("ada/other", contents([stated(ROWS, body, path="elsewhere")], body))
    assert (again.status, again.json()["unchecked"]) == (200, [])
    assert house.registry.checker._zygote is None


def test_blocks_of_a_long_table_are_checked_in_order(ada: Client) -> None:
    rows = pa.table({"n": pa.array(np.arange(100_000)), "c": pa.array(["x", "y"] * 50_000).dictionary_encode()})
    bodies = [parquet(rows.slice(0, 60_000)), parquet(rows.slice(60_000))]
    right = stated(rows, *bodies, rows=[60_000, 40_000])
    assert ada.push("ada/iris", contents([right], *bodies)).json()["unchecked"] == []
    turned = msgspec.structs.replace(right, blocks=right.blocks[::-1])
    assert isinstance(ada.push("ada/iris", contents([turned], *bodies)).error, HashMismatch)


SWAPPED, HONEST = parquet(OTHER), parquet(ROWS)
HALVES = [parquet(ROWS.slice(0, 2)), parquet(ROWS.slice(2).rename_columns(["n", "z"]))]
FALSE = {
    "another object": (stated(ROWS, SWAPPED), [SWAPPED], "expected content c1:"),
    "made up": (msgspec.structs.replace(stated(ROWS, HONEST), content="c1:" + "0" * 64), [HONEST], "expected content"),
    "no Parquet": (stated(ROWS, b"n,s\n1,a"), [b"n,s\n1,a"], "object 1 is not a Parquet file"),
    "other names": (
        msgspec.structs.replace(stated(ROWS, HONEST), columns=[("n", "int64"), ("t", "string")]),
        [HONEST],
        "other columns than the manifest states",
    ),
    "a block of other columns": (stated(ROWS, *HALVES, rows=[2, 1]), HALVES, "other columns than the first"),
    "rows elsewhere": (
        stated(ROWS, parquet(ROWS.slice(0, 2)), parquet(ROWS.slice(2)), rows=[1, 2]),
        [parquet(ROWS.slice(0, 2)), parquet(ROWS.slice(2))],
        "distributed otherwise",
    ),
}


@pytest.mark.parametrize("case", first(3, FALSE))
def test_false_content_is_rejected(ada: Client, case: str) -> None:
    node, bodies, said = FALSE[case]
    first = ada.publish("ada/iris", {"a": b"1"})
    answer = ada.push("ada/iris", contents([node], *bodies))
    assert (answer.status, type(answer.error)) == (422, HashMismatch)
    assert said in answer.error.message
    assert answer.error.detail["paths"] == ["t"]
    assert resolved(ada)["hash"] == first


def test_objects_of_unreadable_packages_are_not_checked(ada: Client, bob: Client) -> None:
    body = parquet(ROWS)
    ada.push("ada/iris", contents([stated(ROWS, body)], body))
    made = contents([stated(OTHER, body)])
    started = bob.start("bob/x", made.manifest)
    base = f"{wire.PACKAGES}/bob/x/pushes/{started['push']}"
    bob.post(f"{base}/objects", body=b"".join(encode_frames([(made.manifest.hash, made.manifest.data)])))
    answer = bob.post(f"{base}/publish", {"manifest": made.manifest.hash})
    assert isinstance(answer.error, ObjectNotFound)


LONG_TEXT = pa.table({"s": ["x" * (160 << 20)]})
MANY_ROWS = pa.table({"b": pa.array(np.zeros(16_000_000, bool))})


@pytest.mark.parametrize("hostile", first(2, ["bytes", "time", "memory"]))
def test_table_beyond_the_limits_is_published_as_unchecked(tmp_path: Path, hostile: str) -> None:
    limits: dict[str, Any] = {
        "memory": {"max_check_memory_bytes": 128 << 20},
        "time": {"check_timeout_s": 1},
        "bytes": {"max_check_bytes": 1},
    }[hostile]
    rows = {"memory": LONG_TEXT, "time": MANY_ROWS, "bytes": ROWS}[hostile]
    body = parquet(rows)
    times = 500 if hostile == "time" else 1  # billions of rows in a small object that is named again and again
    node = TableNode(
        path="t",
        columns=[(rows.column_names[0], "string" if hostile == "memory" else "bool")],
        content="c1:" + "0" * 64,
        blocks=[Block(sha256(body), len(rows), len(body))] * times,
        rows=len(rows) * times,
    )
    house = House(tmp_path, **limits)
    try:
        ada = house.user("ada")
        answer = ada.push("ada/iris", contents([node], body), public=True)
        assert (answer.status, answer.json()["unchecked"]) == (200, ["t"])
        assert resolved(ada)["unchecked"] == ["t"]
        page = house.nobody.get("/ada/iris").text
        assert "has not verified 1 table: <code>t</code>" in page
        if hostile != "bytes":  # the next worker is not the one that ended
            small = parquet(ROWS)
            assert ada.push("ada/other", contents([stated(ROWS, small)], small)).json()["unchecked"] == []
    finally:
        house.close()


def test_table_that_pyarrow_cannot_read_is_unchecked(ada: Client) -> None:
    body = b"PAR1" + bytes(100) + b"PAR1"
    good = parquet(ROWS)
    nodes = [stated(ROWS, body, path="bad"), stated(ROWS, good, path="good")]
    assert ada.push("ada/iris", contents(nodes, body, good)).json()["unchecked"] == ["bad"]


def test_workers_have_no_secrets_and_restart_when_killed(
    house: House, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPKG_TOKEN", "dpk_secret")
    body = parquet(ROWS)
    assert ada.push("ada/iris", contents([stated(ROWS, body)], body)).json()["unchecked"] == []
    first = house.registry.checker._zygote
    assert first
    environment = Path(f"/proc/{first.pid}/environ")
    if environment.exists():
        assert b"secret" not in environment.read_bytes()
        assert b"HOME=" not in environment.read_bytes()
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    other = parquet(OTHER)
    assert ada.push("ada/iris", contents([stated(OTHER, other)], other)).json()["unchecked"] == []


def test_checks_of_one_user_do_not_delay_others(tmp_path: Path) -> None:
    house = House(tmp_path, check_timeout_s=1)
    try:
        ada, bob, body = house.user("ada"), house.user("bob"), parquet(ROWS)
        house.registry.checker._running.add("ada")
        assert ada.push("ada/iris", contents([stated(ROWS, body)], body)).json()["unchecked"] == ["t"]
        house.registry.checker._running.discard("ada")
        assert bob.push("bob/iris", contents([stated(ROWS, body)], body)).status == 200
        assert ada.push("ada/files", Contents({"a": b"1"})).json()["unchecked"] == []
    finally:
        house.close()


def test_states_of_an_older_database_count_as_never_checked(tmp_path: Path) -> None:
    older = database.Database(database.sqlite_url(tmp_path / "registry.db"))
    with older.write() as connection:
        command.upgrade(schema.configuration(connection), "0001")
        connection.execute(text("INSERT INTO users VALUES (1, 'ada', 0)"))
        connection.execute(text("INSERT INTO packages VALUES (1, 1, 'ada', 'iris', 0, 0, 0)"))
        connection.execute(text("INSERT INTO states VALUES (1, 'abc', 10, 20, 'Iris', '', '{}')"))
    schema.migrate(older)
    with older.read() as connection:
        assert states.find(connection, 1, "abc") == states.StateRow("abc", 10, 20, "Iris", "", None)
    older.close()


def test_older_state_is_unchecked_until_rechecked(house: House, ada: Client) -> None:
    body, false = parquet(ROWS), parquet(OTHER)
    hash = contents([stated(ROWS, body)], body).manifest.hash
    ada.push("ada/iris", contents([stated(ROWS, body)], body), public=True)
    with house.registry.db.write() as connection:
        connection.execute(text("UPDATE states SET unchecked = NULL"))
        connection.execute(text("DELETE FROM checked_tables"))
    assert resolved(ada)["unchecked"] is None
    assert "has not verified the tables of this state" in house.nobody.get("/ada/iris").text
    assert checking.recheck(house.registry, THE_OPERATOR) == checking.Rechecked(1, 0, [])
    assert resolved(ada)["unchecked"] == []
    lie = contents([stated(ROWS, false)], false)
    house.registry.checker._max_bytes = 0
    ada.push("ada/iris", lie)
    house.registry.checker._max_bytes = 1 << 20
    (found,) = checking.recheck(house.registry, THE_OPERATOR).false
    assert (found.package, found.state, found.path) == ("ada/iris", lie.manifest.hash, "t")
    with house.registry.db.read() as connection:
        assert states.all_of(connection) == sorted((1, "ada/iris", each) for each in (hash, lie.manifest.hash))
