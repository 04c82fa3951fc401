"""The log in pages, of a registry and of this machine, and what commands read of a package with a long history."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.log import log, log_page
from datapkg.api.push import push_package
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.store import log as log_module
from datapkg.store.refs import LogEvent
from tests.conftest import Person
from tests.counted_files import files_used


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.csv"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home")})


def build(home: Home, ref: Ref, data: Path, number: int) -> str:
    data.write_text(f"n\n{number}\n")
    return build_package(home, ref, data, message=f"{number}").hash


def test_pages_together_are_the_whole_log(person: Person, data: Path) -> None:
    home, ref = person.home(), person.ref("p")
    for number in range(4):
        build(home, ref, data, number)
        push_package(home, ref, tag=f"t{number}")
    whole = log(home, ref)
    assert [(each["event"], each["message"]) for each in whole] == [
        (event, f"{number}") for number in (3, 2, 1, 0) for event in ("push", "build")
    ]
    assert [tag["name"] for tag in whole[0]["tags"]] == ["latest", "t3"]
    for options in ({}, {"remote": True}, {"remote": False}):
        pages, cursor = [], "start"
        while cursor:
            page, cursor = log_page(home, ref, limit=3, cursor=cursor.removeprefix("start"), changes=True, **options)
            pages.append(page)
        assert [entry for page in pages for entry in page] == log(home, ref, changes=True, **options)
        assert {len(page) for page in pages[:-1]} <= {3}
    state = ref.at(State("hash", whole[2]["hash"][:8]))
    assert [each["event"] for each in log_page(home, state, limit=1)[0]] == ["push"]
    assert log_page(home, state, limit=2)[1] == ""


def test_events_of_one_moment_are_on_one_page_each(home: Home) -> None:
    ref, at = Ref("me", "p"), "2026-01-01T00:00:00.000000+00:00"
    for number in range(7):
        home.store.refs.append_log(ref, LogEvent("build", f"{number}" * 64, at))
    seen, cursor = [], ""
    for _ in range(4):
        page, cursor = log_page(home, ref, limit=2, cursor=cursor)
        seen += [each["hash"] for each in page]
    assert (sorted(seen), cursor) == ([f"{number}" * 64 for number in range(7)], "")
    with pytest.raises(InvalidInput, match="not the cursor"):
        log_page(home, ref, cursor="x")


def test_page_of_a_long_log_reads_the_events_that_it_lists(home: Home) -> None:
    ref = Ref("me", "p")
    for number in range(40):
        at = f"2026-01-01T00:00:{number:02}.000000+00:00"
        home.store.refs.append_log(ref, LogEvent("build", f"{number:02}" * 32, at))
    with files_used(home.store.folder / "packages/me/p/log") as used:
        log_page(home, ref, limit=5)
    assert len([path for path in used if path.endswith(".json")]) == 6


def test_commands_read_no_more_of_a_package_with_a_long_history(
    person: Person, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RECENT", 8)
    used: dict[int, list[int]] = {}
    for states in (10, 30):
        home, ref = person.home(f"{states}"), person.ref(f"p{states}")
        for number in range(states - 1):
            build(home, ref, data, number)
            if number % 5 == 0:
                push_package(home, ref, version=f"1.{number}")
        counts = []
        for step in (
            lambda home, ref, number: build(home, ref, data, number),
            lambda home, ref, _: push_package(home, ref),
            lambda home, ref, _: install_packages(home, [ref]),
            lambda home, ref, _: install_packages(home, [ref.at(State("hash", home.store.refs.current(ref).hash[:8]))]),
        ):
            again = person.home(f"{states}")
            with files_used(home.store.folder / "packages") as paths:
                step(again, ref, states)
            counts.append(len(paths))
        used[states] = counts
    assert used[30] == pytest.approx(used[10], abs=2)
    assert max(used[30]) < 40
    assert len(list((home.store.folder / "packs").iterdir())) < 32
