"""The index of a registry as uv uses it: the real uv, against a registry in its own process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from uv import find_uv_bin

from datapkg.api.build import build_package
from datapkg.api.push import push_package
from datapkg.format.names import Ref
from datapkg.format.thin_wheel import distribution_name
from datapkg.home import Home
from tests.live_registry import ROOT, LiveRegistry

PAGE = ROOT / "docs" / "python-index.md"


@dataclass(frozen=True)
class Published:
    """A registry with iris in two versions and wine, which are public, and secret; the hashes of all states."""

    url: str
    token: str
    user: str
    states: dict[str, str]

    def name(self, package: str) -> str:
        """The distribution of a package."""
        return distribution_name(f"{self.user}/{package}")


@dataclass(frozen=True)
class Project:
    """A project of uv or poetry with an environment of its own, which sees the client by a path file."""

    folder: Path
    published: Published
    environ: dict[str, str]

    @property
    def library(self) -> Path:
        return next((self.folder / ".venv/lib").glob("python*")) / "site-packages"

    @property
    def into(self) -> tuple[str, str]:
        """The options of `uv pip` that name the environment."""
        return "--python", str(self.folder / ".venv")

    @property
    def files(self) -> list[str]:
        """What is below the package tree of the wheels in the environment, folders included."""
        return sorted(str(path.relative_to(self.library)) for path in self.library.glob("datapkg/**/*"))

    @property
    def pins(self) -> dict[str, str]:
        """The hashes that wheels pin in the environment, by package."""
        pins = [json.loads(path.read_text()) for path in self.library.glob("datapkg/data/*/*.pin.json")]
        return {pin["package"].partition("/")[2]: pin["hash"] for pin in pins}

    def run(self, *words: str | Path, fails: bool = False) -> str:
        """Run a command in the folder; return its output and its errors."""
        command = [find_uv_bin(), *words[1:]] if words[0] == "uv" else [*words]
        done = subprocess.run(command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=200)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, text: str, name: str = "pyproject.toml") -> None:
        """Write a file of the documentation, with the registry and packages of the test in place of its own."""
        text = text.replace("https://data.example.org", self.published.url)
        text = re.sub(r"datapkg-uciml-(\w+)", lambda match: self.published.name(match[1]), text)
        (self.folder / name).write_text(text.replace("datapkg.data.uciml", f"datapkg.data.{self.published.user}"))

    def imported(self, package: str) -> str:
        """Import a package in the environment; return its hash and its data."""
        code = f"from datapkg.data.{self.published.user} import {package}; print({package}.hash, {package}().n[0])"
        return self.run(self.folder / ".venv/bin/python", "-c", code).strip()

    def see_client(self) -> None:
        """Let the environment import the client and its libraries, as an editable install does."""
        seen = [str(ROOT), *(each for each in sys.path if each.endswith("-packages"))]
        (self.library / "seen.pth").write_text("\n".join(dict.fromkeys(seen)) + "\n")

    def with_environ(self, **environ: str) -> Project:
        return replace(self, environ=self.environ | environ)


@pytest.fixture(scope="module")
def published(registry: LiveRegistry, tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("published")
    user = f"uv{os.urandom(4).hex()}"  # the module may run in parts, each with this fixture
    token = registry.add_user(user)
    home = Home({"DATAPKG_HOME": str(folder / "store"), "DATAPKG_REGISTRY": registry.url, "DATAPKG_TOKEN": token})
    states = {}
    for name, version in (("iris", "1.2.0"), ("iris", "1.4.0"), ("wine", "1.0"), ("secret", "1.0")):
        (folder / "data.csv").write_text(f"n\n{len(states)}\n")
        build_package(home, Ref(user, name), folder / "data.csv")
        pushed = push_package(home, Ref(user, name), version=version, public=name != "secret", confirm=True)
        states[f"{name} {version}"] = pushed.hash
    return Published(registry.url, token, user, states)


@pytest.fixture
def project(published: Published, tmp_path: Path) -> Project:
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    uv = {"UV_CACHE_DIR": str(tmp_path / "cache"), "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}
    home = {"HOME": str(tmp_path), "DATAPKG_HOME": str(tmp_path / "home"), "DATAPKG_REGISTRY": published.url}
    # Nothing but data is installed in these projects, so the default index must not be asked for anything.
    index = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/", "UV_NO_CONFIG": "1"}
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, published, kept | uv | home | index)


def block(start: str) -> str:
    """The block of the page about the index that begins like this."""
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (text,) = (each for each in blocks if each.startswith(start))
    return str(text)


PROJECT = '[project]\nname = "analysis"\nversion = "1.0"\nrequires-python = ">=3.11"\ndependencies = []\n\n'


def test_uv_adds_upgrades_and_removes_a_package(project: Project, published: Published) -> None:
    states = published.states
    project.write(PROJECT + block("[[tool.uv.index]]"))
    project.run("uv", "add", f"{published.name('iris')}==1.2.0")
    project.see_client()
    assert project.pins == {"iris": states["iris 1.2.0"]}
    assert project.imported("iris") == f"{states['iris 1.2.0']} 0"
    lock = (project.folder / "uv.lock").read_text()
    assert re.search(rf'registry = "{published.url}/simple/?"', lock)
    assert re.search(r'"sha256:[0-9a-f]{64}"', lock)
    project.run("uv", "add", f"{published.name('iris')}==1.4.0")
    assert project.pins == {"iris": states["iris 1.4.0"]}
    assert project.imported("iris") == f"{states['iris 1.4.0']} 1"
    project.run("uv", "remove", published.name("iris"))
    assert project.files == []


def locked(project: Project, published: Published, *packages: str) -> None:
    """Make a project with these packages, and its lock file."""
    sources = "".join(f'{published.name(each)} = {{ index = "data" }}\n' for each in packages)
    project.write(PROJECT + block("[[tool.uv.index]]").partition("datapkg-uciml-iris")[0] + sources)
    project.run("uv", "add", *(published.name(each) for each in packages))


@pytest.mark.big
def test_uv_exports_files_that_pin_the_same_states(project: Project, published: Published) -> None:
    states = published.states
    locked(project, published, "iris", "wine")
    wanted = {"iris": states["iris 1.4.0"], "wine": states["wine 1.0"]}
    assert project.pins == wanted
    for options in (
        ("--format", "requirements.txt", "--no-emit-project", "-o", "requirements.txt"),
        ("--format", "pylock.toml", "--no-emit-project", "-o", "pylock.toml"),
    ):
        project.run("uv", "export", "-q", *options)
        project.run("uv", "venv", "-q", "--clear")
        assert project.pins == {}
        checks = ("--require-hashes",) if options[1] == "requirements.txt" else ()
        index = ("--default-index", f"{published.url}/simple/") if checks else ()
        project.run("uv", "pip", "install", *project.into, *checks, *index, "-r", options[-1])
        assert project.pins == wanted
    hashed = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", (project.folder / "requirements.txt").read_text())
    (project.folder / "requirements.txt").write_text(hashed)
    project.run("uv", "venv", "-q", "--clear")
    arguments = (
        "--require-hashes",
        "--no-cache",
        "--default-index",
        f"{published.url}/simple/",
        "-r",
        "requirements.txt",
    )
    assert "ash mismatch" in project.run("uv", "pip", "install", *project.into, *arguments, fails=True)


@pytest.mark.big
def test_uv_runs_a_script_that_names_its_data(project: Project, published: Published) -> None:
    project.write(block("# /// script"), "script.py")
    libraries = os.pathsep.join([str(ROOT), *(each for each in sys.path if each.endswith("-packages"))])
    # The client comes from this checkout; the script's own line for it would look in the default index too.
    script = (project.folder / "script.py").read_text()
    script = re.sub(r'^#   "datapkg @ .*\n', "", script, flags=re.MULTILINE)
    (project.folder / "script.py").write_text(script.replace(".measurements", ""))
    done = project.with_environ(PYTHONPATH=libraries).run("uv", "run", "-q", "--script", "script.py")
    assert done.split()[-1] == "1"
    project.run("uv", "lock", "-q", "--script", "script.py")
    assert "sha256:" in (project.folder / "script.py.lock").read_text()


@pytest.mark.big
def test_uv_reads_private_packages_with_a_token(project: Project, published: Published) -> None:
    project.write(PROJECT + block("[[tool.uv.index]]").replace("iris", "secret"))
    name = published.name("secret")
    assert "was not found" in project.run("uv", "add", name, fails=True)
    given = project.with_environ(UV_INDEX_DATA_USERNAME="__token__", UV_INDEX_DATA_PASSWORD=published.token)
    given.run("uv", "add", name)
    assert project.pins == {"secret": published.states["secret 1.0"]}
    assert (
        published.token
        not in (project.folder / "uv.lock").read_text() + (project.folder / "pyproject.toml").read_text()
    )
    netrc = Path(project.environ["HOME"]) / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login __token__ password {published.token}\n")
    project.run("uv", "sync", "-q", "--no-cache", "--reinstall")
    project.run("uv", "lock", "-q", "--no-cache", "--upgrade")
    assert project.pins == {"secret": published.states["secret 1.0"]}


@pytest.mark.big
def test_data_of_an_environment_travel_in_a_bundle(project: Project, published: Published, tmp_path: Path) -> None:
    locked(project, published, "iris", "wine")
    project.see_client()
    python = project.folder / ".venv/bin/python"
    project.run(python, "-m", "datapkg", "fetch", "--installed")
    refs = [f"{published.user}/{name}" for name in ("iris", "wine")]
    project.run(python, "-m", "datapkg", "bundle", *refs, "-o", "data.dpkg")
    away = project.with_environ(
        DATAPKG_HOME=str(tmp_path / "away"), DATAPKG_REGISTRY="http://127.0.0.1:9", UV_OFFLINE="1"
    )
    away.run("uv", "sync", "-q", "--frozen", "--reinstall")  # the wheels are in uv's cache
    code = f"import datapkg.data.{published.user}.iris"
    assert "is not installed" in away.run(python, "-c", code, fails=True)
    away.run(python, "-m", "datapkg", "install", "data.dpkg")
    assert away.imported("iris") == f"{published.states['iris 1.4.0']} 1"
    assert away.imported("wine") == f"{published.states['wine 1.0']} 2"
