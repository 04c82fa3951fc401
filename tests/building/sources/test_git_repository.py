"""Build from repositories that git fetches over http on this machine, without running any of their code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.building.sources import git_repository
from datapkg.building.sources.git_repository import open_checkout
from datapkg.building.spec.git_address import Address, is_address, parse_address
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import BuildFailed, DatapkgError, Forbidden, InvalidBuildFile, InvalidInput, NotFound, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.building.builds import write
from tests.building.sources.git_server import GitServer, commit, git, git_server

pytestmark = pytest.mark.needs("git")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    (tmp_path / "served").mkdir()
    with git_server(tmp_path / "served") as served:
        yield served


@pytest.fixture
def repo(server: GitServer) -> Path:
    """Return a repository with two commits and a tag: one file, then a build file and a folder."""
    folder = server.folder / "r"
    folder.mkdir()
    git(folder, "init", "--quiet")
    write(folder, {"a.txt": "one"})
    commit(folder, "first")
    git(folder, "tag", "v1")
    write(
        folder, {"a.txt": "two", "build.yml": "contents:\n  first: {file: a.txt}\n", "data/b.txt": "b", ".hidden": ""}
    )
    commit(folder, "second")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "user").mkdir()
    path = os.environ["PATH"]
    return Home({"DATAPKG_HOME": str(tmp_path / "home"), "PATH": path, "HOME": str(tmp_path / "user"), "GIT_DIR": "/x"})


def build(home: Home, source: str, **options: Any) -> BuildResult:
    return build_package(home, Ref.parse("me/x"), source, BuildOptions(**options))


def nodes(home: Home, result: BuildResult) -> dict[str, str]:
    """Return the text of each path."""
    store = home.store
    manifest = store.manifest(result.hash)
    return {node.path: store.objects.read(hash).decode() for node in manifest.nodes for hash, _ in node.objects()}


def record(home: Home, result: BuildResult) -> dict[str, Any]:
    found = home.store.record(Ref("me", "x"), result.hash)
    assert isinstance(found, dict)
    return found


def test_repository_is_built_by_its_build_file(server: GitServer, repo: Path, home: Home) -> None:
    result = build(home, f"{server.url}/r")
    assert nodes(home, result) == {"first": "two"}
    assert record(home, result)["git"] == {"remote": f"{server.url}/r", "commit": git(repo, "rev-parse", "HEAD")}
    assert str(home.cache) not in json.dumps(record(home, result))
    assert list((home.cache / "sources" / "tmp").iterdir()) == []
    assert build(home, f"{server.url}/r").hash == result.hash


def test_revision_and_folder(server: GitServer, repo: Path, home: Home) -> None:
    first = git(repo, "rev-parse", "v1")
    git(repo, "branch", "feature/x", "v1")
    for rev in ("v1", first, "feature/x"):
        assert nodes(home, build(home, f"{server.url}/r@{rev}")) == {"a.txt": "one"}
    result = build(home, f"{server.url}/r/@main#data/")
    assert nodes(home, result) == {"b.txt": "b"}
    assert record(home, result)["git"]["folder"] == "data"
    assert nodes(home, build(home, f"{server.url}/r", build_file=False)) == {
        "a.txt": "two",
        "data/b.txt": "b",
    }


def test_only_one_commit_is_fetched(server: GitServer, repo: Path, tmp_path: Path, home: Home) -> None:
    with open_checkout(parse_address(f"{server.url}/r"), tmp_path / "t", home.settings.environ, 1 << 30) as checkout:
        work = tmp_path / "t" / next(os.walk(tmp_path / "t"))[1][0] / "work"
        assert checkout.folder == work
        assert git(work, "rev-list", "--count", "HEAD") == "1"
        assert git(work, "status", "--porcelain") == ""
    assert not work.exists()


@pytest.mark.parametrize("what", ["r@nothing", "r@" + "0" * 40, "nothing", "r#nothing", "r#a.txt/x"])
def test_missing_repository_revision_or_folder(server: GitServer, repo: Path, home: Home, what: str) -> None:
    with pytest.raises(NotFound):
        build(home, f"{server.url}/{what}")
    assert home.store.refs.current(Ref("me", "x")) is None


def test_empty_repository(server: GitServer, home: Home) -> None:
    (server.folder / "e").mkdir()
    git(server.folder / "e", "init", "--quiet")
    with pytest.raises(NotFound):
        build(home, f"{server.url}/e")


def test_unreachable_server(home: Home) -> None:
    with pytest.raises(Unreachable, match="cannot be fetched"):
        build(home, "http://127.0.0.1:9/r")


def test_no_password_prompt(server: GitServer, repo: Path, home: Home) -> None:
    server.status = 401
    with pytest.raises(DatapkgError, match="cannot be fetched"):
        build(home, f"{server.url}/r")


@pytest.mark.parametrize("target", ["file:///", "ext::sh -c true ", "ftp://127.0.0.1/", "https://127.0.0.1:9/"])
def test_redirects_to_other_protocols_are_not_followed(server: GitServer, repo: Path, home: Home, target: str) -> None:
    server.redirects["/r"] = target
    with pytest.raises(Unreachable):
        build(home, f"{server.url}/r")


def test_no_hook_filter_or_submodule_runs(server: GitServer, repo: Path, tmp_path: Path, home: Home) -> None:
    marker = tmp_path / "ran"
    run = f"sh -c 'touch {marker}; cat'"
    user = tmp_path / "user"
    (tmp_path / "user" / "hooks").mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        hook = tmp_path / "user" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
        hook.chmod(0o755)
    (tmp_path / "user" / ".gitconfig").write_text(
        f'[filter "lfs"]\nsmudge = {run}\nprocess = {run}\nrequired = true\n[filter "own"]\nsmudge = {run}\n'
        f"[core]\nhooksPath = {user}/hooks\nfsmonitor = {run}\n[init]\ntemplateDir = {user}\n"
        '[protocol "ext"]\nallow = always\n[submodule]\nrecurse = true\n[fetch]\nrecurseSubmodules = true\n'
    )
    write(repo, {".gitattributes": "*.bin filter=lfs\n*.txt filter=own\n", "big.bin": "version https://git-lfs…"})
    write(repo, {".gitmodules": f'[submodule "s"]\npath = s\nurl = ext::sh -c "touch {marker}"\n'})
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{git(repo, 'rev-parse', 'HEAD')},s")
    git(repo, "add", ".gitattributes", "big.bin", ".gitmodules")
    git(repo, "commit", "--quiet", "-m", "x")
    assert nodes(home, build(home, f"{server.url}/r", build_file=False))["a.txt"] == "two"
    assert not marker.exists()


def test_git_lfs_pointers_are_reported(server: GitServer, repo: Path, home: Home) -> None:
    assert not build(home, f"{server.url}/r").warnings
    write(repo, {"data/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    commit(repo)
    assert not build(home, f"{server.url}/r").warnings
    assert "Git LFS" in build(home, f"{server.url}/r#data").warnings[0]


def test_links_outside_the_repository_are_not_followed(
    server: GitServer, repo: Path, home: Home, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (repo / "link.txt").symlink_to(tmp_path / "secret")
    (repo / "up").symlink_to("../../..")
    commit(repo)
    with_files = build(home, f"{server.url}/r", build_file=False)
    assert "link.txt" not in nodes(home, with_files)
    assert len(with_files.warnings) == 2
    for path in ("link.txt", "up/secret", "/etc/passwd", "../out"):
        write(repo, {"build.yml": f"contents:\n  x: {{file: {path}}}\n"})
        commit(repo)
        with pytest.raises(InvalidBuildFile, match="leads out"):
            build(home, f"{server.url}/r", allow_outside=True)


def test_folder_that_is_a_link_is_rejected(server: GitServer, repo: Path, home: Home) -> None:
    (repo / "out").symlink_to("/etc")
    commit(repo)
    with pytest.raises((NotFound, InvalidInput)):
        build(home, f"{server.url}/r#out")


def test_code_needs_consent(server: GitServer, repo: Path, home: Home) -> None:
    write(
        repo,
        {
            "make.py": "def rows():\n    import pandas\n    return pandas.DataFrame({'x': [1]})\n",
            "build.yml": "contents:\n  p: {python: make:rows}\n  q: {sql: SELECT 1, connection: DB}\n",
        },
    )
    commit(repo)
    with pytest.raises(Forbidden) as caught:
        build(home, f"{server.url}/r")
    assert "contents.p: python 'make:rows'" in str(caught.value)
    assert "contents.q: a query of the database in DB" in str(caught.value)
    assert "--allow-code" in caught.value.hint
    assert home.store.refs.current(Ref("me", "x")) is None


def test_checksums_are_not_written_into_a_repository(server: GitServer, repo: Path, home: Home) -> None:
    with pytest.raises(InvalidInput, match="cannot be changed from here"):
        build(home, f"{server.url}/r", update=True)


def test_size_of_a_repository_is_limited(server: GitServer, repo: Path, tmp_path: Path, home: Home) -> None:
    write(repo, {"zeros.bin": bytes(200_000)})
    commit(repo)
    small = Home({**home.settings.environ, "DATAPKG_MAX_SOURCE_BYTES": "100000"})
    with pytest.raises(BuildFailed, match="max_source_bytes"):
        build(small, f"{server.url}/r")
    assert nodes(small, build(small, f"{server.url}/r#data")) == {"b.txt": "b"}


def test_tree_bomb_is_not_checked_out(
    server: GitServer, repo: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten folders, each ten times in the next: a few hundred bytes expand to ten billion files."""
    name = git(repo, "hash-object", "-w", "a.txt")
    kind = "100644 blob"
    for _ in range(10):
        lines = "".join(f"{kind} {name}\tf{number}\n" for number in range(10))
        name = git(repo, "mktree", stdin=lines)
        kind = "040000 tree"
    bomb = git(repo, "commit-tree", name, "-m", "bomb")
    git(repo, "branch", "bomb", bomb)
    monkeypatch.setattr(git_repository, "MAX_FILES", 5_000)
    with pytest.raises(BuildFailed, match="more than 5,000 files"):
        build(home, f"{server.url}/r@bomb")


