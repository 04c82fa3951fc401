"""Faults of what surrounds a command: a wrong clock; a damaged, locked or read-only cache; a full disk."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CLOCKS = {"clock back": -86_400.0, "clock ahead": 3 * 86_400.0}
MOUNTS = ("small disk", "index read-only")
KINDS = (*CLOCKS, "index flip", "index torn", "index folder", "index locked", *MOUNTS)
MAX_FREE_KB = 4_000


def shift_clock(seconds: float) -> None:
    """Let this process, and what it forks, see another time."""
    if not seconds:
        return
    true_time, true_time_ns, true_datetime = time.time, time.time_ns, datetime.datetime
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)

    class Shifted(true_datetime):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return true_datetime.now(tz) + datetime.timedelta(seconds=seconds)

    for name, module in list(sys.modules.items()):
        if name.startswith(("datapkg", "registry_server")) and vars(module).get("datetime") is true_datetime:
            vars(module)["datetime"] = Shifted
    vars(datetime)["datetime"] = Shifted


@contextlib.contextmanager
def around(kind: str, home: Path, seed: int) -> Iterator[None]:
    """Inside, the home of a machine is as `kind` says."""
    index = home / "cache" / "index.db"
    index.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if kind == "index locked":
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(index)))
            connection.execute("BEGIN EXCLUSIVE")
        elif kind == "index read-only":
            stack.enter_context(mounted(index.parent, "--bind", str(index.parent)))
            subprocess.run(["mount", "-o", "remount,bind,ro", str(index.parent)], check=True)
        elif kind == "small disk":
            stack.enter_context(small_disk(home, random.Random(seed).randrange(MAX_FREE_KB)))
        elif kind.startswith("index"):
            _damage(index, kind, random.Random(seed))
        yield


def _damage(index: Path, kind: str, chance: random.Random) -> None:
    if kind == "index folder":
        index.unlink(missing_ok=True)
        index.mkdir()
        return
    if not index.exists():
        index.write_bytes(chance.randbytes(5_000))
    data = bytearray(index.read_bytes())
    if kind == "index torn":
        data = data[: chance.randrange(len(data) + 1)]
    else:
        for _ in range(20):
            data[chance.randrange(len(data))] = chance.randrange(256)
    index.write_bytes(data)


@contextlib.contextmanager
def small_disk(home: Path, free_kb: int) -> Iterator[None]:
    """Inside, the home is a file system of its own with little space; afterwards it is an ordinary folder."""
    full = home.with_name(f"{home.name}-full")
    os.rename(home, full)
    home.mkdir()
    used_kb = sum(-(-each.lstat().st_size // 4096) * 4 for each in full.rglob("*")) + 64
    try:
        with mounted(home, "-t", "tmpfs", "-o", f"size={used_kb + free_kb}k", "none"):
            shutil.copytree(full, home, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(full)
            yield
            shutil.copytree(home, full, symlinks=True)
    finally:
        if full.exists():
            shutil.rmtree(home)
            os.rename(full, home)


@contextlib.contextmanager
def mounted(target: Path, *words: str) -> Iterator[None]:
    subprocess.run(["mount", *words, str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount file systems."""
    target = folder / "mounted"
    target.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(target)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", str(target)], check=True)
    return True
