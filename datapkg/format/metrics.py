"""Metrics that a run reports: a JSON object a line, of names with their numbers, and `step` where there is one.

`{"step": 10, "loss": 0.3}`. A program in any language can write such lines. Python's spellings NaN and Infinity are
read, and also null and the texts "NaN", "Inf" and "-Inf", since other languages write these.
"""

from __future__ import annotations

import json
import operator

from datapkg.errors import InvalidInput, WrongType
from datapkg.format.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STEP = "step"
MAX_LINE_BYTES = 1 << 20
MAX_NAME_CHARS = 200
_EXAMPLE = 'log_metrics({"loss": 0.3}, step=10)'
_NOT_FINITE = ("nan", "inf", "-inf", "infinity", "-infinity")

# A step, None without one, and numbers by name.
Report = tuple["int | None", "dict[str, float]"]


def checked_report(metrics: Mapping[str, Any], step: object = None) -> Report:
    """Return what a program reports; raise `WrongType` or `InvalidInput` for what cannot be a metric or a step."""
    if not hasattr(metrics, "items") or not metrics:
        what = f"metrics are names with their numbers, got {quoted(repr(metrics)[:80])}"
        raise WrongType(what, hint=f"datapkg.{_EXAMPLE}")
    values = {}
    for name, value in metrics.items():
        if problem := _name_problem(name):
            raise InvalidInput(problem, hint=f"datapkg.{_EXAMPLE}")
        number = _number(value)
        if number is None:
            kind = type(value).__name__
            shape = f" of shape {tuple(value.shape)}" if getattr(value, "shape", ()) else ""
            what = f"metric {quoted(name)} is not a number: {kind}{shape} {quoted(repr(value)[:80])}"
            raise WrongType(what, hint=f"datapkg.{_EXAMPLE}")
        values[name] = number
    try:
        at = None if step is None else operator.index(step)  # type: ignore[arg-type]
    except TypeError:
        at = -1 << 64
    if isinstance(step, bool) or (at is not None and not -1 << 63 <= at < 1 << 63):
        raise WrongType(f"a step is a whole number, got {quoted(repr(step)[:80])}", hint=f"datapkg.{_EXAMPLE}")
    return at, values


def encode_report(report: Report) -> bytes:
    """Return a line, with its end."""
    step, values = report
    return json.dumps({**({} if step is None else {STEP: step}), **values}).encode() + b"\n"


def parse_report(line: bytes) -> Report | str:
    """Return what a line reports, or an error message."""
    if len(line) > MAX_LINE_BYTES:
        return f"is longer than {MAX_LINE_BYTES:,} bytes"
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(found, dict):
        return 'is not an object such as {"step": 10, "loss": 0.3}'
    step = found.pop(STEP, None)
    if isinstance(step, float) and step.is_integer():
        step = int(step)
    if step is not None and (type(step) is not int or not -1 << 63 <= step < 1 << 63):
        return f"has a step that is not a whole number: {quoted(repr(step)[:80])}"
    values = {}
    for name, value in found.items():
        number = _written_number(value)
        if problem := _name_problem(name) or ("" if number is not None else f"metric {quoted(name)} is not a number"):
            return problem
        assert number is not None
        values[name] = number
    return (step, values) if values else "has no metric"


def _name_problem(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        return f"a metric is named by a text of up to {MAX_NAME_CHARS} characters, got {quoted(repr(name)[:80])}"
    return f"{STEP!r} is not a metric; give it as step={STEP}" if name == STEP else ""


def _number(value: Any) -> float | None:
    """Return a number of Python, numpy or any other library as a float; None for anything else, arrays too."""
    if isinstance(value, str | bytes | bytearray) or tuple(getattr(value, "shape", ())):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return None


def _written_number(value: Any) -> float | None:
    if value is None:
        return float("nan")
    if isinstance(value, str):
        return float(value) if value.lower() in _NOT_FINITE else None
    return _number(value)
