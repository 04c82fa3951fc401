"""The log of a package decides: who is first, what follows, and that what was seen does not change."""

from __future__ import annotations

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from datapkg.errors import Conflict, IntegrityError, NewerFormat, Refused
from datapkg.format import static_registry as layout
from datapkg.format.names import Ref
from datapkg.format.static_registry import Heads
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.remote.static.log import RegistryLog
from datapkg.remote.static.seen import SeenLogs

REF = Ref("ada", "iris")


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "registry")


@pytest.fixture
def open_log(blobs: FolderBlobs, tmp_path: Path) -> Any:
    return lambda machine="own": RegistryLog(blobs, REF, SeenLogs(tmp_path / machine, blobs.url))


def state(number: int) -> str:
    return f"{number:064x}"


def push(number: int, **fields: Any) -> Any:
    return lambda heads: {"kind": "push", "hash": state(number), "parent": heads.latest, **fields}


def hand_edit(blobs: FolderBlobs, number: int, **changes: Any) -> None:
    key = layout.log_key(REF, number)
    value = json.loads(blobs.read(key, 10_000)) | changes
    blobs.put(key, io.BytesIO(json.dumps(value).encode()))


def test_the_pointers_are_those_of_all_entries(open_log: Any, blobs: FolderBlobs) -> None:
    log = open_log()
    log.append(push(1, version="1.0"))
    log.append(push(2, tag="stable"))
    log.append(lambda _: {"kind": "version", "version": "2.0", "hash": state(2)})
    log.append(lambda _: {"kind": "untag", "tag": "stable"})
    for machine in ("own", "new"):
        heads = open_log(machine).read().heads
        assert heads.number == 4
        assert {tag: pointer.hash for tag, pointer in heads.tags.items()} == {"latest": state(2)}
        assert {name: pointer.hash[-1] for name, pointer in heads.versions.items()} == {"1.0": "1", "2.0": "2"}
    assert [each.kind for each in log.entries()] == ["untag", "version", "push", "push"]
    assert layout.decode(blobs.read(layout.heads_key(REF), 10_000), Heads, "heads") == heads


@pytest.mark.parametrize("kept", [0, 1, 4, 19])
def test_a_checkpoint_that_is_older_than_the_log_costs_requests_only(
    open_log: Any, blobs: FolderBlobs, kept: int
) -> None:
    old = b""
    for number in range(1, 21):
        open_log().append(push(number))
        if number == kept:
            old = blobs.read(layout.heads_key(REF), 10_000)
    if kept:
        blobs.put(layout.heads_key(REF), io.BytesIO(old))
    else:
        blobs.delete(layout.heads_key(REF))
    assert open_log("new").read().heads.latest == state(20)
    open_log("new").append(push(21))
    assert open_log("newest").read().heads.latest == state(21)


def test_a_checkpoint_that_is_not_of_the_log_is_not_used(open_log: Any, blobs: FolderBlobs) -> None:
    for number in (1, 2):
        open_log().append(push(number))
    heads = json.loads(blobs.read(layout.heads_key(REF), 10_000))
    right = open_log("a").read()
    for wrong in (
        heads | {"number": 9},
        heads | {"tags": {"latest": {"at": "", "hash": "f" * 64}}},
        heads | {"package": "ada/other"},
        {"format": 1},
        [],
    ):
        blobs.put(layout.heads_key(REF), io.BytesIO(json.dumps(wrong).encode()))
        assert open_log("b").read() == right


def test_a_checkpoint_of_a_newer_datapkg_says_so(open_log: Any, blobs: FolderBlobs) -> None:
    open_log().append(push(1))
    hand_edit(blobs, 1, format=3)
    with pytest.raises(NewerFormat, match="has format 3"):
        open_log("new").read()


def test_an_entry_of_an_unknown_kind_is_refused(open_log: Any) -> None:
    with pytest.raises(NewerFormat, match="kind 'retract'"):
        open_log().append(lambda _: {"kind": "retract"})


def test_an_entry_that_was_edited_is_noticed_where_it_was_seen(open_log: Any, blobs: FolderBlobs) -> None:
    for number in (1, 2, 3):
        open_log().append(push(number))
    hand_edit(blobs, 3, message="another")
    with pytest.raises(IntegrityError, match="its entry 3 is another one"):
        open_log().read()


def test_an_entry_that_was_edited_is_noticed_by_the_next(open_log: Any, blobs: FolderBlobs) -> None:
    for number in (1, 2, 3):
        open_log().append(push(number))
    hand_edit(blobs, 2, message="another")
    with pytest.raises(IntegrityError, match=r"entry 2 .* was changed after the next one was written"):
        list(open_log("new").entries())
    blobs.delete(layout.heads_key(REF))
    with pytest.raises(IntegrityError, match=r"entry 3 .* follows another entry 2"):
        open_log("newer").read()


def test_an_entry_with_other_pointers_than_it_states_is_noticed(open_log: Any, blobs: FolderBlobs) -> None:
    open_log().append(push(1))
    hand_edit(blobs, 1, hash="f" * 64)
    with pytest.raises(IntegrityError, match="does not match the pointers"):
        RegistryLog(_without_heads(blobs), REF, SeenLogs(blobs.folder / "seen", "x")).read()


def _without_heads(blobs: FolderBlobs) -> FolderBlobs:
    blobs.delete(layout.heads_key(REF))
    return blobs


