"""Imports and loads through thin wheels: which state is meant, and what is read from where."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.gc import free_space
from datapkg.api.push import push_package
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidLock, NewerFormat, PackageNotInstalled, Refused
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.format.thin_wheel import pin_file, thin_wheel, wheel_version
from datapkg.home import Home
from datapkg.reading.nodes.groups import Package
from datapkg.resolve import find_installed
from datapkg.store.gc import Policy
from datapkg.wheel_pins import pinned_packages, wheel_pin
from tests.conftest import Person
from tests.data.test_import import _fresh_imports  # noqa: F401
from tests.reading.packages import file_node, install, install_iris, iris_frame
from tests.thin_wheels import put_wheel

REGISTRY = "https://data.example.org"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library folder of this Python."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def home() -> Home:
    return Home()


def test_a_wheel_counts_more_than_the_current_state_and_less_than_a_lock(
    home: Home, library: Path, tmp_path: Path
) -> None:
    pinned = install_iris(home)
    current = install(home, "uciml/iris", file_node(home, "new", b""))
    locked = install(home, "uciml/iris", file_node(home, "locked", b"1"))
    install(home, "uciml/iris", file_node(home, "new", b""))
    pin = put_wheel(library, home.store.manifest(pinned), "uciml/iris", REGISTRY)
    import datapkg.data.uciml.iris as iris

    assert isinstance(iris, Package)
    assert iris.hash == datapkg.load("uciml/iris").hash == pinned
    assert len(iris.measurements()) == 3
    found = find_installed(home, Ref("uciml", "iris"))
    assert (found.hash, found.why) == (pinned, str(pin))
    (tmp_path / "datapkg.lock").write_bytes(Lock((Pin("uciml/iris", "uciml/iris", REGISTRY, locked, 0),)).to_bytes())
    assert importlib.reload(iris).hash == datapkg.load("uciml/iris").hash == locked
    (tmp_path / "datapkg.lock").unlink()
    assert importlib.reload(iris).hash == pinned
    assert datapkg.load(f"uciml/iris@sha256:{current}").hash == current
    assert vars(iris).keys().isdisjoint({"error", "become_package"})


def test_packages_of_one_user_come_from_wheels_and_from_the_store(home: Home, library: Path) -> None:
    first, second = install_iris(home), install(home, "uciml/wine", file_node(home, "a", b""))
    put_wheel(library, home.store.manifest(first), "uciml/iris", REGISTRY)
    put_wheel(library, home.store.manifest(second), "uciml/wine", REGISTRY)
    home.store.refs.remove(Ref("uciml", "wine"))
    install(home, "uciml/other", file_node(home, "b", b""))
    from datapkg.data.uciml import iris, other, wine

    assert (iris.hash, wine.hash, other.keys()) == (first, second, ["b"])
    assert pinned_packages() == ["uciml/iris", "uciml/wine"]
    with pytest.raises(ImportError, match=r"measurements is a node of the package uciml/iris, not a module"):
        importlib.import_module("datapkg.data.uciml.iris.measurements")


def test_the_first_library_on_the_path_decides(
    home: Home, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = install_iris(home), install(home, "uciml/iris", file_node(home, "a", b""))
    put_wheel(library, home.store.manifest(first), "uciml/iris", REGISTRY)
    put_wheel(tmp_path / "before", home.store.manifest(second), "uciml/iris", REGISTRY)
    monkeypatch.syspath_prepend(tmp_path / "before")
    from datapkg.data.uciml import iris

    assert iris.hash == second


def test_a_wheel_in_a_zip_file_pins_too(
    home: Home, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = install_iris(home)
    install(home, "uciml/iris", file_node(home, "new", b""))
    wheel = thin_wheel(home.store.manifest(pinned), "uciml/iris", REGISTRY, wheel_version(None, 1, pinned))
    (tmp_path / "libraries.zip").write_bytes(wheel.data)
    monkeypatch.syspath_prepend(tmp_path / "libraries.zip")
    from datapkg.data.uciml import iris

    assert iris.hash == datapkg.load("uciml/iris").hash == pinned


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{", InvalidLock),
        (b"[]", InvalidLock),
        (b'{"format": 0}', InvalidLock),
        (b'{"format": 2}', NewerFormat),
        (b'{"format": 1, "package": "uciml/iris", "registry": "https://x.org", "hash": "abc"}', InvalidLock),
        (b'{"format": 1, "package": "uciml/iris", "hash": "%s"}' % (b"0" * 64), InvalidLock),
        (pin_file("uciml/wine", REGISTRY, "0" * 64), InvalidLock),
    ],
)
def test_a_damaged_pin_is_an_error(home: Home, library: Path, data: bytes, error: type[Exception]) -> None:
    put_wheel(library, home.store.manifest(install_iris(home)), "uciml/iris", REGISTRY).write_bytes(data)
    with pytest.raises(error, match=r"iris\.pin\.json"):
        wheel_pin("uciml/iris")
    with pytest.raises(error, match=r"iris\.pin\.json"):
        importlib.import_module("datapkg.data.uciml.iris")


def test_a_module_that_is_run_says_how_it_is_imported(library: Path, home: Home) -> None:
    put_wheel(library, home.store.manifest(install_iris(home)), "uciml/iris", REGISTRY)
    code = (library / "datapkg/data/uciml/iris.py").read_text()
    with pytest.raises(ImportError, match=r"imported as datapkg\.data\.USER\.NAME$"):
        exec(code, {"__name__": "__main__", "__file__": "iris.py"})


@pytest.fixture
def pushed(person: Person, tmp_path: Path) -> tuple[Person, str]:
    """A user who pushed a package, and its hash."""
    home, readme = person.home(), tmp_path / "README.md"
    readme.write_text("# Iris\n")
    source: Any = {"measurements": iris_frame(), "README.md": readme}
    build_package(home, person.ref("iris"), source, BuildOptions(allow_outside=True))
    return person, push_package(home, person.ref("iris")).hash


@pytest.fixture
def other(pushed: tuple[Person, str], library: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Another machine of that user, where a wheel pins the package, which is not installed."""
    person, hash = pushed
    put_wheel(library, person.home().store.manifest(hash), f"{person.name}/iris", person.url)
    for name, value in person.environ("other").items():
        monkeypatch.setenv(name, value)
    yield Home()


