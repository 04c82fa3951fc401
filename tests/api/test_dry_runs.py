"""What commands would transfer: the plan before anything moves, and what moves afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.append import AppendOptions, append
from datapkg.api.build import build_package
from datapkg.api.install import fetch_packages, install_packages
from datapkg.api.install_result import PackageOutcome
from datapkg.api.merge import MergeOptions, merge
from datapkg.api.push import push_package
from datapkg.api.sync import SyncOptions, sync
from datapkg.format.frames import FRAME_HEAD_BYTES
from datapkg.format.selection import Selection
from datapkg.objects.deltas import PlannedTransfer
from datapkg.remote.session import RegistrySession
from datapkg.resolve import find_installed
from tests.conftest import Person

SIZE = 3 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "big.bin").write_bytes(os.urandom(SIZE))
    (folder / "small.bin").write_bytes(b"small")
    return folder


def change(folder: Path) -> None:
    """Insert some bytes into the large file."""
    data = (folder / "big.bin").read_bytes()
    (folder / "big.bin").write_bytes(data[: SIZE // 2] + b"inserted" + data[SIZE // 2 :])


def plan_of(outcomes: list[PackageOutcome]) -> PlannedTransfer:
    (outcome,) = outcomes
    assert outcome.installed, outcome.error
    assert outcome.installed.transfer
    return outcome.installed.transfer


def test_push_and_install_are_planned_with_their_chunks(person: Person, folder: Path) -> None:
    home, ref = person.home(), person.ref("p")
    other = person.home("other")
    build_package(home, ref, folder)
    first = push_package(home, ref, dry_run=True).transfer
    assert first
    assert (first.objects, first.bytes_moved > SIZE) == (3, True)
    push_package(home, ref)
    manifest = home.store.manifest(find_installed(home, ref).hash).size_bytes
    expected = PlannedTransfer(2, SIZE + 5 + FRAME_HEAD_BYTES + manifest, 0)
    assert plan_of(install_packages(other, [ref], dry_run=True)) == expected
    assert other.store.refs.current(ref) is None
    install_packages(other, [ref])
    assert plan_of(install_packages(other, [ref], dry_run=True)) == PlannedTransfer(0, 0, SIZE + 5)
    change(folder)
    build_package(home, ref, folder)
    second = push_package(home, ref, dry_run=True).transfer
    assert second
    assert (second.objects, second.bytes_moved < SIZE / 5, second.bytes_saved > SIZE / 2) == (2, True, True)
    push_package(home, ref)
    plan = plan_of(install_packages(other, [ref], dry_run=True))
    assert (plan.objects, plan.bytes_moved < SIZE / 5, plan.bytes_moved + plan.bytes_saved) == (1, True, SIZE + 13)
    before = other.store.refs.current(ref)
    installed = install_packages(other, [ref])[0].installed
    assert before
    assert installed
    assert (installed.hash != before.hash, installed.bytes_received < SIZE / 5) == (True, True)


def test_fetch_is_planned(person: Person, folder: Path) -> None:
    home, ref, other = person.home(), person.ref("p"), person.home("other")
    build_package(home, ref, folder)
    push_package(home, ref)
    install_packages(other, [ref], selection=Selection(max_size=100))
    assert plan_of(fetch_packages(other, [ref], dry_run=True)) == PlannedTransfer(1, SIZE, 5)
    fetch_packages(other, [ref])
    assert plan_of(fetch_packages(other, [ref], dry_run=True)) == PlannedTransfer(0, 0, SIZE + 5)


def test_sync_is_planned_and_stores_nothing(person: Person, folder: Path) -> None:
    home, ref = person.home(), person.ref("p")
    plan = sync(home, folder, ref, SyncOptions(dry_run=True)).transfer
    assert plan
    assert (plan.objects, plan.bytes_moved > SIZE) == (3, True)
    assert list(home.store.objects) == []
    assert sync(home, folder, ref).pushed
    assert sync(home, folder, ref, SyncOptions(dry_run=True)).transfer == PlannedTransfer(0, 0, SIZE + 5)
    change(folder)
    plan = sync(home, folder, ref, SyncOptions(dry_run=True)).transfer
    assert plan
    assert (plan.objects, plan.bytes_moved < SIZE / 5) == (2, True)


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Callable[[], tuple[int, int]]:
    """Return the bytes of the bodies that all sessions sent and received since the last call."""
    sessions: list[RegistrySession] = []
    begin = RegistrySession.__init__

    def noted(self: RegistrySession, *values: Any, **options: Any) -> None:
        begin(self, *values, **options)
        sessions.append(self)

    def count() -> tuple[int, int]:
        moved = sum(each.sent_bytes for each in sessions), sum(each.received_bytes for each in sessions)
        sessions.clear()
        return moved

    monkeypatch.setattr(RegistrySession, "__init__", noted)
    return count


def test_plans_state_what_moves(
    person: Person, folder: Path, tmp_path: Path, bodies: Callable[[], tuple[int, int]]
) -> None:
    """All but the questions and answers about names, which take a few kilobytes whatever the size of the data."""
    home, other, ref, few = person.home(), person.home("other"), person.ref("p"), 8_000
    more = tmp_path / "more.bin"
    for number in range(2):
        if number:
            change(folder)
        for number in range(300):
            (folder / f"small {number}.txt").write_text(f"{number}\n" * 20)
        plans = sync(home, folder, ref, SyncOptions(dry_run=True)).transfer
        assert plans
        bodies()
        sync(home, folder, ref)
        assert 0 <= bodies()[0] - plans.bytes_moved < 40_000, "sync: hashes of files are asked for"
        plan = plan_of(install_packages(other, [ref], dry_run=True))
        bodies()
        assert install_packages(other, [ref])[0].installed
        assert 0 <= bodies()[1] - plan.bytes_moved < few, "install"
    more.write_bytes(os.urandom(1 << 20))
    appended = append(home, ref, [more], AppendOptions(dry_run=True)).transfer
    assert appended
    bodies()
    append(home, ref, [more], AppendOptions())
    assert 0 <= bodies()[0] - appended.bytes_moved < few, "append"
    install_packages(other, [ref], selection=Selection(meta_only=True))
    plan = plan_of(fetch_packages(other, [ref], dry_run=True))
    bodies()
    fetch_packages(other, [ref])
    assert 0 <= bodies()[1] - plan.bytes_moved < few, "fetch"
    build_package(home, ref, folder / "big.bin")
    pushed = push_package(home, ref, dry_run=True).transfer
    assert pushed
    bodies()
    push_package(home, ref)
    assert 0 <= bodies()[0] - pushed.bytes_moved < few, "push"


def test_sync_of_many_files_plans_the_object_of_the_record(person: Person, tmp_path: Path) -> None:
    home, ref, folder = person.home(), person.ref("p"), tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"{number}.txt").write_text(f"{number}\n")
    plan = sync(home, folder, ref, SyncOptions(dry_run=True)).transfer
    pushed = sync(home, folder, ref).pushed
    assert plan
    assert pushed
    assert plan.objects == pushed.objects_sent == 402, "files, manifest and record"
    assert 0 <= pushed.bytes_sent - plan.bytes_moved < 40_000, "the frames around them"


def test_append_is_planned_and_stores_nothing(person: Person, folder: Path, tmp_path: Path) -> None:
    home, ref = person.home(), person.ref("p")
    sync(home, folder, ref)
    (tmp_path / "more.bin").write_bytes(os.urandom(1000))
    before: Any = home.store.refs.current(ref)
    objects = set(home.store.objects)
    done = append(home, ref, [tmp_path / "more.bin"], AppendOptions(dry_run=True))
    assert done.transfer
    assert (done.added, done.transfer.objects, done.pushed) == (["more.bin"], 2, None)
    assert home.store.refs.current(ref) == before
    assert set(home.store.objects) == objects
    again = append(home, ref, [tmp_path / "more.bin"], AppendOptions())
    assert again.pushed
    assert again.hash == done.hash
    kept = append(home, ref, [tmp_path / "more.bin"], AppendOptions(dry_run=True, push=False))
    assert (kept.same, kept.transfer) == (["more.bin"], PlannedTransfer(0, 0, SIZE + 1005))


def test_merge_is_planned_from_manifests(person: Person, folder: Path, tmp_path: Path) -> None:
    home, other = person.home(), person.home("other")
    for name, rows in (("a", "n\n1\n"), ("b", "n\n2\n")):
        source = tmp_path / name
        source.mkdir()
        (source / "t.csv").write_text(rows)
        build_package(home, person.ref(name), source)
        push_package(home, person.ref(name))
    refs, into = [person.ref("a"), person.ref("b")], person.ref("c")
    plan = merge(other, refs, into, MergeOptions(concat=True, dry_run=True))
    assert plan.transfer
    # Both tables: that to which the rows of the other are appended was never verified on this machine.
    both = sum(home.store.manifest(find_installed(home, ref).hash).size() for ref in refs)
    assert (plan.hash, plan.concatenated, plan.nodes) == ("", ["t"], 1)
    assert plan.transfer == PlannedTransfer(2, both + 2 * FRAME_HEAD_BYTES, 0)
    assert other.store.refs.current(into) is None
    renamed = merge(other, refs, into, MergeOptions("rename", dry_run=True))
    assert renamed.transfer == PlannedTransfer(0, 0, renamed.bytes_logical)
    assert merge(other, refs, into, MergeOptions("rename")).hash == renamed.hash
