"""Parse `foreach`, `matrix` and `search`: the combinations of params for which a stage is run, one stage for each."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datapkg.building.spec.document import Item
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.plain_values import pairs_of, path_text, to_meta
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

MAX_COMBINATIONS = 10_000
ITEM = "item"
_LABEL_CHARS = 60
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")

Draw = Callable[[random.Random], float]


def _steps(start: float, stop: float, step: float) -> list[float]:
    count = max(0, math.ceil((stop - start) / step)) if step else 0
    return [start + number * step for number in range(min(count, MAX_COMBINATIONS + 1))]


def _between(start: float, stop: float, count: float) -> list[float]:
    """Return `count` values from start to stop, both included."""
    many = min(int(count), MAX_COMBINATIONS + 1)
    return [start + (stop - start) * number / max(1, many - 1) for number in range(many)]


# The names are those of numpy, and of Polyaxon's build files: three numbers, START:STOP:STEP or START:STOP:COUNT.
SEQUENCES: dict[str, Callable[[float, float, float], list[float]]] = {
    "range": _steps,
    "linspace": _between,
    "logspace": lambda start, stop, count: [10**each for each in _between(start, stop, count)],
    "geomspace": lambda start, stop, count: [start * (stop / start) ** each for each in _between(0, 1, count)],
}
# Drawn anew for each combination of a random search: two numbers.
DISTRIBUTIONS: dict[str, Callable[[float, float], Draw]] = {
    "uniform": lambda low, high: lambda draw: draw.uniform(low, high),
    "loguniform": lambda low, high: lambda draw: math.exp(draw.uniform(math.log(low), math.log(high))),
    "normal": lambda mean, deviation: lambda draw: draw.gauss(mean, deviation),
}


def combinations(mapping: NodeMapping) -> list[dict[str, Any]] | None:
    """Return the params of each stage that a mapping stands for; None for one stage as it is."""
    if "foreach" in mapping and "matrix" in mapping:
        mapping.wrong("matrix", "has both `foreach` and `matrix`; a stage has one")
        return None
    if "search" in mapping and "matrix" not in mapping:
        mapping.wrong("search", "goes with `matrix`")
        return None
    if "foreach" in mapping:
        found = _each(mapping)
    elif "matrix" in mapping:
        found = _matrix(mapping)
    else:
        return None
    if len(found) > MAX_COMBINATIONS:
        word = "foreach" if "foreach" in mapping else "matrix"
        what = f"has more than {MAX_COMBINATIONS:,} combinations"
        mapping.wrong(word, f"{what}; take some of them: search: {{random: {{n: 100}}}}")
        return None
    return found


def labels(several: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a name for each combination: its values, or a number where these are long or the same."""
    texts = ["-".join(map(_label, each.values())) for each in several]
    is_clear = all(text and len(text) <= _LABEL_CHARS for text in texts) and len(set(texts)) == len(texts)
    return texts if is_clear else [str(number) for number in range(1, len(several) + 1)]


def _label(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"[^\w.+]+", "_", text).strip("_.")


def _each(mapping: NodeMapping) -> list[dict[str, Any]]:
    item = mapping["foreach"]
    if item.kind != "list" or not item.values:
        mapping.wrong("foreach", f"expected a list of values, or of mappings of params, got {kind_of(item)}")
        return []
    where = mapping.where("foreach")
    found = [
        to_meta(each, where, mapping.problems) if each.kind == "mapping" else {ITEM: _value(each, mapping, "foreach")}
        for each in item.values
    ]
    if any(each.keys() != found[0].keys() for each in found):
        mapping.wrong("foreach", "has mappings with different names")
    return found


def _matrix(mapping: NodeMapping) -> list[dict[str, Any]]:
    item = mapping["matrix"]
    if item.kind != "mapping" or not item.values:
        mapping.wrong("matrix", f"expected a mapping of names to values, got {kind_of(item)}")
        return []
    search = _search(mapping)
    values: dict[str, list[Any]] = {}
    draws: dict[str, Draw] = {}
    for key, value in pairs_of(item, mapping.where("matrix"), mapping.problems):
        place = path_text(mapping.where("matrix"), key.text)
        found = _values(value, mapping) if _NAME.match(key.text) else "a name has letters, digits and underscores"
        if isinstance(found, str):
            mapping.problems.add(value.line, place, found)
        elif callable(found):
            draws[key.text] = found
            if search is None:
                mapping.problems.add(value.line, place, "is drawn at random; add search: {random: {n: 10, seed: 1}}")
        else:
            values[key.text] = found
    return _chosen(values, draws, search)


