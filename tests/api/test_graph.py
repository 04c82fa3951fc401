"""Graphs of stages, as text, Mermaid and SVG."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from datapkg.api.graph import graph
from datapkg.errors import InvalidInput, NotFound

BUILD_FILE = """
contents:
  raw: {file: a.csv}
  "odd <b> \\"name\\"": {stage: first}
stages:
  second: {run: [x], inputs: {a: stages.first, p: u/p/node}, outputs: {out: b}}
  first: {run: [x], inputs: {raw: contents.raw}, outputs: {out: a}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "build.yml").write_text(BUILD_FILE)
    (tmp_path / "a.csv").write_text("n\n1\n")
    return tmp_path


def test_text(folder: Path) -> None:
    lines = graph(folder).splitlines()
    assert lines == [
        'contents.raw → first → second, contents.odd <b> "name"',
        "first, u/p/node → second",
    ]


def test_mermaid_has_no_text_with_a_meaning(folder: Path) -> None:
    drawn = graph(folder / "build.yml", "mermaid")
    assert drawn.splitlines()[0] == "flowchart LR"
    assert '("contents.odd #60;b#62; #34;name#34;")' in drawn
    assert drawn.count("-->") == 4


def test_svg_has_a_box_for_each_item(folder: Path) -> None:
    root = ElementTree.fromstring(graph(folder, "svg"))
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sorted(titles) == sorted(["first", "second", "contents.raw", 'contents.odd <b> "name"', "u/p/node"])


def test_another_form(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no form 'png'"):
        graph(folder, "png")


def test_an_arrow_of_the_drawing_crosses_no_box(tmp_path: Path) -> None:
    """`last` needs `first` too: that arrow must not be hidden behind `middle`."""
    (tmp_path / "build.yml").write_text(
        """
contents: {out: {stage: last}}
stages:
  first: {run: "true", outputs: {out: a}}
  middle: {run: "true", inputs: {a: stages.first.out}, outputs: {out: b}}
  last: {run: "true", inputs: {a: stages.first.out, b: stages.middle.out}, outputs: {out: c}}
"""
    )
    svg = graph(tmp_path, "svg")
    box = {name: int(top) for top, name in re.findall(r'<rect x="\d+" y="(\d+)".*\n<text.*>(\w+)</text>', svg)}
    assert box["first"] == box["middle"] == box["last"]
    long = next(each for each in re.findall(r'<path d="(M[^"]+)" fill="none"', svg) if "L" in each)
    line = re.search(r" (\d+)L\d+ (\d+)C", long)
    assert line is not None
    assert line[1] == line[2]
    assert box["middle"] + 36 < int(line[1]) < box["middle"] + 56


@pytest.mark.parametrize("name", ["build.yaml", "nothing", "empty"])
def test_a_path_of_no_build_file(folder: Path, name: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(NotFound, match="there is no file ") as found:
        graph(folder / name)
    assert found.value.hint.startswith("ls ")
    assert ("did you mean" in found.value.message) == (name == "build.yaml")


def test_long_names_are_told_apart_in_the_drawing(tmp_path: Path) -> None:
    names = [f"measurements_of_the_year_{year}" for year in (2023, 2024)]
    nodes = "".join(f"  {name}: {{stage: {name}}}\n" for name in names)
    stages = "".join(f"  {name}: {{run: x, outputs: {{o: o}}}}\n" for name in names)
    (tmp_path / "build.yml").write_text(f"contents:\n{nodes}stages:\n{stages}")
    shown = re.findall("<text[^>]*>([^<]*)", graph(tmp_path, "svg"))
    assert len(set(shown)) == 4
    assert {each[-4:] for each in shown} == {"2023", "2024"}
    assert all("…" in each for each in shown)
