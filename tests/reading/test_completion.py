"""The tab key, as IPython's own completer answers it: of packages that were imported and of which nothing was read."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.home import Home
from tests.reading.packages import install_iris


@pytest.fixture
def complete(home: Home, tmp_path: Path) -> Iterator[Any]:
    """Gives what may stand where the cursor is, behind a line of code, in a session that has imported iris."""
    from IPython.core.completer import IPCompleter
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    package = f"p{id(home):x}"
    install_iris(home, f"tabs/{package}")
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}), ipython_dir=str(tmp_path))
    shell.run_cell(f"from datapkg.data.tabs import {package} as iris; measurements, raw = iris.measurements, iris.raw")
    completer = IPCompleter(shell, shell.user_ns, shell.user_global_ns)

    def answer(line: str) -> set[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its interface is provisional
            found = completer.completions(line, len(line))
            return {each.text.strip("\"'[].") for each in found}

    answer.shell = shell  # type: ignore[attr-defined]
    yield answer
    InteractiveShell.clear_instance()


def test_nodes_and_columns_complete(complete: Any) -> None:
    assert {"README_md", "measurements", "raw", "weights", "walk"} <= complete("iris.")
    assert "measurements" in complete("iris.mea")
    assert {"README.md", "measurements", "raw", "weights"} <= complete('iris["')
    assert {"petal_length", "petal_width", "class"} <= complete('measurements["')
    assert complete('measurements["petal_l') == {"petal_length"}
    assert {"a.jpg", "b.jpg"} <= complete("raw['")
    assert "a_jpg" in complete("raw.a")


def test_nodes_complete_behind_nodes_with_our_extension(complete: Any) -> None:
    complete.shell.run_line_magic("load_ext", "datapkg")
    assert {"petal_length", "petal_width", "class"} <= complete('iris.measurements["')
    assert {"a.jpg", "b.jpg"} <= complete("iris.raw['")
    assert "a_jpg" in complete("iris.raw.a")
