"""How long does it take to import a package of very many nodes, and to access one of them?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from _bench import Row, at_most, options, own_environ, report, run, scratch, seconds

from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.refs import Current

IMPORT = "from datapkg.data.me import {} as p"
TOUCH = {
    'p["group/file"]': "; p['g7/file 7.jpg']",
    "p.group, its len and a file": "; len(p.g7); p.g7.file_7_jpg",
    "repr(p)": "; repr(p)",
    "to_frame()": "; p.to_frame()",
}
GROUPS = 1_000


def nodes(count: int) -> Iterator[FileNode]:
    for number in range(count):
        name = f"file {number}.jpg"
        hash = f"{number:016x}" * 4
        path = f"g{number % min(GROUPS, count)}/{name}"
        yield FileNode(path=path, hash=hash, size=number, file_name=name, meta={"label": number % 10})


def make(home: Home, name: str, count: int) -> None:
    """Store a package in the home, of which only the manifest is present."""
    manifest = Manifest.make(nodes(count), {"title": "Many"})
    home.store.prepare()
    home.store.save(manifest)
    home.store.refs.set_current(Ref("me", name), Current(manifest.hash, "local"))


def main() -> None:
    chosen = options(__doc__, repeats=(1, 7, 15), some=(100, 10_000, 10_000), many=(1_000, 1_000_000, 1_000_000))
    python = Path(sys.executable).name
    rows: list[Row] = []
    with scratch() as folder:
        environ = own_environ(folder / "home")
        home = Home(environ)

        def took(code: str, repeats: int = chosen.repeats) -> float:
            return 1000 * seconds(lambda: run(python, "-c", code, environ=environ), repeats)

        bare = took("pass")
        rows.append({"what": "python -c pass", "ms": bare})
        for name, count, bars in (("some", chosen.some, (25, None)), ("many", chosen.many, (25, 150))):
            make(home, name, count)
            start = IMPORT.format(name)
            over = took(start) - bare
            rows.append({"what": f"import, {count:,} nodes, over it", "ms": over, **at_most(over, bars[0])})
            first = took(start + next(iter(TOUCH.values())), 1) - bare
            rows.append({"what": f"import and the first touch ever, {count:,} nodes", "ms": first})
            for what, code in TOUCH.items():
                over = took(start + code, chosen.repeats if "frame" not in what else 1) - bare
                bar = at_most(over, bars[1]) if bars[1] and "frame" not in what else {}
                rows.append({"what": f"import and {what}, {count:,} nodes", "ms": over, **bar})
    report(chosen, rows)


if __name__ == "__main__":
    main()
