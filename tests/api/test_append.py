"""Files are added to a group, or as rows to a table, without downloading the rest of the package."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datapkg.api.append import AppendOptions, append
from datapkg.api.build import build_package
from datapkg.api.drafts import commit
from datapkg.api.drafts.draft import DraftState
from datapkg.api.drafts.policy import CommitOptions as EditOptions
from datapkg.api.edit import Draft
from datapkg.api.push import push_package
from datapkg.errors import Conflict, InvalidInput, NotFound, NotLoggedIn, Refused
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import silent
from datapkg.reading.load import load
from datapkg.store.refs import Refs
from tests.api.states import latest, paths
from tests.conftest import Person


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "more.csv").write_text("s,n\nnew,5\n")
    (folder / "x.txt").write_text("x")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "y.bin").write_text("y")
    (folder / "deep" / ".hidden").write_text("h")
    return folder


@pytest.fixture
def ref(person: Person) -> Ref:
    """Push a package of two nodes from the machine `one`."""
    ref = person.ref("p")
    values = {"t": pd.DataFrame({"n": [1], "s": ["a"], "w": [0.5]}), "raw": {"a": pd.DataFrame({"n": [1]})}}
    build_package(person.home("one"), ref, values)
    push_package(person.home("one"), ref)
    return ref


def test_files_become_nodes_and_folders_groups(person: Person, ref: Ref, here: Path) -> None:
    home = person.home("two")
    done = append(home, ref, [here / "more.csv", here / "x.txt", here / "deep"], AppendOptions("raw/", message="why"))
    assert done.added == ["raw/deep/er/y.bin", "raw/more", "raw/x.txt"]
    state = latest(person, ref)
    assert paths(state) == ["raw/a", "raw/deep/er/y.bin", "raw/more", "raw/x.txt", "t"]
    assert set(home.store.absent(state)) == {*state.objects("t"), *state.objects("raw/a")}
    assert next(home.client().log(ref)).message == "why"
    whole = build_package(person.home("three"), person.ref("q"), here)
    alone = person.home("three").store.manifest(whole.hash)
    assert state.objects("raw/more") == alone.objects("more")


def test_appending_the_same_files_again_changes_nothing(person: Person, ref: Ref, here: Path) -> None:
    first = append(person.home("two"), ref, [here / "x.txt"])
    again = append(person.home("two"), ref, [here / "x.txt"])
    assert (again.hash, again.added, again.same, again.pushed) == (first.hash, [], ["x.txt"], None)


def test_of_two_appends_at_once_neither_is_lost(
    person: Person, ref: Ref, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither is pushed, so no registry refuses the second one."""
    move, threads = Refs.set_current, list[threading.Thread]()

    def slow(refs: Refs, *args: Any) -> None:
        if not threads:
            other = partial(append, person.home("one"), ref, [here / "more.csv"], AppendOptions(push=False))
            threads.append(threading.Thread(target=other))
            threads[0].start()
            threads[0].join(1)
        move(refs, *args)

    monkeypatch.setattr(Refs, "set_current", slow)
    append(person.home("one"), ref, [here / "x.txt"], AppendOptions(push=False))
    threads[0].join()
    home = person.home("one")
    current = home.store.refs.current(ref)
    assert current
    assert paths(home.store.manifest(current.hash)) == ["more", "raw/a", "t", "x.txt"]


def test_existing_nodes_are_replaced_only_with_replace(person: Person, ref: Ref, here: Path) -> None:
    home = person.home("two")
    with Draft(home, ref, EditOptions(progress=silent)) as draft:
        draft.set_meta("t", {"unit": "cm"})
    (here / "t.csv").write_text("n\n1\n")
    before = latest(person, ref)
    with pytest.raises(Conflict, match="other data at 't'") as caught:
        append(home, ref, [here / "x.txt", here / "t.csv"])
    assert caught.value.detail["paths"] == ["t"]
    assert latest(person, ref) == before
    done = append(home, ref, [here / "t.csv"], AppendOptions(replace=True))
    assert (done.added, done.replaced) == ([], ["t"])
    node = latest(person, ref).get("t")
    assert node is not None
    assert (node.meta, node.size) != (before.get("t").meta, before.get("t").size)  # type: ignore[union-attr]
    assert node.meta == {"unit": "cm"}


def test_group_is_never_replaced_by_a_node(person: Person, ref: Ref, here: Path) -> None:
    (here / "raw.csv").write_text("n\n1\n")
    with pytest.raises(Conflict, match="'raw' is a group"):
        append(person.home("two"), ref, [here / "raw.csv"], AppendOptions(replace=True))
    with pytest.raises(Conflict, match="would lie in 't', which is a table"):
        append(person.home("two"), ref, [here / "x.txt"], AppendOptions("t/in"))
    (here / "deep" / "more.csv").write_text("n\n1\n")
    with pytest.raises(InvalidInput, match="would both be node 'more'"):
        append(person.home("two"), ref, [here / "more.csv", here / "deep" / "more.csv"])


