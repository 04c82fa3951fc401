"""A project whose lock has many packages, and a store of many: one package costs what it costs alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from datapkg.errors import InvalidLock
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.project import nearest_lock
from datapkg.store.refs import Current
from tests.counted_files import files_used


def pin(number: int) -> Pin:
    return Pin(f"u/p{number}", f"u/p{number}", "https://data.example.org", f"{number:04}" * 16, number)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "datapkg.lock").write_bytes(Lock(tuple(pin(number) for number in range(50))).to_bytes())
    monkeypatch.chdir(tmp_path)
    time.sleep(0.03)  # beyond the clock's tick
    return tmp_path


def test_unchanged_lock_is_read_once(project: Path) -> None:
    with files_used(project) as used:
        locks = [nearest_lock() for _ in range(5)]
    assert used == [str(project / "datapkg.lock")]
    assert locks[4] is not None
    assert [locks[4][1].hash_of(f"u/p{number}") for number in (0, 49, 50)] == ["0000" * 16, "0049" * 16, None]


def test_changed_lock_is_read_again(project: Path) -> None:
    path = project / "datapkg.lock"
    assert nearest_lock()
    path.write_bytes(Lock((pin(7),)).to_bytes())
    found = nearest_lock()
    assert found is not None
    assert found[1].pins == (pin(7),)
    path.write_bytes(b"{")
    with pytest.raises(InvalidLock):
        nearest_lock()
    os.unlink(path)
    assert nearest_lock() is None


def test_a_package_of_many_is_found_without_a_look_at_the_others(tmp_path: Path) -> None:
    home = Home({"DATAPKG_HOME": str(tmp_path)})
    for number in range(60):
        home.store.refs.set_current(Ref(f"u{number % 3}", f"p{number}"), Current("a" * 64, "local"))
    folder = home.store.folder / "packages"
    with files_used(folder) as used:
        assert home.store.refs.current(Ref("u1", "p1")) == Current("a" * 64, "local")
        assert home.has_user("u2")
        assert home.packages("u0") == sorted(f"p{number}" for number in range(0, 60, 3))
    assert used == [str(folder / "u1/p1/current"), str(folder / "u2"), str(folder / "u0")]
    assert home.users() == ["u0", "u1", "u2"]
