"""Importing packages: what is found, when its state is decided, and what is said where nothing is there."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import io
import os
import pydoc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import datapkg
from datapkg.errors import NewerFormat, PackageNotInstalled
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.load import load
from datapkg.reading.nodes.groups import Package
from datapkg.reading.nodes.tables import Table
from datapkg.store import manifests
from datapkg.store.refs import Current
from tests.reading.packages import file_node, install, install_iris, iris_frame, table_node

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _fresh_imports() -> Iterator[None]:
    """Every test imports anew, as a fresh process would."""
    kept = list(sys.meta_path)
    yield
    sys.meta_path[:] = kept
    for name in [name for name in sys.modules if name.startswith("datapkg.data")]:
        del sys.modules[name]
    vars(sys.modules["datapkg"]).pop("data", None)


@pytest.fixture
def home() -> Home:
    home = Home()
    install_iris(home)
    return home


@pytest.mark.usefixtures("home")
def test_all_ways_of_importing_give_the_same_package() -> None:
    import datapkg.data.uciml.iris as dotted
    from datapkg.data.uciml import iris
    from datapkg.data.uciml.iris import README_md, measurements

    from datapkg.data import uciml

    assert iris is dotted is uciml.iris is importlib.import_module("datapkg.data.uciml.iris")
    assert isinstance(iris, Package)
    assert isinstance(measurements, Table)
    assert measurements().equals(iris_frame())
    assert README_md.read_text() == "# Iris\n"


@pytest.mark.usefixtures("home")
def test_an_import_is_a_module() -> None:
    from datapkg.data.uciml import iris

    assert inspect.ismodule(iris)
    assert (iris.__name__, iris.__package__, iris.__path__) == (
        "datapkg.data.uciml.iris",
        "datapkg.data.uciml.iris",
        [],
    )
    assert iris.__spec__.origin == str(iris.ref)
    assert not hasattr(iris, "__file__")
    assert sys.modules[iris.__name__] is iris
    text = pydoc.render_doc(iris, renderer=pydoc.plaintext)
    assert "datapkg.data.uciml.iris" in text
    assert "├─ measurements  table" in text
    assert text.count("\n") < 30


def test_users_and_packages_are_listed(home: Home) -> None:
    install_iris(home, "me/other")
    import datapkg.data

    assert [name for name in dir(datapkg.data) if name[0] != "_"] == ["me", "uciml"]
    assert "iris" in dir(datapkg.data.uciml)
    assert datapkg.data.me.other.name == "other"
    assert not hasattr(datapkg.data, "nobody")
    assert not hasattr(datapkg.data.uciml, "nope")


def test_the_state_is_decided_at_import_and_at_reload(home: Home) -> None:
    import datapkg.data.uciml.iris as iris

    new = install(home, "uciml/iris", table_node(home, "one", iris_frame()))
    old_node = iris.measurements
    assert list(iris) == ["README.md", "measurements", "raw", "weights"]
    assert importlib.reload(iris) is iris
    assert (list(iris), iris.hash) == (["one"], new)
    assert old_node().equals(iris_frame())
    install(home, "uciml/iris", file_node(home, "two", b""))
    assert list(iris) == ["one"]


def test_a_failed_reload_leaves_what_was(home: Home) -> None:
    from datapkg.data.uciml import iris

    home.store.refs.remove(Ref("uciml", "iris"))
    with pytest.raises(PackageNotInstalled):
        importlib.reload(iris)
    assert iris.measurements().equals(iris_frame())


def test_the_nearest_lock_decides(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = home.store.refs.current(Ref("uciml", "iris")).hash
    new = install(home, "uciml/iris", file_node(home, "new", b""))
    pin = Pin("uciml/iris@1.0", "uciml/iris", "https://data.example.org", old, 0)
    (tmp_path / "datapkg.lock").write_bytes(Lock((pin,)).to_bytes())
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    from datapkg.data.uciml import iris

    assert iris.hash == old
    (tmp_path / "datapkg.lock").unlink()
    assert importlib.reload(iris).hash == new


def test_lock_of_a_missing_state_shows_what_to_type(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for user in ("uciml", "asah"):
        pin = Pin(f"{user}/iris@1.0", f"{user}/iris", "https://data.example.org", "0" * 64, 0)
        (tmp_path / "datapkg.lock").write_bytes(Lock((pin,)).to_bytes())
        with pytest.raises(PackageNotInstalled, match=r"pinned to sha256:0000.* not installed; type: datapkg install$"):
            importlib.import_module(f"datapkg.data.{user}.iris")


def test_a_lock_is_followed_where_no_state_is_current(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = Pin("asah/iris@1.0", "asah/iris", "https://data.example.org", install_iris(home), 0)
    (tmp_path / "datapkg.lock").write_bytes(Lock((pin,)).to_bytes())
    monkeypatch.chdir(tmp_path)
    from datapkg.data.asah import iris

    assert iris.measurements.rows == 3


@pytest.mark.parametrize(
    "line",
    [
        "from datapkg.data.NOBODY import iris",
        "from datapkg.data.NOBODY import iris as x, other",
        "import datapkg.data.NOBODY.iris",
        "import datapkg.data.NOBODY.iris as x",
        "import importlib; importlib.import_module('datapkg.data.NOBODY.iris')",
        "__import__('datapkg.data.NOBODY.iris')",
    ],
)
@pytest.mark.parametrize("user", ["uciml", "asah"])
def test_missing_package_shows_what_to_type(home: Home, line: str, user: str) -> None:
    """Behaviour 38 of Quilt 2: an unknown package of a known user, and of an unknown one."""
    home.store.refs.remove(Ref("uciml", "iris"))
    install_iris(home, "uciml/other")
    line = line.replace("NOBODY", user)
    with pytest.raises(ImportError, match=rf"{user}/iris is not installed; type: datapkg install {user}/iris$"):
        exec(compile(line, "<line>", "exec"), {})


def test_other_bad_imports(home: Home) -> None:
    for line, what in {
        "import datapkg.data.asah": "no package of asah is installed; type: datapkg install asah/NAME",
        "from datapkg.data import asah": "no package of asah is installed; type: datapkg install asah/NAME",
        "import datapkg.data.Iris": "user name 'Iris' is not allowed",
        "import datapkg.data.uciml.Iris": "package name 'Iris' is not allowed",
        "import datapkg.data.uciml.iris.raw": "raw is a node of the package uciml/iris, not a module; type: from",
        "import datapkg.data.uciml.iris.raw.a_jpg": "not a module; type: from datapkg.data.uciml.iris import raw$",
        "import datapkg.data.uciml.iris.nope": "uciml/iris has no node 'nope'",
        "from datapkg.data.uciml.iris import measurments": "no node 'measurments'; did you mean 'measurements'. ",
        "from datapkg.data.uciml.iris.raw import a_jpg": "not a module",
    }.items():
        with pytest.raises(ModuleNotFoundError, match=what):
            exec(line, {})
    assert home.users() == ["uciml"]


def test_names_cannot_escape_the_store(home: Home) -> None:
    for name in ("datapkg.data.uciml.a/../../x", "datapkg.data./etc.passwd", "datapkg.data.uciml.\x00"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(name)


def test_private_names_are_left_to_python() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        importlib.import_module("datapkg.data._hidden")
    assert importlib.util.find_spec("datapkg.data.__main__") is None


def test_wheel_files_take_precedence_in_several_places(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("one", "two"):
        folder = tmp_path / place / "datapkg" / "data" / "uciml"
        folder.mkdir(parents=True)
        (folder / f"wheel_{place}.py").write_text(f"place = {place!r}\n")
        monkeypatch.syspath_prepend(tmp_path / place)
    from datapkg.data.uciml import iris, wheel_one, wheel_two

    assert (wheel_one.place, wheel_two.place, iris.name) == ("one", "two", "iris")
    assert len(sys.modules["datapkg.data.uciml"].__path__) == 2


def test_second_store_is_searched_after_the_own(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 52 of Quilt 2."""
    other = Home({"DATAPKG_HOME": str(tmp_path)})
    install(other, "uciml/iris", file_node(other, "second", b""))
    install(other, "asah/snli", file_node(other, "only", b"here"))
    with pytest.raises(ImportError):
        importlib.import_module("datapkg.data.asah.snli")
    monkeypatch.setenv("DATAPKG_PATH", str(tmp_path / "store"))
    from datapkg.data.asah import snli
    from datapkg.data.uciml import iris

    assert snli.only.read_text() == "here"
    assert "measurements" in iris


