"""The documents are true: their examples run, and every command, setting, error and path in them exists."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import datapkg
from datapkg import __version__, errors
from datapkg.cli.failures import EXIT_INTERRUPTED
from datapkg.cli.output import EXIT_READER_GONE
from datapkg.settings import SETTINGS
from registry_server.settings import Settings, setting_name
from tests.fresh_process import FreshProcess
from tests.live_registry import LiveRegistry, live_registry
from tests.test_architecture import FLOORS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DESIGN = [ROOT / "DEVELOPING.md", *sorted((ROOT / "docs" / "design").glob("*.md"))]
MAX_DEVELOPING_CHARS = 12_000  # ten minutes of reading
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SIMPLE = re.compile(r"datapkg [\w\s@./:=+-]*")  # without anything that a shell expands
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
RUN = ("console", "python")
FILE = re.compile(r"# ([\w.-]+\.(?:py|yml))\n")  # the first line of a block that shows a whole file
PROGRESS = re.compile(r"^note: .*, \d+ s\n", re.MULTILINE)  # what a slow machine prints after five seconds
PROMPT = re.compile(r"^(\w*)\$ ", re.MULTILINE)  # `bob$ ` is typed by another user


# By its bare name, pip installs another project from the public index; a registry's page has the right line.
BARE_INSTALL = re.compile(r"pip3? install(?: -\S+)* ['\"]?datapkg[\w-]*(?![\w-])(?!(\[[^\]\n]*\])? @ )")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Kind and text of the blocks that are run, and of files that they use.

    The tutorial has a test of its own, with a fresh clone.
    """
    if page.stem == "tutorial":
        return []
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text()) if kind in RUN or FILE.match(text)]


@dataclass(frozen=True)
class Terminal:
    """The environment in which a page's examples run: a folder with the sample packages, a home, a registry, a user."""

    folder: Path
    environ: dict[str, str]

    def python(self, *words: str) -> str:
        """Return what a fresh process of Python with these words prints, errors among it."""
        with FreshProcess([*words], cwd=self.folder, env=self.environ, merge=True) as process:
            out, _ = process.communicate(timeout=100)
        assert process.returncode == 0, f"{words} ended with {process.returncode}:\n{out}"
        return out

    def bash(self, command: str) -> str:
        """Return what a command prints; one that is `datapkg` alone is run without a shell."""
        if SIMPLE.fullmatch(command):
            return self.python("-m", *shlex.split(command))
        return self.run("bash", "-c", command)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="module")
def docs_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    folder = tmp_path_factory.mktemp("docs")
    with live_registry(folder) as live:
        terminal = terminal_of(live, folder / "uciml", "uciml")
        terminal.run("datapkg", "build", "uciml/iris", "sample_packages/iris")
        terminal.run("datapkg", "push", "uciml/iris", "--public", "--version", "1.0.0", "--tag", "stable")
        yield live


def terminal_of(live: LiveRegistry, folder: Path, user: str) -> Terminal:
    shutil.copytree(ROOT / "sample_packages", folder / "sample_packages")
    programs = str(Path(sys.executable).parent)
    environ = {
        "PATH": os.pathsep.join([programs, os.environ["PATH"]]),
        "HOME": str(folder),
        "DATAPKG_HOME": str(folder / ".datapkg"),
        "DATAPKG_REGISTRY": live.url,
        "DATAPKG_TOKEN": live.add_user(user),
        "PYTHONWARNINGS": "error",
    }
    return Terminal(folder, environ)


def as_user(text: str, user: str) -> str:
    return re.sub(r"\bme/", f"{user}/", text)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.stem)
def test_examples_run(page: Path, docs_registry: LiveRegistry, tmp_path: Path) -> None:
    user = "me" + os.urandom(4).hex()
    others = {each for kind, text in blocks(page) if kind == "console" for each in PROMPT.findall(text)} - {""}
    terminals = {"": terminal_of(docs_registry, tmp_path / "terminal", user)}
    terminals |= {each + user: terminal_of(docs_registry, tmp_path / each, each + user) for each in others}
    for kind, text in blocks(page):
        text = as_user(text, user)
        for each in others:
            text = re.sub(rf"\b{each}\b", each + user, text)
        if shown := FILE.match(text):
            (terminals[""].folder / shown[1]).write_text(text)
        elif kind == "python":
            run_python(terminals[""], text)
        else:
            run_console(terminals, text)


def run_console(terminals: dict[str, Terminal], text: str) -> None:
    parts = PROMPT.split(text)
    for who, part in zip(parts[1::2], parts[2::2], strict=True):
        terminal = terminals[who]
        first, _, rest = part.partition("\n")
        more = re.match(r"(?:>(?: .*)?\n)*", rest)[0]  # type: ignore[index]
        command, expected = re.sub(r"\n> ?", "\n", f"{first}\n{more}"), rest.removeprefix(more)
        printed = PROGRESS.sub("", terminal.bash(command.strip()))
        if expected.strip():
            pattern = re.escape(expected.strip()).replace("…", ".*")
            assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"$ {command}\n{printed}\nexpected:\n{expected}"


