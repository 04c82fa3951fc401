"""Nodes in pickles, copies, sets and comparisons: a node is a reference to one state, and never its content."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from datapkg.errors import PackageNotInstalled
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from tests.reading.packages import file_node, install, install_iris, iris_frame

ROOT = Path(__file__).resolve().parents[3]
PATHS = ["measurements", "README.md", "raw", "raw/a.jpg", "weights"]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_kind_of_node_round_trips(iris: Package, protocol: int) -> None:
    for node in [iris, *(iris[path] for path in PATHS)]:
        data = pickle.dumps(node, protocol)
        found = pickle.loads(data)
        assert (type(found), found, found.ref) == (type(node), node, node.ref)
        assert len(data) < 1500
    assert pickle.loads(pickle.dumps(iris["measurements"], protocol))().equals(iris_frame())


def test_a_node_of_another_home_is_found_there(tmp_path: Path) -> None:
    other = Home({"DATAPKG_HOME": str(tmp_path / "other")})
    install_iris(other, "me/only_there")
    data = pickle.dumps(load("me/only_there/raw/a.jpg", other))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read_bytes())"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == b"b'\\xff\\xd8a'\n"
    assert not Path(os.environ["DATAPKG_HOME"]).exists()


def test_state_may_be_in_another_store(home: Home, tmp_path: Path) -> None:
    """A worker on another machine has its own folders, and the same state."""
    other = Home({"DATAPKG_HOME": str(tmp_path / "gone")})
    install(other, "me/p", file_node(other, "a", b"old"))
    data = pickle.dumps(load("me/p/a", other)).replace(b"gone", b"nope")
    with pytest.raises(PackageNotInstalled) as caught:
        pickle.loads(data)
    hash = install(home, "me/p", file_node(home, "a", b"old"))
    assert caught.value.hint == f"datapkg install me/p@sha256:{hash}"
    install(home, "me/p", file_node(home, "a", b"new"))
    assert pickle.loads(data).read_bytes() == b"old"


def test_an_old_state_stays_that_state(home: Home) -> None:
    old = install(home, "me/p", file_node(home, "a", b"old"))
    data = pickle.dumps(load("me/p", home))
    install(home, "me/p", file_node(home, "b", b"new"))
    assert (pickle.loads(data).hash, list(pickle.loads(data))) == (old, ["a"])


def test_unpickling_reads_nothing(iris: Package) -> None:
    code = (
        "import pickle, sys; node = pickle.load(sys.stdin.buffer); print('msgspec' in sys.modules, type(node).__name__)"
    )
    data = pickle.dumps(iris["measurements"])
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True, cwd=ROOT)
    assert done.stdout == b"False Table\n"


def test_functions_take_nodes_to_workers(iris: Package) -> None:
    table = iris["measurements"]
    found = pickle.loads(cloudpickle.dumps(lambda: (table.rows, iris["raw/a.jpg"].read_bytes())))
    assert found() == (3, b"\xff\xd8a")


def test_copies_are_the_node_itself(iris: Package) -> None:
    for node in [iris, *(iris[path] for path in PATHS)]:
        assert copy.copy(node) is copy.deepcopy(node) is node
    assert copy.deepcopy({"x": [iris]})["x"][0] is iris


def test_nodes_are_equal_by_state_and_path(home: Home, iris: Package) -> None:
    again = load("uciml/iris", home)
    assert isinstance(again, Package)
    assert again == iris
    assert again["raw"] == iris["raw"] != iris["raw/a.jpg"]
    assert {iris["raw"]: 1}[again["raw"]] == 1
    assert len({node for package in (iris, again) for node in (package, *package.values())}) == 5
    assert iris["measurements"] in [3, None, again["measurements"]]
    assert (iris == "uciml/iris", iris["measurements"] == 3, iris["raw"] != None) == (False, False, True)  # noqa: E711
    install(home, "uciml/iris", file_node(home, "raw/a.jpg", b"\xff\xd8a"))
    assert load("uciml/iris/raw/a.jpg", home) != iris["raw/a.jpg"]


WORKERS = """
import datapkg, multiprocessing, sys
from datapkg.data.uciml import iris
if __name__ == "__main__":
    iris.measurements()
    for method in ("spawn", "fork", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(datapkg.size, [iris, iris.raw, iris.README_md]) == [iris.size, 6, 7]
            assert pool.apply(iris["raw/a.jpg"].read_bytes) == bytes([255, 216, 97])
            assert pool.apply(iris.measurements.head, (2,)).equals(iris.measurements.head(2))
            assert pool.apply(datapkg.hash, (iris,)) == iris.hash
"""


def test_workers_read_nodes(home: Home, tmp_path: Path) -> None:
    install_iris(home)
    script = tmp_path / "work.py"
    script.write_text(WORKERS)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-W", "ignore", str(script)], check=True, timeout=100, env=environ)
