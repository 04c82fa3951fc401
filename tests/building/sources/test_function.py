"""Results of functions beside a build file become nodes; their exceptions are reported with the line."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow as pa
import pytest

from datapkg.building.sources.function import Called, call, source_files, source_hash
from datapkg.building.spec.model import FileSource, PythonSource
from datapkg.errors import InvalidInput, TransformFailed
from tests.building.builds import Bench, kinds, write

MODULE = """\
import dataclasses
import pandas
from shapes.square import area

@dataclasses.dataclass
class Row:
    a: int

def frame(path, times=1): return pandas.DataFrame({"a": [Row(3).a * times], "area": [area(4)]})
def several(path):
    import numpy
    return {"t": frame(path), "deep": {"w": numpy.ones(2)}, "same": path}
def made(path):
    new = path.with_name("made.csv")
    new.write_text("x,y\\n1,2\\n")
    return new
def raising(path): return area("x")
def leaving(path): raise SystemExit(3)
def printing(path):
    print("one\\ntwo")
    return frame(path)
def changing(path, values):
    values.append(1)
    return frame(path)
"""
FOLDER = {
    "prepare.py": MODULE,
    "shapes/__init__.py": "",
    "shapes/square.py": "from . import words\nimport json\n\n\ndef area(n):\n    return n * n + words.NOTHING\n",
    "shapes/words.py": "NOTHING = 0\n",
    "shapes/unused.py": "",
    "in.csv": "a\n1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, FOLDER)


def called(folder: Path, function: str, **kwargs: Any) -> Called:
    source = PythonSource(folder / "prepare.py", function, (FileSource(folder / "in.csv", "in.csv"),))
    return call(source, kwargs)


def test_frame_with_kwargs(folder: Path) -> None:
    found = called(folder, "frame", times=2)
    assert found.value.to_pylist() == [{"a": 6, "area": 16}]
    assert found.sha256 == source_hash(folder / "prepare.py")


def test_build_of_functions(folder: Path) -> None:
    write(folder, {"build.yml": "contents:\n  g: {python: prepare:several, file: in.csv}\n"})
    bench = Bench()
    built = bench.build(folder)
    assert kinds(built) == {"g/deep/w": "array", "g/same": "table", "g/t": "table"}
    assert bench.table(built, "g/same").to_pylist() == [{"a": 1}]
    write(folder, {"build.yml": "contents:\n  m: {python: prepare:made, file: in.csv}\n"})
    assert bench.table(bench.build(folder), "m").to_pylist() == [{"x": 1, "y": 2}]


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        (pandas.DataFrame({"a": [1]}, index=["x"]), [{"a": 1, "__index_level_0__": "x"}]),
        (pa.table({"a": [1]}), [{"a": 1}]),
        (pa.record_batch({"a": [1]}), [{"a": 1}]),
        (pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int8())]), []), []),
        (polars.DataFrame({"a": [1]}), [{"a": 1}]),
    ],
)
def test_arrow_compatible_results_are_tables(
    folder: Path, value: Any, rows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"prepare.py": "import holder\n\n\ndef give(path): return holder.value\n"})
    monkeypatch.setitem(sys.modules, "holder", types.SimpleNamespace(value=value))
    assert called(folder, "give").value.to_pylist() == rows


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[1]", "give() of prepare.py gave a list; expected a DataFrame"),
        ("None", "gave a NoneType"),
        ("'in.csv'", "gave a str"),
        ("{}", "gave an empty dict"),
        ("{1: path}", "gave a dict with the name 1, which is not text"),
        ("{'a': 5}", "give() of prepare.py: 'a' gave a int"),
        ("path.parent", "and there is no file"),
        ("__import__('pandas').Series([1])", "gave a Series"),
        ("(x for x in [])", "gave a generator"),
    ],
)
def test_results_that_cannot_be_nodes(folder: Path, value: str, message: str) -> None:
    write(folder, {"prepare.py": f"def give(path): return {value}\n"})
    with pytest.raises(InvalidInput) as caught:
        called(folder, "give")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raising", "square.py, line 6: raising() raised TypeError: can't multiply sequence"),
        ("leaving", "prepare.py, line 18: leaving() raised SystemExit: 3"),
    ],
)
def test_exception_is_reported_with_its_line(folder: Path, function: str, message: str) -> None:
    with pytest.raises(TransformFailed) as caught:
        called(folder, function)
    assert str(caught.value).startswith(message)
    assert caught.value.detail["line"] > 0


def test_exception_without_a_frame_in_the_folder_has_no_line(folder: Path) -> None:
    (folder / "prepare.py").write_text("def bare(): return 1\n")
    with pytest.raises(TransformFailed, match=r"^prepare\.py: bare\(\) raised TypeError: .* takes 0 positional"):
        called(folder, "bare")


def test_missing_function(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no function 'fram'; did you mean 'frame'\? there are frame, several"):
        called(folder, "fram")
    with pytest.raises(InvalidInput, match="no function 'pandas'"):
        called(folder, "pandas")


def test_arguments_that_do_not_match_the_signature(folder: Path) -> None:
    with pytest.raises(TransformFailed, match=r"frame\(\) raised TypeError: .*unexpected keyword argument 'tims'"):
        called(folder, "frame", tims=2)


def test_kwargs_are_not_changed(folder: Path) -> None:
    values: list[int] = []
    called(folder, "changing", values=values)
    assert values == []


def test_prints_do_not_reach_standard_output(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert called(folder, "printing").printed == ["one", "two"]
    assert capfd.readouterr().out == ""


def test_no_module_or_path_is_left_behind(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = write(tmp_path_factory.mktemp("other"), {**FOLDER, "shapes/words.py": "NOTHING = 100\n"})
    before, path = set(sys.modules), list(sys.path)
    assert called(folder, "frame").value["area"].to_pylist() == [16]
    assert called(other, "frame").value["area"].to_pylist() == [116]
    assert sys.path == path
    assert not {name for name in set(sys.modules) - before if name.startswith(("prepare", "shapes", "datapkg_func"))}
    assert not list(folder.rglob("__pycache__"))


def test_module_of_the_same_name_is_restored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = types.ModuleType("shapes")
    monkeypatch.setitem(sys.modules, "shapes", shapes)
    assert called(folder, "frame").value["area"].to_pylist() == [16]
    assert sys.modules["shapes"] is shapes


def test_hash_covers_modules_imported_from_the_folder(folder: Path) -> None:
    module = folder / "prepare.py"
    names = [each.relative_to(folder).as_posix() for each in source_files(module)]
    assert names == ["prepare.py", "shapes/__init__.py", "shapes/square.py", "shapes/words.py"]
    before = source_hash(module)
    write(folder, {"shapes/unused.py": "x = 1\n"})
    assert source_hash(module) == before
    write(folder, {"shapes/words.py": "NOTHING = 1\n"})
    assert source_hash(module) != before


def test_import_of_this_module_loads_no_heavy_library() -> None:
    code = "import sys, datapkg.building.sources.function; print('pandas' in sys.modules or 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