def run_python(terminal: Terminal, text: str) -> None:
    if ">>>" not in text:
        terminal.python("-c", text)
        return
    (terminal.folder / "session.txt").write_text(text.replace("…", "..."))
    flags = "doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE"
    code = f"import doctest, sys; sys.exit(doctest.testfile('session.txt', False, optionflags={flags}).failed)"
    terminal.python("-c", code)


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_every_design_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "docs" / "design" / "README.md").read_text()))
    assert listed == {page.name for page in (ROOT / "docs" / "design").glob("*.md")} - {"README.md"}


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as sites that render Markdown name them."""
    text = FENCED.sub("", page.read_text())
    titles = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def test_links_between_pages_exist() -> None:
    anchored = 0
    for page in [*PAGES, *DESIGN]:
        for file, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", FENCED.sub("", page.read_text())):
            target = page.parent / file if file else page
            assert target.exists(), f"{page.name} links to {file}, which does not exist"
            if anchor:
                anchored += 1
                assert anchor in anchors(target), f"{page.name} links to {target.name}#{anchor}, which does not exist"
    assert anchored > 10


def test_every_path_in_the_design_pages_exists() -> None:
    """Paths are written from the repository's root; anything else in code style is not a path."""
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir())
    path = re.compile(rf"`((?:(?:{folders})/)[\w./-]*|[\w./-]+\.(?:py|md))`")
    named = {(page.name, each) for page in DESIGN for each in path.findall(page.read_text())}
    assert len(named) > 40
    assert [f"{page}: {each}" for page, each in sorted(named) if not (ROOT / each).exists()] == []


def test_every_room_is_in_the_floor_plan() -> None:
    text = (ROOT / "DEVELOPING.md").read_text()
    rooms = {room for floors in FLOORS.values() for floor in floors for room in floor if not room.startswith("_")}
    assert [room for room in sorted(rooms - {""}) if not re.search(rf"\b{room}\b", text)] == []
    assert len(text) <= MAX_DEVELOPING_CHARS


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_function_is_documented() -> None:
    public = {name for name in datapkg.__all__ if inspect.isfunction(getattr(datapkg, name))}
    assert set(re.findall(r"^### (\w+)$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)) == public


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    code = "".join((ROOT / "datapkg" / name).read_text() for name in ("settings.py", "home.py"))
    variables = set(re.findall(r"DATAPKG_[A-Z_]+[A-Z]", code))
    assert variables >= {each.variable for each in SETTINGS.values() if each.variable}
    for name in [*SETTINGS, *variables]:
        assert f"`{name}`" in text, name


def test_every_setting_of_the_registry_is_documented() -> None:
    text = (ROOT / "docs" / "registry.md").read_text()
    for field in dataclasses.fields(Settings):
        assert f"`{setting_name(field.name)}`" in text, field.name


def test_every_error_code_is_documented_with_its_numbers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ([\d, ]+) \|", (ROOT / "docs" / "errors.md").read_text(), re.MULTILINE)
    documented = {code: (int(number), {int(each) for each in statuses.split(",")}) for code, number, statuses in rows}
    real: dict[str, tuple[int, set[int]]] = {}
    for cls in errors.CLASSES.values():
        real.setdefault(cls.code, (cls.exit_code, set()))[1].add(cls.status)
    assert documented == real


def test_every_error_class_is_documented_with_its_numbers() -> None:
    section = re.compile(r"^### (\w+)\n\nCode `(\w+)`, exit (\d+), HTTP (\d+)[.;]", re.MULTILINE)
    documented = section.findall((ROOT / "docs" / "errors.md").read_text())
    real = [(name, cls.code, str(cls.exit_code), str(cls.status)) for name, cls in errors.CLASSES.items()]
    assert sorted(documented) == sorted(real)


def test_every_error_class_is_raised_somewhere() -> None:
    texts = [path.read_text() for room in ("datapkg", "registry_server") for path in (ROOT / room).rglob("*.py")]
    made = {name for text in texts for name in re.findall(r"\b([A-Z]\w+)\(", re.sub(r"class \w+\(.*", "", text))}
    assert errors.CLASSES.keys() - made == set()


def test_every_exit_code_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    documented = [int(number) for number in re.findall(r"^\|[^|]*\| (\d+) \|", text, re.MULTILINE)]
    ended = {cls.exit_code for cls in errors.CLASSES.values()}
    assert sorted(documented) == sorted({0, *ended, EXIT_INTERRUPTED, EXIT_READER_GONE})


def test_the_examples_of_testing_work(tmp_path: Path) -> None:
    """Run the fixture in a separate pytest, and the server's module on the package that the fixture makes."""
    fixture, app = re.findall(
        r"^```py\n(.*?)^```$", (ROOT / "docs" / "testing.md").read_text(), re.DOTALL | re.MULTILINE
    )
    imports = "import sys\nimport datapkg, pytest\nimport pandas as pd\n"
    (tmp_path / "conftest.py").write_text(imports + fixture)
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.parametrize('again', [0, 1])\ndef test_rows(small_iris, again):\n"
        "    import datapkg\n    from datapkg.data.uciml import iris\n    assert len(iris.measurements()) == 1\n"
        "    import app\n    assert app.row(0) == {'petal_length': 1.4}\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_no_text_installs_datapkg_by_its_bare_name() -> None:
    texts = [*PAGES, *(path for room in ("datapkg", "registry_server") for path in (ROOT / room).rglob("*.*"))]
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in texts
        if path.suffix in (".md", ".py", ".html", ".yml")
        for match in BARE_INSTALL.finditer(path.read_text())
    ]
    assert found == []
    assert BARE_INSTALL.search("pip install --upgrade datapkg")
    assert not BARE_INSTALL.search("pip install 'datapkg @ https://data.example.org/client/…'")


def test_the_docs_install_the_client_from_a_registry() -> None:
    line = re.compile(r"pip install 'datapkg @ https://[a-z.]+/client/datapkg-([\w.]+)-py3-none-any\.whl'")
    for page in (ROOT / "README.md", ROOT / "docs/install.md", ROOT / "docs/registry.md"):
        assert line.findall(page.read_text()) == [__version__], page
