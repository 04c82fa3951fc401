"""The graph of a log as text: one row for each state, drawn as `git log --graph` draws commits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class GraphRow(NamedTuple):
    """A state, the states that it was made from, and the entries of the log about it, newest first."""

    hash: str
    parents: tuple[str, ...]
    entries: tuple[dict[str, Any], ...]


def state_rows(entries: Sequence[dict[str, Any]]) -> list[GraphRow]:
    """Return the states in the entries of a log, newest first: one row for its build, push and installs.

    A state that was pushed again after another one has a row for each of these pushes. A row has the place of its
    oldest entry, since what was made from a state is younger than that.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for entry in reversed(entries):
        hash = entry["hash"]
        known = [key for key in groups if key[0] == hash]
        parents = tuple(each["hash"] for each in entry["parents"] if each["hash"] != hash)
        same = [key for key in known if not parents or not key[1] or set(key[1]) & set(parents)]
        if not same:
            groups[hash, parents] = [entry]
        elif len(parents) > len(same[-1][1]):  # a push may know more than the build
            groups = {(hash, parents) if key == same[-1] else key: value for key, value in groups.items()}
            groups[hash, parents].append(entry)
        else:
            groups[same[-1]].append(entry)
    return [GraphRow(hash, parents, tuple(reversed(found))) for (hash, parents), found in reversed(groups.items())]


def graph_lines(rows: Sequence[tuple[str, Sequence[str]]]) -> Iterator[tuple[str, int | None]]:
    """Yield the lines of a graph of (state, parents), children first: the text, and the number of its row.

    Lines between two states have no number.
    """
    lanes: list[str | None] = []
    for number, (state, parents) in enumerate(rows):
        at = lanes.index(state) if state in lanes else _free(lanes, 0)
        lanes[at] = state
        yield _joined(["*" if lane == at else "|" if each else " " for lane, each in enumerate(lanes)]), number
        lanes[at] = parents[0] if parents else None
        if lanes[at] and lanes.count(lanes[at]) > 1:
            left, right = (lane for lane, each in enumerate(lanes) if each == lanes[at])
            yield _edge(lanes, left, right, "/", ends=True), None
            lanes[right], at = None, left
        for parent in parents[1:]:
            if parent in lanes:
                to = lanes.index(parent)
            else:
                to = _free(lanes, at + 1)
                lanes[to] = None
            yield _edge(lanes, min(at, to), max(at, to), "\\" if to > at else "/", ends=lanes[to] is None), None
            lanes[to] = parent
        while lanes and lanes[-1] is None:
            lanes.pop()


def _free(lanes: list[str | None], start: int) -> int:
    """Return the first free lane from `start` on; it is added if all are used."""
    found = next((lane for lane in range(start, len(lanes)) if lanes[lane] is None), len(lanes))
    if found == len(lanes):
        lanes.append(None)
    return found


def _edge(lanes: list[str | None], left: int, right: int, stroke: str, *, ends: bool) -> str:
    """Return the line in which the lanes `left` and `right` are connected; the right one begins or ends there."""
    cells = ["|" if each else " " for each in lanes]
    if ends:
        cells[right] = " "
    between = [" "] * len(cells)
    between[left : right - 1] = ["_"] * (right - 1 - left)
    between[right - 1] = stroke
    return "".join(cell + gap for cell, gap in zip(cells, between, strict=True)).rstrip()


def _joined(cells: list[str]) -> str:
    return " ".join(cells).rstrip()
