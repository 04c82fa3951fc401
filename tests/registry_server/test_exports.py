"""A registry is exported and imported as a whole, to any folder, file and database."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, select, text

from datapkg.errors import Conflict, CorruptObject, DatapkgError, InvalidInput
from datapkg.format import wire
from datapkg.format.chunks import Step
from datapkg.objects.packs import PackedObjects
from registry_server.db.database import Database
from registry_server.db.schema import migrate
from registry_server.services.exports import export, load
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.recipes import replace_wholes
from registry_server.services.sweep import GRACE
from tests.registry_server.asgi import Client, House, check_clean, sha256, wheel_objects
from tests.registry_server.test_command_line import check_failure, run
from tests.registry_server.test_database import database
from tests.registry_server.test_roots import fill
from tests.registry_server.test_sweep import bodies, hashes, sweep_later

IRIS = f"{wire.PACKAGES}/ada/iris"
UNFINISHED = {"pushes", "push_objects", "stage_results", "stage_objects", "objects", "recipe_bases"}


def all_rows(db: Database, without: set[str] = frozenset()) -> dict[str, list[Any]]:  # type: ignore[assignment]
    """Return the rows of all tables as they are in the database."""
    with db.read() as connection:
        found = MetaData()
        found.reflect(connection)
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in found.sorted_tables
            if table.name not in without
        }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("folder", "sqlite"),
        ("file.tar", "sqlite"),
        pytest.param("folder", "postgresql", marks=pytest.mark.needs("initdb")),
    ],
)
def test_imported_registry_equals_the_exported_one(
    house: House, ada: Client, tmp_path: Path, name: str, kind: str
) -> None:
    fill(house, ada)
    house.registry.checker.close()
    sent = export(house.registry, THE_OPERATOR, tmp_path / name)
    damaged = sha256(b"b")
    assert (sent.packages, sent.left_out, sent.copied_objects) == (1, [damaged], sent.objects)
    assert sent.run_cache_results == 1
    other = House(tmp_path / "other")
    with database(kind, tmp_path) as db:
        migrate(db)
        registry = replace(other.registry, db=db) if kind == "postgresql" else other.registry
        got = load(registry, THE_OPERATOR, tmp_path / name)
        assert got == sent
        assert all_rows(registry.db, UNFINISHED) == all_rows(house.registry.db, UNFINISHED)
        other.registry = registry
        for path in (f"{IRIS}/resolve", f"{IRIS}/log", f"{IRIS}/objects/{sha256(b'a 1')}", IRIS):
            assert (there := Client(other.app, ada.token).get(path)).status == 200
            assert there.body == ada.get(path).body
        if kind == "sqlite":
            assert bool(other.registry.objects.recipes) == (name == "folder")
            again = Client(other.app, ada.token, "ada")
            again.publish("ada/iris", {"b": b"b", "new": b"new"})
            check_clean(other)
        else:  # ids are counted on
            Client(other.app, ada.token, "ada").publish("ada/newer", {"new": b"new"})
    other.registry = replace(other.registry, db=house.registry.db)
    other.registry.checker.close()


def test_second_export_copies_only_what_is_new_and_drops_what_is_gone(
    house: House, ada: Client, tmp_path: Path
) -> None:
    target = tmp_path / "export"
    ada.publish("ada/iris", bodies("x", 80))
    ada.publish("ada/gone", {"gone": b"gone", "x": b"x 1"})
    first = export(house.registry, THE_OPERATOR, target)
    assert first.copied_objects == first.objects
    assert export(house.registry, THE_OPERATOR, target).copied_objects == 0
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    new = ada.publish("ada/iris", {**bodies("x", 80), "more": b"more"})
    third = export(house.registry, THE_OPERATOR, target)
    assert third.copied_objects == 3
    tables = json.loads((target / "registry.json").read_bytes())["tables"].values()
    held = hashes(bodies("x", 80), new, sha256(b"more"), *wheel_objects(house))
    assert set(PackedObjects(target)) == held | {table["hash"] for table in tables}
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, target)
    assert Client(other.app, ada.token).get(f"{IRIS}/resolve").json()["hash"] == new
    check_clean(other)
    other.close()


def test_tokens_can_be_left_out(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    export(house.registry, THE_OPERATOR, tmp_path / "x.tar", tokens=False)
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, tmp_path / "x.tar")
    assert Client(other.app, ada.token).get(IRIS).status in (401, 404)
    assert str(ada.token) not in (tmp_path / "x.tar").read_bytes().decode(errors="replace")
    other.close()


@pytest.mark.parametrize("place", ["object", "rows", "document"])
@pytest.mark.parametrize("name", ["folder", "file.tar"])
def test_damaged_export_imports_nothing(house: House, ada: Client, tmp_path: Path, name: str, place: str) -> None:
    ada.publish("ada/iris", {"a": b"the only one"})
    export(house.registry, THE_OPERATOR, tmp_path / name)
    wanted = {"object": b"the only one", "rows": b'"ada"', "document": b'"registry_export"'}[place]
    files = [path for path in (tmp_path / name).rglob("*") if path.is_file()] or [tmp_path / name]
    for path in files:
        data = path.read_bytes()
        if wanted in data:
            path.chmod(0o600)
            path.write_bytes(data.replace(wanted, wanted[:-2] + b"~" + wanted[-1:], 1))
    other = House(tmp_path / "other")
    with pytest.raises(DatapkgError):
        load(other.registry, THE_OPERATOR, tmp_path / name)
    assert all(rows == [] for table, rows in all_rows(other.registry.db).items() if table != "alembic_version")
    other.close()


def test_damaged_object_ends_an_export_and_is_left_out_of_the_next(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"a", "b": b"b"})
    house.damage(sha256(b"b"))
    for name in ("folder", "x.tar"):
        if name == "folder":
            with pytest.raises(CorruptObject, match=sha256(b"b")):
                export(house.registry, THE_OPERATOR, tmp_path / name)
            with pytest.raises(InvalidInput, match="was interrupted"):
                load(house.registry, THE_OPERATOR, tmp_path / name)
        assert export(house.registry, THE_OPERATOR, tmp_path / name).left_out == [sha256(b"b")]
    with pytest.raises(Conflict, match="exists"):
        export(house.registry, THE_OPERATOR, tmp_path / "x.tar")


def test_what_is_not_empty_or_not_an_export_is_refused(house: House, ada: Client, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(Conflict, match="not an export"):
        export(house.registry, THE_OPERATOR, tmp_path / "mine")
    for source in (tmp_path / "mine", tmp_path / "nosuch", tmp_path / "mine" / "file"):
        with pytest.raises(InvalidInput):
            load(house.registry, THE_OPERATOR, source)
    export(house.registry, THE_OPERATOR, tmp_path / "export")
    with pytest.raises(InvalidInput, match="empty registry"):
        load(house.registry, THE_OPERATOR, tmp_path / "export")


def test_export_of_an_older_version_is_migrated(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    export(house.registry, THE_OPERATOR, tmp_path / "old")
    document = tmp_path / "old" / "registry.json"
    found = json.loads(document.read_bytes())
    home = PackedObjects(tmp_path / "old")
    head = found["database"]
    found["database"] = "0006"  # in which neither recipes nor records were objects
    for table in ("recipe_bases", "tombstones", "retired_versions", "wheels"):
        del found["tables"][table]
    for table, column in (
        ("log", "parents"),
        ("log", "record_object"),
        ("tags", "moved_at"),
        ("states", "number"),
        ("versions", "yanked"),
    ):
        lines = [json.loads(line) for line in home.read(found["tables"][table]["hash"]).splitlines()]
        at = lines[0].index(column)
        older = "".join(json.dumps(line[:at] + line[at + 1 :]) + "\n" for line in lines)
        found["tables"][table]["hash"] = home.put_bytes(older.encode())
    document.write_text(json.dumps(found))
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, tmp_path / "old")
    with other.registry.db.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == head
    without = UNFINISHED | {"log", "tags", "wheels"}
    assert all_rows(other.registry.db, without) == all_rows(house.registry.db, without)
    assert Client(other.app, ada.token).get(f"{IRIS}/tags").json()["moved_at"].keys() == {"latest"}
    document.write_text(json.dumps(found | {"database": "9999"}))
    newer = House(tmp_path / "newer")
    with pytest.raises(InvalidInput, match="newer datapkg-registry"):
        load(newer.registry, THE_OPERATOR, tmp_path / "old")
    other.close()
    newer.close()


def test_commands_export_and_import(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", {"a": b"a"})
    data, target = str(house.settings.data), str(tmp_path / "export")
    done = run("export", target, "--data", data)
    assert done.stdout.startswith("exported 1 package with 3 objects (")
    assert json.loads(run("export", target, "--data", data, "--json").stdout)["copied_objects"] == 0
    new = str(tmp_path / "new")
    assert json.loads(run("import", target, "--data", new, "--json").stdout)["packages"] == 1
    assert json.loads(run("check", "--data", new, "--json").stdout)["checked"] == 3
    assert check_failure(run("import", target, "--data", new, "--json"), 2)["code"] == "invalid"
    assert check_failure(run("import", str(tmp_path / "no"), "--data", str(tmp_path / "x"), "--json"), 3)


def test_import_notes_what_recipes_rely_on_by_the_recipes(house: House, ada: Client, tmp_path: Path) -> None:
    base, rest = b"base" * 1_000, b"the rest"
    ada.publish("ada/iris", {"derived": base + rest, "rest": rest})
    ada.publish("ada/other", {"base": base})
    steps = [Step(sha256(base), 0, len(base)), Step(sha256(rest), 0, len(rest))]
    house.registry.objects.recipes.keep(sha256(base + rest), steps)
    replace_wholes(house.registry, [sha256(base + rest)])
    export(house.registry, THE_OPERATOR, tmp_path / "export")
    document = tmp_path / "export" / "registry.json"
    found = json.loads(document.read_bytes())
    home, table = PackedObjects(tmp_path / "export"), found["tables"]["recipe_bases"]
    table["rows"], table["hash"] = 0, home.put_bytes(home.read(table["hash"]).splitlines(keepends=True)[0])
    document.write_text(json.dumps(found))
    other = House(tmp_path / "other")
    load(other.registry, THE_OPERATOR, tmp_path / "export")
    assert Client(other.app, ada.token).delete(f"{wire.PACKAGES}/ada/other").status < 300
    sweep_later(other, GRACE * 3)
    sweep_later(other, GRACE * 6)
    assert Client(other.app, ada.token).get(f"{IRIS}/objects/{sha256(base + rest)}").body == base + rest
    check_clean(other)
    other.close()


@pytest.mark.parametrize("tables", [[], {}, None, {"objects": 5}])
def test_export_with_a_malformed_document_is_named_damaged(
    house: House, ada: Client, tmp_path: Path, tables: object
) -> None:
    export(house.registry, THE_OPERATOR, tmp_path / "export")
    document = tmp_path / "export" / "registry.json"
    document.write_text(json.dumps(json.loads(document.read_bytes()) | {"tables": tables}))
    other = House(tmp_path / "other")
    with pytest.raises(CorruptObject, match="malformed table or row"):
        load(other.registry, THE_OPERATOR, tmp_path / "export")
    document.write_text("[" * 100_000)
    with pytest.raises(InvalidInput, match="not an export"):
        load(other.registry, THE_OPERATOR, tmp_path / "export")
    other.close()


def test_full_disk_of_the_registry_is_named(
    house: House, ada: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("registry_server.db.exported_rows.write", full)
    with pytest.raises(OSError, match="No space left") as caught:
        export(house.registry, THE_OPERATOR, tmp_path / "folder")
    assert str(caught.value.filename).startswith(str(house.settings.temporary))
