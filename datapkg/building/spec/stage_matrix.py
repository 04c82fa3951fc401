"""Parse `foreach`, `matrix` and `search`: the combinations of params for which a stage is run, one stage for each."""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from datapkg.building.spec.matrix_values import ITEM, MAX_COMBINATIONS, Draw, value_of, values_of
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.plain_values import pairs_of, path_text, to_meta

_LABEL_CHARS = 60
# How often values are drawn for each combination that is wanted, where most are the same.
_DRAWS = 20
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")


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
    sign = "-" if isinstance(value, int | float) and text.startswith("-") else ""
    return sign + re.sub(r"[^\w.+]+", "_", text).strip("_.")


def _each(mapping: NodeMapping) -> list[dict[str, Any]]:
    item = mapping["foreach"]
    if item.kind != "list" or not item.values:
        mapping.wrong("foreach", f"expected a list of values, or of mappings of params, got {kind_of(item)}")
        return []
    where = mapping.where("foreach")
    found = [
        to_meta(each, where, mapping.problems) if each.kind == "mapping" else {ITEM: value_of(each, mapping, "foreach")}
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
        found = values_of(value, mapping) if NAME.match(key.text) else "a name has letters, digits and underscores"
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
    found: dict[str, dict[str, Any]] = {}
    for _ in range(count * _DRAWS):
        chosen: dict[str, Any] = {name: draw.choice(each) for name, each in values.items()}
        chosen |= {name: each(draw) for name, each in draws.items()}
        found.setdefault(json.dumps(chosen, default=str), chosen)  # no combination is tried twice
        if len(found) == count:
            break
    return list(found.values())


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
