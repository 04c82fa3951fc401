"""What travels when a new version is pushed, and when it is installed in a home that has the version before?

Bytes as a proxy counts them, with all headers, in % of the new version. Beside it, what hf_xet adds to its storage for
the same version (a Parquet file with content-defined chunks, as its makers recommend) and what dvc sends. Then twenty
versions with 1 % of the rows changed in each: the disk that they use, as a multiple of the last version.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import _data
import pyarrow as pa
import pyarrow.parquet as pq
from _bench import MB, Row, at_most, bytes_in, fresh, options, own_environ, run, used, workplace
from _edits import ADDED, EDITS, OTHER_EDITS
from _peers import Peer, peer_environ, peers
from _pieces import Piece, measure
from _wire import Wire, counted

BARS = {"insert one row": 1.5, "append 1 %": 2.0, "change one cell": 0.1, "add a column": 3.0, "insert one line": 0.25}
DISK_BAR = 1.4
TABLES = ("trips", "posts", "visits")
BUILD = """
import datapkg, pyarrow.parquet as pq
datapkg.build("{ref}", {{"table": pq.read_table(r"{path}")}})
"""
BUILD_FILE = """
import datapkg
from pathlib import Path
datapkg.build("{ref}", Path(r"{path}"))
"""
XET = "import hf_xet, sys; hf_xet.upload_files([sys.argv[1]], f'local://{sys.argv[2]}', None, None, None, 'dataset')"

Grown = Callable[[Path], int]
"""Store a version with another tool, and return by how many bytes its remote grew."""


class Bench:
    """A registry behind a counting proxy, two homes of one user, and the peers."""

    def __init__(self, folder: Path, environ: dict[str, str], wire: Wire, installed: list[Peer]) -> None:
        connection = {"DATAPKG_REGISTRY": wire.url, "DATAPKG_TOKEN": environ["DATAPKG_TOKEN"]}
        self.folder, self.wire = folder, wire
        self.mine, self.theirs = (own_environ(folder / name, **connection) for name in ("mine", "theirs"))
        self.peers = {peer.name: PEERS[peer.name](peer, fresh(folder / f"{peer.name} here")) for peer in installed}

    def store_base(self, build: str, path: Path) -> None:
        """Store the version before, in both homes and with the peers."""
        used(sys.executable, "-c", build.format(ref="me/base", path=path), environ=self.mine)
        used("datapkg", "push", "me/base", "-q", environ=self.mine)
        used("datapkg", "install", "me/base", "-q", environ=self.theirs)
        for grown in self.peers.values():
            grown(path)

    def row(self, ref: str, build: str, path: Path) -> Row:
        """Push and install another version after a copy of the one before."""
        used("datapkg", "cp", "me/base", ref, "-q", environ=self.mine)
        used("datapkg", "push", ref, "-q", environ=self.mine)
        used("datapkg", "install", ref, "-q", environ=self.theirs)
        used(sys.executable, "-c", build.format(ref=ref, path=path), environ=self.mine)
        sent, _ = self.counted("push", ref, "-q", environ=self.mine)
        _, received = self.counted("install", ref, "-q", environ=self.theirs)
        again, _ = self.counted("push", ref, "-q", environ=self.mine)
        size = installed_bytes(ref, self.theirs)
        row = {"MB": size / MB, "up %": 100 * sent / size, "down %": 100 * received / size, "again KB": again / 1e3}
        file_bytes = path.stat().st_size
        return {**row, **{f"{name} %": 100 * grown(path) / file_bytes for name, grown in self.peers.items()}}

    def counted(self, *command: str, environ: dict[str, str]) -> tuple[int, int]:
        """Run a command; return the bytes that it sent and received."""
        sent, received = self.wire.sent, self.wire.received
        used("datapkg", *command, environ=environ)
        self.wire.since(received)
        return self.wire.sent - sent, self.wire.received - received


def xet(peer: Peer, folder: Path) -> Grown:
    """Store in a folder that hf_xet takes for its server; its caches and lookup tables are not counted."""
    environ = {**peer_environ(folder / "user"), "HF_XET_CACHE": str(folder / "cache")}

    def stored() -> int:
        return sum(bytes_in(each) for kind in ("xorbs", "shards") for each in folder.glob(f"cas/xet/xorbs/{kind}"))

    def grown(path: Path) -> int:
        before = stored()
        used(peer.python, "-c", XET, path, folder / "cas", environ=environ)
        return stored() - before

    return grown


def dvc(peer: Peer, folder: Path) -> Grown:
    """Push to a folder."""
    place, remote, environ = fresh(folder / "repository"), fresh(folder / "remote"), peer_environ(folder / "user")

    def grown(path: Path) -> int:
        before = bytes_in(remote)
        (place / "data").unlink(missing_ok=True)
        os.link(path, place / "data")
        for command in (("add", "data"), ("push",)):
            used(peer.program("dvc"), *command, "-q", environ=environ, folder=place)
        size = bytes_in(remote) - before
        shutil.rmtree(place / ".dvc" / "cache")
        return size

    for command in (("init", "--no-scm"), ("remote", "add", "-d", "there", str(remote))):
        used(peer.program("dvc"), *command, "-q", environ=environ, folder=place)
    return grown


PEERS: dict[str, Callable[[Peer, Path], Grown]] = {"hf_xet": xet, "dvc": dvc}


def table_rows(name: str, mb: int, installed: list[Peer], wanted: list[str]) -> Iterator[Row]:
    """Yield a row for each of the wanted edits of one table."""
    count = max(1_000, mb * MB // _data.ROW_BYTES[name])
    table, other = _data.table(name, count), _data.table(name, count // 100, start=40_000_000)
    edits = {f"{name}, {mb} MB: {what}": (what, edit) for what, edit in (EDITS | OTHER_EDITS).items()}
    with workplace() as (folder, environ), counted(environ["DATAPKG_REGISTRY"]) as wire:
        bench = Bench(folder, environ, wire, installed)
        bench.store_base(BUILD, written(folder / "0.parquet", table))
        for number, title in enumerate(wanted, 1):
            what, edit = edits[title]
            edited = edit(table, other)
            path = written(folder / f"{number}.parquet", edited)
            row = bench.row(f"me/edit{number}", BUILD, path)
            path.unlink()
            bar = BARS.get(what)
            if bar and what == "add a column":
                bar += 100 * edited.column(ADDED).nbytes / MB / row["MB"]
            yield {"what": title, **row, **(at_most(max(row["up %"], row["down %"]), bar) if bar else {})}


def written(path: Path, table: pa.Table) -> Path:
    """Write a table as the makers of hf_xet recommend it."""
    pq.write_table(table, path, compression="zstd", use_content_defined_chunking=True)
    return path


def raw_rows(mb: int, installed: list[Peer], wanted: list[str]) -> Iterator[Row]:
    """Yield a row for a large CSV that is kept as a file, not as a table, with one line more in its middle."""
    with workplace() as (folder, environ), counted(environ["DATAPKG_REGISTRY"]) as wire:
        versions = [folder / str(version) / "trips.txt" for version in range(2)]
        for path in versions:
            path.parent.mkdir()
        _data.write_csv(versions[0], "trips", mb * MB)
        with versions[0].open("rb") as old, versions[1].open("wb") as new:
            new.write(old.read(mb * MB // 2) + old.readline())
            new.write(b"one more line\n")
            shutil.copyfileobj(old, new, MB)
        bench = Bench(folder, environ, wire, installed)
        bench.store_base(BUILD_FILE, versions[0])
        row = bench.row("me/edit", BUILD_FILE, versions[1])
    yield {"what": wanted[0], **row, **at_most(max(row["up %"], row["down %"]), BARS["insert one line"])}


def version_rows(name: str, mb: int, count: int, wanted: list[str]) -> Iterator[Row]:
    """Yield a row for many versions, each with 1 % of the rows of the one before replaced, at a place that moves."""
    rows = max(1_000, mb * MB // _data.ROW_BYTES[name])
    table, ref, hundredth = _data.table(name, rows), "me/versions", rows // 100
    with workplace() as (folder, environ):
        for number in range(count):
            at = (rows * (2 * number + 1) // (2 * count)) // hundredth * hundredth
            other = _data.table(name, hundredth, start=(50 + number) * 1_000_000)
            table = pa.concat_tables([table.slice(0, at), other, table.slice(at + hundredth)])
            path = written(folder / "0.parquet", table)
            used(sys.executable, "-c", BUILD.format(ref=ref, path=path), environ=environ)
            used("datapkg", "push", ref, "-q", environ=environ)
        last = installed_bytes(ref, environ)
        at_registry = disk_bytes(folder / "registry") / last
        full = disk_bytes(folder / "home" / "store") / last
        run("datapkg", "gc", "--yes", environ=environ)
        here = disk_bytes(folder / "home" / "store") / last
    row = {"MB": last / MB, "registry ×": at_registry, "here before gc ×": full, "here ×": here}
    yield {"what": wanted[0], **row, **at_most(max(at_registry, here), DISK_BAR)}


def disk_bytes(folder: Path) -> int:
    """The size of what lies in a store or registry."""
    return sum(bytes_in(folder / name) for name in ("objects", "packs", "recipes") if (folder / name).exists())


def installed_bytes(ref: str, environ: dict[str, str]) -> int:
    """The size of all objects of a package."""
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.resolve import find_installed

    found = find_installed(Home(environ), Ref.parse(ref))
    return found.store.manifest(found.hash).size()


def main() -> None:
    sizes = {"large_mb": (2, 45, 350), "middle_mb": (0, 0, 150), "small_mb": (0, 0, 45), "raw_mb": (4, 100, 1_000)}
    chosen = options(__doc__, peers=True, pieces=True, **sizes, versions=(3, 20, 20))
    installed = list(peers(chosen, *PEERS))
    pieces = []
    every_mb = list(filter(None, (chosen.large_mb, chosen.middle_mb, chosen.small_mb)))
    for mb in every_mb:
        for name in TABLES:
            edits = EDITS | OTHER_EDITS if (name, mb) == (TABLES[0], every_mb[-1]) else EDITS
            titles = [f"{name}, {mb} MB: {what}" for what in edits]
            pieces.append(Piece(titles, partial(table_rows, name, mb, installed)))
        titles = [f"{TABLES[0]}, {mb} MB: {chosen.versions} versions"]
        pieces.append(Piece(titles, partial(version_rows, TABLES[0], mb, chosen.versions)))
    titles = [f"a raw CSV of {chosen.raw_mb} MB: insert one line"]
    pieces.append(Piece(titles, partial(raw_rows, chosen.raw_mb, installed)))
    measure(chosen, pieces, {peer.name: peer.version for peer in installed})


if __name__ == "__main__":
    main()
