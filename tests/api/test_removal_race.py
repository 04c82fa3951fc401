"""If another process removes a package during an operation on it, the operation fails or its data stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.copy import copy
from datapkg.api.merge import merge
from datapkg.errors import NotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.resolve import ResolvedState, find_installed

SOURCE, MADE = Ref.parse("me/p"), Ref.parse("me/q")


def remove_in_another_process() -> None:
    subprocess.run([sys.executable, "-m", "datapkg", "rm", "me/p", "-q"], check=True, capture_output=True)


def make(way: str, home: Home, folder: Path) -> None:
    if way == "copy":
        copy(home, SOURCE, MADE)
    elif way == "merge":
        merge(home, [SOURCE], MADE)
    else:
        (folder / "composed").mkdir()
        (folder / "composed" / "build.yml").write_text("contents:\n  got: {package: me/p}\n")
        build_package(home, MADE, folder / "composed")


@pytest.fixture
def old(tmp_path: Path) -> Home:
    """Return a home with the package `me/p`, a small and a long file, not used for hours."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "long.bin").write_bytes(bytes(2 << 20))
    (tmp_path / "source" / "short.txt").write_text("short")
    home = Home()
    build_package(home, SOURCE, tmp_path / "source")
    for path in [*home.store.folder.glob("objects/*/*"), *home.store.folder.glob("packs/*")]:
        os.utime(path, ns=(time.time_ns() - 7200 * 10**9, path.stat().st_mtime_ns))
    return Home()


@pytest.mark.parametrize("way", ["copy", "merge", "build"])
def test_package_removed_after_it_was_resolved(
    old: Home, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found_and_removed(home: Home, ref: Ref, **ways: Any) -> ResolvedState:
        result = find_installed(home, ref, **ways)
        monkeypatch.undo()
        monkeypatch.setenv("DATAPKG_HOME", str(old.data))
        remove_in_another_process()
        return result

    monkeypatch.setenv("DATAPKG_HOME", str(old.data))
    for module in ("datapkg.resolve", "datapkg.api.build_tools"):
        monkeypatch.setattr(f"{module}.find_installed", found_and_removed)
    with pytest.raises(NotFound, match="me/p is not installed"):
        make(way, old, tmp_path)
    assert Home().store.refs.current(Ref("me", "q")) is None


@pytest.mark.parametrize("way", ["copy", "merge", "build"])
def test_package_removed_after_its_objects_were_counted(
    old: Home, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save: Callable[..., str] = type(old.store).save

    def removed_and_saved(store: Any, manifest: Any) -> str:
        if not saved:
            saved.append(manifest.hash)
            remove_in_another_process()
        return save(store, manifest)

    monkeypatch.setattr(type(old.store), "save", removed_and_saved)
    make(way, old, tmp_path)
    store = Home().store
    current = store.refs.current(Ref("me", "q"))
    assert saved
    assert current is not None
    assert not store.absent(store.manifest(current.hash))
    assert not current.partial