def test_slow_server_times_out(server: GitServer, repo: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_repository, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(git_repository, "_POLL_S", 0.001)
    with pytest.raises(Unreachable, match="was not fetched within"):
        build(home, f"{server.url}/r")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h.example/r.git", Address("https://h.example/r.git")),
        ("https://h.example/r.git@v1.2#a/b/", Address("https://h.example/r.git", "v1.2", "a/b")),
        ("ssh://git@h.example:22/r.git@main", Address("ssh://git@h.example:22/r.git", "main")),
        ("git@h.example:u/r.git@feature/x#d", Address("git@h.example:u/r.git", "feature/x", "d")),
        ("http://localhost:80/r", Address("http://localhost:80/r")),
    ],
)
def test_valid_addresses(text: str, expected: Address) -> None:
    assert is_address(text)
    assert parse_address(text) == expected


def test_displayed_form_of_an_address() -> None:
    assert Address("ssh://git@h.example/r").shown == "ssh://h.example/r"
    assert Address("git@h.example:u/r").shown == "h.example:u/r"


@pytest.mark.parametrize(
    "text",
    [
        *("http://h.example/r", "ext::sh -c true", "ext://sh", "file:///etc", "git://h.example/r", "ftp://h.example/r"),
        *("https://user:hidden@h.example/r", "https://hidden@h.example/r", "https://h.example/r?token=hidden"),
        *(
            "https://h.example/r@--upload-pack=x",
            "https://h.example/r@-x",
            "https://h.example/r@a..b",
            "https://h.example/r@a b",
        ),
        *(
            "https://h.example/r#../x",
            "https://h.example/r#a/../b",
            "https://h.example/r#.git",
            "https://h.example/r#a\\b",
        ),
        *("https://-oProxyCommand=x/r", "ssh://-oProxyCommand=x/r", "ssh://-x@h.example/r", "ssh://u:hidden@h/r"),
        *("https://", "https://[::1", "https://h:x/r", "https://h.example/\n", "https://" + "a" * 5_000),
    ],
)
def test_invalid_addresses(text: str, home: Home) -> None:
    with pytest.raises((InvalidInput, NotFound)) as caught:
        build(home, text)
    assert "hidden" not in str(caught.value) + caught.value.hint
    assert not (home.cache / "sources" / "tmp").exists() or not list((home.cache / "sources" / "tmp").iterdir())


def test_local_path_is_not_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "me@host:x").mkdir()
    assert not is_address("me@host:x")
    assert is_address("me@host:y")
    assert not is_address("a/b@c:d")
    assert not is_address("C:/x")