@pytest.mark.usefixtures("home")
def test_imported_package_is_read_only() -> None:
    from datapkg.data.uciml import iris

    with pytest.raises(TypeError, match="does not change"):
        iris.extra = 1
    assert not hasattr(iris, "extra")


@pytest.mark.usefixtures("home")
def test_lazy_loader_returns_the_package_on_first_use() -> None:
    name = "datapkg.data.uciml.iris"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    assert not isinstance(module, Package)
    assert module.measurements().equals(iris_frame())
    assert isinstance(module, Package)
    assert importlib.import_module(name) is module is importlib.reload(module)
    assert "├─ measurements" in repr(module)


def test_an_import_leaves_nothing_behind(home: Home) -> None:
    """So that it does not matter when a deferred one takes place, or whether it does."""
    before = {path: path.stat().st_mtime_ns for path in home.data.rglob("*")}
    code = "import sys, threading; from datapkg.data.uciml import iris; print(threading.active_count(), iris.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1 datapkg.data.uciml.iris\n"
    assert {path: path.stat().st_mtime_ns for path in home.data.rglob("*")} == before


LAZY = """
lazy from datapkg.data.uciml import iris
lazy from datapkg.data.asah import snli
import sys
assert not [name for name in sys.modules if name.startswith("datapkg")]
print(iris.__spec__.origin)
try:
    snli
except ImportError as error:
    print(error)
"""