def _chosen(
    values: Mapping[str, list[Any]], draws: Mapping[str, Draw], search: tuple[int, int] | None
) -> list[dict[str, Any]]:
    """Return all combinations, or those that a random search tries: the same for the same seed, on every machine."""
    if search is None:
        count = math.prod(map(len, values.values()))
        every = itertools.islice(itertools.product(*values.values()), min(count, MAX_COMBINATIONS + 1))
        return [dict(zip(values, each, strict=True)) for each in every]
    count, seed = search
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        chosen: dict[str, Any] = {name: draw.choice(each) for name, each in values.items()}
        found.append(chosen | {name: each(draw) for name, each in draws.items()})
    return found


def _search(mapping: NodeMapping) -> tuple[int, int] | None:
    """Return how many combinations a random search tries, and its seed; None for all combinations."""
    if "search" not in mapping:
        return None
    given = to_meta(mapping["search"], mapping.where("search"), mapping.problems)
    options = given.get("random")
    if given == {"grid": None} or given == {"grid": {}}:
        return None
    if given.keys() != {"random"} or not isinstance(options, dict) or options.keys() - {"n", "seed"}:
        mapping.wrong("search", "expected {random: {n: 10, seed: 1}}, or nothing for all combinations")
        return None
    count, seed = options.get("n"), options.get("seed", 0)
    if type(count) is not int or type(seed) is not int or not 1 <= count <= MAX_COMBINATIONS:
        mapping.wrong("search", f"expected whole numbers, n from 1 to {MAX_COMBINATIONS:,}")
        return None
    return count, seed


def _values(item: Item, mapping: NodeMapping) -> list[Any] | Draw | str:
    """Return the values of a name, how they are drawn, or an error message."""
    if item.kind == "list":
        found = [_value(each, mapping, "matrix") for each in item.values]
        return found or "has no values"
    if item.kind == "mapping":
        pairs = pairs_of(item, "", None)
        if len(pairs) == 1 and pairs[0][0].text == "values":
            return _values(pairs[0][1], mapping)
        kind, text = (pairs[0][0].text, pairs[0][1].text) if len(pairs) == 1 else ("", "")
    else:
        kind, _, text = item.text.partition(":")
    wanted = 3 if kind in SEQUENCES else 2
    if kind not in SEQUENCES and kind not in DISTRIBUTIONS:
        known = ("values", *SEQUENCES, *DISTRIBUTIONS)
        return f"expected a list, or one of these, got {quoted(item.text or kind)}{choices(kind, known)}"
    try:
        numbers = [float(each) for each in text.split(":")]
        if len(numbers) != wanted or not all(map(math.isfinite, numbers)):
            raise ValueError
        return _numbers(SEQUENCES[kind](*numbers), text) if wanted == 3 else DISTRIBUTIONS[kind](*numbers)
    except (ValueError, OverflowError):
        return (
            f"expected {wanted} numbers such as {kind}:{'0.001:0.1:5' if wanted == 3 else '0:0.5'}, got {quoted(text)}"
        )


def _numbers(found: list[float], text: str) -> list[Any] | str:
    """Return whole numbers as such where all that was written is whole."""
    is_whole = "." not in text and "e" not in text.lower() and all(each.is_integer() for each in found)
    return ([int(each) for each in found] if is_whole else found) or "has no values"


def _value(item: Item, mapping: NodeMapping, word: str) -> Any:
    if item.kind == "scalar":
        return to_meta(_named(item), mapping.where(word), mapping.problems).get(ITEM)
    mapping.problems.add(item.line, mapping.where(word), f"expected a value, got a {item.kind}")
    return None


def _named(item: Item) -> Item:
    """Return a mapping with this value, which is read as metadata is."""
    key = Item("scalar", item.line, text=ITEM)
    return Item("mapping", item.line, values=[key, item])
