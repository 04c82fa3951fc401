"""How fast does a table become CSV again, with how much memory?

`export` reads the text back and compares it with the table; `cat` does not. Both run in their own process, and the
seconds include its start.
"""

from __future__ import annotations

from pathlib import Path

import _data
from _bench import MB, Row, fresh, middle, options, own_environ, report, run, scratch, used


def rows_of(name: str, mb: int, rounds: int, folder: Path) -> list[Row]:
    """Build a table from a CSV of this size, and return the row of each command."""
    csv, out = folder / f"{name}.csv", folder / "out"
    _data.write_csv(csv, name, mb * MB)
    environ = own_environ(folder / "home")
    run("datapkg", "build", "me/text", str(csv), "-q", environ=environ)
    csv.unlink()
    found = []
    for command in (["cat", f"me/text/{name}"], ["export", f"me/text/{name}", str(out / csv.name)]):
        usages = []
        for _ in range(rounds):
            fresh(out)
            usages.append(used("datapkg", *command, environ=environ))
        usage = middle(usages)
        speed = {"MB/s": mb / usage.seconds, "MB / CPU s": mb / usage.cpu}
        found.append({"what": f"{command[0]} {name}", **usage.row(), **speed})
    return found


def main() -> None:
    chosen = options(__doc__, mb=(1, 50, 1_000), rounds=(1, 1, 3))
    rows: list[Row] = []
    for name in _data.TABLES:
        with scratch() as folder:
            rows += rows_of(name, chosen.mb, chosen.rounds, folder)
    report(chosen, rows)


if __name__ == "__main__":
    main()
