"""The peers: other people's programs, each in a virtual environment of its own that is made once and kept."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    """Those of the named that are or can be installed here; says which are not."""
    for name in names:
        if options.without_peers:
            print(f"  {name}: left out, as asked")
            continue
        peer = _peer(options.peers.absolute(), name)
        if isinstance(peer, Peer):
            yield peer
        else:
            print(f"  {name}: not measured, it cannot be installed here: {peer}")


def git_lfs(options: argparse.Namespace) -> str | None:
    """The version of git-lfs, a program of the system; says if there is none."""
    if options.without_peers:
        print("  git-lfs: left out, as asked")
    elif not shutil.which("git-lfs"):
        print("  git-lfs: not measured, it is not installed (apt-get install git-lfs)")
    else:
        done = subprocess.run(["git-lfs", "version"], capture_output=True, text=True, check=True)
        return done.stdout.split()[0].removeprefix("git-lfs/")
    return None


def _peer(cache: Path, name: str) -> Peer | str:
    """The peer; where it is not to be had, the reason."""
    folder = cache / name
    asked = [str(folder / "bin" / "python"), "-c", _VERSION, name]
    if not (folder / ".made").exists() and (problem := _install(folder, name)):
        return problem
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stderr.strip() or Peer(name, folder, done.stdout.strip())


def _install(folder: Path, name: str) -> str:
    """Makes the environment; gives what went wrong."""
    print(f"  installing {name}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    python = str(folder / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", python]
    for command in ([sys.executable, "-m", "venv", "--without-pip", str(folder)], [*pip, "install", name]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"it ended with {done.returncode}"
    (folder / ".made").touch()
    return ""
