"""Requirements and locks are read completely, or rejected with every mistake in them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from datapkg.errors import InvalidLock, NewerFormat
from datapkg.format.lockfile import Lock, Pin, agreed_pins
from datapkg.format.requirements import Requirements, chosen_groups, parse_requirement, parse_requirements

GOLDEN = Path(__file__).parent.parent / "golden" / "lock"
PIN = Pin("u/p@1.0", "u/p", "https://data.example.org", "a" * 64, 10, version="1.0")


def test_lock_round_trips() -> None:
    lock = Lock((PIN, Pin("u/q/sub", "u/q", "https://data.example.org", "b" * 64, 0, path="sub", tag="latest")))
    assert Lock.parse(lock.to_bytes()) == lock
    assert lock.hash_of("u/q") == "b" * 64
    assert lock.hash_of("u/r") is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"datapkg": 3}, "newer"),
        ({"datapkg": True}, "format version"),
        ({"datapkg": 0}, "format version"),
        ({"datapkg": "1"}, "format version"),
        ({"packages": {}}, "packages"),
        ({"packages": [3]}, "mapping"),
        ({"packages": [{"package": "u/p"}]}, "lacking keys"),
        ({"packages": [{**json.loads(Lock((PIN,)).to_bytes())["packages"][0], "package": "../p"}]}, "user name"),
        ({"packages": [{**json.loads(Lock((PIN,)).to_bytes())["packages"][0], "hash": "abc"}]}, "hash or size"),
        ({"packages": [{**json.loads(Lock((PIN,)).to_bytes())["packages"][0], "code": "x"}]}, "unknown keys"),
    ],
)
def test_bad_locks(change: dict[str, object], what: str) -> None:
    value = {"datapkg": 1, "packages": [], **change}
    with pytest.raises(InvalidLock, match=what):
        Lock.parse(json.dumps(value).encode())


def test_golden_locks_of_every_format_are_read() -> None:
    newest = (GOLDEN / "format_2.lock").read_bytes()
    lock = Lock.parse(newest)
    assert lock.to_bytes() == newest
    old = Lock.parse((GOLDEN / "format_1.lock").read_bytes())
    assert [pin.requirement for pin in old.pins] == ["examples/sales@stable", "me/pictures/raw/été", "uciml/iris@1.2.0"]
    assert set(old.pins) < set(lock.pins)


def test_each_pin_is_one_line_that_ends_alike_and_the_whole_is_json() -> None:
    data = Lock((PIN, replace(PIN, requirement="a/b", package="a/b"))).to_bytes()
    head, *lines, end = data.decode().split("\n\n")
    assert [json.loads(line.removesuffix(","))["package"] for line in lines] == ["a/b", "u/p"]
    assert all(line.endswith("},") for line in lines)
    assert json.loads(data)["packages"][-1] == {}
    assert json.loads(head + end) == {"datapkg": 2, "packages": [{}]}


def test_requirement_counts_more_than_what_other_packages_need() -> None:
    def needed(hash: str, by: str) -> Pin:
        return Pin("q/q", "q/q", "https://data.example.org", hash, 0, needed_by=by)

    one, other = needed("b" * 64, "u/p"), needed("c" * 64, "u/r")
    assert Lock.of([PIN, one]).hash_of("q/q") == "b" * 64
    assert Lock.of([PIN, one, other]).hash_of("q/q") is None
    direct = Pin("q/q@1.0", "q/q", "https://data.example.org", "d" * 64, 5)
    lock = Lock.of([PIN, one, other, direct])
    assert lock.hash_of("q/q") == "d" * 64
    assert Lock.parse(lock.to_bytes()).pins == lock.pins
    assert lock.direct == (direct, PIN)


def pins(*states: str) -> list[Pin]:
    """Return pins of packages u/a, u/b … whose hashes consist of these digits."""
    names = [f"u/{letter}" for letter in "abcdefgh"]
    return [
        Pin(name, name, "https://data.example.org", state * 64, 1)
        for name, state in zip(names, states, strict=False)
        if state != "-"
    ]


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True)


def merged(
    folder: Path, base: list[Pin], ours: list[Pin], theirs: list[Pin], style: str = "merge"
) -> tuple[int, bytes]:
    """Return the exit code of git's merge of two branches that change a lock, and the file then."""
    path = folder / "datapkg.lock"
    git(folder, "init", "-q")
    for branch, content in ((None, base), ("theirs", theirs), ("ours", ours)):
        if branch:
            git(folder, "checkout", "-q", "-b", branch, "main")
        path.write_bytes(Lock.of(content).to_bytes())
        git(folder, "add", "."), git(folder, "commit", "-qm", "change")
    done = git(folder, "-c", f"merge.conflictStyle={style}", "merge", "theirs")
    return done.returncode, path.read_bytes()