@pytest.mark.where_available("python3.15")
def test_a_lazy_import_waits_for_its_first_use(home: Home) -> None:
    """PEP 810."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["python3.15", "-c", LAZY], capture_output=True, text=True, check=True, env=environ)
    hash = home.store.refs.current(Ref("uciml", "iris")).hash
    assert done.stdout.splitlines()[0] == f"uciml/iris@sha256:{hash}"
    assert "no package of asah is installed; type: datapkg install asah/" in done.stdout


def test_a_deferred_import_names_the_user_at_least(home: Home) -> None:
    """Where the statement is not the one that runs, what it wants is not known."""
    deferred = "import importlib\nclass Lazy:\n    def __getattr__(self, name):\n"
    deferred += "        return importlib.import_module('datapkg.data.asah')\nLazy().snli"
    for names in ({}, {"__name__": None}, {"__name__": 3}):
        with pytest.raises(
            PackageNotInstalled, match="no package of asah is installed; type: datapkg install asah/NAME"
        ):
            exec(deferred, dict(names))


def test_threads_may_import_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package whose manifest is parsed, and of one that gets an index."""
    for long_bytes in (manifests.LONG_BYTES, 1):
        monkeypatch.setattr(manifests, "LONG_BYTES", long_bytes)
        iris = load("uciml/iris", home)
        start = threading.Barrier(8)

        def ask(package: Package = iris, start: threading.Barrier = start) -> tuple[object, ...]:
            start.wait()
            return package.raw.size, list(package), package["raw/a.jpg"].read_bytes(), package.measurements.rows

        with ThreadPoolExecutor(8) as pool:
            found = {repr(each.result()) for each in [pool.submit(ask) for _ in range(8)]}
        assert len(found) == 1


