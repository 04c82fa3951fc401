"""Carry checks from one state of a package to the next, and run those whose results may have changed.

A result depends on the check, the table, and for `foreign_key` the other table. If none of them changed, the earlier
result is kept and nothing is read. If rows were only appended, rules about single rows check only the new blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from datapkg.building.checks.definitions import Entry, definition_of, read_definition
from datapkg.building.checks.report import recorded
from datapkg.building.checks.run import Asked, CheckResult, run_asked
from datapkg.building.checks.sql_text import is_of_one_row
from datapkg.building.spec.model import Check
from datapkg.format.manifest.parsed import Manifest, Node, TableNode
from datapkg.objects.base import Readable

Get = Callable[[str], Node | None]

NOT_RUN = "not run, because of --no-checks"
UNKNOWN = "its definition is not recorded; build the package again to have it checked"
PYTHON = "python checks are run by `build` and `sync` alone"
_OF_ROWS = {"not_null", "min", "max", "between", "regex", "isin", "type", "foreign_key"}


@dataclass(frozen=True)
class CarriedCheck:
    """A check of the table at `path`; `check` is None if it cannot be run, and `why` is the reason.

    `entry` is its result in the record of an earlier state, and `seen` are the tables that it was run on: the one at
    the path, then that of each foreign key. `keys` are the current paths of the latter, each with the column.
    """

    path: str
    name: str
    definition: str
    check: Check | None
    why: str = ""
    entry: Entry = field(default_factory=dict)
    seen: tuple[TableNode | None, ...] = ()
    keys: tuple[tuple[str, str], ...] = ()

    def moved(self, old: str, new: str) -> CarriedCheck:
        """Return the check after the node or group `old` was renamed to `new`."""
        keys = tuple((moved_path(path, old, new), column) for path, column in self.keys)
        return replace(self, path=moved_path(self.path, old, new), keys=keys)

    @property
    def now(self) -> Check | None:
        """Return the check with the current paths of its foreign keys."""
        if self.check is None or not self.keys:
            return self.check
        ((path, column),) = self.keys
        return replace(self.check, rules={**self.check.rules, "foreign_key": f"{path}.{column}"})


def moved_path(path: str, old: str, new: str) -> str:
    """Return a path after the node or group `old` was renamed to `new`."""
    return new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path


def carried_checks_of(entries: Iterable[Entry], get: Get) -> list[CarriedCheck]:
    """Return the checks in the record of a state; `get` returns the nodes of that state."""
    found = []
    for entry in entries:
        table = get(entry["path"])
        text = entry.get("definition", "")
        check = read_definition(entry["check"], text) if text else None
        why = "" if check else PYTHON if "python:" in text else UNKNOWN
        demand = CarriedCheck(entry["path"], entry["check"], text, check, why, entry, (_table(table),))
        found.append(_with_keys(demand, get))
    return found


def asked_for(checks: Iterable[Check], path: str, earlier: Iterable[CarriedCheck], get: Get) -> list[CarriedCheck]:
    """Return a build file's checks for the table at a path, each with the earlier result of the same check."""
    known = {(each.name, each.definition): each for each in earlier if each.path == path}
    found = []
    for check in checks:
        text = definition_of(check)
        demand = _with_keys(CarriedCheck(path, check.name, text, check), get)
        before = known.get((check.name, text))
        found.append(replace(demand, entry=before.entry, seen=before.seen) if before else demand)
    return found


def _with_keys(demand: CarriedCheck, get: Get) -> CarriedCheck:
    reference = demand.check.rules.get("foreign_key") if demand.check else None
    other = find_column(reference, get) if reference else None
    if other is None:
        return replace(demand, seen=(*demand.seen, None)) if reference else demand
    table, column = other
    return replace(demand, seen=(*demand.seen, table), keys=((table.path, column),))


