"""Transforms of other distributions are found by entry point, loaded only when named, distinct from built-in ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapkg.building.readers import TRANSFORMS
from datapkg.errors import InvalidBuildFile, TransformFailed
from tests.building.builds import Bench, write

MODULE = """\
import sys, warnings
import pandas, pyarrow

loaded = True

def fixed(path, *, widths=(2, 2), names=None):
    if widths == "bad":
        raise ValueError("line 3: no width")
    if widths == "exit":
        sys.exit(3)
    if widths == "number":
        return 7
    if isinstance(widths, list):
        widths.append(9)
        widths.pop()
    warnings.warn("widths were believed")
    return pandas.read_fwf(path, widths=list(widths), names=names, header=None)

def lines(path, **anything):
    return pyarrow.table({"line": path.read_text().splitlines()})

def nothing():
    pass

not_callable = 7
"""

GREEDY = """\
import pandas

def greedy(path, *, options):
    options["seen"] = True
    return pandas.DataFrame({"x": [1]})
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution on the path as an installer does: a module and its `.dist-info`."""
    monkeypatch.setattr(TRANSFORMS, "_added", {})

    def install(name: str = "fixed-width-tables", *, module: str, points: str, body: str = MODULE) -> None:
        info = f"{name.replace('-', '_')}-1.2.dist-info"
        files: dict[str, str | bytes] = {
            f"{module}.py": body,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n",
            f"{info}/entry_points.txt": f"[datapkg.transforms]\n{points}\n",
        }
        site = write(tmp_path / name, files)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def data(tmp_path: Path, node: str, **files: str) -> Path:
    return write(tmp_path / "data", {"a.fix": "1 x \n2 y \n", "build.yml": f"contents:\n  a: {node}\n", **files})


def test_plugin_is_found_loaded_and_recorded(tmp_path: Path, install: Install) -> None:
    install(module="fixed_one", points="fixed = fixed_one:fixed")
    bench = Bench()
    bench.build(data(tmp_path, "{file: a.fix}"))
    assert "fixed_one" not in sys.modules
    node = "{file: a.fix, transform: fixed, kwargs: {widths: [2, 2], names: [n, t]}}"
    built = bench.build(data(tmp_path, node))
    assert sys.modules["fixed_one"].loaded
    assert bench.frame(built, "a").to_dict("list") == {"n": [1, 2], "t": ["x", "y"]}
    (source,) = built.record["sources"]
    assert source["provider"] == {"distribution": "fixed-width-tables", "version": "1.2"}
    assert (source["transform"], source["kwargs"]) == ("fixed", {"widths": [2, 2], "names": ["n", "t"]})
    assert built.warnings == ["a.fix: widths were believed"]


def test_built_in_transforms_have_no_provider(tmp_path: Path) -> None:
    built = Bench().build(write(tmp_path, {"a.csv": "x\n1\n"}))
    assert "provider" not in built.record["sources"][0]


def test_arrow_compatible_results_are_tables(tmp_path: Path, install: Install) -> None:
    install(module="fixed_arrow", points="lines = fixed_arrow:lines")
    bench = Bench()
    built = bench.build(data(tmp_path, "{file: a.fix, transform: lines}"))
    assert bench.frame(built, "a")["line"].tolist() == ["1 x ", "2 y "]


def test_group_kwargs_reach_the_plugin(tmp_path: Path, install: Install) -> None:
    install(module="fixed_group", points="fixed = fixed_group:fixed")
    group = "{transform: fixed, kwargs: {names: [n, t]}, b: {file: a.fix}, c: {file: c.csv, transform: csv}}"
    bench = Bench()
    built = bench.build(data(tmp_path, group, **{"c.csv": "x\n1\n"}))
    assert list(bench.frame(built, "a/b")) == ["n", "t"]
    assert list(bench.frame(built, "a/c")) == ["x"]


def test_plugins_cannot_override_built_in_transforms(tmp_path: Path, install: Install) -> None:
    install(module="fixed_ours", points="\n".join(f"{name} = fixed_ours:lines" for name in ("csv", "id", "excel")))
    bench = Bench()
    built = bench.build(data(tmp_path, "{file: a.csv, transform: csv}", **{"a.csv": "x\n1\n"}))
    assert bench.frame(built, "a").to_dict("list") == {"x": [1]}
    with pytest.raises(InvalidBuildFile, match="unknown transform 'excel'"):
        bench.build(data(tmp_path, "{file: a.fix, transform: excel}"))
    assert "fixed_ours" not in sys.modules
    assert list(TRANSFORMS).count("csv") == 1


def test_plugin_names_are_listed_without_loading(tmp_path: Path, install: Install) -> None:
    install(module="fixed_listed", points="fixed = fixed_listed:fixed")
    with pytest.raises(InvalidBuildFile, match=r"did you mean 'fixed'\? there are csv, .*, id, fixed"):
        Bench().build(data(tmp_path, "{file: a.fix, transform: fixd}"))
    assert "fixed_listed" not in sys.modules


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [("width: [1]", "unknown kwarg 'width'; did you mean 'widths'?"), ("path: x", "unknown kwarg 'path'")],
)
def test_kwargs_not_in_the_signature_are_rejected(tmp_path: Path, install: Install, kwargs: str, reason: str) -> None:
    install(module="fixed_kwargs", points="fixed = fixed_kwargs:fixed")
    with pytest.raises(InvalidBuildFile) as caught:
        Bench().build(data(tmp_path, f"{{file: a.fix, transform: fixed, kwargs: {{{kwargs}}}}}"))
    assert reason in str(caught.value)


def test_kwargs_are_rejected_if_the_plugin_declares_none(tmp_path: Path, install: Install) -> None:
    install(module="fixed_any", points="lines = fixed_any:lines")
    with pytest.raises(InvalidBuildFile, match="'x' is not supported: transform lines has no kwargs"):
        Bench().build(data(tmp_path, "{file: a.fix, transform: lines, kwargs: {x: 1}}"))


@pytest.mark.parametrize(
    ("widths", "reason"),
    [("bad", "line 3: no width"), ("exit", "wanted to end the program"), ("number", "gave a int, neither a DataFrame")],
)
def test_failing_plugin(tmp_path: Path, install: Install, widths: str, reason: str) -> None:
    install(module="fixed_fails", points="fixed = fixed_fails:fixed")
    with pytest.raises(TransformFailed, match=reason) as caught:
        Bench().build(data(tmp_path, f"{{file: a.fix, transform: fixed, kwargs: {{widths: {widths}}}}}"))
    assert "build.yml:2: contents.a: 'a.fix' cannot be read as fixed" in str(caught.value)


@pytest.mark.parametrize(
    ("point", "body", "reason"),
    [
        ("broken_1:read", "import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("broken_2:read", "", "AttributeError: module 'broken_2' has no attribute 'read'"),
        ("broken_3:read", "raise SystemExit(9)\n", "SystemExit: 9"),
        ("broken_4:read", "def read(:\n", "SyntaxError"),
        ("broken_5:nothing", MODULE, "TypeError: it takes no path"),
        ("broken_6:not_callable", MODULE, "TypeError: 7 is not a callable object"),
    ],
)
def test_broken_plugin(tmp_path: Path, install: Install, point: str, body: str, reason: str) -> None:
    install(module=point.split(":")[0], points=f"broken = {point}", body=body)
    with pytest.raises(InvalidBuildFile) as caught:
        Bench().build(data(tmp_path, "{file: a.fix, transform: broken, kwargs: {x: 1}}\n  b: {file: gone}"))
    (first, what), (second, _) = caught.value.problems
    assert first.endswith("build.yml:2: contents.a.transform")
    assert what.startswith(f"transform 'broken' of fixed-width-tables 1.2 cannot be loaded: {reason}")
    assert second.endswith("build.yml:3: contents.b.file")


def test_two_plugins_with_one_name(tmp_path: Path, install: Install) -> None:
    for letter in "ab":
        install(f"dist-{letter}", module=f"fixed_{letter}", points=f"twice = fixed_{letter}:lines")
    with pytest.raises(InvalidBuildFile, match="'twice' is offered by dist-a and dist-b; uninstall all but one"):
        Bench().build(data(tmp_path, "{file: a.fix, transform: twice}"))


def test_kwargs_are_recorded_as_written(tmp_path: Path, install: Install) -> None:
    install(module="fixed_greedy", points="greedy = fixed_greedy:greedy", body=GREEDY)
    built = Bench().build(data(tmp_path, "{file: a.fix, transform: greedy, kwargs: {options: {a: 1}}}"))
    recorded: Any = built.record["sources"][0]["kwargs"]
    assert recorded == {"options": {"a": 1}}
