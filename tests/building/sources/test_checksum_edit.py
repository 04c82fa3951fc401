"""Checksums are written into build files of every layout without changing any other text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.building.sources.checksum_edit import write_checksums
from datapkg.building.spec.model import UrlSource
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import Conflict
from tests.examples import examples

OLD, NEW, OTHER = "0" * 64, "ab" * 32, "12" * 32
URL = "https://a.example/x.csv"


def written(folder: Path, text: str | bytes, hashes: dict[str, str] | None = None) -> str:
    """Return the text of a build file after the checksums of its URLs were written."""
    path = folder / "build.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    spec = read_build_file(path, update=True)
    sources = [node.source for node in spec.nodes if isinstance(node.source, UrlSource)]
    write_checksums(path, sources, hashes or {each.url: NEW for each in sources})
    after = read_build_file(path)
    assert [node.source.sha256 for node in after.nodes if isinstance(node.source, UrlSource)]
    assert all(node.source.sha256 in (NEW, OTHER) for node in after.nodes if isinstance(node.source, UrlSource))
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"contents:\n  a: {{url: {URL}}}\n", f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n"),
        (f"contents:\n  a: {{url: {URL}, meta: {{}}}}", f"contents:\n  a: {{url: {URL}, sha256: {NEW}, meta: {{}}}}"),
        (
            f"contents:\n  a: {{ 'url' : \"{URL}\" , extract: x }}  # c\n",
            f"contents:\n  a: {{ 'url' : \"{URL}\", sha256: {NEW} , extract: x }}  # c\n",
        ),
        (f"contents:\n  a:\n    url: {URL}\n", f"contents:\n  a:\n    url: {URL}\n    sha256: {NEW}\n"),
        (f"contents:\n  a:\n    url: {URL}", f"contents:\n  a:\n    url: {URL}\n    sha256: {NEW}"),
        (
            f"contents:\n  a:\n      url: '{URL}'  # why\n\n      # more\n      transform: csv\n",
            f"contents:\n  a:\n      url: '{URL}'  # why\n      sha256: {NEW}\n\n      # more\n      transform: csv\n",
        ),
        (
            f"contents:\n  a:\n    sha256:\n    url: {URL}\n",
            f"contents:\n  a:\n    sha256: {NEW}\n    url: {URL}\n",
        ),
        (
            f"contents:\n  a:\n    sha256: '{OLD}'  # c\n    url: {URL}\n",
            f"contents:\n  a:\n    sha256: '{NEW}'  # c\n    url: {URL}\n",
        ),
        (f"contents: {{a: {{sha256: {OLD}, url: {URL}}}}}", f"contents: {{a: {{sha256: {NEW}, url: {URL}}}}}"),
        (
            f"contents:\r\n  a:\r\n    url: {URL}\r\n    meta: {{}}\r\n",
            f"contents:\r\n  a:\r\n    url: {URL}\r\n    sha256: {NEW}\r\n    meta: {{}}\r\n",
        ),
        (
            f"\ufeff# ü 😀\ncontents:\n  日本: {{url: {URL}}}  # ü\n",
            f"\ufeff# ü 😀\ncontents:\n  日本: {{url: {URL}, sha256: {NEW}}}  # ü\n",
        ),
        (
            f"contents:\n  a: &x {{url: {URL}, meta: {{m: 1}}}}\n  b: {{<<: *x, transform: id}}\n",
            f"contents:\n  a: &x {{url: {URL}, sha256: {NEW}, meta: {{m: 1}}}}\n  b: {{<<: *x, transform: id}}\n",
        ),
        (
            f"contents:\n  a: {{url: {URL}}}\n  b: {{url: {URL}, sha256: {OLD}, extract: y}}\n",
            f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n  b: {{url: {URL}, sha256: {NEW}, extract: y}}\n",
        ),
        (f"contents:\n  a: {{url: {URL}, sha256: TODO}}\n", f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n"),
        (f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n", f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n"),
    ],
)
def test_only_the_checksum_changes(tmp_path: Path, text: str, expected: str) -> None:
    assert written(tmp_path, text) == expected


def test_several_urls(tmp_path: Path) -> None:
    text = f"contents:\n  a: {{url: {URL}}}\n  b:\n    url: {URL}2\n  c: {{file: build.yml}}\n"
    assert written(tmp_path, text, {URL: NEW, f"{URL}2": OTHER}) == (
        f"contents:\n  a: {{url: {URL}, sha256: {NEW}}}\n  b:\n    url: {URL}2\n    sha256: {OTHER}\n"
        "  c: {file: build.yml}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"contents:\n  a:\n    url: >-\n      {URL}\n    transform: csv\n",
        f"contents:\n  a:\n    ? url\n    : {URL}\n    ? transform\n    : csv\n",
        f"contents:\n  a: {{url: &u {URL}}}\n  b: {{url: *u}}\n",
    ],
)
def test_unsupported_layout_is_left_unchanged(tmp_path: Path, text: str) -> None:
    path = tmp_path / "build.yml"
    try:
        written(tmp_path, text)
    except Conflict as error:
        assert path.read_text() == text
        assert f"sha256: {NEW}" in error.hint  # noqa: PT017 - some of these layouts work


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "b.yml"
    real.write_text("")
    (tmp_path / "build.yml").symlink_to(real)
    real.chmod(0o604)
    written(tmp_path, f"contents:\n  a: {{url: {URL}}}\n")
    assert (tmp_path / "build.yml").is_symlink()
    assert real.stat().st_mode & 0o777 == 0o604
    assert NEW in real.read_text()
    assert [each.name for each in (tmp_path / "real").iterdir()] == ["b.yml"]


SPACES = st.sampled_from(["", " ", "   "])
COMMENTS = st.sampled_from(["", "  # a comment", "  # sha256: x, url: y"])


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["flow", "block"]), st.booleans(), COMMENTS, SPACES), min_size=1, max_size=6))
def test_all_layouts_at_once(tmp_path_factory: pytest.TempPathFactory, nodes: list[tuple[str, bool, str, str]]) -> None:
    text = "# first\ncontents:\n"
    for number, (style, has_sum, comment, space) in enumerate(nodes):
        url = f"{URL}?{number}"
        if style == "flow":
            text += f"  n{number}: {{{space}url: '{url}'{f', sha256: {OLD}' if has_sum else ''}{space}}}{comment}\n"
        else:
            text += f"  n{number}:{comment}\n    url:{space or ' '}{url}{comment}\n"
            text += f"    sha256: {OLD}{comment}\n" if has_sum else ""
    after = written(tmp_path_factory.mktemp("layouts"), text)
    assert after.count(NEW) == len(nodes)
    sums = re.compile(r"(, |\n    )sha256: [0-9a-f]{64}")
    assert sums.sub("", after) == sums.sub("", text)
