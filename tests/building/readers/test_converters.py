"""Functions that a build file names as converters of columns."""

from __future__ import annotations

from pathlib import Path

import pandas
import pytest

from datapkg.building.readers.converters import NAMED
from datapkg.errors import TransformFailed
from tests.building.builds import Bench

TEXT = "a,b\n 007 , Two words\n12,x\n"


@pytest.mark.parametrize("name", [name for name in NAMED if name != "float"])
def test_converters_are_called_as_pandas_calls_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    column = "a" if name == "int" else "b"
    (tmp_path / "build.yml").write_text(
        f"contents: {{t: {{file: t.csv, kwargs: {{converters: {{{column}: {name}}}}}}}}}"
    )
    bench = Bench()
    found = bench.frame(bench.build(tmp_path), "t")
    expected = pandas.read_csv(tmp_path / "t.csv", low_memory=False, converters={column: NAMED[name]})
    pandas.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("converters", "problem"),
    [
        ("{a: os.system}", "'os.system' is not a converter; there are str, int"),
        ("{a: str.stripp}", "there are str, int, float, str.strip"),
        ("{a: [1]}", "is not a converter"),
        ("[str]", "is a mapping of columns"),
    ],
)
def test_unknown_converters_are_rejected(tmp_path: Path, converters: str, problem: str) -> None:
    (tmp_path / "t.csv").write_text(TEXT)
    (tmp_path / "build.yml").write_text(f"contents: {{t: {{file: t.csv, kwargs: {{converters: {converters}}}}}}}")
    with pytest.raises(TransformFailed, match=r"build.yml:1: contents.t") as raised:
        Bench().build(tmp_path)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("kwargs", "problem"),
    [
        ("names: [[a, b], [c, d]]", "`names` is a list of texts"),
        ("parse_dates: [[a, b]]", "`parse_dates` names columns"),
        ("dtype: {a: complex}", "column 'a' holds complex numbers"),
    ],
)
def test_error_explains_why_a_kwarg_is_rejected(tmp_path: Path, kwargs: str, problem: str) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "build.yml").write_text(f"contents: {{t: {{file: t.csv, kwargs: {{{kwargs}}}}}}}")
    with pytest.raises(TransformFailed, match=r"build.yml:1: contents.t") as raised:
        Bench().build(tmp_path)
    assert problem in str(raised.value)
