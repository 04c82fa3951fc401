"""Only objects that nothing refers to are deleted, in two steps, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from datapkg.errors import Conflict, CorruptObject
from datapkg.format import wire
from datapkg.format.frames import encode_frames
from datapkg.format.manifest.parsed import Manifest
from datapkg.objects.pack_merging import MERGED_AT
from datapkg.objects.packs import PackedObjects
from registry_server.db.tables import objects
from registry_server.services.check import check
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.sweep import GRACE, sweep
from tests.examples import examples, seeds
from tests.live_registry import ROOT
from tests.registry_server.asgi import Client, Contents, House, check_clean, sha256, wheel_objects

DAY = timedelta(hours=25)


def later(house: House, time: timedelta) -> None:
    """Set the clock of the registry ahead by this time, but not that of the disk."""
    house.registry = replace(house.registry, now=lambda: datetime.now(UTC) + time)


def sweep_later(house: House, *times: timedelta) -> None:
    for time in times:
        later(house, time)
        sweep(house.registry, THE_OPERATOR)


def on_disk(house: House) -> set[str]:
    return set(PackedObjects(house.settings.data)) - wheel_objects(house)


def known(house: House) -> set[str]:
    with house.registry.db.read() as connection:
        return set(connection.execute(select(objects.c.hash)).scalars()) - wheel_objects(house)


def bodies(name: str, count: int) -> dict[str, bytes]:
    return {f"{name}{number}": f"{name} {number}".encode() for number in range(count)}


def send(client: Client, package: str, files: dict[str, bytes], manifest: Manifest | None = None) -> str:
    """Upload files in a push of a manifest, and return the push, which is not published."""
    contents = Contents(files)
    push: str = client.start(package, manifest or contents.manifest)["push"]
    path = f"{wire.PACKAGES}/{package}/pushes/{push}/objects"
    assert client.post(path, body=b"".join(encode_frames(contents.bodies.items()))).status == 200
    return push


def publish(client: Client, package: str, push: str, manifest: Manifest, **more: Any) -> int:
    path = f"{wire.PACKAGES}/{package}/pushes/{push}"
    client.post(f"{path}/objects", body=b"".join(encode_frames([(manifest.hash, manifest.data)])))
    return client.post(f"{path}/publish", {"manifest": manifest.hash, **more}).status


def hashes(files: dict[str, bytes], *more: str) -> set[str]:
    return {*Contents(files).bodies, *more}


@pytest.mark.parametrize("count", [1, 100])
def test_unpublished_objects_are_deleted(house: House, ada: Client, count: int) -> None:
    kept = bodies("kept", count)
    ada.publish("ada/iris", kept)
    send(ada, "ada/iris", {**bodies("dead", count), **kept})
    everything = on_disk(house)
    sweep_later(house, GRACE * 2)
    assert on_disk(house) == everything == known(house)
    sweep_later(house, DAY)
    assert on_disk(house) == known(house) == hashes(kept)
    trash = house.settings.data / "trash"
    assert trash.is_dir()
    sweep_later(house, DAY)
    assert not trash.exists()
    assert check_clean(house) == len(hashes(kept))


def test_objects_of_a_deleted_package_are_deleted_unless_shared(house: House, ada: Client) -> None:
    both, mine = bodies("both", 80), bodies("mine", 80)
    ada.publish("ada/iris", {**both, **mine})
    ada.publish("ada/other", both)
    assert ada.delete(f"{wire.PACKAGES}/ada/iris").status < 300
    sweep_later(house, GRACE * 2, GRACE * 4)
    assert on_disk(house) == known(house) == hashes(both)
    assert check(house.registry, THE_OPERATOR).damaged == []


@pytest.mark.parametrize(("dead", "is_rewritten"), [(10, False), (160, True)])
def test_a_pack_is_rewritten_once_half_of_its_bytes_are_dead(
    house: House, ada: Client, dead: int, is_rewritten: bool
) -> None:
    alive = {**bodies("used", 100), "long": b"x" * 20_000}
    manifest = Contents(alive).manifest
    unused = bodies("dead", dead)
    push = send(ada, "ada/iris", {**alive, **unused}, manifest)
    assert publish(ada, "ada/iris", push, manifest) == 200
    (before,) = PackedObjects(house.settings.data).packs()
    sweep_later(house, GRACE * 2, GRACE * 4)
    (after,) = PackedObjects(house.settings.data).packs()
    assert (after.hash != before.hash) == is_rewritten
    assert (
        on_disk(house)
        == known(house)
        == (hashes(alive) if is_rewritten else hashes({**alive, **unused}, manifest.hash))
    )
    assert check(house.registry, THE_OPERATOR).damaged == []


def test_a_damaged_pack_is_kept(house: House, ada: Client, caplog: pytest.LogCaptureFixture) -> None:
    send(ada, "ada/iris", bodies("dead", 100))
    (pack,) = PackedObjects(house.settings.data).packs()
    house.damage(next(pack.hashes()).hex())
    sweep_later(house, DAY, DAY)
    assert pack.path.exists()
    assert f"pack {pack.path.name} is damaged" in caplog.text


@pytest.mark.parametrize("count", [1, 100])
def test_upload_restores_objects_swept_meanwhile(house: House, ada: Client, count: int) -> None:
    files = bodies("x", count)
    contents = Contents(files)
    push = ada.start("ada/iris", contents.manifest)["push"]
    later(house, GRACE * 2)
    real = house.registry

    class Swept(PackedObjects):
        """A home that is swept as soon as something is stored in it."""

        def put_several(self, items: Mapping[str, bytes]) -> None:
            super().put_several(items)
            assert items.keys() <= on_disk(house)
            sweep(real, THE_OPERATOR)
            assert on_disk(house) == set()

    house.registry = replace(real, new_writer=lambda: Swept(house.settings.data))
    path = f"{wire.PACKAGES}/ada/iris/pushes/{push}"
    assert ada.post(f"{path}/objects", body=b"".join(encode_frames(contents.bodies.items()))).status == 200
    assert on_disk(house) == hashes(files)
    assert ada.post(f"{path}/publish", {"manifest": contents.manifest.hash}).status == 200
    assert check(house.registry, THE_OPERATOR).damaged == []


@pytest.mark.parametrize("kind", ["folder", "link to itself", "text"])
def test_stray_file_among_packs_is_ignored(house: House, ada: Client, kind: str) -> None:
    ada.publish("ada/iris", bodies("kept", 100))
    stray = house.settings.data / "packs" / "stray.pack"
    if kind == "folder":
        stray.mkdir()
    elif kind == "text":
        stray.write_text("x")
    else:
        stray.symlink_to(stray.name)
    assert check_clean(house) == 101
    sweep_later(house, DAY, DAY)
    assert check_clean(house) == 101


def test_object_in_use_again_is_restored_from_the_trash(house: House, ada: Client) -> None:
    ada.publish("ada/iris", bodies("kept", 100))
    trash = house.registry.trash
    for pack in PackedObjects(house.settings.data).packs():
        trash.move(f"packs/{pack.hash}.pack")
    assert on_disk(house) == set()
    sweep_later(house, GRACE * 2)
    assert on_disk(house) == hashes(bodies("kept", 100))


def test_sweep_is_refused_while_another_process_sweeps(house: House, ada: Client) -> None:
    send(ada, "ada/iris", bodies("dead", 1))
    before = on_disk(house)
    later(house, DAY)
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print(flush=True); time.sleep(60)"
    words = [sys.executable, "-c", hold, str(house.settings.data / "sweep.lock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(Conflict, match="another process"):
            sweep(house.registry, THE_OPERATOR)
        assert on_disk(house) == before
        other.kill()
    sweep(house.registry, THE_OPERATOR)
    assert on_disk(house) == set()


@pytest.mark.parametrize("seed", seeds(1, 12))
def test_sweeps_run_concurrently_with_uploads_and_deletions(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    users = [house.user(name) for name in ("ada", "bob", "cyd")]
    # Every file may go at once, which no upload is quick enough for; the trash keeps it.
    monkeypatch.setattr(
        "registry_server.services.sweep._Sweep._is_old", lambda _, file: not file.key.startswith("trash/")
    )
    problems: list[str] = []
    is_over = threading.Event()

    def work(client: Client, number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        for _ in range(8):
            name = f"{client.name}/p{chance.randrange(2)}"
            if chance.random() < 0.3:
                client.delete(f"{wire.PACKAGES}/{name}")
                continue
            files = bodies(f"{client.name}{chance.randrange(3)}-", chance.choice([2, 90]))
            answer = client.push(name, Contents(files), force=True)
            if answer.status != 200:
                problems.append(answer.text)

    def run_sweeps() -> None:
        while not is_over.is_set():
            sweep(house.registry, THE_OPERATOR)

    sweeper = threading.Thread(target=run_sweeps)
    workers = [threading.Thread(target=work, args=(client, number)) for number, client in enumerate(users)]
    for thread in (sweeper, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    is_over.set()
    sweeper.join()
    monkeypatch.undo()
    assert problems == []
    assert check(house.registry, THE_OPERATOR).damaged == []
    sweep_later(house, DAY, DAY + GRACE * 2)
    assert check(house.registry, THE_OPERATOR).damaged == []
    assert known(house) <= on_disk(house)
    house.close()


# Runs sweeps on copies of a data folder and kills each before another step, until one comes to its end.
KILLS = """
import os, shutil, signal, sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sqlalchemy import event
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import open_registry
from registry_server.services.sweep import GRACE, sweep
from registry_server.settings import Settings

