"""Format the results of checks: the error of a build, its warnings, and its record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from datapkg.building.checks.definitions import definition_of
from datapkg.building.checks.finding import Finding
from datapkg.building.checks.run import CheckResult
from datapkg.errors import CheckFailed
from datapkg.format.texts import first_lines

_SHOWN = 50


_HINT = "correct the data or the check; `severity: warn` lets it pass with a warning"


def raise_failed(results: Iterable[CheckResult], hint: str = _HINT) -> None:
    """Raise `CheckFailed` with all failed checks of all nodes, if there are any."""
    failed = [result for result in results if result.outcome == "failed"]
    if not failed:
        return
    lines = [f"Data check failed: {line}" for result in failed for line in _lines(result)]
    raise CheckFailed(
        "\n".join(first_lines(lines, _SHOWN)),
        hint=hint,
        checks=[{**_recorded(result), "place": result.check.place, "found": _found(result)} for result in failed],
    )


def warnings_of(results: Iterable[CheckResult]) -> list[str]:
    """Return a line for each finding of checks with severity `warn`."""
    return [f"Data check: {line}" for result in results if result.outcome == "warned" for line in _lines(result)]


def recorded(results: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Return the entries for a build record: definition, outcome and counts of each check of each table.

    They contain no values of the data except those that the definition names.
    """
    return [{**_recorded(result), "definition": definition_of(result.check)} for result in results]


def report_lines(result: CheckResult) -> dict[str, Any]:
    """Return all details of a result, for JSON output."""
    entry = {"severity": result.check.severity, "place": result.check.place, "found": _found(result)}
    return {**_recorded(result), **entry, "lines": [_sentence(result, each) for each in result.findings]}


def _recorded(result: CheckResult) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": result.path, "check": result.check.name, "outcome": result.outcome}
    entry |= {"rows": result.rows}
    return {**entry, "wrong": sum(each.rows for each in result.findings)} if result.findings else entry


def _found(result: CheckResult) -> list[dict[str, Any]]:
    return [
        {"kind": each.kind, "column": each.column, "rows": each.rows, "samples": [list(pair) for pair in each.samples]}
        for each in result.findings
    ]


def _lines(result: CheckResult) -> list[str]:
    return [f"{result.check.name}: {_sentence(result, each)}" for each in result.findings]


def _sentence(result: CheckResult, finding: Finding) -> str:
    """Return a line such as `measurements.sepal_length: 2 of 150 rows are below 4.3; row 14: 4.2, row 39: 4.1`."""
    place = f"{result.path}.{finding.column}" if finding.column else result.path
    if not finding.rows:
        return f"{place}: {finding.text}"
    verb = finding.verb[finding.rows != 1]
    samples = ", ".join(f"row {row}: {value}" if value else f"row {row}" for row, value in finding.samples)
    rest = " …" if finding.rows > len(finding.samples) else ""
    return f"{place}: {finding.rows:,} of {result.rows:,} rows {verb} {finding.text}; {samples}{rest}"
