"""How much of a package is transferred, and how soon, when it is read lazily?

A table of 20 columns and a folder of small files are at a registry on this machine; each row is a new process with an
empty home.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from _bench import MB, Row, at_most, options, own_environ, report, run, workplace

COLUMNS = 20
ASKED = {
    "import alone": "shape = package.table.shape",
    "one column of 20": "package.table['c03']",
    "ten rows by a filter": "package.table(filters=[('c00', '<', 10)], columns=['c00', 'c01'])",
    "the last 1,000 rows": "package.table(rows=slice(-1000, None))",
    "all of the table": "package.table()",
    "one file of all": "package.files['7.txt'].read_text()",
}
BARS = {"import alone": 0.0, "one column of 20": 10.0}
CODE = """
import json, time
start = time.perf_counter()
from datapkg.data.me import wide as package
imported = time.perf_counter()
{asked}
through = package.__source__.through
received = 0 if through._theirs is None else through._theirs._session.received_bytes
print(json.dumps([imported - start, time.perf_counter() - imported, received, package.table.size]))
"""


def main() -> None:
    chosen = options(__doc__, rows=(20_000, 300_000, 2_000_000), files=(10, 10_000, 10_000))
    with workplace() as (folder, environ):
        publish(folder, environ, chosen.rows, chosen.files)
        rows: list[Row] = []
        for number, (what, asked) in enumerate(ASKED.items()):
            home = own_environ(folder / f"reader{number}", DATAPKG_LAZY="1", **connection(environ))
            output = run(Path(sys.executable).name, "-c", CODE.format(asked=asked), environ=home)
            imported, read, received, size = json.loads(output)
            share = 100 * received / size
            bar = at_most(share, BARS[what]) if what in BARS else {}
            measured = {"import s": imported, "read s": read, "MB received": received / MB, "% of the table": share}
            rows.append({"what": what, **measured, **bar})
    report(chosen, rows)


def connection(environ: dict[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN")}


def publish(folder: Path, environ: dict[str, str], rows: int, files: int) -> None:
    """Build and push the package; its first column is increasing."""
    source = folder / "wide"
    (source / "files").mkdir(parents=True)
    random = np.random.default_rng(1)
    frame = pd.DataFrame({f"c{at:02}": random.standard_normal(rows).round(6) for at in range(1, COLUMNS)})
    frame.insert(0, "c00", np.arange(rows))
    frame.to_csv(source / "table.csv", index=False)
    for number in range(files):
        (source / "files" / f"{number}.txt").write_text(f"{number}\n" * 100)
    run("datapkg", "build", "me/wide", str(source), environ=environ)
    run("datapkg", "push", "me/wide", environ=environ)


if __name__ == "__main__":
    main()
