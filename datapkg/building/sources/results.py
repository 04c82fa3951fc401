"""Tables of what the runs of a stage reported: a row for each run, or for each report.

The tables hold no times, and the same for a run that was reused as for one that ran: equal runs give equal tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from datapkg.building.sources.base import Identity, SourceContext, SourceHandler
from datapkg.building.sources.source_errors import translated_errors
from datapkg.building.spec.model import NodeSpec, ResultsSource, RunResult
from datapkg.format.hashing import hash_bytes
from datapkg.format.metrics import Report, parse_report
from datapkg.objects.base import Readable
from datapkg.tables.table_stream import TablePart

RUN, STATE, STEP = "run", "state", "step"
_ROWS = 50_000
_MAX_INTEGER = 1 << 63


class ResultsHandler(SourceHandler[ResultsSource]):
    """The results of a stage, whose runs have ended when the node is built."""

    def code(self, source: ResultsSource) -> str:
        """Name the stage, whose command a build runs."""
        return f"stage {source.stage}"

    def identity(self, spec: NodeSpec, source: ResultsSource, context: SourceContext) -> Identity:
        """Return a hash over the runs and what they reported."""
        runs = [[each.label, each.state, each.params, each.inputs, each.metrics] for each in source.runs]
        key = hash_bytes(json.dumps([source.steps, runs], default=str).encode())
        steps = {"steps": True} if source.steps else {}
        record = {"path": spec.path, "results_of": source.stage, **steps, "hash": key}
        return Identity(record, key, "results", why_known="same runs", why_read="runs")

    @contextmanager
    def read(
        self, spec: NodeSpec, source: ResultsSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield the table: of one row for each run, or a stream of all that they reported."""
        with translated_errors(spec, None) as warnings:
            if source.steps:
                yield _History(source.runs, context.objects), warnings
            else:
                yield _results(source.runs, context.objects), warnings


def read_reports(objects: Readable, hash: str) -> Iterator[Report]:
    """Yield what a run reported, in order; `hash` is that of its metrics, "" for none."""
    if hash:
        with objects.open(hash) as stream:
            for line in stream:
                if not isinstance(report := parse_report(line), str):
                    yield report


def last_values(reports: Iterable[Report]) -> dict[str, float]:
    """Return the last value of each metric."""
    found: dict[str, float] = {}
    for _, values in reports:
        found |= values
    return found


def _results(runs: tuple[RunResult, ...], objects: Readable) -> Any:
    """Return a row for each run: its label and state, its params, its last metrics, and what it read."""
    import pyarrow as pa

    metrics = [last_values(read_reports(objects, each.metrics)) for each in runs]
    columns = {RUN: _texts([each.label for each in runs]), STATE: _texts([each.state for each in runs])}
    for name in _names(each.params for each in runs):
        column = _column([each.params.get(name) for each in runs])
        columns[_free(name, "params", columns)] = column
    for name in _names(metrics):
        columns[_free(name, "metrics", columns)] = pa.array([each.get(name) for each in metrics], pa.float64())
    for name in _names(each.inputs for each in runs):
        columns[_free(f"inputs.{name}", "inputs", columns)] = _texts([each.inputs.get(name) for each in runs])
    return pa.table(columns)


class _History:
    """A `TableStream` of a row for each report: the run, the step, and the metrics."""

    def __init__(self, runs: tuple[RunResult, ...], objects: Readable) -> None:
        self._runs, self._objects = runs, objects

    @cached_property
    def _columns(self) -> dict[str, str]:
        """The names of the metrics, with those of their columns."""
        found: dict[str, None] = {}
        for run in self._runs:
            for _, values in read_reports(self._objects, run.metrics):
                found |= dict.fromkeys(values)
        return {name: _free(name, "metrics", (RUN, STEP)) for name in found}

    @property
    def schema(self) -> Any:
        """The types of the columns."""
        import pyarrow as pa

        metrics = [(column, pa.float64()) for column in self._columns.values()]
        return pa.schema([(RUN, pa.string()), (STEP, pa.int64()), *metrics])

    def parts(self) -> Iterator[TablePart]:
        """Yield all rows, run by run."""
        for number, run in enumerate(self._runs, 1):
            rows: list[dict[str, Any]] = []
            for step, values in read_reports(self._objects, run.metrics):
                own = {self._columns[name]: value for name, value in values.items()}
                rows.append({RUN: run.label, STEP: step, **own})
                if len(rows) == _ROWS:
                    yield self._part(rows, number - 1)
                    rows = []
            if rows:
                yield self._part(rows, number)

    def _part(self, rows: list[dict[str, Any]], done: int) -> TablePart:
        import pyarrow as pa

        return TablePart(pa.Table.from_pylist(rows, self.schema), share=done / len(self._runs))


def _names(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for each in mappings for name in each))


def _free(name: str, kind: str, taken: Iterable[str]) -> str:
    """Return the name of a column; one that another kind of column has gets its own kind before it."""
    taken = set(taken)
    while name in taken:
        name = f"{kind}.{name}"
    return name


def _texts(values: list[Any]) -> Any:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _column(values: list[Any]) -> Any:
    """Return the values of a param as one column: numbers, true and false, or text; anything else as JSON."""
    import pyarrow as pa

    kinds = {type(each) for each in values if each is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(-_MAX_INTEGER <= each < _MAX_INTEGER for each in values if each is not None):
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if each is None else float(each) for each in values], pa.float64())
    texts = [each if each is None or isinstance(each, str) else json.dumps(each, default=str) for each in values]
    return _texts(texts)