def find_column(reference: str, get: Get) -> tuple[TableNode, str] | None:
    """Return the table and the column that `node.column` names; None if there is none. Both names may contain dots."""
    parts = reference.split(".")
    for at in range(1, len(parts)):
        node, column = get(".".join(parts[:at])), ".".join(parts[at:])
        if isinstance(node, TableNode) and any(column == name for name, _ in node.columns):
            return node, column
    return None


def below(check: Check, prefix: str) -> Check:
    """Return the check of a package that is merged below a group."""
    reference = check.rules.get("foreign_key")
    if not prefix or not reference:
        return check
    return replace(check, rules={**check.rules, "foreign_key": f"{prefix}{reference}"})


@dataclass
class Tried:
    """The results of carried checks in a state: the entries for its record, and the results of those run now.

    `skipped` are the checks of changed tables that were not run, with the reason.
    """

    entries: list[Entry]
    results: list[CheckResult]
    skipped: list[tuple[CarriedCheck, str]]


def run_carried_checks(
    demands: Iterable[CarriedCheck], manifest: Manifest, objects: Readable, *, run: bool = True
) -> Tried:
    """Run the checks on the tables of a state; with `run` false, checks that would read data are recorded as skipped.

    Checks of paths that are not tables in this state are dropped.
    """
    entries: list[Entry | None] = []  # None for checks to be run
    asked: list[Asked] = []
    skipped: list[tuple[CarriedCheck, str]] = []
    for demand in demands:
        table = manifest.get(demand.path)
        if not isinstance(table, TableNode):
            continue
        tables = (table, *(_table(manifest.get(path)) for path, _ in demand.keys))
        check = demand.now
        if demand.entry and _same(demand.seen, tables):
            text = definition_of(check) if check is not None and demand.keys else demand.definition
            entry = {**demand.entry, "path": demand.path}
            entries.append({**entry, "definition": text} if text else entry)
        elif check is None or not run:
            reason = NOT_RUN if check is not None else demand.why
            skipped.append((demand, reason))
            entries.append(_skipped(demand, table, reason))
        else:
            asked.append(Asked(table, check, _known_blocks(demand, check, tables)))
            entries.append(None)
    results = run_asked(asked, manifest, objects)
    found = {(each.path, id(each.check)): each for each in results}
    new = iter(recorded(found[each.table.path, id(each.check)] for each in asked))
    return Tried([each or next(new) for each in entries], results, skipped)


def _skipped(demand: CarriedCheck, table: TableNode, reason: str) -> Entry:
    entry: Entry = {"path": demand.path, "check": demand.name, "outcome": "skipped", "rows": table.rows, "why": reason}
    return {**entry, "definition": demand.definition} if demand.definition else entry


def _table(node: Node | None) -> TableNode | None:
    return node if isinstance(node, TableNode) else None


def _same(before: tuple[TableNode | None, ...], now: tuple[TableNode | None, ...]) -> bool:
    pairs = zip(before, now, strict=False)
    is_same = all(old is not None and new is not None and old.content == new.content for old, new in pairs)
    return len(before) == len(now) and is_same


def _known_blocks(demand: CarriedCheck, check: Check, now: tuple[TableNode | None, ...]) -> int:
    """Return how many of the table's first blocks contain only rows that passed before."""
    old, new = (demand.seen[0] if demand.seen else None), now[0]
    if old is None or new is None or demand.entry.get("outcome") != "ok" or old.columns != new.columns:
        return 0
    if not _same(demand.seen[1:], now[1:]) or not all(_is_of_rows(*rule) for rule in check.rules.items()):
        return 0
    return sum(1 for _ in _common(old, new))


def _common(old: TableNode, new: TableNode) -> Iterator[str]:
    # Never all blocks: the schema of the columns is read from the first one that is left.
    for before, after in zip(old.blocks, new.blocks[:-1], strict=False):
        if before.hash != after.hash:
            return
        yield before.hash


def _is_of_rows(kind: str, argument: Any) -> bool:
    return kind in _OF_ROWS or (kind == "sql" and is_of_one_row(argument))
