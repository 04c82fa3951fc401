"""What travels when a new version is pushed, and when it is installed in a home that has the version before?

Bytes as a proxy counts them, with all headers, in % of the new version. Beside it, what hf_xet adds to its storage for
the same version (a Parquet file with content-defined chunks, as its makers recommend) and what dvc sends. Then twenty
versions with 1 % of the rows changed in each: the disk that they use, as a multiple of the last version.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import _data
import pyarrow as pa
import pyarrow.parquet as pq
from _bench import MB, Row, at_most, bytes_in, fresh, options, own_environ, report, run, used, workplace
from _edits import ADDED, EDITS
from _peers import Peer, peer_environ, peers
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

    def __init__(self, folder: Path, environ: dict[str, str], wire: Wire, installed: dict[str, Peer]) -> None:
        connection = {"DATAPKG_REGISTRY": wire.url, "DATAPKG_TOKEN": environ["DATAPKG_TOKEN"]}
        self.folder, self.wire, self.installed = folder, wire, installed
        self.mine, self.theirs = (own_environ(folder / name, **connection) for name in ("mine", "theirs"))

    def row(self, ref: str, build: str, versions: list[Path], by_peers: list[Path]) -> Row:
        """Push and install two versions; the row is of the second."""
        for path in versions:
            used(sys.executable, "-c", build.format(ref=ref, path=path), environ=self.mine)
            push_s, sent, _ = self.counted("push", ref, "-q", environ=self.mine)
            install_s, _, received = self.counted("install", ref, "-q", environ=self.theirs)
        size = installed_bytes(ref, self.theirs)
        _, again, _ = self.counted("push", ref, "-q", environ=self.mine)
        row = {"MB": size / MB, "up %": 100 * sent / size, "down %": 100 * received / size, "again KB": again / 1e3}
        for name, peer in self.installed.items():
            grown = PEERS[name](peer, fresh(self.folder / f"{name} here"))
            grown(by_peers[0])
            row[f"{name} %"] = 100 * grown(by_peers[1]) / by_peers[1].stat().st_size
        return {**row, "push s": push_s, "install s": install_s}

    def counted(self, *command: str, environ: dict[str, str]) -> tuple[float, int, int]:
        """Run a command; return its seconds, and the bytes that it sent and received."""
        sent, received = self.wire.sent, self.wire.received
        usage = used("datapkg", *command, environ=environ)
        self.wire.since(received)
        return usage.seconds, self.wire.sent - sent, self.wire.received - received


def xet(peer: Peer, folder: Path) -> Grown:
    """Store in a folder that hf_xet takes for its server."""

    def grown(path: Path) -> int:
        before = bytes_in(folder / "cas") if (folder / "cas").exists() else 0
        environ = {**peer_environ(folder / "user"), "HF_XET_CACHE": str(folder / "cache")}
        used(peer.python, "-c", XET, path, folder / "cas", environ=environ)
        return bytes_in(folder / "cas") - before

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
        return bytes_in(remote) - before

    for command in (("init", "--no-scm"), ("remote", "add", "-d", "there", str(remote))):
        used(peer.program("dvc"), *command, "-q", environ=environ, folder=place)
    return grown


PEERS: dict[str, Callable[[Peer, Path], Grown]] = {"hf_xet": xet, "dvc": dvc}


def table_rows(bench: Bench, name: str, size: int) -> list[Row]:
    """The edits of one table."""
    count = max(1_000, size // _data.ROW_BYTES[name])
    table, other = _data.table(name, count), _data.table(name, count // 100, start=40_000_000)
    rows = []
    for number, (what, edit) in enumerate(EDITS.items()):
        edited = edit(table, other)
        versions = [written(bench.folder / f"{at}.parquet", each) for at, each in enumerate((table, edited))]
        row = bench.row(f"me/{name}{number}", BUILD, versions, versions)
        share = 100 * edited.column(ADDED).nbytes / MB / row["MB"] if what == "add a column" else 0.0
        most = max(row["up %"], row["down %"]) - share
        rows.append({"what": f"{name}: {what}", **row, **(at_most(most, BARS[what]) if what in BARS else {})})
    return rows


def written(path: Path, table: pa.Table) -> Path:
    """Write a table as the makers of hf_xet recommend it."""
    pq.write_table(table, path, compression="zstd", use_content_defined_chunking=True)
    return path


def raw_rows(bench: Bench, size: int) -> list[Row]:
    """A large text file, kept as it is, and a line more in its middle."""
    versions = [bench.folder / str(version) / "lines.txt" for version in range(2)]
    for path in versions:
        path.parent.mkdir()
    with versions[0].open("wb") as file:
        for _ in range(0, size, MB):
            file.write(os.urandom(MB // 2).hex().encode())
    with versions[0].open("rb") as old, versions[1].open("wb") as new:
        new.write(old.read(size // 2))
        new.write(b"one more line\n")
        while piece := old.read(MB):
            new.write(piece)
    row = bench.row("me/raw", BUILD_FILE, versions, versions)
    most = max(row["up %"], row["down %"])
    return [{"what": "a raw file: insert one line", **row, **at_most(most, BARS["insert one line"])}]


def version_rows(bench: Bench, name: str, size: int, count: int, registry: Path) -> list[Row]:
    """Many versions, each with 1 % of the rows of the one before replaced, at a place that moves."""
    rows = max(1_000, size // _data.ROW_BYTES[name])
    table, ref, hundredth = _data.table(name, rows), f"me/{name}_versions", rows // 100
    before, home = disk_bytes(registry), bench.folder / "versions"
    environ = {**bench.mine, "DATAPKG_HOME": str(home)}
    for number in range(count):
        at = (rows * (2 * number + 1) // (2 * count)) // hundredth * hundredth
        other = _data.table(name, hundredth, start=(50 + number) * 1_000_000)
        table = pa.concat_tables([table.slice(0, at), other, table.slice(at + hundredth)])
        path = written(bench.folder / "0.parquet", table)
        used(sys.executable, "-c", BUILD.format(ref=ref, path=path), environ=environ)
        used("datapkg", "push", ref, "-q", environ=environ)
    last = installed_bytes(ref, environ)
    at_registry = (disk_bytes(registry) - before) / last
    full = disk_bytes(home / "store") / last
    run("datapkg", "gc", "--yes", environ=environ)
    here = disk_bytes(home / "store") / last
    row = {"MB": last / MB, "registry ×": at_registry, "here before gc ×": full, "here ×": here}
    return [{"what": f"{name}: {count} versions", **row, **at_most(max(at_registry, here), DISK_BAR)}]


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
    chosen = options(__doc__, peers=True, mb=(2, 45, 350), raw_mb=(4, 100, 1_000), versions=(3, 20, 20))
    installed = {peer.name: peer for peer in peers(chosen, *PEERS)}
    rows: list[Row] = []
    with workplace() as (folder, environ), counted(environ["DATAPKG_REGISTRY"]) as wire:
        bench = Bench(folder, environ, wire, installed)
        for name in TABLES:
            rows += table_rows(bench, name, chosen.mb * MB)
        rows += raw_rows(bench, chosen.raw_mb * MB)
        rows += version_rows(bench, TABLES[0], chosen.mb * MB, chosen.versions, folder / "registry")
    report(chosen, rows, {name: peer.version for name, peer in installed.items()})


if __name__ == "__main__":
    main()
