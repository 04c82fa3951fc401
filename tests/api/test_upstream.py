"""`status --upstream` finds what changed elsewhere, without building."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.status import statuses
from datapkg.building.sources.upstream import UpstreamSource
from datapkg.building.spec.options import BuildOptions
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.building.sources.git_server import commit, git, git_server
from tests.static_registry import Static
from tests.web_server import Web, web_server

REF = Ref("me", "x")


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as served:
        yield served


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "user").mkdir()
    return Home({"DATAPKG_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"], "HOME": str(tmp_path / "user")})


def upstream(home: Home, ref: Ref = REF) -> dict[str, UpstreamSource]:
    (found,) = statuses(home, ref, upstream=True)
    assert found.upstream is not None
    return {each.path: each for each in found.upstream}


def states(home: Home, ref: Ref = REF) -> dict[str, str]:
    return {path: each.state for path, each in upstream(home, ref).items()}


def build(home: Home, folder: Path, contents: str, ref: Ref = REF) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "build.yml").write_text(f"contents:\n{contents}")
    build_package(home, ref, folder, BuildOptions(update=True))


def test_files_at_urls(home: Home, web: Web, tmp_path: Path) -> None:
    pages = {"tagged": {"etag": '"1"'}, "dated": {"modified": "Thu, 01 Jan 2026 00:00:00 GMT"}, "plain": {}}
    urls = {name: web.put(f"/{name}.csv", b"n\n1\n", **options) for name, options in pages.items()}
    build(home, tmp_path / "p", "".join(f"  {name}: {{url: '{url}?token=s3cret'}}\n" for name, url in urls.items()))
    before = home.store.refs.current(REF)
    assert states(home) == dict.fromkeys(pages, "unchanged")
    why = {path: each.why for path, each in upstream(home).items()}
    assert ["confirms" in why[name] for name in pages] == [True, True, False]
    web.put("/tagged.csv", b"n\n2\n", etag='"2"')
    web.put("/dated.csv", b"n\n1\n", modified="Fri, 02 Jan 2026 00:00:00 GMT")
    web.put("/plain.csv", b"n\n3\n")
    assert states(home) == {"tagged": "changed", "dated": "unchanged", "plain": "changed"}
    assert "confirms" in upstream(home)["dated"].why  # by its new date, since the same bytes came with it
    del web.pages["/tagged.csv"]
    gone = upstream(home)["tagged"]
    assert (gone.state, "HTTP status 404" in gone.why) == ("unknown", True)
    assert "s3cret" not in str([asdict(each) for each in upstream(home).values()])
    assert home.store.refs.current(REF) == before


def test_members_of_an_archive_and_other_kinds(home: Home, web: Web, tmp_path: Path) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("d/a.txt", "a")
        archive.writestr("d/b.txt", "b")
    url = web.put("/a.zip", data.getvalue())
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "make.py").write_text("import pandas\ndef rows(): return pandas.DataFrame({'n': [1]})\n")
    contents = f"  all: {{url: '{url}', extract: 'd/*.txt', transform: id}}\n  made: {{python: 'make:rows'}}\n"
    build(home, tmp_path / "p", contents)
    assert states(home) == {"all": "unchanged", "made": "unknown"}
    web.put("/a.zip", data.getvalue() + b"x")
    assert states(home)["all"] == "changed"
    with (tmp_path / "p" / "build.yml").open("a") as file:
        file.write(f"  new: {{url: '{url}', sha256: {'0' * 64}}}\n")
    assert upstream(home)["new"].why == "it was not built yet"


def test_packages(static: Static, tmp_path: Path) -> None:
    other, home = Ref("ada", "iris"), static.home()
    static.push(other, "1", version="1.0")
    exact = home.store.refs.current(other)
    assert exact is not None
    names = {"latest": "", "version": "@1.0", "hash": f"@sha256:{exact.hash}"}
    contents = "".join(f"  {name}: {{package: ada/iris/data{state}}}\n" for name, state in names.items())
    build(home, tmp_path / "p", contents)
    assert states(home) == dict.fromkeys(names, "unchanged")
    install_packages(static.home("other"), [other])
    static.push(other, "2", machine="other")
    assert states(home) == {"latest": "changed", "version": "unchanged", "hash": "unchanged"}
    os.rename(static.folder, f"{static.folder}-away")
    assert states(home) == {"latest": "unknown", "version": "unknown", "hash": "unchanged"}


def test_repositories(home: Home, tmp_path: Path) -> None:
    (tmp_path / "served" / "r").mkdir(parents=True)
    folder = tmp_path / "served" / "r"
    with git_server(tmp_path / "served") as server:
        git(folder, "init", "--quiet")
        (folder / "a.txt").write_text("one")
        first = commit(folder)
        git(folder, "tag", "-a", "v1", "-m", "x")
        for name, rev in (("head", ""), ("main", "@main"), ("tag", "@v1"), ("exact", f"@{first}")):
            build_package(home, Ref("me", name), f"{server.url}/r{rev}")
            assert states(home, Ref("me", name)) == {"": "unchanged"}, name
        (folder / "a.txt").write_text("two")
        second = commit(folder)
        found = {name: upstream(home, Ref("me", name))[""] for name in ("head", "main", "tag", "exact")}
        assert [each.state for each in found.values()] == ["changed", "changed", "unchanged", "unchanged"]
        assert found["main"].why == f"commit {first[:12]} → {second[:12]}"
        git(folder, "checkout", "--quiet", "-b", "other")
        git(folder, "branch", "-D", "main")
        lost = upstream(home, Ref("me", "main"))[""]
        assert (lost.state, "no revision 'main'" in lost.why) == ("unknown", True)
    assert upstream(home, Ref("me", "head"))[""].state == "unknown"
