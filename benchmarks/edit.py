"""How much is transferred when ten files are added to a package of very many, and how long does it take?

Each file is a separate node and object. The registry is on this machine; each row is a new process.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from _bench import Row, at_most, options, own_environ, report, workplace
from _traffic import traffic

from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.refs import Current, LogEvent

GROUPS = 1_000
BARS = {"MB sent": 1.0}
PUSH = "datapkg.push('me/many')"
EDIT = """
from pathlib import Path
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
        rows = [measured(f"{what}, {chosen.nodes:,} nodes", code, home) for what, home, code in places]
    report(chosen, rows)


def make(home: Home, count: int) -> None:
    """Store a package of that many distinct files in the home, as a build of it would."""
    home.store.prepare()
    bodies = [b"body %d\n" % number for number in range(count)]
    hashes = home.store.objects.put_many(bodies)
    manifest = Manifest.make(map(node, range(count), hashes, map(len, bodies)), {"title": "Many"})
    home.store.save(manifest)
    at = datetime.now(UTC).isoformat()
    home.store.refs.append_log(Ref("me", "many"), LogEvent("build", manifest.hash, at))
    home.store.refs.set_current(Ref("me", "many"), Current(manifest.hash, "local"))


def node(number: int, hash: str, size: int) -> FileNode:
    name = f"file {number}.jpg"
    return FileNode(
        path=f"g{number % GROUPS}/{name}", hash=hash, size=size, file_name=name, meta={"label": number % 10}
    )


def edit(folder: Path, nodes: int, name: str) -> str:
    return EDIT.format(folder=folder / "files", groups=min(GROUPS, nodes), name=name)


def measured(what: str, code: str, environ: dict[str, str]) -> Row:
    row = traffic(code, environ)
    return {"what": what, **row, **(at_most(row["MB sent"], BARS["MB sent"]) if what.startswith("add") else {})}


if __name__ == "__main__":
    main()
