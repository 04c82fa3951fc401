"""What a program imports, loads and reads is tracked: packages, states and nodes, in every thread."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.home import Home
from tests.reading.packages import array_node, file_node, install, install_iris, table_node


@pytest.fixture
def home() -> Home:
    home = Home()
    install_iris(home)
    return home


def test_nodes_that_are_read_are_seen(home: Home) -> None:
    hash = install_iris(home)
    with datapkg.track() as seen:
        iris = datapkg.load("uciml/iris")
        assert iris.measurements.rows == 3, "the manifest has it, so nothing is read"
        assert seen.nodes == []
        iris.measurements["petal_length"]
        iris.README_md.read_text()
        with datapkg.track() as inner:
            iris.measurements.arrow()
    iris.measurements()
    exact = f"uciml/iris@sha256:{hash}"
    assert [str(each) for each in seen.packages] == [exact]
    assert [str(each) for each in inner.nodes] == [f"uciml/iris/measurements@sha256:{hash}"]
    assert [each.path for each in seen.nodes] == ["README.md", "measurements"]


def test_files_arrays_paths_and_addresses_are_reads(home: Home) -> None:
    import fsspec

    install(
        home, "u/p", array_node(home, "a", np.arange(3)), file_node(home, "f.txt", b"1"), file_node(home, "g.txt", b"2")
    )
    package = datapkg.load("u/p")
    for read, path in [
        (lambda: package.a(), "a"),
        (lambda: package.f_txt.path, "f.txt"),
        (lambda: package.f_txt.open().close(), "f.txt"),
        (lambda: fsspec.open("datapkg://u/p/g.txt").open().close(), "g.txt"),
        (lambda: pickle.loads(pickle.dumps(package.g_txt)).read_bytes(), "g.txt"),
    ]:
        with datapkg.track() as seen:
            read()
        assert [each.path for each in seen.nodes] == [path]


def test_imports_and_named_states_are_told_apart(home: Home) -> None:
    old = install(home, "u/p", file_node(home, "f", b"1"))
    new = install(home, "u/p", file_node(home, "f", b"2"))
    with datapkg.track() as seen:
        datapkg.load(f"u/p@sha256:{old}")
        datapkg.load("u/p")
        datapkg.load(f"u/p@sha256:{new}")
    assert {each.state.value: seen.is_named(each) for each in seen.packages if each.state} == {old: True, new: False}


def test_reads_of_all_threads_are_seen(home: Home) -> None:
    names = [f"f{number}" for number in range(40)]
    install(home, "u/p", *(file_node(home, name, name.encode()) for name in names))
    package = datapkg.load("u/p")
    with datapkg.track() as seen:
        threads = [threading.Thread(target=package[name].read_bytes) for name in names]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert [each.path for each in seen.nodes] == sorted(names)
    package.f0.read_bytes()
    assert len(seen.nodes) == 40


def test_walks_over_tables_are_reads(home: Home) -> None:
    install(home, "u/q", *(table_node(home, name, pd.DataFrame({"n": [1]})) for name in ("one", "two")))
    with datapkg.track() as seen:
        datapkg.frames(datapkg.load("u/q"))
    assert [each.path for each in seen.nodes] == ["one", "two"]