REBUILT = """
import importlib, sys
from datapkg.data.uciml import iris
old = iris.measurements
print(iris.hash, flush=True)
sys.stdin.readline()
print(len(old()), iris.hash, flush=True)
importlib.reload(iris)
import datapkg
print(len(old()), len(iris.measurements()), iris.hash, len(datapkg.load(str(old.ref))()))
"""


def test_a_notebook_goes_on_after_a_rebuild_elsewhere(home: Home) -> None:
    command = [sys.executable, "-c", REBUILT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as notebook:
        assert notebook.stdout is not None
        old = notebook.stdout.readline().strip()
        new = install(home, "uciml/iris", table_node(home, "measurements", iris_frame().iloc[:2]))
        said, _ = notebook.communicate("go\n", timeout=60)
    assert notebook.returncode == 0
    assert said.splitlines() == [f"3 {old}", f"3 2 {new} 3"]


@pytest.mark.usefixtures("home")
def test_threads_may_import_and_read_at_once() -> None:
    wrong: list[BaseException] = []
    start = threading.Barrier(8)

    def read() -> None:
        try:
            start.wait()
            iris = importlib.import_module("datapkg.data.uciml.iris")
            assert iris.measurements().equals(iris_frame())
            assert iris["raw/a.jpg"]().read_bytes() == b"\xff\xd8a"
        except BaseException as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


FORKING = """
import os, sys, threading
from datapkg.data.uciml import iris
iris.measurements()
stop = threading.Event()
def read():
    while not stop.is_set():
        iris["raw/a.jpg"].read_bytes()
thread = threading.Thread(target=read)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        os._exit(0 if iris["raw/b.jpg"].read_bytes() and len(iris.measurements["class"]) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
"""


@pytest.mark.usefixtures("home")
def test_children_of_a_fork_read_on() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKING], check=True, timeout=60, cwd=ROOT, env=os.environ)


@pytest.mark.parametrize("name", ["asah", "asah.iris", "Asah.iris", "uciml.nosuch", "uciml.iris.measurements"])
def test_find_spec_of_a_missing_package_is_none(home: Home, name: str) -> None:
    before = {each for each in sys.modules if each.startswith("datapkg.data.")}
    assert find_spec(f"datapkg.data.{name}") is None
    assert {each for each in sys.modules if each.startswith("datapkg.data.")} - before <= {
        "datapkg.data.uciml",
        "datapkg.data.uciml.iris",
    }
    with pytest.raises(ModuleNotFoundError):
        import_module(f"datapkg.data.{name}")
    assert find_spec("datapkg.data.uciml.iris") is not None


def test_find_spec_below_a_missing_package_raises(home: Home) -> None:
    with pytest.raises(PackageNotInstalled, match="datapkg install asah/iris"):
        find_spec("datapkg.data.asah.iris.petals")
    assert "datapkg.data.asah" not in sys.modules


@pytest.mark.parametrize(
    "code",
    [
        "from datapkg.data.asah import iris",
        "import datapkg.data.asah.iris",
        "import datapkg.data as data; data.asah",
        "from datapkg.data.Asah import iris",
    ],
)
def test_missing_import_shows_one_stack(home: Home, code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("Traceback (most recent call last)") == 1
    last = done.stderr.splitlines()[-1]
    assert "datapkg install asah" in last or "did you mean 'asah'?" in last


def test_newer_format_error_is_the_same_in_python(home: Home) -> None:
    data = b'{"datapkg":2,"meta":{}}\n'
    hash = home.store.objects.put(io.BytesIO(data))
    home.store.refs.set_current(Ref("me", "new"), Current(hash, "local"))
    for read in (lambda: list(datapkg.load("me/new")), lambda: import_module("datapkg.data.me.new").keys()):
        with pytest.raises(NewerFormat, match="format 2 is newer than what") as caught:
            read()
        assert caught.value.hint.startswith("upgrade datapkg")
        assert "verify" not in str(caught.value)