def run(data, kill_at):
    registry = open_registry(Settings(data=data))
    left = kill_at
    def step():
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def counted(function):
        def call(*arguments, **options):
            step()
            return function(*arguments, **options)
        return call
    for name in ("replace", "unlink", "rmdir", "fsync"):
        setattr(os, name, counted(getattr(os, name)))
    event.listen(registry.db.engine, "commit", lambda _: step())
    for hours in (25, 27):
        sweep(replace(registry, now=lambda: datetime.now(UTC) + timedelta(hours=hours)), THE_OPERATOR)

source, folder = map(Path, sys.argv[2:])
for kill_at in range(1, 1000, int(sys.argv[1])):
    data = folder / str(kill_at)
    shutil.copytree(source, data)
    child = os.fork()
    if child == 0:
        try:
            run(data, kill_at)
        finally:
            os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(kill_at)
"""


def test_sweep_killed_at_any_step_loses_no_object(tmp_path: Path) -> None:
    house = House(tmp_path)
    ada = house.user("ada")
    alive = bodies("used", 70)
    manifest = Contents(alive).manifest
    push = send(ada, "ada/iris", {**alive, **bodies("dead", 100)}, manifest)
    assert publish(ada, "ada/iris", push, manifest) == 200
    for count in (2, 80):
        send(ada, "ada/iris", bodies(f"lost{count}-", count))
    ada.publish("ada/gone", {"gone": b"gone"})
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    house.close()
    copies = tmp_path / "copies"
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(examples(5, 1)), str(house.settings.data), str(copies)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) > 20
    for copy in sorted(copies.iterdir()):
        folder = tmp_path / "again" / copy.name
        folder.mkdir(parents=True)
        shutil.move(copy, folder / "registry")
        again = House(folder)
        assert check(again.registry, THE_OPERATOR).damaged == []
        sweep_later(again, DAY, DAY + GRACE * 2, DAY + GRACE * 4)
        assert on_disk(again) == known(again) == hashes(alive)
        assert not (again.settings.data / "trash").exists()
        assert check_clean(again) == len(hashes(alive))
        assert sha256(manifest.data) in on_disk(again)
        again.close()


def test_sweep_merges_packs_of_many_pushes(house: House, ada: Client) -> None:
    for number in range(MERGED_AT + 2):
        ada.publish("ada/iris", bodies(f"{number}-", 64))
    before = on_disk(house)
    assert len(PackedObjects(house.settings.data).packs()) == MERGED_AT + 2
    sweep(house.registry, THE_OPERATOR)
    assert len(PackedObjects(house.settings.data).packs()) == 1
    assert on_disk(house) == before
    assert check_clean(house) == len(before)


def test_dry_run_reports_what_a_sweep_then_does(house: House, ada: Client) -> None:
    kept, lost = bodies("kept", 3), bodies("lost", 90)
    ada.publish("ada/iris", kept)
    send(ada, "ada/iris", lost)
    ada.publish("ada/gone", {"gone": b"gone"})
    assert ada.delete(f"{wire.PACKAGES}/ada/gone").status < 300
    later(house, DAY)
    for moved, deleted, rows in ((3, 0, 0), (0, 3, 0), (0, 0, 0)):
        before = {path: path.stat().st_ctime_ns for path in house.settings.data.rglob("*") if "tmp" not in path.parts}
        would = sweep(house.registry, THE_OPERATOR, dry_run=True)
        after = {path: path.stat().st_ctime_ns for path in before}
        assert {path.name for path in before if before[path] != after[path]} <= {"registry.db-shm", "registry.db-wal"}
        done = sweep(house.registry, THE_OPERATOR)
        assert (would.moved_files, would.deleted_files) == (moved, deleted)
        assert replace(done, dry_run=True, removed_objects=rows) == replace(would, removed_objects=rows)
    assert on_disk(house) == hashes(kept)


def test_damaged_database_deletes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path / "base")
    house.user("ada").publish("ada/iris", {"a": b"needed"})
    house.close()
    hash = sha256(b"needed")
    whole = house.settings.database.read_bytes()
    places = [each.start() for each in re.finditer(hash.encode(), whole)]
    refused = 0
    for place in places:  # in the tables, in an index, or in bytes that are no longer used
        shutil.copytree(house.settings.data, tmp_path / str(place) / "registry")
        (tmp_path / str(place) / "registry" / "registry.db").write_bytes(whole[:place] + b"g" + whole[place + 1 :])
        damaged = House(tmp_path / str(place))
        for time in (GRACE * 2, GRACE * 4):
            with contextlib.suppress(CorruptObject):
                sweep_later(damaged, time)
        assert hash in on_disk(damaged)
        refused += bool(check(damaged.registry, THE_OPERATOR).database)
        damaged.close()
    assert refused >= 3
