"""How much of a Parquet file that another program wrote is transferred when it is read lazily?

The file has one large row group, or those that its writer makes, and is at a registry on this machine; each row is a
new process with an empty home.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
from _bench import MB, Row, at_most, options, own_environ, report, run, workplace
from lazy import connection

WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "pandas": lambda frame, path: frame.to_parquet(path, row_group_size=len(frame)),
    "pandas, page index": lambda frame, path: frame.to_parquet(path, row_group_size=len(frame), write_page_index=True),
    "polars": lambda frame, path: pl.from_pandas(frame).write_parquet(path, row_group_size=len(frame)),
    "duckdb": lambda frame, path: duckdb.sql("SELECT * FROM frame").write_parquet(str(path)),
}
ASKED = {
    "head(5)": "table.head(5)",
    "ten rows by a filter of a sorted column": "table(filters=[('key', '>=', {middle}), ('key', '<', {middle} + 10)])",
    "ten rows in the middle": "table(rows=slice({middle}, {middle} + 10))",
}
CODE = """
import json, time, datapkg
table = datapkg.open("me/{name}").table
start = time.perf_counter()
{asked}
taken = time.perf_counter() - start
print(json.dumps([taken, table.__source__.through._theirs._session.received_bytes, table.size]))
"""
BAR = 20.0  # percent of the file, where pages can be chosen: large pages of eight columns and their dictionaries


def main() -> None:
    chosen = options(__doc__, rows=(200_000, 2_000_000, 4_000_000))
    random = np.random.default_rng(1)
    values = {f"v{at}": random.standard_normal(chosen.rows) for at in range(6)}
    text = pd.Series(random.integers(0, 10**12, chosen.rows)).astype(str)
    frame = pd.DataFrame({"key": np.arange(chosen.rows), **values, "text": text})
    rows: list[Row] = []
    with workplace() as (folder, environ):
        for number, (writer, write) in enumerate(WRITERS.items()):
            source = folder / f"source{number}"
            source.mkdir()
            write(frame, source / "table.parquet")
            run("datapkg", "build", f"me/p{number}", str(source), environ=environ)
            run("datapkg", "push", f"me/p{number}", environ=environ)
            for what, asked in ASKED.items():
                home = own_environ(folder / f"reader{number}{len(rows)}", **connection(environ))
                code = CODE.format(name=f"p{number}", asked=asked.format(middle=chosen.rows // 2))
                taken, received, size = json.loads(run(Path(sys.executable).name, "-c", code, environ=home))
                share = 100 * received / size
                has_bar = chosen.size != "tiny" and (writer != "pandas" or what == "head(5)")
                bar = at_most(share, BAR) if has_bar else {}
                measured = {"seconds": taken, "MB received": received / MB, "% of the file": share}
                rows.append({"what": f"{writer}: {what}", **measured, **bar})
    report(chosen, rows)


if __name__ == "__main__":
    main()