def test_rows_are_added_at_the_end_of_a_table(person: Person, ref: Ref, here: Path) -> None:
    (here / "more.csv").write_text("s,w,n\nb,2,5\n")
    (here / "last.csv").write_text("n,s,w\n6,7,\n")  # a text, and a double column without values
    home = person.home("two")
    done = append(home, ref, [here / "more.csv", here / "last.csv"], AppendOptions("t"))
    assert (done.rows, done.rows_now, done.added) == (2, 3, [])
    frame = load(ref, home, lazy=True).t()  # type: ignore[attr-defined]
    assert frame.to_dict("list")["s"] == ["a", "b", "7"]
    assert frame["n"].tolist() == [1, 5, 6]
    record = home.store.record(ref, done.hash)
    assert record is not None
    assert [each["file"] for each in record["sources"] if each.get("appended")] == ["more.csv", "last.csv"]
    assert record["origin"] == "append"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n,s\n1,x\n", r"'w': expected double, got no such column"),
        ("n,s,w\n1.5,x,1\n", r"'n': expected int64, got double"),
        (f"n,s,w\n1,x,{2**53 + 1}\n", r"'w': expected double, got int64"),
        ("n,s,w,z\n1,x,1,1\n", r"'z': expected no such column, got int64"),
    ],
)
def test_mismatched_columns_are_named(person: Person, ref: Ref, here: Path, text: str, message: str) -> None:
    (here / "fits.csv").write_text("n,s,w\n1,x,1\n")
    (here / "bad.csv").write_text(text)
    before = latest(person, ref)
    with pytest.raises(InvalidInput, match=message) as caught:
        append(person.home("two"), ref, [here / "fits.csv", here / "bad.csv"], AppendOptions("t"))
    assert "nothing was appended" in str(caught.value)
    assert latest(person, ref) == before


def test_files_without_rows_are_rejected(person: Person, ref: Ref, here: Path) -> None:
    home = person.home("two")
    with pytest.raises(InvalidInput, match="is read as a file"):
        append(home, ref, [here / "x.txt"], AppendOptions("t"))
    with pytest.raises(InvalidInput, match="is a folder"):
        append(home, ref, [here / "deep"], AppendOptions("t"))
    append(home, ref, [here / "x.txt"])
    with pytest.raises(InvalidInput, match=r"'x[.]txt' is a file"):
        append(home, ref, [here / "more.csv"], AppendOptions("x.txt"))
    with pytest.raises(NotFound, match=r"'none.csv'"):
        append(home, ref, [Path("none.csv")])
    with pytest.raises(InvalidInput, match="names more than a package") as caught:
        append(home, person.ref("p/raw"), [here / "x.txt"])
    assert caught.value.hint.endswith("--to raw")


def test_no_push_keeps_the_new_state_local(person: Person, ref: Ref, here: Path) -> None:
    home, before = person.home("one"), latest(person, ref)
    done = append(home, ref, [here / "x.txt"], AppendOptions(push=False))
    assert latest(person, ref) == before
    with pytest.raises(Conflict, match="was built here and not pushed") as caught:
        append(home, ref, [here / "more.csv"])
    assert "--no-push" in caught.value.hint
    push_package(home, ref)
    assert latest(person, ref).hash == done.hash


def test_rejected_push_leaves_no_local_state(person: Person, here: Path) -> None:
    other = Ref.parse("somebodyelse/p")
    with pytest.raises(Refused):
        append(person.home(), other, [here / "x.txt"])
    assert person.home().store.refs.current(other) is None
    with pytest.raises(NotLoggedIn):
        append(Home({**person.environ("x"), "DATAPKG_TOKEN": ""}), person.ref("p"), [here / "x.txt"])


def test_rows_appended_by_two_users_at_once_are_all_kept(
    person: Person, ref: Ref, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "one.csv").write_text("n,s,w\n2,x,1.5\n")
    (here / "two.csv").write_text("n,s,w\n3,y,1.5\n")
    real = commit.push_draft

    def race(draft: DraftState, *args: object) -> None:
        monkeypatch.setattr(commit, "push_draft", real)
        append(person.home("two"), ref, [here / "two.csv"], AppendOptions("t"))
        real(draft, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(commit, "push_draft", race)
    done = append(person.home("one"), ref, [here / "one.csv"], AppendOptions("t"))
    assert done.rows_now == 3
    assert load(ref, person.home("one"), lazy=True).t()["n"].tolist() == [1, 3, 2]  # type: ignore[attr-defined]


def test_append_that_always_loses_the_race_asks_to_retry(
    person: Person, ref: Ref, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def late(*_: object) -> None:
        tries.append(1)
        raise Conflict("somebody changed the package meanwhile", theirs="a" * 64)

    monkeypatch.setattr("datapkg.api.append._append", late)
    with pytest.raises(Conflict, match="at each of 5 tries; nothing was added") as caught:
        append(person.home("two"), ref, [here / "more.csv"])
    assert (len(tries), caught.value.hint) == (5, "type the same again")
