"""Watch the order of syncs, names and records: bytes are on the disk before a name or the index leads to them."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datapkg.objects import files
from datapkg.store.index import Index

_Stamp = tuple[int, int]


@dataclass
class SyncOrder:
    """What was synced below a folder, and what got a name or was recorded as verified; `problems` are those before.

    A write after a sync is seen by size and modification time, so what C++ writes counts too.
    """

    root: Path
    exempt: tuple[str, ...] = ()
    named: list[Path] = field(default_factory=list)
    verified: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _synced: dict[tuple[int, int], _Stamp] = field(default_factory=dict)

    def sync(self, found: os.stat_result) -> None:
        """Note that a file is on the disk as it is now."""
        self._synced[found.st_dev, found.st_ino] = found.st_size, found.st_mtime_ns

    def sync_all(self) -> None:
        """Note this of all files."""
        for path in self.root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                self.sync(path.lstat())

    def name(self, old: Any, new: Any) -> None:
        """Check a file that is about to get a name."""
        path = Path(os.fsdecode(new)).absolute()
        with contextlib.suppress(FileNotFoundError):
            if self._is_ours(path) and stat.S_ISREG((found := os.lstat(old)).st_mode):
                self.named.append(path)
                self._check(found, f"{self._short(path)} got its name")

    def record(self, paths: Iterable[Path]) -> None:
        """Check files that are about to be recorded as verified."""
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self.verified.append(path)
                self._check(os.stat(path), f"{self._short(path)} was recorded as verified")

    def _check(self, found: os.stat_result, what: str) -> None:
        if self._synced.get((found.st_dev, found.st_ino)) != (found.st_size, found.st_mtime_ns):
            self.problems.append(f"{what} before its bytes were on the disk")

    def _is_ours(self, path: Path) -> bool:
        return path.is_relative_to(self.root) and not any(part in self.exempt for part in path.parts)

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def watch(root: Path, monkeypatch: pytest.MonkeyPatch, exempt: tuple[str, ...]) -> SyncOrder:
    """Watch this process from now on; `exempt` are names of folders with files that need no sync, by their design.

    What is here already counts as synced.
    """
    order = SyncOrder(root, exempt)
    order.sync_all()

    def after(call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def called(fd: Any) -> Any:
            result = call(fd)
            note(os.fstat(fd if isinstance(fd, int) else fd.fileno()))
            return result

        return called

    def before(call: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            if not options:  # names relative to descriptors are those of exports, which are the user's files
                note(*args)
            return call(*args, **options)

        return called

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, after(getattr(os, name), order.sync))
    for name in ("replace", "rename", "link"):
        monkeypatch.setattr(os, name, before(getattr(os, name), order.name))
    true_sync = os.sync

    def sync() -> None:
        true_sync()
        order.sync_all()

    monkeypatch.setattr(os, "sync", sync)
    monkeypatch.setattr(files, "_syncfs", _syncfs(order))
    true_record = Index.mark_verified

    def record(index: Index, paths: Iterable[Path]) -> None:
        paths = list(paths)
        order.record(paths)
        true_record(index, paths)

    monkeypatch.setattr(Index, "mark_verified", record)
    return order


def _syncfs(order: SyncOrder) -> Callable[[], Callable[[int], int] | None]:
    true_syncfs = files._syncfs()

    def call(fd: int) -> int:
        assert true_syncfs
        code: int = true_syncfs(fd)
        order.sync_all()
        return code

    return lambda: call if true_syncfs else None


@contextlib.contextmanager
def right_order(root: Path, *exempt: str) -> Iterator[SyncOrder]:
    """Watch inside the block, and assert at its end that nothing was named or recorded too early."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        order = watch(root, monkeypatch, exempt)
        yield order
    assert not order.problems, order.problems
