"""Parse the values of one name of a `matrix`: a list, a sequence such as `linspace`, or a distribution to draw from.

The names are those of numpy, and of Polyaxon's build files.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from datapkg.building.spec.document import Item
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.plain_values import pairs_of, to_meta
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

MAX_COMBINATIONS = 10_000
ITEM = "item"

Draw = Callable[[random.Random], Any]


def _steps(start: float, stop: float, step: float) -> list[float]:
    count = max(0, math.ceil((stop - start) / step)) if step else 0
    # One more than allowed, so that the limit is noticed and no list grows with a number that was written.
    return [start + number * step for number in range(min(count, MAX_COMBINATIONS + 1))]


def _between(start: float, stop: float, count: float) -> list[float]:
    """Return `count` values from start to stop, both included."""
    many = min(int(count), MAX_COMBINATIONS + 1)
    return [start + (stop - start) * number / max(1, many - 1) for number in range(many)]


def _logspace(start: float, stop: float, count: float, base: float = 10) -> list[float]:
    return [base**each for each in _between(start, stop, count)]


def _geomspace(start: float, stop: float, count: float) -> list[float]:
    return [start * (stop / start) ** each for each in _between(0, 1, count)]


def _rounded(draw: Draw, step: float) -> Draw:
    """Return multiples of a step, without the digits of binary fractions such as 0.30000000000000004."""
    return lambda source: float(f"{round(draw(source) / step) * step:.12g}")


def _uniform(low: float, high: float) -> Draw:
    return lambda source: source.uniform(low, high)


def _loguniform(low: float, high: float) -> Draw:
    least, most = math.log(low), math.log(high)
    return lambda source: math.exp(source.uniform(least, most))


def _normal(loc: float, scale: float) -> Draw:
    return lambda source: source.gauss(loc, scale)


def _lognormal(loc: float, scale: float) -> Draw:
    return lambda source: source.lognormvariate(loc, scale)


@dataclass(frozen=True)
class _Kind:
    """A way to write the values of a name: the names of its numbers, and what makes a list or a draw of them.

    Those of `more` may be left out.
    """

    fields: tuple[str, ...]
    make: Callable[..., Any]
    more: tuple[str, ...] = ()


# The names are those of numpy, and of Polyaxon's build files: numbers with colons between them, a list or a mapping.
SEQUENCES = {
    "range": _Kind(("start", "stop", "step"), _steps),
    "linspace": _Kind(("start", "stop", "num"), _between),
    "logspace": _Kind(("start", "stop", "num"), _logspace, ("base",)),
    "geomspace": _Kind(("start", "stop", "num"), _geomspace),
}
# Drawn anew for each combination of a random search; those with a q are rounded to multiples of it.
_PLAIN = {
    "uniform": _Kind(("low", "high"), _uniform),
    "loguniform": _Kind(("low", "high"), _loguniform),
    "normal": _Kind(("loc", "scale"), _normal),
    "lognormal": _Kind(("loc", "scale"), _lognormal),
}
DISTRIBUTIONS = _PLAIN | {
    f"q{name}": _Kind((*kind.fields, "q"), lambda a, b, q, make=kind.make: _rounded(make(a, b), q))
    for name, kind in _PLAIN.items()
}
_KINDS = SEQUENCES | DISTRIBUTIONS
# Lists of values, and of pairs of a value and its probability.
_LISTS = {"values": "values", "choice": "values", "pvalues": "pvalues", "pchoice": "pvalues"}


def values_of(item: Item, mapping: NodeMapping) -> list[Any] | Draw | str:
    """Return the values of a name, how they are drawn, or an error message."""
    if item.kind == "list":
        found = [value_of(each, mapping, "matrix") for each in item.values]
        return found or "has no values"
    if item.kind == "scalar":
        kind, _, text = item.text.partition(":")
        given = Item("scalar", item.line, text=text)
    else:
        pairs = {key.text: value for key, value in pairs_of(item, "", None)}
        if pairs.keys() == {"kind", "value"}:
            pairs = {pairs["kind"].text: pairs["value"]}
        if len(pairs) != 1:
            return "expected a list, or one way to make values, such as {linspace: 0.001:0.1:5}"
        kind, given = next(iter(pairs.items()))
    if kind in _LISTS and given.kind == "list":
        return values_of(given, mapping) if _LISTS[kind] == "values" else _weighted(given, mapping)
    if kind not in _KINDS:
        known = ("values", "pvalues", *_KINDS)
        return f"expected a list, or one of these, got {quoted(item.text or kind)}{choices(kind, known)}"
    return _made(kind, given)


def _made(kind: str, given: Item) -> list[Any] | Draw | str:
    """Return the values or the draw of a kind, from its numbers as they are written."""
    fields, more = _KINDS[kind].fields, _KINDS[kind].more
    texts = _numbers_of(given, (*fields, *more))
    try:
        numbers = [float(each) for each in texts]
        if not len(fields) <= len(numbers) <= len(fields) + len(more) or not all(map(math.isfinite, numbers)):
            raise ValueError
        made = _KINDS[kind].make(*numbers)
        is_whole = not any("." in each or "e" in each.lower() for each in texts)
        if isinstance(made, list):
            return _whole(made) if is_whole and made else made or "has no values"
        made(random.Random(0))  # some cannot be drawn, such as those from two numbers of which one is negative
        step = texts[-1] if kind.startswith("q") else "."
        return made if "." in step or "e" in step.lower() else lambda source: int(made(source))
    except (ValueError, ArithmeticError, TypeError):
        what = "the numbers do not fit" if len(fields) <= len(texts) <= len(fields) + len(more) else "wrong count"
        example = "0.001:0.1:5" if kind in SEQUENCES else "0:0.5:0.1" if len(fields) == 3 else "0.1:0.5"
        names = ":".join(each.upper() for each in fields)
        shown = given.text if given.kind == "scalar" else ":".join(texts)
        return f"expected {names}, numbers such as {kind}:{example}, got {quoted(shown)} ({what})"


def _numbers_of(given: Item, fields: Sequence[str]) -> list[str]:
    """Return numbers as they are written: with colons between them, as a list, or as a mapping of their names."""
    if given.kind == "scalar":
        return given.text.split(":")
    if given.kind == "list":
        return [each.text for each in given.values]
    pairs = {key.text: value.text for key, value in pairs_of(given, "", None)}
    return [pairs[name] for name in fields if name in pairs] if pairs.keys() <= set(fields) else []


def _whole(found: list[float]) -> list[Any]:
    """Return whole numbers as such where all that was written is whole."""
    return [int(each) for each in found] if all(each.is_integer() for each in found) else found


def _weighted(given: Item, mapping: NodeMapping) -> Draw | str:
    """Return how values are drawn that are written as pairs of a value and its probability."""
    expected = "expected pairs of a value and its probability, such as [[relu, 0.7], [tanh, 0.3]]"
    if not given.values or any(each.kind != "list" or len(each.values) != 2 for each in given.values):
        return expected
    values = [value_of(each.values[0], mapping, "matrix") for each in given.values]
    weights = [value_of(each.values[1], mapping, "matrix") for each in given.values]
    if any(type(each) not in (int, float) or not 0 <= each < math.inf for each in weights) or not sum(weights):
        return expected
    return lambda source: source.choices(values, weights)[0]


def value_of(item: Item, mapping: NodeMapping, word: str) -> Any:
    """Return a scalar of a build file as a value, read as metadata is; note any other item as a mistake."""
    if item.kind == "scalar":
        return to_meta(_named(item), mapping.where(word), mapping.problems).get(ITEM)
    mapping.problems.add(item.line, mapping.where(word), f"expected a value, got a {item.kind}")
    return None


def _named(item: Item) -> Item:
    """Return a mapping with this value, which is read as metadata is."""
    key = Item("scalar", item.line, text=ITEM)
    return Item("mapping", item.line, values=[key, item])