def test_git_merges_changes_of_neighbours(tmp_path: Path) -> None:
    base, ours, theirs = pins(*"1111"), pins(*"1211"), pins(*"1131")
    code, data = merged(tmp_path, base, ours, theirs)
    assert code == 0
    assert Lock.parse(data) == Lock.of(pins(*"1231"))


def test_git_merges_what_was_added_and_removed_elsewhere(tmp_path: Path) -> None:
    code, data = merged(tmp_path, pins(*"-1111"), pins(*"21111"), pins(*"-11-1"))
    assert code == 0
    assert Lock.parse(data) == Lock.of(pins(*"211-1"))


@pytest.mark.parametrize("style", ["merge", "diff3"])
def test_conflict_leaves_what_both_sides_agree_on(tmp_path: Path, style: str) -> None:
    code, data = merged(tmp_path, pins(*"11-11"), pins(*"12-113"), pins(*"13-114"), style)
    assert code == 1
    with pytest.raises(InvalidLock, match="conflict markers") as caught:
        Lock.parse(data)
    assert caught.value.hint == "write it again with: datapkg lock"
    assert agreed_pins(data) == Lock.of(pins(*"1--11"))


def test_conflict_keeps_what_each_side_added(tmp_path: Path) -> None:
    code, data = merged(tmp_path, pins(*"1--1"), pins(*"11-1"), pins(*"1-11"))
    assert code == 1
    assert agreed_pins(data) == Lock.of(pins(*"1111"))


def test_conflict_between_two_formats(tmp_path: Path) -> None:
    old = (GOLDEN / "format_1.lock").read_bytes()
    data = b"<<<<<<< HEAD\n" + Lock((PIN,)).to_bytes() + b"=======\n" + old + b">>>>>>> other\n"
    assert agreed_pins(data) == Lock.of([PIN, *Lock.parse(old).pins])


def test_newer_format_is_never_taken_for_damage() -> None:
    with pytest.raises(NewerFormat):
        agreed_pins(b'{"datapkg": 9, "packages": {}}')


def test_damaged_line_leaves_the_others() -> None:
    data = Lock.of(pins(*"123")).to_bytes()
    assert agreed_pins(data.replace(b'"u/b"', b'"u/b')) == Lock.of(pins(*"1-3"))


def test_requirements_with_conflict_markers_say_what_to_do() -> None:
    data = b"packages:\n<<<<<<< HEAD\n- u/p@1.0\n=======\n- u/p@2.0\n>>>>>>> other\n"
    with pytest.raises(InvalidLock, match="conflict markers") as caught:
        parse_requirements(data)
    assert caught.value.hint == "then type: datapkg lock"


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b"null", b"[]"])
def test_garbage_is_not_a_lock(data: bytes) -> None:
    with pytest.raises(InvalidLock):
        Lock.parse(data)


@pytest.mark.parametrize(
    ("quilt", "ours"),
    [
        ("u/p:h:abcdef0", "u/p@sha256:abcdef0"),
        ("u/p:hash:abcdef0", "u/p@sha256:abcdef0"),
        ("u/p:t:stable", "u/p@stable"),
        ("u/p:v:1.0", "u/p@1.0"),
        ("u/p/sub/tree:v:1.0", "u/p/sub/tree@1.0"),
        ("work:u/p:v:1.0", "work:u/p@1.0"),
        ("u/p", "u/p"),
    ],
)
def test_quilt_spellings(quilt: str, ours: str) -> None:
    assert str(parse_requirement(quilt)) == ours


