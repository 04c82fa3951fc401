"""How long does it take to build, push, install and load many small tables?"""

from __future__ import annotations

import os

import _data
from _bench import Row, at_most, options, report, used, workplace

LOAD_ALL = """
import datapkg
frames = [node() for _, node in datapkg.walk(datapkg.load("me/many")) if datapkg.kind(node) == "table"]
assert len(frames) == {count}, len(frames)
"""


def main() -> None:
    chosen = options(__doc__, tables=(5, 100, 100), rows=(100, 1_000, 1_000))
    with workplace() as (folder, environ):
        source = folder / "many"
        source.mkdir()
        for number in range(chosen.tables):
            part = _data.TABLES["trips"](number, chosen.rows)
            (source / f"table{number:04}.csv").write_bytes(_data.csv_bytes(part, header=True))
        elsewhere = {**environ, "DATAPKG_HOME": str(folder / "second")}

        def took(what: str, bar: float, environ: dict[str, str], *command: str) -> Row:
            os.sync()
            usage = used(*command, environ=environ)
            return {"what": what, **usage.row(), **at_most(usage.seconds, bar)}

        rows = [
            took("build", 0.9, environ, "datapkg", "build", "me/many", str(source), "-q"),
            took("push", 0.4, environ, "datapkg", "push", "me/many", "-q"),
            took("install elsewhere", 0.4, elsewhere, "datapkg", "install", "me/many", "-q"),
            took("load all", 0.9, elsewhere, "python", "-c", LOAD_ALL.format(count=chosen.tables)),
        ]
    report(chosen, rows)


if __name__ == "__main__":
    main()
