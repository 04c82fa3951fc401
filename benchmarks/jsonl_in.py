"""How fast does a file of JSON lines become a package, with how much memory: flat records, and with nested values?"""

from __future__ import annotations

import json
from pathlib import Path

import _data
from _bench import MB, Row, fresh, middle, options, own_environ, report, scratch, used

# Both have integers, floats, text and times; `visits` has structs and lists too.
TABLES = ("trips", "visits")


def write_jsonl(path: Path, name: str, size: int) -> None:
    """Write whole rows of a table, one object a line, until the file has at least `size` bytes."""
    with open(path, "w") as file:
        for part in _data.parts(name, size):
            for batch in part.to_batches(10_000):
                file.writelines(json.dumps(row, default=str) + "\n" for row in batch.to_pylist())
                if file.tell() >= size:
                    return


def rows_of(name: str, mb: int, rounds: int, folder: Path) -> Row:
    """Return the row of a build of this table."""
    source, home = folder / f"{name}.jsonl", folder / "home"
    write_jsonl(source, name, mb * MB)
    usages = []
    for _ in range(rounds):
        fresh(home)
        usages.append(used("datapkg", "build", "me/lines", source, "-q", environ=own_environ(home)))
    usage, size = middle(usages), source.stat().st_size / MB
    return {"what": f"build {name}", **usage.row(), "MB/s": size / usage.seconds, "MB / CPU s": size / usage.cpu}


def main() -> None:
    chosen = options(__doc__, mb=(1, 50, 300), rounds=(1, 1, 3))
    rows = []
    for name in TABLES:
        with scratch() as folder:
            rows.append(rows_of(name, chosen.mb, chosen.rounds, folder))
    report(chosen, rows)


if __name__ == "__main__":
    main()
