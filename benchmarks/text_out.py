"""How fast does a table become CSV again, with how much memory?

`export` proves that the text reads back equal; `cat` does not. Beside them, pyarrow and pandas write the same table
from one Parquet file. Each runs in its own process, and the seconds include its start.
"""

from __future__ import annotations

import sys
from pathlib import Path

import _data
from _bench import MB, Row, fresh, middle, options, own_environ, report, run, scratch, used

READ = "import sys, pyarrow.parquet; table = pyarrow.parquet.read_table(sys.argv[1]); "
PEERS = {
    "pyarrow": READ + "import pyarrow.csv; pyarrow.csv.write_csv(table, sys.argv[2])",
    "pandas": READ + "table.to_pandas().to_csv(sys.argv[2], index=False)",
}
# Text has no form for nested values.
TABLES = [name for name in _data.TABLES if name != "visits"]


def rows_of(name: str, mb: int, rounds: int, folder: Path) -> list[Row]:
    """Build a table from a CSV of this size, and return the row of each command."""
    csv, out = folder / f"{name}.csv", folder / "out"
    _data.write_csv(csv, name, mb * MB)
    environ = own_environ(folder / "home")
    run("datapkg", "build", "me/text", str(csv), "-q", environ=environ)
    csv.unlink()
    parquet = folder / f"{name}.parquet"
    run("datapkg", "export", f"me/text/{name}", str(parquet), environ=environ)
    commands = {each: ["datapkg", each, f"me/text/{name}"] for each in ("cat", "export")}
    commands["export"].append(str(out / csv.name))
    commands |= {peer: [sys.executable, "-c", code, str(parquet), str(out / csv.name)] for peer, code in PEERS.items()}
    found = []
    for what, command in commands.items():
        usages = []
        for _ in range(rounds):
            fresh(out)
            usages.append(used(*command, environ=environ))
        usage = middle(usages)
        speed = {"MB/s": mb / usage.seconds, "MB / CPU s": mb / usage.cpu}
        found.append({"what": f"{what} {name}", **usage.row(), **speed})
    return found


def main() -> None:
    chosen = options(__doc__, mb=(1, 50, 300), rounds=(1, 1, 1))
    rows: list[Row] = []
    for name in TABLES:
        with scratch() as folder:
            rows += rows_of(name, chosen.mb, chosen.rounds, folder)
    report(chosen, rows)


if __name__ == "__main__":
    main()
