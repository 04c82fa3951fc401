"""Other tools to compare with, each in its own virtual environment that is created once and reused."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from _bench import Row, at_most, own_environ

_READS_TABLES = ("pandas", "pyarrow")
_WITH = {
    "dvc": _READS_TABLES,
    "quilt3": _READS_TABLES,
    "pins": (*_READS_TABLES, "fsspec[http]"),
    "datasets": (*_READS_TABLES, "fsspec[http]"),
    "pandas": (*_READS_TABLES, "fsspec[http]"),
}
"""Additional requirements of a peer to return a table; pandas and pyarrow in the versions that datapkg runs with."""

QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "QUILT_DISABLE_USAGE_METRICS": "true",
    "QUILT_MINIMIZE_STDOUT": "true",
}
"""Variables that disable telemetry, prompts and the caller's settings in peers."""

_VERSION = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"


@dataclass(frozen=True)
class Peer:
    """A distribution of the public index, installed in a folder."""

    name: str
    folder: Path
    version: str

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def program(self, name: str) -> Path:
        return self.folder / "bin" / name


def peers(options: argparse.Namespace, *names: str) -> Iterator[Peer]:
    """Yield the named peers that are or can be installed here, and print which cannot."""
    for name in names:
        if options.without_peers:
            print(f"  {name}: left out, as asked")
            continue
        peer = _peer(options.peers.absolute(), name)
        if isinstance(peer, Peer):
            yield peer
        else:
            print(f"  {name}: not measured, it cannot be installed here: {peer}")


def peer_environ(folder: Path) -> dict[str, str]:
    """Return the environment of a new user of the peers, with settings and caches in this folder."""
    own = {"HOME": folder, "XDG_CACHE_HOME": folder / "cache", "XDG_DATA_HOME": folder / "data"}
    own |= {"XDG_CONFIG_HOME": folder / "config", "HF_HOME": folder / "hf", "DVC_SITE_CACHE_DIR": folder / "site"}
    return own_environ(folder / "home", **QUIET, **{name: str(path) for name, path in own.items()})


def ahead(ours: float, others: Iterable[float]) -> Row:
    """Return the columns that compare datapkg with the best of the peers, if there is one."""
    best = min(others, default=None)
    return {} if best is None else {"times best peer": ours / best, **at_most(ours / best, 1)}


def git_lfs(options: argparse.Namespace) -> str | None:
    """Return the version of git-lfs, a program of the system; print a note if it is missing."""
    if options.without_peers:
        print("  git-lfs: left out, as asked")
    elif not shutil.which("git-lfs"):
        print("  git-lfs: not measured, it is not installed (apt-get install git-lfs)")
    else:
        done = subprocess.run(["git-lfs", "version"], capture_output=True, text=True, check=True)
        return done.stdout.split()[0].removeprefix("git-lfs/")
    return None


def until_it_works(push: Callable[[], object], most: int = 5) -> tuple[float, int]:
    """Return the total duration and the number of tries: git-lfs 3.3 occasionally misses existing objects."""
    start = time.perf_counter()
    for tries in range(1, most):
        try:
            push()
            return time.perf_counter() - start, tries
        except SystemExit:
            continue
    push()
    return time.perf_counter() - start, most


def _peer(cache: Path, name: str) -> Peer | str:
    """Return the peer, or the reason why it is not available."""
    folder = cache / name
    asked = [str(folder / "bin" / "python"), "-c", _VERSION, name]
    wanted = _wanted(name)
    made = folder / ".made"
    if not (made.exists() and made.read_text().split() == wanted) and (problem := _install(folder, wanted)):
        return problem
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stderr.strip() or Peer(name, folder, done.stdout.strip())


def _wanted(name: str) -> list[str]:
    """Return the requirement to install for a peer."""
    beside = [f"{each}=={version(each)}" if each in _READS_TABLES else each for each in _WITH.get(name, ())]
    return sorted({*beside, *([] if name in _WITH.get(name, ()) else [name])})


def _install(folder: Path, wanted: list[str]) -> str:
    """Create the environment, and return the error if that fails."""
    print(f"  installing {' '.join(wanted)}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", python]
    for command in ([sys.executable, "-m", "venv", "--without-pip", str(folder)], [*pip, "install", *wanted]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"it ended with {done.returncode}"
    (folder / ".made").write_text("\n".join(wanted) + "\n")
    return ""