def test_requirements_keep_their_order_and_warn_of_short_hashes() -> None:
    wanted = parse_requirements(b"packages:\n- z/z@1.0\n- a/a:t:stable\n- m/m/sub\n- h/h@sha256:abcdef1\n")
    assert [str(each.ref) for each in wanted.entries] == ["z/z@1.0", "a/a@stable", "m/m/sub", "h/h@sha256:abcdef1"]
    assert len(wanted.warnings) == 1
    assert "under 16 digits" in wanted.warnings[0]


def test_all_mistakes_are_reported_together() -> None:
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(b"packages: [u/p@1.0, u/p@2.0, X/y, {a: b}]\nfoo: 1\n", "datapkg.yml")
    assert [place for place, _ in caught.value.problems] == [
        "datapkg.yml: foo",
        "datapkg.yml: packages[2]",
        "datapkg.yml: packages[3]",
        "datapkg.yml:1",
    ]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"x", b"foo: 1", b"packages: u/p", b"a: [", b"\xff\xfe", b"!!python/object:x {}"]
)
def test_files_that_are_not_requirements(data: bytes) -> None:
    with pytest.raises(InvalidLock):
        parse_requirements(data)


def test_empty_list_of_packages_is_valid() -> None:
    assert parse_requirements(b"packages: []").entries == ()
    assert parse_requirements(b"packages:").entries == ()
    assert parse_requirements(b"groups: {dev: }") == Requirements((), ("dev",))


def test_groups_have_lists_of_their_own() -> None:
    wanted = parse_requirements(b"packages:\n- u/a@1.0\ngroups:\n  dev:\n  - u/b\n  - u/a@1.0\n  docs: [u/c]\n")
    found = [(str(each.ref), each.group, each.line) for each in wanted.entries]
    assert found == [("u/a@1.0", "", 2), ("u/b", "dev", 5), ("u/a@1.0", "dev", 6), ("u/c", "docs", 7)]
    assert wanted.groups == ("dev", "docs")
    assert [str(ref) for ref in wanted.of_groups({"dev"})] == ["u/a@1.0", "u/b"]


@pytest.mark.parametrize(
    ("wanted", "unwanted", "chosen"),
    [((), (), {"dev"}), (("docs",), (), {"dev", "docs"}), ((), ("dev",), set()), (("docs",), ("docs",), {"dev"})],
)
def test_group_dev_is_chosen_unless_it_is_unwanted(
    wanted: tuple[str, ...], unwanted: tuple[str, ...], chosen: set[str]
) -> None:
    assert chosen_groups(("dev", "docs"), wanted, unwanted) == chosen


def test_unknown_group_is_named() -> None:
    with pytest.raises(InvalidLock, match="no group 'dcs'; did you mean 'docs'") as caught:
        chosen_groups(("dev", "docs"), ("dcs",), ())
    assert caught.value.hint == "datapkg add --group dcs user/name"


def test_two_states_of_a_package_are_explained_with_their_lines() -> None:
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(b"packages:\n- u/p@1.0\ngroups:\n  dev:\n  - u/p@2.0\n", "datapkg.yml")
    ((place, what),) = caught.value.problems
    assert place == "datapkg.yml:5"
    assert "u/p@2.0 (group dev) here and u/p@1.0 in line 2" in what


@pytest.mark.parametrize(
    "data",
    [
        b"groups: [u/p]",
        b"groups: {Dev: [u/p]}",
        b"groups: {dev: u/p}",
        b"groups: {dev: {a: b}}",
        b"packages: [u/p]\npackages: [u/q]",
        b"groups: {dev: [], dev: []}",
        b"packages: ['work:u/p', u/p]",
        b"packages: ['u/p@sha256:aaaaaa', 'u/p@sha256:aaaabb']",
    ],
)
def test_mistakes_in_groups_and_lists(data: bytes) -> None:
    with pytest.raises(InvalidLock, match="a mistake"):
        parse_requirements(data)


def test_states_that_may_be_one_are_left_to_the_registry() -> None:
    text = b"packages: [u/p, u/p@1.0, u/p@1.0.0, 'u/p@>=1', u/p@stable, 'u/p@sha256:aaaaaaaaaaaaaaaa']"
    assert len(parse_requirements(text).entries) == 6
