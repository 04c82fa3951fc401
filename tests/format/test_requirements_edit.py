"""Requirements are added and removed as text: comments, order and the style of a file stay."""

from __future__ import annotations

import pytest

from datapkg.errors import InvalidLock
from datapkg.format.names import Ref
from datapkg.format.requirements import parse_requirements
from datapkg.format.requirements_edit import with_requirement, without_package

LONG = """# Our data.
packages:
# of the lab
- u/a@1.0   # pinned, see the notes
- u/b

# for tests
groups:
  # only here
  dev:
  - u/c@>=1,<2
"""


def added(text: str, ref: str, group: str = "") -> str:
    return with_requirement(text, Ref.parse(ref), group)


def removed(text: str, ref: str, group: str | None = None) -> str:
    return without_package(text, Ref.parse(ref), group)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("packages:\n- u/a\n", "packages:\n- u/a\n- u/n@1.0\n"),
        ("packages:\n  - u/a # why\n  # end\n", "packages:\n  - u/a # why\n  - u/n@1.0\n  # end\n"),
        ("packages:\n-   u/a", "packages:\n-   u/a\n- u/n@1.0\n"),
        ("packages: []\n", "packages:\n- u/n@1.0\n"),
        ("packages: [] # none\n", "packages: # none\n- u/n@1.0\n"),
        ("packages: [\n]\n", "packages:\n- u/n@1.0\n"),
        ("packages:\n", "packages:\n- u/n@1.0\n"),
        ("packages:", "packages:\n- u/n@1.0\n"),
        ("packages: # none\ngroups: {}\n", "packages: # none\n- u/n@1.0\ngroups: {}\n"),
        ("packages: [u/a, 'u/b']\n", "packages: [u/a, 'u/b', u/n@1.0]\n"),
        ("packages: [\n  u/a,\n  u/b,\n]\n", "packages: [\n  u/a,\n  u/b, u/n@1.0,\n]\n"),
        ("packages:\r\n- u/a\r\n", "packages:\r\n- u/a\r\n- u/n@1.0\r\n"),
        ("packages:\n- u/n@0.9 # old\n- u/a\n", "packages:\n- u/n@1.0 # old\n- u/a\n"),
        ("packages: [u/n, u/a]\n", "packages: [u/n@1.0, u/a]\n"),
        ("packages:\n- u/n/raw@1.0\n", "packages:\n- u/n/raw@1.0\n- u/n@1.0\n"),
        ("groups:\n  dev: [u/a]\n", "groups:\n  dev: [u/a]\npackages:\n- u/n@1.0\n"),
        ("{packages: [u/a]}\n", "{packages: [u/a, u/n@1.0]}\n"),
    ],
)
def test_requirement_is_added_to_packages(text: str, expected: str) -> None:
    assert added(text, "u/n@1.0") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LONG, LONG + "  - u/n\n"),
        ("packages: []\n", "packages: []\ngroups:\n  dev:\n  - u/n\n"),
        ("packages: []\ngroups: {}\n", "packages: []\ngroups:\n  dev:\n  - u/n\n"),
        ("packages: []\ngroups:\n", "packages: []\ngroups:\n  dev:\n  - u/n\n"),
        ("groups:\n  docs:\n  - u/a\npackages: []\n", "groups:\n  docs:\n  - u/a\n  dev:\n  - u/n\npackages: []\n"),
        ("groups:\n    docs:\n\npackages:\n", "groups:\n    docs:\n    dev:\n    - u/n\n\npackages:\n"),
        ("groups: {docs: [u/a]}\n", "groups: {docs: [u/a], dev: [u/n]}\n"),
        ("groups:\n  dev: []\n", "groups:\n  dev:\n  - u/n\n"),
        ("groups:\n  dev:\n  docs: [u/a]\n", "groups:\n  dev:\n  - u/n\n  docs: [u/a]\n"),
    ],
)
def test_requirement_is_added_to_a_group(text: str, expected: str) -> None:
    assert added(text, "u/n", "dev") == expected


def test_comments_and_order_stay() -> None:
    edited = added(added(LONG, "u/z"), "u/a@2.0")
    assert edited == LONG.replace("- u/b\n", "- u/b\n- u/z\n").replace("u/a@1.0", "u/a@2.0")
    assert removed(edited, "u/z") == LONG.replace("u/a@1.0", "u/a@2.0")


@pytest.mark.parametrize("text", ["u/a/b c", "u/a/it's # 1", "u/a/x: y@1.0", "u/a/été@<2,>=1", "u/a/a%40b", "u/a/-"])
@pytest.mark.parametrize("start", ["packages: []\n", "packages: [u/b]\n", "packages:\n- u/b\n"])
def test_any_name_of_a_node_comes_back(start: str, text: str) -> None:
    edited = added(start, text)
    assert str(parse_requirements(edited.encode()).entries[-1].ref) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("packages:\n- u/n@1.0 # why\n# about a\n- u/a\n", "packages:\n# about a\n- u/a\n"),
        ("packages:\n- u/n\n", "packages:\n"),
        ("packages: [u/n]\n", "packages: []\n"),
        ("packages: [u/n, u/a]\n", "packages: [u/a]\n"),
        ("packages: [u/a, u/n@1.0]\n", "packages: [u/a]\n"),
        ("packages: [\n  u/a,\n  u/n,\n]\n", "packages: [\n  u/a,\n]\n"),
        ("packages:\n- u/n/raw\n- u/n/x\n- u/a\n", "packages:\n- u/a\n"),
        ("packages:\n- u/n\ngroups:\n  dev:\n  - u/n\n", "packages:\ngroups:\n  dev:\n"),
        ("packages: [u/a]\n", "packages: [u/a]\n"),
    ],
)
def test_package_is_removed(text: str, expected: str) -> None:
    assert removed(text, "u/n") == expected
    assert all(each.ref.package != "u/n" for each in parse_requirements(expected.encode()).entries)


def test_package_is_removed_from_one_group_or_one_node() -> None:
    text = "packages:\n- u/n\n- u/n/raw\ngroups:\n  dev:\n  - u/n\n"
    assert removed(text, "u/n", "dev") == "packages:\n- u/n\n- u/n/raw\ngroups:\n  dev:\n"
    assert removed(text, "u/n", "") == "packages:\ngroups:\n  dev:\n  - u/n\n"
    assert removed(text, "u/n/raw") == text.replace("- u/n/raw\n", "")


def test_what_cannot_be_edited_is_refused() -> None:
    with pytest.raises(InvalidLock, match="cannot be edited; write u/n into it"):
        added("packages: &all [u/a]\ngroups: {dev: *all}\n", "u/n")
    with pytest.raises(InvalidLock, match="has a mistake"):
        added("packages: [u/a]\nfoo: 1\n", "u/n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("packages:\n- u/n@1.0\n- u/n@2.0\n- u/a\n", "packages:\n- u/n@2.0\n- u/a\n"),
        ("packages: [u/a, u/n@1.0, u/n@2.0]\n", "packages: [u/a, u/n@2.0]\n"),
    ],
)
def test_requirements_that_disagree_are_replaced(text: str, expected: str) -> None:
    assert added(text, "u/n@2.0") == expected


def test_requirement_that_disagrees_is_removed() -> None:
    text = "packages: [u/n@1.0]\ngroups: {dev: [u/n@2.0]}\n"
    assert removed(text, "u/n", "dev") == "packages: [u/n@1.0]\ngroups: {dev: []}\n"
