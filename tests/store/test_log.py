"""The log of a package: its newest events, and those of one state, cost the same however long it is."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from datapkg.format.names import Ref
from datapkg.store import log as log_module
from datapkg.store.index import Index
from datapkg.store.refs import LogEvent
from datapkg.store.store import Store
from tests.counted_files import files_used

REF = Ref("u", "p")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(log_module, "RECENT", 8)
    return Store(tmp_path / "store", Index(tmp_path / "index.db"))


def hash_of(number: int) -> str:
    return f"{number * 37 % 256:02x}" + f"{number:04}" * 15 + "ab"


def event(number: int, kind: log_module.Event = "build") -> LogEvent:
    at = f"2026-11-21T10:{number // 60:02}:{number % 60:02}+00:00"
    return LogEvent(kind, hash_of(number), at, record={"n": number})


def fill(store: Store, count: int) -> None:
    for number in range(count):
        store.refs.append_log(REF, event(number))


def questions(store: Store, newest: int) -> None:
    """Ask what building, pushing and installing ask of a log."""
    refs = store.refs
    assert next(refs.log(REF, "build", "install")).record == {"n": newest}
    assert store.record(REF, hash_of(newest)) == {"n": newest}
    assert not any(refs.log(REF, "push", "install", hash=hash_of(newest)))
    assert not any(refs.log(REF, hash="f" * 64))
    assert refs.known_hashes(REF, hash_of(newest)[:6]) == {hash_of(newest)}
    assert len(list(islice(refs.logged(REF), 4))) == 4


def test_long_log_costs_what_a_short_one_costs(store: Store) -> None:
    fill(store, 20)
    with files_used(store.folder) as few:
        questions(store, 19)
    for number in range(20, 300):
        store.refs.append_log(REF, event(number))
    with files_used(store.folder) as many:
        questions(store, 299)
    assert len(many) == len(few)
    assert len(list((store.folder / "packages/u/p/log").iterdir())) <= 2 * 8


def test_log_keeps_the_order_and_every_event_when_it_is_long(store: Store) -> None:
    fill(store, 100)
    assert [each.record["n"] for each in store.refs.log(REF)] == list(reversed(range(100)))
    assert [hash for hash, _ in store.refs.logged(REF)] == [hash_of(number) for number in reversed(range(100))]
    assert next(store.refs.logged(REF))[1] == "2026-11-21T10:01:39.000000+00:00"
    assert store.record(REF, hash_of(3)) == {"n": 3}
    assert store.refs.known_hashes(REF) == {hash_of(number) for number in range(100)}


def test_states_are_known_without_reading_events(store: Store) -> None:
    fill(store, 40)
    with files_used(store.folder) as used:
        assert len(store.refs.known_hashes(REF)) == 40
    assert not [path for path in used if path.endswith(".json") and "/log" in path]


def test_events_that_move_to_the_archive_while_they_are_listed_are_seen_once(store: Store) -> None:
    fill(store, 16)
    events = store.refs.log(REF)
    seen = [next(events).record["n"]]
    for number in range(16, 40):
        store.refs.append_log(REF, event(number))
    seen += [each.record["n"] for each in events]
    assert seen == list(reversed(range(16)))


def test_log_of_an_older_version_is_read_and_put_in_order_by_the_next_event(store: Store) -> None:
    fill(store, 12)
    folder = store.folder / "packages/u/p/log"
    for path in list(folder.iterdir()):
        at, hash, _, random = path.name.split("-")
        path.rename(folder / f"{at}-{hash[:12]}-{random}")
    for number in range(12):  # as after many events of that version
        copy = folder / f"20250101T0000{number:02}.000000Z-{hash_of(number)[:12]}-aaaaaaaa.json"
        copy.write_bytes((next(folder.glob(f"*{hash_of(number)[:12]}*"))).read_bytes())
    assert store.record(REF, hash_of(3)) == {"n": 3}
    assert store.refs.known_hashes(REF, hash_of(3)[:20]) == {hash_of(3)}
    store.refs.append_log(REF, event(12, "push"))
    assert len(list(folder.iterdir())) == 8
    assert store.refs.known_hashes(REF) == {hash_of(number) for number in range(13)}
    assert len(list(store.refs.log(REF))) == 25
    assert [each.record["n"] for each in store.refs.log(REF, "push")] == [12]


def test_damaged_events_are_found_in_the_archive_too(store: Store) -> None:
    fill(store, 30)
    path = next((store.folder / "packages/u/p/log-archive").rglob("*.json"))
    path.write_bytes(b"{")
    assert [each for each, _ in store.refs.damaged(REF)] == [path]


@pytest.mark.parametrize("kind", ["tags", "versions"])
def test_pointers_in_files_of_their_own_are_read_and_then_kept_in_one(store: Store, kind: str) -> None:
    folder = store.folder / "packages/u/p" / kind
    folder.mkdir(parents=True)
    (folder / "1.0").write_text(f'{{"hash": "{"a" * 64}"}}')
    read = getattr(store.refs, kind)
    assert read(REF) == {"1.0": "a" * 64}
    store.refs.set_pointers(REF, kind, {"1.0": "a" * 64})  # type: ignore[arg-type]
    assert (read(REF), folder.exists()) == ({"1.0": "a" * 64}, False)
    folder.with_suffix(".json").write_text('{"1.0": "x"}')
    assert [path.name for path, _ in store.refs.damaged(REF)] == [f"{kind}.json"]
