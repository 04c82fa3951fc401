"""Write the figures of the full benchmarks into the documents, between the lines that mark their place.

They come only from benchmarks/results/full, so every figure in a document was printed by `make bench SIZE=full`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from _bench import RESULTS, shown

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "DEVELOPING.md", ROOT / "docs" / "speed.md")
PLACE = re.compile(r'(<!-- bench: ([a-z_]+) (?:"([^"\n]*)" )?([^>"]*?) -->\n).*?(<!-- /bench -->)', re.DOTALL)


def filled(text: str) -> str:
    """Return a page with its figures; a place names a benchmark, if not all rows a pattern of titles, and columns."""
    return PLACE.sub(lambda found: found[1] + table(found[2], found[3] or "", found[4].split(", ")) + found[5], text)


def table(name: str, pattern: str, columns: list[str]) -> str:
    """Return these columns of the rows of one benchmark whose titles match, as Markdown."""
    rows = json.loads((RESULTS / "full" / f"{name}.json").read_text())["rows"]
    rows = [row for row in rows if re.search(pattern, row["what"]) and any(column in row for column in columns)]
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {row['what']} | " + " | ".join(shown(row.get(column, "")) for column in columns) + " |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    for page in map(Path, sys.argv[1:] or PAGES):
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
