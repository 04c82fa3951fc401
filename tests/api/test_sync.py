"""A package follows a folder: differences are built and pushed, the rest is neither fetched nor changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from datapkg.api.build import build_package
from datapkg.api.drafts import commit
from datapkg.api.drafts.draft import DraftState
from datapkg.api.drafts.policy import CommitOptions as EditOptions
from datapkg.api.edit import Draft
from datapkg.api.push import push_package
from datapkg.api.status import statuses
from datapkg.api.sync import SyncOptions, sync
from datapkg.api.watch import PollInterval, Round, watch
from datapkg.errors import BuildFailed, Conflict, InvalidInput, NotFound, NotLoggedIn, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import silent
from tests.api.states import latest, paths
from tests.conftest import Person
from tests.live_registry import live_registry

DELETE = SyncOptions(delete=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder with a table, a file, and a file in a subfolder."""
    folder = tmp_path / "my data"
    write(folder, {"t.csv": "a,b\n1,x\n", "README.md": "# hi\n", "raw/p.bin": "p"})
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_synced_state_equals_a_build(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    first = sync(person.home(), folder, ref)
    assert (first.counts, first.is_new) == ("+3 ~0 -0", True)
    assert first.hash == latest(person, ref).hash == build_package(person.home("other"), ref, folder).hash
    home = person.home()
    assert home.store.record(ref, first.hash)["origin"] == "sync"  # type: ignore[index]
    assert next(home.client().log(ref)).message == "sync +3 ~0 -0"
    assert not statuses(home, ref)[0].changes


def test_only_differences_are_sent(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    sync(person.home("one"), folder, ref)
    write(folder, {"t.csv": "a,b\n1,y\n", "raw/new.bin": "n"})
    (folder / "README.md").unlink()
    home = person.home("two")
    kept = sync(home, folder, ref)
    assert (kept.added, kept.changed, kept.removed, kept.kept) == (["raw/new.bin"], ["t"], [], ["README.md"])
    assert kept.pushed is not None
    assert kept.pushed.objects_sent == 3  # one of them is the manifest
    state = latest(person, ref)
    assert set(home.store.absent(state)) == {
        hash for path in ("README.md", "raw/p.bin") for hash in state.objects(path)
    }
    gone = sync(home, folder, ref, DELETE)
    assert (gone.removed, gone.kept) == (["README.md"], [])
    assert paths(latest(person, ref)) == ["raw/new.bin", "raw/p.bin", "t"]


def test_unchanged_folder_is_not_pushed(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    before = sync(person.home("one"), folder, ref)
    os.utime(folder / "t.csv")
    for machine in ("one", "two"):
        again = sync(person.home(machine), folder, ref, DELETE)
        assert (bool(again), again.pushed, again.hash) == (False, None, before.hash)
        current = person.home(machine).store.refs.current(ref)
        assert current is not None
        assert (current.hash, current.partial) == (before.hash, machine == "two")
    assert len(list(person.home().client().log(ref))) == 1


def test_dry_run_lists_changes_without_making_them(person: Person, folder: Path) -> None:
    ref, home = person.ref("p"), person.home()
    assert sync(home, folder, ref, SyncOptions(dry_run=True)).added == ["README.md", "raw/p.bin", "t"]
    with pytest.raises(NotFound):
        latest(person, ref)
    assert list(home.store.objects) == []
    sync(home, folder, ref)
    before = set(home.store.objects)
    write(folder, {"t.csv": "a,b\n2,y\n"})
    assert sync(home, folder, ref, SyncOptions(dry_run=True)).changed == ["t"]
    assert set(home.store.objects) == before


def test_metadata_is_kept_unless_the_build_file_sets_it(person: Person, folder: Path) -> None:
    ref, home = person.ref("p"), person.home()
    sync(home, folder, ref)
    with Draft(home, ref, EditOptions(progress=silent)) as draft:
        draft.meta.update(title="By hand", licence="MIT")
        draft.set_meta("t", {"unit": "cm", "note": "by hand"})
        draft.set_meta("raw", {"note": "by hand"})
    contents = (
        "contents: {t: {file: t.csv, meta: {unit: mm}}, README.md: {file: README.md}, raw: {p.bin: {file: raw/p.bin}}}"
    )
    write(folder, {"build.yml": f"meta: {{title: By file}}\n{contents}\n"})
    synced = sync(home, folder, ref, DELETE)
    assert (synced.counts, synced.meta) == ("+0 ~1 -0", True)
    state = latest(person, ref)
    assert state.meta == {"title": "By file", "licence": "MIT"}
    meta = {node.path: node.meta for node in state.nodes if node.meta}
    assert meta == {"t": {"unit": "mm", "note": "by hand"}, "raw": {"note": "by hand"}}


def test_ignore_rules_and_build_errors_apply(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    write(folder, {".hidden": "x", ".datapkgignore": "*.tmp\n", "x.tmp": "x"})
    assert sync(person.home(), folder, ref).added == ["README.md", "raw/p.bin", "t"]
    write(folder, {"bad.csv": 'a,b\n1,"x\n'})
    with pytest.raises(BuildFailed, match=r"bad[.]csv"):
        sync(person.home(), folder, ref)
    assert len(list(person.home().client().log(ref))) == 1


def test_syncing_a_group_leaves_the_other_nodes_alone(person: Person, folder: Path) -> None:
    ref, home = person.ref("p"), person.home()
    with Draft(home, ref, EditOptions(progress=silent)) as draft:
        draft["other"] = pd.DataFrame({"n": [1]})
        draft["in/old"] = pd.DataFrame({"n": [1]})
    synced = sync(home, folder, ref, SyncOptions("in/", delete=True))
    assert (synced.counts, synced.removed) == ("+3 ~0 -1", ["in/old"])
    assert paths(latest(person, ref)) == ["in/README.md", "in/raw/p.bin", "in/t", "other"]
    for to in ("other", "other/in"):
        with pytest.raises(InvalidInput, match="'other' is a table"):
            sync(home, folder, ref, SyncOptions(to))


def test_empty_folder_does_not_empty_the_package(person: Person, folder: Path, tmp_path: Path) -> None:
    ref, home, empty = person.ref("p"), person.home(), tmp_path / "empty"
    empty.mkdir()
    nothing = sync(home, empty, ref)
    assert (nothing.hash, bool(nothing)) == ("", False)
    sync(home, folder, ref)
    with pytest.raises(InvalidInput, match=r"would take all nodes \(3\)"):
        sync(home, empty, ref, DELETE)
    assert len(latest(person, ref).nodes) == 3
    assert sync(home, empty, ref, SyncOptions(delete=True, confirm=True)).counts == "+0 ~0 -3"
    with pytest.raises(NotFound):
        sync(home, tmp_path / "none", ref, DELETE)


def test_replacing_a_group_by_a_node_needs_delete(person: Person, folder: Path) -> None:
    ref, home = person.ref("p"), person.home()
    sync(home, folder, ref)
    (folder / "raw" / "p.bin").unlink()
    (folder / "raw").rmdir()
    write(folder, {"raw": "now a file"})
    with pytest.raises(Conflict, match="'raw'"):
        sync(home, folder, ref)
    sync(home, folder, ref, DELETE)
    assert paths(latest(person, ref)) == ["README.md", "raw", "t"]


def test_unpushed_build_is_not_lost(person: Person, folder: Path) -> None:
    ref, home = person.ref("p"), person.home()
    build_package(home, ref, folder)
    write(folder, {"raw/new.bin": "n"})
    assert sync(home, folder, ref).counts == "+4 ~0 -0"  # of the same folder: no node is missing
    with Draft(home, ref, EditOptions(push=False, progress=silent)) as draft:
        draft["mine"] = pd.DataFrame({"n": [1]})
    write(folder, {"raw/new.bin": "m"})
    with pytest.raises(Conflict, match="'mine'"):
        sync(home, folder, ref)
    push_package(home, ref)
    assert sync(home, folder, ref).kept == ["mine"]


def test_failed_push_leaves_no_local_state(person: Person, folder: Path) -> None:
    home = person.home()
    stranger = Ref.parse("somebodyelse/p")
    with pytest.raises(Exception, match="is not yours"):
        sync(home, folder, stranger)
    assert home.store.refs.current(stranger) is None
    unknown = Home({**person.environ("unknown"), "DATAPKG_TOKEN": ""})
    with pytest.raises(NotLoggedIn):
        sync(unknown, folder, person.ref("p"))


def test_concurrent_push_is_rebased_unless_both_changed_the_same_path(
    person: Person, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, one, two = person.ref("p"), person.home("one"), person.home("two")
    sync(one, folder, ref)
    theirs = iter([{"other": pd.DataFrame({"n": [1]})}, {"t": pd.DataFrame({"n": [1]})}])
    real = commit.push_draft

    def race(draft: DraftState, *args: object) -> None:
        monkeypatch.setattr(commit, "push_draft", real)
        with Draft(two, ref, EditOptions(progress=silent)) as other:
            for path, value in next(theirs).items():
                other[path] = value
        real(draft, *args)  # type: ignore[arg-type]

    write(folder, {"t.csv": "a,b\n3,x\n"})
    monkeypatch.setattr(commit, "push_draft", race)
    sync(one, folder, ref)
    assert paths(latest(person, ref)) == ["README.md", "other", "raw/p.bin", "t"]
    write(folder, {"t.csv": "a,b\n4,x\n"})
    monkeypatch.setattr(commit, "push_draft", race)
    with pytest.raises(Conflict, match="at the same places") as caught:
        sync(one, folder, ref)
    assert caught.value.hint.endswith("puts yours over theirs")
    assert sync(one, folder, ref).changed == ["t"]


class Clock:
    """The wait function of a watch: each wait runs the next step, and the last one ends the watch."""

    def __init__(self, *steps: object) -> None:
        self.steps, self.waited = list(steps), []  # type: ignore[var-annotated]

    def __call__(self, seconds: float) -> None:
        self.waited.append(seconds)
        if not self.steps:
            raise KeyboardInterrupt
        step = self.steps.pop(0)
        if callable(step):
            step()


def rounds(home: Home, folder: Path, ref: Ref, clock: Clock, options: SyncOptions = DELETE) -> list[Round]:
    found: list[Round] = []

    def all_of_it() -> Iterator[Round]:
        yield from watch(home, folder, ref, options, pace=PollInterval(settle_s=0.0), wait=clock)

    with pytest.raises(KeyboardInterrupt):
        for each in all_of_it():
            found.append(each)
    return found


def summaries(found: list[Round]) -> list[str]:
    return [
        type(each.error).__name__ if each.error else each.synced.counts
        for each in found
        if each.error or each.synced is not None
    ]


def test_watch_follows_each_change(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    later = [
        lambda: write(folder, {"new.bin": "n"}),
        None,  # the file settles
        None,  # nothing happens
        lambda: (folder / "README.md").unlink(),
        None,
        lambda: write(folder, {"bad.csv": 'a\n"x\n'}),
        None,
        lambda: (folder / "bad.csv").unlink(),
        None,
        None,
    ]
    found = rounds(person.home(), folder, ref, Clock(*later))
    assert summaries(found) == ["+3 ~0 -0", "+1 ~0 -0", "+0 ~0 -1", "TransformFailed"]
    assert paths(latest(person, ref)) == ["new.bin", "raw/p.bin", "t"]


def test_recently_written_files_are_polled_twice_at_the_start(person: Person, folder: Path) -> None:
    clock = Clock(None)
    with pytest.raises(KeyboardInterrupt):
        list(watch(person.home(), folder, person.ref("p"), SyncOptions(), pace=PollInterval(settle_s=3600), wait=clock))
    assert clock.waited == [3600, 1]


def test_many_files_are_polled_less_often(person: Person, folder: Path) -> None:
    clock, pace = Clock(), PollInterval(settle_s=0.0, many_files=1)
    with pytest.raises(KeyboardInterrupt):
        list(watch(person.home(), folder, person.ref("p"), SyncOptions(), pace=pace, wait=clock))
    assert clock.waited == [3]


def test_file_being_written_does_not_delay_others(person: Person, folder: Path) -> None:
    ref = person.ref("p")
    sync(person.home(), folder, ref)
    states: list[list[str]] = []

    def grow() -> None:
        with (folder / "long.bin").open("a") as stream:
            stream.write("more")

    def begin() -> None:
        grow()
        write(folder, {"short.bin": "s"})

    def grow_on() -> None:
        states.append(paths(latest(person, ref)))
        grow()

    later = [begin, grow, grow_on, None, None, None, None]
    found = rounds(person.home(), folder, ref, Clock(*later))
    assert states == [["README.md", "raw/p.bin", "short.bin", "t"]]
    assert summaries(found) == ["+0 ~0 -0", "+1 ~0 -0", "+1 ~0 -0"]
    assert latest(person, ref).size("long.bin") == len("more") * 3


def test_removed_folder_does_not_empty_the_package(person: Person, folder: Path) -> None:
    ref, away = person.ref("p"), folder.with_name("away")
    later = [lambda: folder.rename(away), None, None, lambda: away.rename(folder), None, None]
    found = rounds(person.home(), folder, ref, Clock(*later))
    assert summaries(found) == ["+3 ~0 -0", "InvalidInput"]
    assert len(latest(person, ref).nodes) == 3


@pytest.mark.big
def test_unreachable_registry_is_retried(tmp_path: Path, folder: Path) -> None:
    with live_registry(tmp_path) as live:
        token, port = live.add_user("me"), live.url.rpartition(":")[2]
        live.stop()
        home = Home({"DATAPKG_HOME": str(tmp_path / "h"), "DATAPKG_REGISTRY": live.url, "DATAPKG_TOKEN": token})
    clock = Clock(*[None] * 9)
    found = rounds(home, folder, Ref.parse("me/p"), clock)
    assert int(port)
    assert {type(each.error) for each in found} == {Unreachable}
    assert clock.waited[-10:] == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert [each.again_s for each in found] == clock.waited[-10:]
