"""Gives every test settings of its own, and leaves out, aloud, what this machine or `make test` cannot run."""

from __future__ import annotations

import gc
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from datapkg.format.names import Ref
from datapkg.home import Home
from tests import examples, object_stores
from tests.live_registry import LiveRegistry, live_registry
from tests.object_stores import SERVERS, ObjectStore
from tests.static_registry import Static

CAP_SYS_ADMIN = 21

_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--everything", action="store_true", help="run big tests too, and fail where a tool is absent")


def pytest_configure(config: pytest.Config) -> None:
    examples.everything = config.getoption("--everything")
    settings.register_profile("few", max_examples=15, deadline=None)
    settings.register_profile("all", max_examples=100, deadline=None)
    settings.load_profile("all" if examples.everything else "few")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what `big` cannot, as these tests do run."""
    if not examples.everything:
        terminalreporter.write_line("Properties were tried with few examples: `make test-all` tries all of them")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The files of no folder have the longest tests: at the end, one process would run them while the other is idle.
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
    everything = config.getoption("--everything")
    for item in items:
        if lacking := _absent_programs(item, "where_available"):
            item.add_marker(pytest.mark.skip(reason=f"cannot be installed here: {lacking}"))
        elif everything:
            continue
        elif item.get_closest_marker("big"):
            item.add_marker(pytest.mark.skip(reason="big: `make test-all` runs it"))
        elif absent := absent_tools(item):
            item.add_marker(pytest.mark.skip(reason=f"absent here: {absent}"))


def pytest_collection_finish() -> None:
    # Ten thousand tests and the libraries make millions of objects, through which each later search of cycles would go.
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.config.getoption("--everything") and (absent := absent_tools(item)):
        pytest.fail(f"absent here: {absent}", pytrace=False)


def absent_tools(item: pytest.Item) -> str:
    """Programs and libraries that the test is marked to need and that are not here, as text."""
    libraries = (name for mark in item.iter_markers("needs_library") for name in mark.args if find_spec(name) is None)
    return ", ".join([*filter(None, [_absent_programs(item, "needs")]), *libraries])


def _absent_programs(item: pytest.Item, marker: str) -> str:
    return ", ".join(name for mark in item.iter_markers(marker) for name in mark.args if find_program(name) is None)


def find_program(name: str) -> str | None:
    """The path of a program, also of those that Debian keeps off the search path; of a device that may be opened."""
    if name.startswith("/dev/"):
        return name if _opens(name) else None
    hidden = sorted(str(each) for each in Path("/usr/lib/postgresql").glob("*/bin"))
    hidden += [str(SERVERS / "azurite/node_modules/.bin"), str(SERVERS / "swift/bin"), str(SERVERS / "dvc/bin")]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *hidden]))


def _opens(device: str) -> bool:
    """Whether a device can be worked with; root of a container may open that of FUSE, and yet not mount."""
    try:
        os.close(os.open(device, os.O_RDWR))
        rights = re.search(r"CapEff:\s*(\w+)", Path("/proc/self/status").read_text())
    except OSError:
        return False
    return os.getuid() != 0 or rights is None or bool(int(rights[1], 16) >> CAP_SYS_ADMIN & 1)


@pytest.fixture(scope="session")
def _homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def own_home(_homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty DATAPKG_HOME for each test and no other setting: no test sees or touches those of its developer."""
    for name in [name for name in os.environ if name.startswith("DATAPKG_")]:
        monkeypatch.delenv(name)
    number = next(_numbers)
    home = _homes / str(number)
    monkeypatch.setenv("DATAPKG_HOME", str(home))
    yield home
    shutil.rmtree(home, ignore_errors=True)
    if number % 100 == 0:  # the databases of earlier tests are closed with the cycles of objects that hold them
        gc.collect()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRegistry]:
    """A registry that all tests of this process share; each test adds users of its own."""
    with live_registry(tmp_path_factory.mktemp("registry")) as live:
        yield live


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Azurite, an Azure Blob Storage that all tests of this process share; each test makes a container of its own."""
    with object_stores.azurite(tmp_path_factory.mktemp("azurite")) as store:
        yield store


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """Ceph's S3 gateway, shared as `azurite` is."""
    with object_stores.ceph(tmp_path_factory.mktemp("ceph")) as store:
        yield store


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """OpenStack Swift's S3 gateway, shared as `azurite` is."""
    with object_stores.swift(tmp_path_factory.mktemp("swift")) as store:
        yield store


@dataclass(frozen=True)
class Person:
    """A user of the shared registry, with homes on as many machines as a test wants."""

    name: str
    token: str
    url: str
    folder: Path

    def environ(self, machine: str = "own", url: str | None = None) -> dict[str, str]:
        """The environment of this person at a machine; `url` is another way to the registry."""
        home = str(self.folder / machine)
        return {"DATAPKG_HOME": home, "DATAPKG_REGISTRY": url or self.url, "DATAPKG_TOKEN": self.token}

    def home(self, machine: str = "own", url: str | None = None) -> Home:
        """The home of this person at a machine."""
        return Home(self.environ(machine, url))

    def ref(self, text: str) -> Ref:
        """A ref below this person's name: `iris@1.0`."""
        return Ref.parse(f"{self.name}/{text}")


@pytest.fixture
def new_person(registry: LiveRegistry, tmp_path: Path) -> Callable[[], Person]:
    """Makes users with names that no other test has."""

    def make() -> Person:
        name = f"u{os.getpid()}x{next(_numbers)}"
        return Person(name, registry.add_user(name), registry.url, tmp_path / name)

    return make


@pytest.fixture
def person(new_person: Callable[[], Person]) -> Person:
    """A user of the shared registry."""
    return new_person()


@pytest.fixture
def static(tmp_path: Path) -> Static:
    """A registry without a server, in a folder that is not there yet."""
    return Static(tmp_path / "registry", tmp_path / "machines")
