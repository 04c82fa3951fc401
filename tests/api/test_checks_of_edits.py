"""Checks apply to every operation that changes the data of a package, on any machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapkg.api import append, merge, sync
from datapkg.api.build import build_package
from datapkg.api.copy import copy
from datapkg.api.drafts.policy import CommitOptions
from datapkg.api.edit import Draft
from datapkg.api.listing import show
from datapkg.api.push import push_package
from datapkg.api.sharing import grant
from datapkg.building.checks.definitions import unpacked
from datapkg.errors import CheckFailed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import silent
from tests.api.states import latest
from tests.conftest import Person

BUILD_FILE = """contents:
  sales:
    file: sales.csv
    checks: [{column: shop, foreign_key: shops.id}, positive]
  shops: {file: shops.csv, checks: {key: {column: id, unique: true}}}
checks:
  positive: {column: n, min: 0}
"""
QUIET = CommitOptions(progress=silent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the sources of a package with a foreign key."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "build.yml").write_text(BUILD_FILE)
    (folder / "sales.csv").write_text("shop,n\na,1\nb,2\n")
    (folder / "shops.csv").write_text("id\na\nb\n")
    return folder


@pytest.fixture
def ref(person: Person, folder: Path) -> Ref:
    """Push the package from the machine `one`."""
    ref = person.ref("shop")
    build_package(person.home("one"), ref, folder)
    push_package(person.home("one"), ref)
    return ref


def rows(*pairs: tuple[str, int]) -> pd.DataFrame:
    return pd.DataFrame({"shop": [shop for shop, _ in pairs], "n": [n for _, n in pairs]})


def outcomes(home: Home, ref: Ref) -> dict[str, str]:
    """Return the check outcomes of the local state: `path: check` to outcome."""
    return {f"{each['path']}: {each['check']}": each["outcome"] for each in show(home, ref).checks}


ALL_OK = {"sales: foreign_key": "ok", "sales: positive": "ok", "shops: key": "ok"}


def test_sync_checks_references_to_and_from_unchanged_tables(person: Person, ref: Ref, folder: Path) -> None:
    (folder / "sales.csv").write_text("shop,n\na,1\nb,2\nb,3\n")
    home = person.home("two")
    done = sync.sync(home, folder, ref)
    assert (done.changed, outcomes(home, ref)) == (["sales"], ALL_OK)
    before = latest(person, ref)
    (folder / "shops.csv").write_text("id\na\n")  # an unchanged table violates its check because of a changed one
    for dry_run in (True, False):
        with pytest.raises(CheckFailed, match=r"sales.shop: 2 of 3 rows are not in shops.id"):
            sync.sync(home, folder, ref, sync.SyncOptions(dry_run=dry_run))
    assert latest(person, ref) == before


def test_sync_runs_new_checks_on_unchanged_data(person: Person, ref: Ref, folder: Path) -> None:
    home = person.home("two")
    (folder / "build.yml").write_text(BUILD_FILE.replace("min: 0", "min: 2"))
    with pytest.raises(CheckFailed, match="row 1: 1"):
        sync.sync(home, folder, ref)
    (folder / "build.yml").write_text(BUILD_FILE.replace("positive", "small").replace("min: 0", "max: 9"))
    assert not sync.sync(home, folder, ref)
    found = home.client().checks(ref, latest(person, ref).hash)
    assert [each["check"] for each in found.checks] == ["foreign_key", "small", "key"]
    with pytest.raises(CheckFailed, match="above 9"), Draft(person.home("three"), ref, QUIET) as draft:
        draft.append("sales", rows(("a", 10)))


def test_sync_into_a_group_moves_references(person: Person, ref: Ref, folder: Path) -> None:
    home = person.home("two")
    sync.sync(home, folder, ref, sync.SyncOptions(to="more"))
    assert outcomes(home, ref) == ALL_OK | {f"more/{key}": "ok" for key in ALL_OK}
    (folder / "sales.csv").write_text("shop,n\nz,1\n")
    with pytest.raises(CheckFailed, match=r"more/sales.shop: 1 of 1 rows is not in more/shops.id"):
        sync.sync(home, folder, ref, sync.SyncOptions(to="more"))


def test_folder_without_a_build_file_keeps_checks(person: Person, ref: Ref, folder: Path) -> None:
    (folder / "build.yml").unlink()
    (folder / "sales.csv").write_text("shop,n\na,-1\n")
    with pytest.raises(CheckFailed, match="positive"):
        sync.sync(person.home("two"), folder, ref)


def test_rows_that_violate_a_check_are_not_appended(person: Person, ref: Ref, tmp_path: Path) -> None:
    home, before = person.home("two"), latest(person, ref)
    more = tmp_path / "more.csv"
    for text, message in (("z,1", r"row 3: 'z'"), ("a,-5", r"1 of 3 rows is below 0; row 3: -5")):
        more.write_text(f"shop,n\n{text}\n")
        with pytest.raises(CheckFailed, match=message) as caught:
            append.append(home, ref, [more], append.AppendOptions("sales"))
        assert "--no-checks" in str(caught.value.hint)
    assert latest(person, ref) == before
    more.write_text("shop,n\nb,7\n")
    append.append(home, ref, [more], append.AppendOptions("sales"))
    assert outcomes(home, ref) == ALL_OK
    append.append(person.home("three"), ref, [more], append.AppendOptions("other"))
    assert outcomes(person.home("three"), ref) == ALL_OK


def test_skipped_checks_are_recorded_and_run_later(person: Person, ref: Ref, tmp_path: Path) -> None:
    home = person.home("two")
    more = tmp_path / "more.csv"
    more.write_text("shop,n\na,-5\n")
    append.append(home, ref, [more], append.AppendOptions("sales", checks=False))
    skipped = ALL_OK | dict.fromkeys(("sales: foreign_key", "sales: positive"), "skipped")
    assert outcomes(home, ref) == skipped
    more.write_text("shop,n\na,5\n")  # valid rows do not hide invalid ones before them
    with pytest.raises(CheckFailed, match="row 3: -5"):
        append.append(person.home("three"), ref, [more], append.AppendOptions("sales"))


def test_draft_runs_the_checks_of_changed_nodes(person: Person, ref: Ref) -> None:
    def change(draft: Draft, what: Callable[[Draft], Any]) -> None:
        with draft:
            what(draft)

    before = latest(person, ref)
    breaking: dict[str, Callable[[Draft], Any]] = {
        "below 0": lambda draft: draft.__setitem__("sales", rows(("a", -1))),
        "no column 'shops.id'": lambda draft: draft.__delitem__("shops"),
        "equal to an earlier one": lambda draft: draft.append("shops", pd.DataFrame({"id": ["a"]})),
    }
    for message, what in breaking.items():
        for push in (True, False):
            with pytest.raises(CheckFailed, match=message):
                change(Draft(person.home("two"), ref, CommitOptions(push=push, progress=silent)), what)
    assert latest(person, ref) == before
    with Draft(person.home("two"), ref, QUIET) as draft:
        draft.move("shops", "keys/shops")
        draft.move("sales", "all sales")
    assert outcomes(person.home("two"), ref) == {
        "all sales: foreign_key": "ok",
        "all sales: positive": "ok",
        "keys/shops: key": "ok",
    }
    with pytest.raises(CheckFailed, match=r"'z'"):
        change(Draft(person.home("three"), ref, QUIET), lambda draft: draft.append("all sales", rows(("z", 1))))
    with Draft(person.home("three"), ref, QUIET) as draft:
        draft["all sales"] = Path(__file__)
    assert draft.warnings == [
        f"Data check: {each} ends here: all sales is a file now" for each in ("foreign_key", "positive")
    ]


def test_row_rules_read_only_new_rows(person: Person, tmp_path: Path) -> None:
    ref, home = person.ref("long"), person.home("two")
    (tmp_path / "build.yml").write_text("contents: {t: {file: t.csv, checks: [{min: 0}, {sql: n >= 0}]}}\n")
    pd.DataFrame({"n": np.random.default_rng(0).random(300_000)}).to_csv(tmp_path / "t.csv", index=False)
    build_package(person.home("one"), ref, tmp_path)
    push_package(person.home("one"), ref)
    first = next(iter(latest(person, ref).objects("t")))
    home.store.claims.mark_verified([node for node in latest(person, ref).nodes if node.kind == "table"])
    with Draft(home, ref, QUIET) as draft:
        draft.append("t", pd.DataFrame({"n": [0.5]}))
    assert first in home.store.objects.missing([first])
    assert set(outcomes(home, ref).values()) == {"ok"}
    with pytest.raises(CheckFailed, match="row 300002: -1"), Draft(home, ref, QUIET) as draft:
        draft.append("t", pd.DataFrame({"n": [-1.0]}))


def test_concurrent_edits_are_checked_together(person: Person, ref: Ref) -> None:
    with pytest.raises(CheckFailed, match=r"not in shops.id"), Draft(person.home("two"), ref, QUIET) as mine:
        mine.append("sales", rows(("b", 5)))
        with Draft(person.home("three"), ref, CommitOptions(progress=silent, checks=False)) as theirs:
            theirs["shops"] = pd.DataFrame({"id": ["a"]})


def test_merge_keeps_checks(person: Person, new_person: Callable[[], Person], folder: Path, ref: Ref) -> None:
    bob = new_person()
    theirs = bob.ref("shop")
    build_package(bob.home("one"), theirs, {"sales": rows(("a", 3))})
    push_package(bob.home("one"), theirs)
    grant(bob.home("one"), theirs, person.name)
    home, into = person.home("two"), person.ref("both")
    merge.merge(home, [ref, theirs], into, merge.MergeOptions(on_conflict="rename"))
    assert outcomes(home, into) == ALL_OK
    merge.merge(home, [ref, theirs], into, merge.MergeOptions(concat=True))
    assert outcomes(home, into) == ALL_OK
    build_package(bob.home("one"), theirs, {"sales": rows(("z", 3))})
    push_package(bob.home("one"), theirs)
    with pytest.raises(CheckFailed, match="'z'"):
        merge.merge(person.home("three"), [ref, theirs], into, merge.MergeOptions(concat=True))
    done = merge.merge(
        person.home("three"), [Ref.parse(f"{ref}/sales"), theirs], person.ref("c"), merge.MergeOptions("rename")
    )
    assert outcomes(person.home("three"), person.ref("c")) == {"sales: foreign_key": "skipped", "sales: positive": "ok"}
    assert "shops is not a part of the merge" in done.warnings[0]


def test_checks_that_cannot_run_again_cause_a_warning(person: Person, folder: Path, tmp_path: Path) -> None:
    ref, home = person.ref("code"), person.home("two")
    (folder / "build.yml").write_text("contents: {sales: {file: sales.csv, checks: {mine: {python: 'rules:mine'}}}}\n")
    (folder / "rules.py").write_text("def mine(frame):\n    return bool((frame.n > 0).all())\n")
    build_package(person.home("one"), ref, folder)
    push_package(person.home("one"), ref)
    with Draft(home, ref, QUIET) as draft:
        draft.append("sales", rows(("a", -1)))
    assert draft.warnings == [
        "Data check: mine of sales was not run: python checks are run by `build` and `sync` alone"
    ]
    assert outcomes(home, ref) == {"sales: mine": "skipped"}
    with pytest.raises(CheckFailed, match="mine"):
        (folder / "sales.csv").write_text("shop,n\na,-1\n")
        sync.sync(home, folder, ref)


def test_push_sends_checks_if_only_they_changed(person: Person, ref: Ref, folder: Path) -> None:
    (folder / "build.yml").write_text(BUILD_FILE.replace("min: 0", "max: 5"))
    build_package(person.home("one"), ref, folder)
    assert not push_package(person.home("one"), ref).changed
    with pytest.raises(CheckFailed, match="above 5"), Draft(person.home("two"), ref, QUIET) as draft:
        draft.append("sales", rows(("a", 6)))


@pytest.mark.parametrize(
    "record", [{"checks": [5, {"path": "a"}, {"path": "a", "check": "b", "outcome": 3}]}, {"checks": 1}]
)
def test_invalid_record_of_checks_is_ignored(record: dict[str, Any]) -> None:
    assert unpacked(record) == []


def test_copy_keeps_checks(person: Person, ref: Ref) -> None:
    for machine in ("one", "two"):  # built here, and known only to the registry
        home, mine = person.home(machine), person.ref(f"copy_{machine}")
        copy(home, ref, mine)
        assert outcomes(home, mine) == ALL_OK
        push_package(home, mine)
        with pytest.raises(CheckFailed, match="positive"), Draft(person.home("three"), mine, QUIET) as draft:
            draft.append("sales", rows(("a", -1)))
