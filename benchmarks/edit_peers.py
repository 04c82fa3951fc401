"""How long does it take to add ten files to a package of very many, from a machine without its data, with each tool?

datapkg fetches the manifest, dvc the directory listing, quilt3 the manifest; git-lfs clones pointers without the
data. Adding a directory again that is present locally, as usual with dvc, is also measured. Each round has a new home.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import _data
from _bench import MB, Row, bytes_in, fresh, options, report, run, turns, used, workplace
from _peers import Peer, git_lfs, peer_environ, peers, until_it_works

NEW = 10
OURS = "datapkg.edit"
EDIT = """
import sys, datapkg
with datapkg.edit("me/many", message="Ten more") as draft:
    draft.add(sys.argv[2], "*.txt", sys.argv[1])
"""
QUILT = """
import sys, pathlib, quilt3
folder, group, registry = *sys.argv[1:3], f"file://{sys.argv[3]}/registry"
package = quilt3.Package.browse("me/many", registry=registry)
for path in pathlib.Path(folder).iterdir():
    package.set(f"{group}/{path.name}", str(path))
package.build("me/many", registry=registry)
"""
QUILT_STORE = """
import sys, quilt3
quilt3.Package().set_dir(".", sys.argv[1]).build("me/many", registry=f"file://{sys.argv[2]}/registry")
"""
LAZY_LFS = (
    *("-c", "filter.lfs.smudge=git-lfs smudge --skip -- %f", "-c", "filter.lfs.required=true"),
    *("-c", "filter.lfs.process=git-lfs filter-process --skip", "-c", "filter.lfs.clean=git-lfs clean -- %f"),
    *("-c", "user.name=me", "-c", "user.email=me@localhost"),
)

Round = Callable[[Path, Path], Row]
"""Add the files of a folder from an empty machine, which is also a folder; return the seconds of each step."""


def ours(environ: dict[str, str], source: Path) -> Round:
    """Build and push; a round edits from an empty home."""
    run("datapkg", "build", "me/many", str(source), "-q", environ=environ)
    run("datapkg", "push", "me/many", "-q", environ=environ)

    def edit(new: Path, machine: Path) -> Row:
        usage = used(sys.executable, "-c", EDIT, new, machine.name, environ={**environ, "DATAPKG_HOME": str(machine)})
        return {"seconds": usage.seconds, "peak MB": usage.peak / MB}

    return edit


def dvc(peer: Peer, folder: Path, source: Path) -> tuple[Round, Round]:
    """Add and push to a folder; a round adds to the directory that is absent, or to the one that is present."""
    place = fresh(folder / "dvc")
    program = peer.program("dvc")
    os.rename(shutil.copytree(source, folder / "copy"), place / "files")

    def took(where: Path, *command: str | Path) -> float:
        environ = peer_environ(folder / "caches" / where.name)
        return used(program, *command, "-q", environ=environ, folder=where).seconds

    took(place, "init", "--no-scm")
    took(place, "remote", "add", "-d", "there", folder / "dvc-remote")
    took(place, "add", "files")
    took(place, "push")
    listed = (place / "files.dvc").read_bytes()

    def absent(new: Path, machine: Path) -> Row:
        took(machine, "init", "--no-scm")
        took(machine, "remote", "add", "-d", "there", folder / "dvc-remote")
        (machine / "files.dvc").write_bytes(listed)
        shutil.copytree(new, machine / "files" / machine.name)
        return added(machine, *(f"files/{machine.name}/{path.name}" for path in new.iterdir()))

    def present(new: Path, machine: Path) -> Row:
        shutil.copytree(new, place / "files" / machine.name)
        return {**added(place, "files"), "MB here": bytes_in(place) / MB}

    def added(where: Path, *what: str) -> Row:
        add, push = took(where, "add", *what), took(where, "push")
        return {"add s": add, "push s": push, "seconds": add + push}

    return absent, present


def quilt(peer: Peer, folder: Path, source: Path) -> Round:
    """Record the locations of files in a registry that is a folder: quilt3 pushes data to S3 only."""
    environ = peer_environ(folder / "publisher")
    used(peer.python, "-c", QUILT_STORE, source, folder, environ=environ)

    def edit(new: Path, machine: Path) -> Row:
        usage = used(peer.python, "-c", QUILT, new, machine.name, folder, environ=peer_environ(machine))
        return {"seconds": usage.seconds, "peak MB": usage.peak / MB}

    return edit


def lfs(folder: Path, source: Path) -> Round:
    """Commit and push to a folder; a round clones the pointers to the data and adds to them."""
    environ = peer_environ(folder / "publisher")
    place = fresh(folder / "lfs")
    os.rename(shutil.copytree(source, folder / "copy"), place / "files")
    (place / ".gitattributes").write_text("*.txt filter=lfs diff=lfs merge=lfs -text\n")
    remote = (folder / "lfs.git").as_uri()

    def git(where: Path, *command: str | Path) -> float:
        return used("git", *LAZY_LFS, *command, environ=environ, folder=where).seconds

    def pushed(where: Path) -> float:
        git(where, "lfs", "install", "--local", "--skip-smudge")
        return until_it_works(lambda: git(where, "push", "--quiet", "origin", "HEAD"))[0]

    git(folder, "init", "--quiet", "--bare", folder / "lfs.git")
    git(place, "init", "--quiet")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "all")
    git(place, "remote", "add", "origin", remote)
    pushed(place)

    def edit(new: Path, machine: Path) -> Row:
        clone = git(machine, "clone", "--quiet", remote, machine / "clone")
        where = machine / "clone"
        shutil.copytree(new, where / "files" / machine.name)
        add = git(where, "add", f"files/{machine.name}") + git(where, "commit", "--quiet", "-m", "more")
        push = pushed(where)
        return {"before s": clone, "add s": add, "push s": push, "seconds": clone + add + push}

    return edit


def measured(count: int, chosen: argparse.Namespace, installed: dict[str, Peer], with_lfs: bool) -> list[Row]:
    """Run every tool in every round, and return rows of medians and of datapkg's factor relative to each."""
    with workplace() as (folder, environ):
        source = folder / "many"
        _data.write_files(source, count, chosen.file_bytes)
        tools: dict[str, Round] = {OURS: ours(environ, source)}
        if "dvc" in installed:
            absent, present = dvc(installed["dvc"], folder, source)
            tools |= {"dvc add, push, the directory not here": absent, "dvc add, push, all of it here": present}
        if "quilt3" in installed:
            tools["quilt3 set, build, nothing sent"] = quilt(installed["quilt3"], folder, source)
        if with_lfs:
            tools["git-lfs clone of pointers, add, push"] = lfs(folder, source)
        taken: dict[str, list[Row]] = {name: [] for name in tools}
        for number in range(chosen.rounds):
            for name in turns(tools, number):
                machine = fresh(folder / f"{name} {number}")
                row = tools[name](new_files(folder / "new" / machine.name, chosen.file_bytes), machine)
                taken[name].append({"MB here": bytes_in(machine) / MB, **row})
    return rows_of(count, taken)


