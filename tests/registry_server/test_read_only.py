"""A registry that can only be read is checked, exported and listed, and nothing in its folder changes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_server.services.registry import open_registry
from tests.faults.surroundings import can_mount, mounted
from tests.live_registry import live_registry
from tests.registry_server.asgi import Client, House, sha256
from tests.registry_server.test_command_line import run

FILES = {"a": b"one", "b": b"two", "README.md": b"# Iris"}


@contextmanager
def read_only(folder: Path, target: Path) -> Iterator[None]:
    """Inside, a folder is at another path, or at its own, where nothing can be written."""
    if os.geteuid():
        assert folder == target
        _set_writable(folder, False)
        try:
            yield
        finally:
            _set_writable(folder, True)
        return
    if not can_mount(folder.parent):
        pytest.skip("no file system can be mounted here")
    target.mkdir(exist_ok=True)
    with mounted(target, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)
        yield


def _set_writable(folder: Path, is_writable: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222 | (0o200 if is_writable else 0))


def files(folder: Path) -> dict[str, tuple[int, int]]:
    found = {str(path): path.stat() for path in (folder, *folder.rglob("*"))}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def tried(folder: Path, tmp_path: Path) -> None:
    """Run every command that only reads, and hold that it sees everything and writes nothing there."""
    before = files(folder)
    data = ("--data", str(folder), "--json")
    checked = run("check", *data)
    assert (checked.returncode, json.loads(checked.stdout)["damaged"]) == (0, []), checked.stderr
    assert run("check", "--content", *data).returncode == 0
    assert run("check", "--quick", *data).returncode == 0
    assert "ada" in run("user", "list", *data).stdout
    assert run("sweep", "--dry-run", *data).returncode == 0
    for name in ("export", "export.tar"):
        exported = run("export", str(tmp_path / name), *data)
        assert exported.returncode == 0, exported.stderr
        again = run("import", str(tmp_path / name), "--data", str(tmp_path / f"of-{name}"), "--json")
        assert json.loads(again.stdout)["packages"] == json.loads(exported.stdout)["packages"] == 1
    for words in (["check", "--repair"], ["sweep"], ["user", "add", "bob"]):
        refused = run(*words, *data)
        assert refused.returncode in (2, 7), refused.stderr
        assert "Read-only file system" in refused.stderr or "Permission denied" in refused.stderr
    assert files(folder) == before


@pytest.mark.parametrize("left", ["nothing", "log", "log without index"])
def test_commands_that_only_read(house: House, ada: Client, tmp_path: Path, left: str) -> None:
    ada.publish("ada/iris", FILES)
    folder = tmp_path / "copied # 1%"
    if left == "nothing":
        house.registry.close()
    shutil.copytree(house.settings.data, folder)
    assert (folder / "registry.db-wal").exists() == (left != "nothing")
    if left == "log without index":
        (folder / "registry.db-shm").unlink()
    with read_only(folder, folder):
        tried(folder, tmp_path)


def test_damage_is_reported_and_not_marked(house: House, ada: Client, tmp_path: Path) -> None:
    ada.publish("ada/iris", FILES)
    path = house.registry.objects.locate(sha256(b"one")).path
    house.registry.close()
    path.chmod(0o600)
    path.write_bytes(b"wrong")
    with read_only(house.settings.data, house.settings.data):
        for _ in range(2):
            checked = run("check", "--data", str(house.settings.data))
            assert (checked.returncode, "damaged: " in checked.stdout) == (6, True)
            assert "next push" not in checked.stdout
    opened = open_registry(house.settings)
    with opened.db.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM damaged_objects").scalar() == 0
    opened.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a folder at two paths")
def test_registry_that_runs_elsewhere(tmp_path: Path) -> None:
    with live_registry(tmp_path) as registry:
        registry.add_user("ada")
        with read_only(registry.data, tmp_path / "seen"):
            checked = run("check", "--data", str(tmp_path / "seen"))
            assert checked.returncode == 0, checked.stderr
            assert "ada" in run("user", "list", "--data", str(tmp_path / "seen")).stdout
            registry.add_user("bob")
            assert "bob" in run("user", "list", "--data", str(tmp_path / "seen")).stdout
