"""%datapkg, completion and progress bars in an IPython shell as a notebook uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import datapkg
from datapkg.api import notebook_progress
from datapkg.home import Home
from tests.conftest import Person
from tests.reading.packages import install_iris

SAMPLE = Path(__file__).resolve().parents[2] / "sample_packages" / "iris"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    config = Config()
    config.HistoryManager.enabled = False
    config.Completer.use_jedi = False
    shell = InteractiveShell.instance(config=config)
    shell.run_cell("%load_ext datapkg")
    yield shell
    InteractiveShell.clear_instance()
    for name in [name for name in sys.modules if name.startswith("datapkg.data.")]:
        del sys.modules[name]


Cell = Callable[[str], tuple[bool, str, str]]


@pytest.fixture
def cell(shell: InteractiveShell) -> Cell:
    """Run a cell, and return whether it succeeded and what it printed."""

    def run(text: str) -> tuple[bool, str, str]:
        with capture_output() as captured:
            found = shell.run_cell(text)
        return found.success, captured.stdout, captured.stderr

    return run


def completions(shell: InteractiveShell, text: str) -> set[str]:
    with provisionalcompleter():
        return {each.text for each in shell.Completer.completions(text, len(text))}


def test_magic_without_arguments_prints_an_overview(cell: Cell) -> None:
    is_good, out, _ = cell("%datapkg")
    assert is_good
    assert "datapkg install uciml/iris" in out


def test_arguments_are_split_like_in_a_shell_and_variables_are_expanded(cell: Cell) -> None:
    cell(f"folder = {str(SAMPLE)!r}")
    assert cell("%datapkg build me/one $folder -m 'two words'")[0]
    assert cell('%datapkg build me/two "{folder}"')[0]
    assert Home().packages("me") == ["one", "two"]


def test_failure_ends_the_cell_with_its_message_and_no_traceback(cell: Cell, shell: InteractiveShell) -> None:
    is_good, out, err = cell("%datapkg shwo\nafter = 1")
    assert not is_good
    assert "after" not in shell.user_ns
    assert "error: there is no command 'shwo'; did you mean show?" in out + err
    assert "Traceback" not in out + err
    found = shell.run_cell(
        "try:\n    %datapkg show nobody/none\nexcept Exception as error:\n    code = error.exit_code"
    )
    assert found.success
    assert shell.user_ns["code"] == 3


def test_open_quote_is_an_error(cell: Cell) -> None:
    is_good, out, err = cell("%datapkg show 'me")
    assert not is_good
    assert "error: No closing quotation" in out + err


def test_import_works_after_an_install(cell: Cell, shell: InteractiveShell, person: Person) -> None:
    maker = person.home("maker")
    publish(maker, person)
    for name, value in person.environ("reader").items():
        cell(f"import os; os.environ[{name!r}] = {value!r}")
    line = f"from datapkg.data.{person.name} import iris"
    assert not cell(line)[0]
    assert not shell.run_cell(f"import datapkg.data.{person.name}").success
    is_good, out, _ = cell(f"%datapkg install {person.name}/iris")
    assert is_good
    assert f"installed {person.name}/iris@sha256:" in out
    assert cell(line)[0]
    assert shell.run_cell("iris.measurements().shape").result == (150, 5)


def publish(home: Home, person: Person) -> None:
    from datapkg.api.build import build_package
    from datapkg.api.push import push_package

    build_package(home, person.ref("iris"), SAMPLE)
    push_package(home, person.ref("iris"))


def test_warning_if_another_state_was_imported(cell: Cell) -> None:
    cell(f"%datapkg build me/iris {SAMPLE}")
    cell("from datapkg.data.me import iris")
    assert "note" not in cell("%datapkg ls")[2]
    install_iris(Home(), "me/iris")
    assert "importlib.reload(iris)" in cell("%datapkg ls")[2]
    assert cell("import importlib; importlib.reload(iris)")[0]
    assert "note" not in cell("%datapkg ls")[2]


def test_file_and_json_output_are_printed(cell: Cell) -> None:
    install_iris(Home())
    assert cell("%datapkg cat uciml/iris/README.md")[1] == "# Iris\n"
    assert cell("%datapkg ls --json")[1].startswith('{"packages"')
    assert '{"error"' in "".join(cell("%datapkg show nobody/none --json")[1:])


def test_completion_of_commands_options_and_packages(shell: InteractiveShell) -> None:
    install_iris(Home())
    assert completions(shell, "%datapkg inst") == {"install"}
    assert completions(shell, "%datapkg show uc") == {"uciml/iris"}
    assert "--json" in completions(shell, "%datapkg show --")
    assert completions(shell, "%datapkg show 'uc") == set()


def test_completion_of_nodes_and_columns(shell: InteractiveShell) -> None:
    install_iris(Home())
    shell.run_cell("from datapkg.data.uciml import iris; node = iris.measurements")
    assert completions(shell, "iris['") >= {"README.md", "measurements", "raw", "weights"}
    assert completions(shell, "node['petal") == {"petal_length", "petal_width"}
    assert completions(shell, "iris['raw']['") >= {"a.jpg", "b.jpg"}
    assert completions(shell, "iris.raw['a") == {"a.jpg"}
    assert completions(shell, "iris.measurements['cl") == {"class"}
    assert "measurements" in {each.removeprefix(".") for each in completions(shell, "iris.meas")}


def test_extension_can_be_reloaded_and_unloaded(cell: Cell) -> None:
    assert cell("%load_ext datapkg")[0]
    assert cell("%reload_ext datapkg")[0]
    assert cell("%datapkg ls")[0]
    cell("%unload_ext datapkg")
    assert not cell("%datapkg ls")[0]


def shown(captured: Any) -> list[str]:
    return [each.data["text/html"] for each in captured.outputs if "text/html" in each.data]


def test_notebook_shows_a_progress_bar_that_completes(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook_progress, "PATIENCE_S", 0)
    monkeypatch.setattr(notebook_progress, "REFRESH_S", 0)
    with capture_output() as captured:
        datapkg.build("me/iris", SAMPLE)
    assert shown(captured) == []  # IPython in a terminal
    monkeypatch.setattr(shell, "kernel", "one", raising=False)
    for command in (
        lambda: datapkg.build("me/two", SAMPLE),
        lambda: shell.run_cell(f"%datapkg build me/three {SAMPLE}"),
    ):
        with capture_output() as captured:
            command()
        first, *_, last = shown(captured)
        assert "<progress" in first
        assert "done in" in last
        assert "<progress" not in last
    with capture_output() as captured:
        datapkg.build("me/four", SAMPLE, progress=lambda what, done, total: None)
        shell.run_cell(f"%datapkg build me/five {SAMPLE} -q")
    assert shown(captured) == []


def test_short_work_has_no_bar_and_failed_work_ends_with_a_line(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_output() as captured, notebook_progress.Bar() as progress:
        progress("reading", 1, 2)
    assert shown(captured) == []
    monkeypatch.setattr(notebook_progress, "PATIENCE_S", 0)
    with capture_output() as captured, pytest.raises(ValueError), notebook_progress.Bar() as progress:
        progress("<b>", 1, 4)
        raise ValueError
    first, last = shown(captured)
    assert "&lt;b&gt;" in first
    assert 'value="0.2500"' in first
    assert "stopped at 25% after 0 s" in last
    assert "value=" not in notebook_progress.bar_html("asking", 5, 0, 1.0)
