"""How long do build, push and install of many small files take, and again without changes; also dvc and git-lfs?"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import _data
from _bench import Row, at_most, fresh, options, own_environ, report, seconds, used, workplace
from _peers import Peer, git_lfs, peers, until_it_works

NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "DVC_NO_ANALYTICS": "1"}


def store_plainly(source: Path, target: Path) -> None:
    """Do the minimum that any tool must do: read, hash, write under another name, sync once, rename."""
    target.mkdir()
    names = []
    for path in source.rglob("*.txt"):
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        with open(target / f"{name}.tmp", "xb") as file:
            file.write(data)
        names.append(name)
    sync(target)
    for name in names:
        os.rename(target / f"{name}.tmp", target / name)


def sync(folder: Path) -> None:
    """Sync the file system of the folder once."""
    if shutil.which("sync"):
        subprocess.run(["sync", "--file-system", str(folder)], check=True)
    else:
        os.sync()


def ours(source: Path, folder: Path, environ: Mapping[str, str], plain: float) -> list[Row]:
    """Measure the files with datapkg and a registry."""
    elsewhere = {**environ, "DATAPKG_HOME": str(folder / "second")}

    def took(what: str, environ: Mapping[str, str], *command: str, bar: float | None = None) -> Row:
        os.sync()
        usage = used("datapkg", *command, "-q", environ=environ)
        return {"what": what, **usage.row(), **({} if bar is None else at_most(usage.seconds, bar))}

    build = ("build", "me/many", str(source))
    first, again = took("build", environ, *build), took("build again", environ, *build, bar=0.3)
    status = took("status", environ, "status", "me/many")
    ratio = first["seconds"] / plain
    return [
        {**first, "times plain": ratio, **at_most(ratio, 2), "bar": "times plain ≤ 2"},
        again,
        {**status, **at_most(status["seconds"], 2 * again["seconds"]), "bar": "≤ 2 × build again"},
        took("show", environ, "show", "me/many"),
        took("push", environ, "push", "me/many", bar=1.5),
        took("push again", environ, "push", "me/many", bar=0.4),
        took("install elsewhere", elsewhere, "install", "me/many", bar=1.5),
        took("install again", elsewhere, "install", "me/many"),
        took("verify", elsewhere, "verify"),
    ]


def dvc(peer: Peer, source: Path, folder: Path) -> list[Row]:
    """Add, push to a folder, fetch from it into an empty cache; add again."""
    environ = own_environ(folder / "unused", DVC_SITE_CACHE_DIR=str(folder / "site"), **NOBODY)
    place = fresh(folder / "dvc")
    program = peer.program("dvc")
    shutil.copytree(source, place / "files")

    def took(what: str, *command: str) -> Row:
        os.sync()
        return {"what": f"dvc {what}", **used(program, *command, "-q", environ=environ, folder=place).row()}

    used(program, "init", "--no-scm", "-q", environ=environ, folder=place)
    used(program, "remote", "add", "-d", "there", folder / "remote", "-q", environ=environ, folder=place)
    rows = [took("add", "add", "files"), took("add again", "add", "files"), took("push to a folder", "push")]
    shutil.rmtree(place / ".dvc" / "cache")
    shutil.rmtree(place / "files")
    return [*rows, took("pull from it", "pull")]


def lfs(source: Path, folder: Path) -> list[Row]:
    """Add and commit, push to a folder, clone from it."""
    environ = own_environ(folder / "unused", HOME=str(folder), **NOBODY)
    place = fresh(folder / "lfs")
    shutil.copytree(source, place / "files")
    (place / ".gitattributes").write_text("*.txt filter=lfs diff=lfs merge=lfs -text\n")

    def git(*command: str | Path, where: Path = place) -> float:
        return used(
            "git", "-c", "user.name=me", "-c", "user.email=me@localhost", *command, environ=environ, folder=where
        ).seconds

    git("init", "--quiet", "--bare", folder / "lfs.git")
    git("init", "--quiet")
    git("lfs", "install", "--local")
    os.sync()
    rows: list[Row] = [
        {"what": "git-lfs add, commit", "seconds": git("add", ".") + git("commit", "--quiet", "-m", "all")}
    ]
    git("remote", "add", "origin", (folder / "lfs.git").as_uri())
    took, tries = until_it_works(lambda: git("push", "--quiet", "origin", "HEAD"))
    rows.append({"what": "git-lfs push to a folder", "seconds": took, "tries": tries})
    clone = ("-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "clone")
    took = git(*clone, "--quiet", (folder / "lfs.git").as_uri(), folder / "clone", where=folder)
    return [*rows, {"what": "git-lfs clone", "seconds": took}]


def measured(chosen: argparse.Namespace, installed: list[Peer], with_lfs: bool) -> list[Row]:
    """Measure datapkg, then each peer, on the same files."""
    with workplace() as (folder, environ):
        source = folder / "many"
        _data.write_files(source, chosen.files, chosen.file_bytes)
        plain = seconds(lambda: store_plainly(source, folder / "plain"), prepare=os.sync)
        rows: list[Row] = [{"what": "read, sha256, write, one sync, rename", "seconds": plain, "times plain": 1.0}]
        rows += ours(source, folder, environ, plain)
        for peer in installed:
            rows += dvc(peer, source, folder)
        return rows + (lfs(source, folder) if with_lfs else [])


def main() -> None:
    chosen = options(__doc__, peers=True, files=(50, 10_000, 10_000), file_bytes=(10_000, 10_000, 10_000))
    installed = list(peers(chosen, "dvc"))
    lfs_version = git_lfs(chosen)
    rows = measured(chosen, installed, lfs_version is not None)
    versions = {peer.name: peer.version for peer in installed}
    report(chosen, rows, {**versions, **({"git-lfs": lfs_version} if lfs_version else {})})


if __name__ == "__main__":
    main()