def new_files(folder: Path, size: int) -> Path:
    """Write a folder of files that no tool has seen."""
    folder.mkdir(parents=True)
    for number in range(NEW):
        (folder / f"{number}.txt").write_bytes(os.urandom(size))
    return folder


def rows_of(count: int, taken: dict[str, list[Row]]) -> list[Row]:
    """Return the medians, and datapkg's factor relative to each."""
    rows: list[Row] = []
    for name, each in taken.items():
        middle = {column: median(row[column] for row in each) for column in each[0]}
        rows.append({"what": f"{count:,} files: {name}", **middle})
    return [{**row, "times ours": row["seconds"] / rows[0]["seconds"]} for row in rows]


def main() -> None:
    sizes = {"files": (50, 10_000, 10_000), "many": (0, 0, 100_000), "file_bytes": (1_000, 1_000, 1_000)}
    chosen = options(__doc__, peers=True, **sizes, rounds=(1, 3, 3))
    installed = {peer.name: peer for peer in peers(chosen, "dvc", "quilt3")}
    lfs_version = git_lfs(chosen)
    rows: list[Row] = []
    for count in (chosen.files, chosen.many):
        rows += measured(count, chosen, installed, lfs_version is not None) if count else []
    versions = {name: peer.version for name, peer in installed.items()}
    report(chosen, rows, {**versions, **({"git-lfs": lfs_version} if lfs_version else {})})


if __name__ == "__main__":
    main()
