"""Requirements and locks are read completely, or rejected with every mistake in them."""

from __future__ import annotations

import json

import pytest

from datapkg.errors import InvalidLock
from datapkg.format.lockfile import Lock, Pin, parse_requirement, parse_requirements

PIN = Pin("u/p@1.0", "u/p", "https://data.example.org", "a" * 64, 10, version="1.0")


def test_lock_round_trips() -> None:
    lock = Lock((PIN, Pin("u/q/sub", "u/q", "https://data.example.org", "b" * 64, 0, path="sub", tag="latest")))
    assert Lock.parse(lock.to_bytes()) == lock
    assert lock.hash_of("u/q") == "b" * 64
    assert lock.hash_of("u/r") is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"datapkg": 2}, "newer"),
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
    assert [str(ref) for ref in wanted.refs] == ["z/z@1.0", "a/a@stable", "m/m/sub", "h/h@sha256:abcdef1"]
    assert len(wanted.warnings) == 1
    assert "under 16 digits" in wanted.warnings[0]


def test_all_mistakes_are_reported_together() -> None:
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(b"packages: [u/p@1.0, u/p@2.0, X/y, {a: b}]\nfoo: 1\n", "datapkg.yml")
    assert [place for place, _ in caught.value.problems] == [
        "datapkg.yml: foo",
        "datapkg.yml: packages[1]",
        "datapkg.yml: packages[2]",
        "datapkg.yml: packages[3]",
    ]


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"x", b"foo: 1", b"packages: u/p", b"a: [", b"\xff\xfe", b"!!python/object:x {}"]
)
def test_files_that_are_not_requirements(data: bytes) -> None:
    with pytest.raises(InvalidLock):
        parse_requirements(data)


def test_empty_list_of_packages_is_valid() -> None:
    assert parse_requirements(b"packages: []").refs == ()
    assert parse_requirements(b"packages:").refs == ()
