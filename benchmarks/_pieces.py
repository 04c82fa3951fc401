"""Benchmarks that take long: their results are stored row by row, and a run can continue or repeat some of the rows."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from _bench import Row, report, results_file


@dataclass(frozen=True)
class Piece:
    """Rows that are measured together: their titles in order, and how those are measured that are wanted."""

    titles: list[str]
    rows: Callable[[list[str]], Iterator[Row]]


def measure(chosen: argparse.Namespace, pieces: Iterable[Piece], versions: Mapping[str, str]) -> None:
    """Measure the rows that match `--only`, with `--resume` those that have no result; store each once it is known.

    Without these options, all rows are measured and no earlier result is kept.
    """
    pieces = list(pieces)
    path = results_file(chosen)
    stored = json.loads(path.read_text())["rows"] if (chosen.only or chosen.resume) and path.exists() else []
    found = {row["what"]: row for row in stored}
    titles = [title for piece in pieces for title in piece.titles]
    for piece in pieces:
        asked = [title for title in piece.titles if re.search(chosen.only, title)]
        wanted = [title for title in asked if not (chosen.resume and title in found)]
        for row in piece.rows(wanted) if wanted else ():
            found[row["what"]] = row
            report(chosen, [found[title] for title in titles if title in found], versions, shown=[row])
