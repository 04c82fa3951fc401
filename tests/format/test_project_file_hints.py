"""Each mistake in `datapkg.yml` and `datapkg.lock` has a hint: a line to type, or what to write there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from datapkg.errors import InvalidLock
from datapkg.format.lockfile import MAX_BYTES, Lock
from datapkg.format.requirements import parse_requirements

A = "packages: [u/a]\n"
PLACE = "datapkg.yml"
MISTAKES = {
    "pakages: [u/p]\n" + A: "write packages: instead of pakages:",
    A + "chekout: {a: u/a}\n": "write checkout: instead of chekout:",
    A + "zebra: 1\n": "delete what is below zebra:",
    "package: [u/p]\n": "write packages: instead of package:",
    "": "begin it with a line: packages: [user/name@1.0]",
    "[u/p]": "begin it with a line: packages: [user/name@1.0]",
    A + 'groups: {"Dev Tools": [u/q]}\n': "write dev-tools: instead of 'Dev Tools' in line 2",
    A + 'groups: {"": [u/q]}\n': "write dev: instead of '' in line 2",
    A + "groups: [u/p]\n": "write groups: {dev: [user/name@1.0]}",
    A + "groups: {dev: u/p}\n": "write dev: [u/p]",
    A + A: "move what line 2 has to line 1, and delete line 2",
    "packages: u/p": "write packages: [u/p]",
    "packages: {u/p: 1}": "write packages: [user/name@1.0]",
    "packages: [{u/p: 1}]": "write a reference in line 1, such as user/name@1.0",
    "packages:\n- u/a\n- U p": "write a reference in line 3, such as user/name@1.0",
    "packages: ['https://example.org/a.csv']": (
        "write url: https://example.org/a.csv in a build.yml, then: datapkg build --update USER/NAME build.yml"
    ),
    "packages: [u/p@1.0, u/p@2.0]": "datapkg add u/p@2.0",
    "packages: [u/p, work:u/p]": "datapkg add work:u/p",
    "groups: {dev: [u/p@1.0, 'u/p@2.0']}": "datapkg add u/p@2.0 --group dev",
    "packages: [u/p@1.0]\ngroups: {dev: [u/p@2.0]}": "datapkg remove u/p --group dev",
    "groups: {a: [u/p@1.0], b: [u/p@2.0]}": "datapkg remove u/p --group b",
    "packages: [u/p\n": "mend line 2, then type: datapkg lock",
    "<<<<<<< a\npackages: [u/p]\n=======\n>>>>>>> b\n": "then type: datapkg lock",
    A + "checkout: [a]\n": "write checkout: {data/raw: user/name/raw}",
    A + "checkout: {/abs: u/a}\n": "write checkout: {data/raw: user/name/raw}",
    A + "checkout: {.git/a: u/a}\n": "write checkout: {data/raw: user/name/raw}",
    A + "checkout: {a: U p}\n": "write checkout: {a: user/name}",
    A + "checkout: {a: u/a/raw@1.0}\n": "write a: u/a/raw",
    A + "checkout: {a: {reff: u/a}}\n": "write a: {ref: user/name, link: auto}",
    A + "checkout: {a: {ref: u/a, link: hard}}\n": "write a: {ref: u/a, link: hardlink}",
    A + "checkout: {a: u/a, a/b: u/a/b}\n": "write another folder, such as a-2: u/a/b",
    " " * (MAX_BYTES + 1): "rm datapkg.yml && datapkg init",
}


@pytest.mark.parametrize(("text", "hint"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_mistake_in_requirements_has_a_hint(text: str, hint: str) -> None:
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(text.encode(), PLACE)
    assert caught.value.hint == hint


def test_text_that_is_not_utf8_has_a_hint() -> None:
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(A.encode() + b"# \xff", PLACE)
    assert caught.value.hint == "write it as UTF-8, then: datapkg lock"


def test_all_mistakes_are_named_and_the_first_is_mended() -> None:
    text = "zebra: 1\npackages: [U p]\ncheckout: {a: u/p@1.0}\n"
    with pytest.raises(InvalidLock) as caught:
        parse_requirements(text.encode(), PLACE)
    places = [place for place, _ in caught.value.problems]
    assert places == ["datapkg.yml: zebra", "datapkg.yml: packages[0]", "datapkg.yml: checkout.a"]
    assert caught.value.hint == "delete what is below zebra:"


def locked(**changed: Any) -> str:
    pin = {"requirement": "u/p", "package": "u/p", "registry": "http://r", "hash": "a" * 64, "size": 1} | changed
    return json.dumps({"datapkg": 2, "packages": [pin, {"hash": "b" * 64, **{k: pin[k] for k in pin if k != "hash"}}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"datapkg": 1}',
        '{"datapkg": "2", "packages": []}',
        '{"datapkg": 9, "packages": []}',
        '{"datapkg": 2, "packages": [1]}',
        locked(),
        locked(foo=1),
        locked(hash="abc"),
        locked(hash="x" * 64),
        locked(size=-1),
        locked(registry=""),
        locked(package="u"),
        locked(needed_by="u"),
        locked(path="../a"),
        "<<<<<<< a\n=======\n>>>>>>> b\n",
        " " * (MAX_BYTES + 1),
    ],
    ids=range(18),
)
def test_mistake_in_a_lock_has_a_hint(text: str) -> None:
    with pytest.raises(InvalidLock) as caught:
        Lock.parse(text.encode())
    assert "datapkg lock" in caught.value.hint or "upgrade datapkg" in caught.value.hint