def test_a_pinned_state_is_read_from_its_registry(pushed: tuple[Person, str], other: Home) -> None:
    person, hash = pushed
    iris = importlib.import_module(f"datapkg.data.{person.name}.iris")
    assert iris.hash == hash
    assert len(iris.measurements()) == 3
    assert iris.README_md().read_text() == "# Iris\n"
    assert other.store.refs.current(person.ref("iris")) is None
    assert datapkg.load(f"{person.name}/iris").README_md().read_text() == "# Iris\n"
    assert find_installed(other, person.ref("iris")).hash == hash
    free_space(other, Policy(now=True, keep=0))
    assert other.store.holds(hash)  # the pin holds the state


def test_a_registry_that_is_not_in_the_settings_needs_consent(
    pushed: tuple[Person, str], other: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, hash = pushed
    for registry, line in (
        (None, f"datapkg config registry {person.url}"),
        (
            "http://127.0.0.1:9",
            f"datapkg config registries.registry_{re.sub('[.:]', '_', person.url[7:])} {person.url}",
        ),
    ):
        monkeypatch.delenv("DATAPKG_REGISTRY", raising=False)
        if registry:
            monkeypatch.setenv("DATAPKG_REGISTRY", registry)
        with pytest.raises(PackageNotInstalled, match=rf"not in your settings; .*; type: {line}$"):
            importlib.import_module(f"datapkg.data.{person.name}.iris")
        with pytest.raises(Refused) as refused:
            datapkg.load(f"{person.name}/iris")
        assert refused.value.hint == line
    Home().settings.set(line.split()[2], person.url)
    monkeypatch.setenv("DATAPKG_REGISTRY", person.url)
    assert importlib.import_module(f"datapkg.data.{person.name}.iris").hash == hash


def test_a_registry_is_known_under_another_address(
    pushed: tuple[Person, str], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, hash = pushed
    put_wheel(library, person.home().store.manifest(hash), f"{person.name}/iris", REGISTRY)
    for name, value in person.environ("other").items():
        monkeypatch.setenv(name, value)
    iris = importlib.import_module(f"datapkg.data.{person.name}.iris")
    assert (iris.hash, len(iris.measurements())) == (hash, 3)


def test_offline_the_error_says_how_to_fetch(
    pushed: tuple[Person, str], library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, hash = pushed
    registry = "http://127.0.0.1:9"
    put_wheel(library, person.home().store.manifest(hash), f"{person.name}/iris", registry)
    monkeypatch.setenv("DATAPKG_REGISTRY", registry)
    with pytest.raises(PackageNotInstalled, match=r"cannot be fetched now: .*; type: datapkg fetch --installed$"):
        importlib.import_module(f"datapkg.data.{person.name}.iris")