def test_a_log_that_became_shorter_is_noticed(open_log: Any, blobs: FolderBlobs) -> None:
    for number in (1, 2, 3):
        open_log().append(push(number))
    blobs.delete(layout.log_key(REF, 3))
    with pytest.raises(IntegrityError, match="it had 3 entries and has 2") as caught:
        open_log().read()
    assert "rm " in caught.value.hint


def test_nothing_is_pushed_into_a_gap(open_log: Any, blobs: FolderBlobs) -> None:
    for number in (1, 2, 3, 4):
        open_log().append(push(number))
    blobs.delete(layout.log_key(REF, 3))
    assert open_log("reader").read().heads.latest == state(4), "the checkpoint is confirmed by the last entry"
    with pytest.raises(IntegrityError, match=r"entry 3 .* is missing"):
        list(open_log("reader").entries())
    blobs.delete(layout.heads_key(REF))
    with pytest.raises(IntegrityError, match=r"entry 3 .* is missing, and later ones are there"):
        open_log("new").append(push(5))


def test_a_version_never_moves_even_after_a_deletion(open_log: Any, blobs: FolderBlobs) -> None:
    open_log().append(push(1, version="1.0"))
    open_log().append(lambda _: {"kind": "delete"})
    heads = open_log("new").read().heads
    assert heads.latest is None
    assert heads.retired == {"1.0": state(1)}
    open_log().append(push(2))
    assert open_log("new").read().heads.retired == heads.retired


def test_all_creators_at_once_are_in_the_log(open_log: Any) -> None:
    start = threading.Barrier(8)

    def add(machine: int) -> None:
        start.wait()
        for number in range(12):
            open_log(f"machine{machine}").append(push(100 * machine + number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    entries = list(open_log("new").entries())
    assert sorted(int(each.hash, 16) for each in entries) == sorted(100 * m + n for m in range(8) for n in range(12))
    for before, after in zip(entries[1:], entries, strict=False):
        assert after.parent == before.hash


def test_what_decides_is_asked_again_after_another_was_first(open_log: Any) -> None:
    open_log().append(push(1))
    asked = []

    def decide(heads: Heads) -> dict[str, Any]:
        asked.append(heads.latest)
        if len(asked) == 1:
            open_log("other").append(push(2))
        if heads.latest == state(2):
            raise Conflict("somebody was first")
        return {"kind": "push", "hash": state(3)}

    with pytest.raises(Conflict):
        open_log("mine").append(decide)
    assert asked == [state(1), state(2)]


def test_where_two_could_be_first_nothing_is_pushed(
    open_log: Any, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FolderBlobs, "can_create", False)
    with pytest.raises(Refused, match="cannot tell which of two pushers was first"):
        open_log().append(push(1))
    assert list(blobs.list()) == []


@pytest.mark.parametrize("lost", [[3], [3, 4]])
def test_a_reader_without_a_checkpoint_notices_a_gap(open_log: Any, blobs: FolderBlobs, lost: list[int]) -> None:
    for number in range(1, 7):
        open_log().append(push(number))
    blobs.delete(layout.heads_key(REF))
    for number in lost:
        blobs.delete(layout.log_key(REF, number))
    with pytest.raises(IntegrityError, match=r"entry 3 .* is missing, and later ones are there"):
        open_log("reader").read()
    with pytest.raises(IntegrityError, match=r"entry 3 .* is missing"):
        open_log("pusher").append(push(9))
    assert blobs.size(layout.log_key(REF, 3)) is None


def test_a_gap_behind_an_old_checkpoint_is_found_when_the_end_matters(open_log: Any, blobs: FolderBlobs) -> None:
    open_log().append(push(1))
    old = blobs.read(layout.heads_key(REF), 10_000)
    for number in (2, 3):
        open_log().append(push(number))
    open_log("reader").check_end()
    blobs.put(layout.heads_key(REF), io.BytesIO(old))
    blobs.delete(layout.log_key(REF, 2))
    with pytest.raises(IntegrityError, match=r"entry 2 .* is missing"):
        open_log("other").check_end()


def test_a_huge_checkpoint_is_as_if_it_were_not_there(
    open_log: Any, blobs: FolderBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_log().append(push(1))
    blobs.put(layout.heads_key(REF), io.BytesIO(b" " * 1001))
    monkeypatch.setattr(layout, "MAX_HEADS_BYTES", 1000)
    assert open_log("reader").read().heads.latest == state(1)


def test_an_entry_of_another_package_says_what_is_there(open_log: Any, blobs: FolderBlobs) -> None:
    open_log().append(push(1))
    hand_edit(blobs, 1, package="bob/other")
    blobs.delete(layout.heads_key(REF))
    with pytest.raises(IntegrityError, match=r"entry 1 of .*ada/iris at .* has the contents of entry 1 of bob/") as e:
        open_log("reader").read()
    assert e.value.hint == f"datapkg verify --registry {blobs.url}"


@pytest.mark.parametrize(
    "change",
    [
        {"number": "x"},
        {"number": True},
        {"number": -1},
        {"entry": 7},
        {"versions": []},
        {"versions": {"1.0": 1}},
    ],
)
def test_a_damaged_memory_is_as_none(open_log: Any, blobs: FolderBlobs, tmp_path: Path, change: dict[str, Any]) -> None:
    open_log().append(push(1, version="1.0"))
    path = SeenLogs(tmp_path / "own", blobs.url).path(REF)
    before = path.read_bytes()
    path.write_text(json.dumps(json.loads(before) | change))
    assert open_log().read().heads.number == 1
    assert path.read_bytes() == before
