"""Python checks: functions beside the build file that return which rows are valid, one piece at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from datapkg.building.checks import columns as pieces
from datapkg.building.pipeline import BuildOutput
from datapkg.errors import CheckFailed, InvalidBuildFile
from tests.building.builds import Bench, write

MODULE = """\
import numpy
import pyarrow
from limits import LIMIT

calls = []

def below(frame): return frame["a"] < LIMIT
def as_list(frame): return [each < 3 for each in frame["a"]]
def as_array(frame): return numpy.asarray(frame["a"] < 3)
def as_arrow(frame): return pyarrow.array([None] * len(frame), pyarrow.bool_())
def one(frame): return bool((frame["a"] < 3).all())
def columns(frame): return list(frame.columns) == ["a"]
def labels(frame): return frame.index + 1 == frame["a"]
def kinds(frame): return str(frame["a"].dtype) == "int64" and str(frame["t"].dtype) == "str"
def fails(frame):
    assert frame["a"].max() < 3, "too big"
    return True
def none(frame): pass
def short(frame): return [True]
def numbers(frame): return [1] * len(frame)
def text(frame): return "true"
def prints(frame):
    print("looking")
    return True
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, {"rules.py": MODULE, "limits.py": "LIMIT = 3\n", "t.csv": "a,t\n1,x\n2,y\n3,z\n4,z\n"})


def build(folder: Path, check: str) -> BuildOutput:
    write(folder, {"build.yml": f"contents:\n  t:\n    file: t.csv\n    checks: [{check}]\n"})
    return Bench().build(folder)


def failure(folder: Path, check: str) -> str:
    with pytest.raises(CheckFailed) as caught:
        build(folder, check)
    return str(caught.value).removeprefix("Data check failed: python: t: ")


@pytest.mark.parametrize("function", ["below", "as_list", "as_array"])
def test_invalid_rows(folder: Path, function: str) -> None:
    message = f"2 of 4 rows are rejected by {function}() of rules.py; row 3, row 4"
    assert failure(folder, f"{{python: 'rules:{function}'}}") == message


@pytest.mark.parametrize("function", ["as_arrow", "labels", "kinds", "prints"])
def test_valid_rows(folder: Path, function: str, capsys: pytest.CaptureFixture[str]) -> None:
    built = build(folder, f"{{python: rules:{function}}}")
    assert built.record["checks"] == [{"path": "t", "check": "python", "outcome": "ok", "rows": 4, "rule": 0}]
    assert capsys.readouterr().out == ""
    assert not {"rules", "limits"} & sys.modules.keys()
    assert not (folder / "__pycache__").exists()


def test_function_receives_only_the_named_columns(folder: Path) -> None:
    assert build(folder, "{python: 'rules:columns', column: a}").record["checks"][0]["outcome"] == "ok"
    assert "rows 1 to 4 are rejected" in failure(folder, "{python: 'rules:columns'}")


def test_function_is_called_for_each_piece(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_ROWS", 2)
    assert failure(folder, "{python: 'rules:one'}") == "rows 3 to 4 are rejected by one() of rules.py"
    assert failure(folder, "{python: 'rules:below'}").endswith("row 3, row 4")
    assert build(folder, "{python: 'rules:labels'}").record["checks"][0]["outcome"] == "ok"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "rules.py, line 16: fails() raised AssertionError: too big"),
        ("none", "gave NoneType; expected one boolean a row"),
        ("short", "gave 1 booleans for 4 rows"),
        ("numbers", "gave list; expected one boolean a row"),
        ("text", "gave str; expected"),
        ("belov", "rules.py has no function 'belov'; did you mean 'below'? there are below, as_list"),
        ("calls", "rules.py has no function 'calls'"),
    ],
)
def test_invalid_return_values(folder: Path, function: str, message: str) -> None:
    assert message in failure(folder, f"{{python: 'rules:{function}'}}")


def test_module_that_cannot_be_loaded(folder: Path) -> None:
    write(folder, {"broken.py": "import os\nx = (\n", "raising.py": "import limits\n1 / 0\n"})
    assert "broken.py, line 2: the module raised SyntaxError" in failure(folder, "{python: 'broken:f'}")
    assert "raising.py, line 2: the module raised ZeroDivisionError" in failure(folder, "{python: 'raising:f'}")


def test_check_with_severity_warn_does_not_fail_the_build(folder: Path) -> None:
    built = build(folder, "{python: 'rules:below', severity: warn}")
    assert built.warnings == ["Data check: python: t: 2 of 4 rows are rejected by below() of rules.py; row 3, row 4"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rules", "expected module:function"),
        ("'rules:'", "expected module:function"),
        ("'rules:a b'", "expected module:function"),
        ("'rulez:below'", "there is no file 'rulez.py'"),
        ("'../rules:below'", "expected module:function"),
        ("'/etc/rules:below'", "expected module:function"),
        ("'link:below'", "leads out of the folder"),
        ("[a]", "expected module:function"),
    ],
)
def test_invalid_function_references(folder: Path, value: str, message: str) -> None:
    (folder / "link.py").symlink_to(write(folder.parent / "elsewhere", {"x.py": MODULE}) / "x.py")
    with pytest.raises(InvalidBuildFile, match=message):
        build(folder, f"{{python: {value}}}")
