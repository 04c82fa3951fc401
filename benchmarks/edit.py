"""What travels when ten files are added to a package of very many, and how long does it take?

Each file is a node and an object of its own. The registry is on this machine; each row is a new process.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from _bench import MB, Row, at_most, options, own_environ, report, used, workplace

from datapkg.format.manifest import FileNode, Manifest
from datapkg.home import Home
from datapkg.store.refs import Current, LogEvent

GROUPS = 1_000
BARS = {"MB sent": 1.0}
COUNTED = """
import json, time
from pathlib import Path
from datapkg.remote.session import Session
sessions, begin = [], Session.__init__
def noted(self, *values, **options):
    begin(self, *values, **options)
    sessions.append(self)
Session.__init__ = noted
import datapkg
start = time.perf_counter()
{code}
sent, received = (sum(getattr(each, name) for each in sessions) for name in ("sent_bytes", "received_bytes"))
Path(r"{told}").write_text(json.dumps([time.perf_counter() - start, sent, received]))
"""
PUSH = "datapkg.push('me/many')"
EDIT = """
with datapkg.edit("me/many") as draft:
    for number in range(10):
        draft["g{{}}/{name} {{}}.txt".format(number * 97 % {groups}, number)] = Path(r"{folder}") / f"{{number}}.txt"
"""


def main() -> None:
    chosen = options(__doc__, nodes=(10_000, 100_000, 1_000_000))
    with workplace() as (folder, environ):
        make(Home(environ), chosen.nodes)
        (folder / "files").mkdir()
        for number in range(10):
            (folder / "files" / f"{number}.txt").write_text(f"{number}\n" * 100)
        connection = {name: environ[name] for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN")}
        other = own_environ(folder / "other", **connection)
        places = [
            ("push all", environ, PUSH),
            ("add 10 files, from the home that has it", environ, edit(folder, chosen.nodes, "first")),
            ("add 10 files, from an empty home", other, edit(folder, chosen.nodes, "second")),
            ("add 10 files, from a home of one state before", environ, edit(folder, chosen.nodes, "third")),
        ]
        told = folder / "told.json"
        rows = [measured(f"{what}, {chosen.nodes:,} nodes", code, home, told) for what, home, code in places]
    report(chosen, rows)


def make(home: Home, count: int) -> None:
    """A package in the home, of that many files with bytes of their own, as a build of it would be kept."""
    home.store.prepare()
    bodies = [b"body %d\n" % number for number in range(count)]
    hashes = home.store.objects.put_many(bodies)
    manifest = Manifest.make(map(node, range(count), hashes, map(len, bodies)), {"title": "Many"})
    home.store.save(manifest)
    at = datetime.now(UTC).isoformat()
    home.store.refs.append_log("me", "many", LogEvent("build", manifest.hash, at))
    home.store.refs.set_current("me", "many", Current(manifest.hash, "local"))


def node(number: int, hash: str, size: int) -> FileNode:
    name = f"file {number}.jpg"
    return FileNode(
        path=f"g{number % GROUPS}/{name}", hash=hash, size=size, file_name=name, meta={"label": number % 10}
    )


def edit(folder: Path, nodes: int, name: str) -> str:
    return EDIT.format(folder=folder / "files", groups=min(GROUPS, nodes), name=name)


def measured(what: str, code: str, environ: dict[str, str], told: Path) -> Row:
    """A row of what a new process does; `told` is where it writes what it counted."""
    usage = used(sys.executable, "-c", COUNTED.format(code=code, told=told), environ=environ)
    taken, sent, received = json.loads(told.read_text())
    row = {"what": what, "seconds": taken, "CPU s": usage.cpu, "MB sent": sent / MB, "MB received": received / MB}
    bar = at_most(sent / MB, BARS["MB sent"]) if what.startswith("add") else {}
    return {**row, "peak MB": usage.peak / MB, **bar}


if __name__ == "__main__":
    main()
