"""Run checks on built tables, in one pass over the columns that they need, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from datapkg.building.checks.finding import SAMPLE_ROWS, Finding, python_value, short
from datapkg.building.spec.model import Check, NodeSpec
from datapkg.building.spec.rule_schema import TYPES
from datapkg.errors import NodeNotFound
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.texts import listed
from datapkg.objects.base import Readable
from datapkg.objects.progress import CHECKING, PartCounter, Progress, silent

if TYPE_CHECKING:
    from datapkg.building.checks.columns import CheckedColumn
    from datapkg.building.checks.rules import Test


# Rules that read the table on their own.
_ROW_RULES = frozenset({"sql", "python"})


@dataclass
class CheckResult:
    """The findings of one check in one table; `rows` is the table's number of rows."""

    path: str
    check: Check
    rows: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """Return ok, failed or warned."""
        if not self.findings:
            return "ok"
        return "warned" if self.check.severity == "warn" else "failed"


@dataclass(frozen=True)
class Asked:
    """A check to run on a table; the rows of its first `after` blocks are known to pass."""

    table: TableNode
    check: Check
    after: int = 0


def run_checks(
    nodes: Iterable[NodeSpec], manifest: Manifest, objects: Readable, progress: Progress = silent
) -> list[CheckResult]:
    """Run the checks of all nodes on the tables built from them; return all results."""
    asked = [
        Asked(table, check)
        for spec in nodes
        if spec.checks
        for table in tables_at(manifest, spec.path)
        for check in spec.checks
    ]
    return run_asked(asked, manifest, objects, progress)


def run_asked(
    asked: Iterable[Asked], manifest: Manifest, objects: Readable, progress: Progress = silent
) -> list[CheckResult]:
    """Run checks on tables of a manifest, in one pass over each; return the results, grouped by table."""
    together: dict[tuple[str, int], list[Asked]] = {}
    for each in asked:
        together.setdefault((each.table.path, each.after), []).append(each)
    # Before the imports, which load pyarrow: a build in which nothing changed does without.
    if not together:
        return []
    from datapkg.building.checks.columns import TableSet

    tables = TableSet(manifest, objects)
    results = []
    sizes = [sum(block.size for block in some[0].table.blocks[after:]) for (_, after), some in together.items()]
    counter = PartCounter(progress, sizes, (CHECKING, CHECKING))
    for number, ((_, after), some) in enumerate(together.items()):
        table, checks = some[0].table, [each.check for each in some]
        apart = sum(len(check.rules.keys() & _ROW_RULES) for check in checks)
        tables.report(table.path, counter.share(number), passes=apart + 1)
        results += _of_table(table, checks, tables.columns(table, after))
        counter.share(number)(1)
    return results


def tables_at(manifest: Manifest, path: str) -> list[TableNode]:
    """Return the table at a path, or those below it: one source may become several."""
    try:
        return [node for node in manifest.below(path) if isinstance(node, TableNode)]
    except NodeNotFound:
        return []


def _of_table(table: TableNode, checks: Iterable[Check], columns: list[CheckedColumn]) -> list[CheckResult]:
    results = [CheckResult(table.path, check, table.rows) for check in checks]
    watches = [watch for result in results for watch in _watches(result, columns)]
    if watches:
        indices = list(dict.fromkeys(watch.column.index for watch in watches))
        first = columns[0].first_row
        for values in columns[0].tables.pieces(columns[0].node, indices):
            for watch in watches:
                watch.see(values[indices.index(watch.column.index)], first)
            first += len(values[0])
    for watch in watches:
        if watch.finding.rows:
            watch.result.findings.append(watch.finding)
    return results


def _watches(result: CheckResult, columns: list[CheckedColumn]) -> Iterator[_Watch]:
    """Yield a watch for each rule and column that needs the rows; other findings are added to the result at once."""
    check = result.check
    chosen = columns if check.columns is None else [each for each in columns if each.name in check.columns]
    for name in check.columns or ():
        if all(each.name != name for each in columns):
            _note(result, "column", name, f"there is no such column; there are {_listed(columns)}")
    for kind, argument in check.rules.items():
        if kind == "row_count":
            if problem := _row_count_problem(result.rows, *argument):
                _note(result, kind, "", problem)
        elif kind == "type":
            for column in chosen:
                if not any(_is_of(column.type_text, name) for name in argument):
                    _note(result, kind, column.name, f"is {column.type_text}, expected {' or '.join(argument)}")
        elif kind in _ROW_RULES:
            _of_rows(result, kind, argument, columns, chosen if check.columns is not None else [])
        else:
            yield from _row_watches(result, kind, argument, chosen)


def _of_rows(
    result: CheckResult, kind: str, argument: Any, columns: list[CheckedColumn], chosen: list[CheckedColumn]
) -> None:
    """Run a check of whole rows, which reads the table on its own, and add its findings to the result."""
    from datapkg.building.checks import python_rule, sql_rule
    from datapkg.building.checks.columns import Unfit

    find = sql_rule.find if kind == "sql" else python_rule.find
    try:
        result.findings += find(argument, columns, chosen)
    except Unfit as reason:
        _note(result, kind, "", f"`{kind}` cannot be checked: {reason}")


def _row_watches(result: CheckResult, kind: str, argument: Any, columns: list[CheckedColumn]) -> Iterator[_Watch]:
    """Yield the watches of a rule; a check without columns applies to all that it fits, of which there must be one."""
    from datapkg.building.checks.columns import Unfit
    from datapkg.building.checks.rules import RULES

    fitting = 0
    for column in columns:
        try:
            test = _nothing if _is_empty(column) and kind != "not_null" else RULES[kind].make(argument, column)
        except Unfit as reason:
            if result.check.columns is not None:
                _note(result, kind, column.name, f"`{kind}` cannot be checked: {reason}")
            continue
        fitting += 1
        yield _Watch(result, column, test, Finding(kind, column.name, RULES[kind].describe(argument)))
    if not fitting and result.check.columns is None:
        _note(result, kind, "", f"`{kind}` fits none of the columns; there are {_listed(columns)}")


@dataclass
class _Watch:
    """One rule applied to one column."""

    result: CheckResult
    column: CheckedColumn
    test: Test
    finding: Finding

    def see(self, values: Any, first: int) -> None:
        """Test the next values, of which the first has the row number `first`."""
        wrong = self.test(values).nonzero()[0]
        self.finding.rows += len(wrong)
        for at in wrong[: SAMPLE_ROWS - len(self.finding.samples)]:
            self.finding.samples.append((first + int(at), short(python_value(values[int(at)]))))


def _nothing(values: Any) -> Any:
    import numpy

    return numpy.zeros(len(values), dtype=numpy.bool_)


def _is_empty(column: CheckedColumn) -> bool:
    return column.type_text == "null"


def _note(result: CheckResult, kind: str, column: str, text: str) -> None:
    result.findings.append(Finding(kind, column, text))


def _row_count_problem(rows: int, fewest: int, most: int | None) -> str:
    if fewest <= rows and (most is None or rows <= most):
        return ""
    wanted = (
        f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}" if most is not None else f"{fewest:,} or more"
    )
    return f"has {rows:,} rows, expected {wanted}"


def _is_of(type_text: str, name: str) -> bool:
    return type_text == name or type_text.startswith(TYPES.get(name, ()))


def _listed(columns: list[CheckedColumn]) -> str:
    return listed([each.name for each in columns], 20)
