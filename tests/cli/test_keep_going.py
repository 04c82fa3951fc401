"""Builds without data or with an unreadable source fail, or skip it on demand, and are never pushed by accident."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import datapkg
from datapkg.errors import BuildFailed, InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.cli.conftest import Run
from tests.live_registry import LiveRegistry

BAD = b"name\nJos\xe9\n"
SETTLED_S = 0.06


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder with two tables, one of which cannot be read."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "good.csv").write_text("x\n1\n")
    (path / "bad.csv").write_bytes(BAD)
    return path


def test_build_without_data_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    assert run("build", "me/x", str(tmp_path / "full")).code == 0
    before = Home().store.refs.current(Ref("me", "x"))
    empty = tmp_path / "empty"
    for names in ((), (".hidden.csv",)):
        empty.mkdir(exist_ok=True)
        for name in names:
            (empty / name).touch()
        ended = run("build", "me/x", str(empty))
        assert ended.code == 2
        assert "has nothing to build" in ended.err
        assert f"datapkg build me/x {empty} --allow-empty" in ended.err
        assert ("hidden" in ended.err) == (names == (".hidden.csv",))
    assert Home().store.refs.current(Ref("me", "x")) == before
    with pytest.raises(InvalidInput, match="the mapping has nothing to build"):
        datapkg.build("me/x", {"a": empty})
    assert run("build", "me/x", str(empty), "--allow-empty", "--json").json["nodes"] == {"built": 0, "reused": 0}
    assert len(datapkg.build("me/y", {}, allow_empty=True)) == 0
    assert list(datapkg.build("me/z", {"group": None})) == ["group"]
    (empty / "build.yml").write_text("contents: {}\n")
    assert run("build", "me/w", str(empty)).code == 0


def test_keep_going_builds_the_rest_and_reports_what_was_left_out(run: Run, folder: Path) -> None:
    assert run("build", "me/x", str(folder)).code == 5
    assert Home().store.refs.current(Ref("me", "x")) is None
    ended = run("build", "me/x", str(folder), "--keep-going")
    assert ended.code == 5
    assert "1 source could not be read and was left out:\n    bad: 'bad.csv' cannot be read as csv" in ended.out
    assert "datapkg push" not in ended.out
    found = run("build", "me/x", str(folder), "--keep-going", "--json")
    assert (found.code, list(found.json["left_out"])) == (5, ["bad"])
    assert [node.path for node in Home().store.manifest(found.json["hash"]).nodes] == ["good"]
    assert run("status", "me/x", "--json").json["packages"][0]["added"] == ["bad"]
    assert run("build", "me/x", str(folder)).code == 5


def test_incomplete_state_is_pushed_by_its_hash_only(run: Run, folder: Path) -> None:
    hash = run("build", "me/x", str(folder), "--keep-going", "--json").json["hash"]
    ended = run("push", "me/x", "--registry", "http://127.0.0.1:1")
    assert ended.code == 5
    assert "without 'bad'; nothing was pushed" in ended.err
    assert f"datapkg push me/x@sha256:{hash}" in ended.err
    assert run("push", f"me/x@sha256:{hash}", "--registry", "http://127.0.0.1:1").code == 8
    (folder / "bad.csv").unlink()
    time.sleep(SETTLED_S)
    assert run("build", "me/x", str(folder), "--json").json["hash"] == hash
    assert run("push", "me/x", "--registry", "http://127.0.0.1:1").code == 8


def test_nothing_is_built_if_no_source_can_be_read(run: Run, folder: Path) -> None:
    (folder / "good.csv").unlink()
    assert run("build", "me/x", str(folder), "--keep-going").code == 5
    assert Home().store.refs.current(Ref("me", "x")) is None


def test_checks_that_reference_a_left_out_node_are_not_run(run: Run, folder: Path) -> None:
    (folder / "build.yml").write_text(
        "checks:\n  known: {column: x, foreign_key: bad.name}\n  whole: {column: x, max: 0}\n"
        "contents:\n  bad: {file: bad.csv}\n  good: {file: good.csv, checks: [known]}\n"
    )
    found = run("build", "me/x", str(folder), "--keep-going", "--json")
    assert (found.code, list(found.json["left_out"])) == (5, ["bad"])
    text = (folder / "build.yml").read_text()
    (folder / "build.yml").write_text(text.replace("[known]", "[known, whole]"))
    ended = run("build", "me/x", str(folder), "--keep-going")
    assert (ended.code, "is above 0" in ended.err) == (5, True)


def test_python_call_warns_about_left_out_nodes(folder: Path) -> None:
    with pytest.raises(BuildFailed):
        datapkg.build("me/x", folder)
    with pytest.warns(UserWarning, match="bad was left out of me/x: 'bad.csv' cannot be read"):
        package = datapkg.build("me/x", folder, keep_going=True)
    assert list(package) == ["good"]


def test_incomplete_state_is_used_only_if_named_by_its_hash(run: Run, folder: Path) -> None:
    hash = run("build", "me/x", str(folder), "--keep-going", "--json").json["hash"]
    more, other = folder / "good.csv", folder.parent / "other"
    other.mkdir()
    (other / "build.yml").write_text("contents:\n  taken: {package: me/x}\n")
    for command in (
        ["append", "me/x", str(more), "--to", "more", "--no-push"],
        ["edit", "me/x", "--remove", "good", "--no-push"],
        ["merge", "me/x", "-o", "me/y"],
        ["merge", "me/x/bad", "-o", "me/y"],
        ["build", "me/y", str(other)],
    ):
        ended = run(*command)
        assert ended.code == 5, command
        assert "without 'bad'; nothing was" in ended.err
        assert f"me/x@sha256:{hash}" in ended.err
    with pytest.raises(BuildFailed, match="without 'bad'; nothing was changed"), datapkg.edit("me/x", push=False):
        pass
    assert Home().store.refs.current(Ref("me", "y")) is None
    assert run("merge", f"me/x@sha256:{hash}", "-o", "me/y").code == 0
    assert run("merge", "me/x/good", "-o", "me/y").code == 0
    assert run("cp", "me/x", "me/z").code == 0
    assert run("push", "me/z", "--registry", "http://127.0.0.1:1").code == 5


def test_edit_works_after_the_state_was_pushed_or_rebuilt(
    run: Run, folder: Path, registry: LiveRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
    monkeypatch.setenv("DATAPKG_TOKEN", registry.add_user("rest"))
    hash = run("build", "rest/x", str(folder), "--keep-going", "--json").json["hash"]
    append = ("append", "rest/x", str(folder / "good.csv"), "--to")
    ended = run(*append, "more")
    assert (ended.code, "without 'bad'; nothing was changed" in ended.err) == (5, True)
    assert run("show", "rest/x", "--remote").code == 3
    assert run("push", f"rest/x@sha256:{hash}").code == 0
    assert run(*append, "more").code == 0
    (folder / "bad.csv").unlink()
    time.sleep(SETTLED_S)
    assert run("build", "rest/x", str(folder)).code == 0
    assert run(*append, "other", "--no-push").code == 0


def test_edit_does_not_hide_a_package_of_a_read_only_store(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert run("build", "me/x", str(tmp_path / "a.txt")).code == 0
    shared = Home().store.folder
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("DATAPKG_PATH", str(shared))
    for command in (["append", "me/x", str(tmp_path / "a.txt"), "--to", "g"], ["edit", "me/x", "--remove", "a_txt"]):
        ended = run(*command, "--no-push")
        assert ended.code == 7, ended.err
        assert f"me/x is in the read-only store {shared}; nothing was changed" in ended.err
        assert "datapkg cp me/x me/OTHER" in ended.err
    assert Home().store.refs.current(Ref("me", "x")) is None
    assert run("cp", "me/x", "me/y").code == 0
    assert run("append", "me/y", str(tmp_path / "a.txt"), "--to", "g", "--no-push").code == 0
