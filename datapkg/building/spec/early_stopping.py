"""Parse `early_stopping`: the metrics at which a sweep begins no further run, as Polyaxon writes them."""

from __future__ import annotations

import math
from typing import Any

from datapkg.building.spec.document import Item
from datapkg.building.spec.model import StopRule
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.plain_values import to_meta
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

WORD = "early_stopping"
_OPTIMIZATIONS = ("minimize", "maximize")
_EXAMPLE = "expected a list such as [{metric: loss, value: 0.05, optimization: minimize}]"
RULE_KEYS = {"kind", "metric", "value", "optimization", "policy"}


def stop_rules(mapping: NodeMapping) -> tuple[StopRule, ...]:
    """Return the rules of a stage; mistakes are recorded."""
    if WORD not in mapping:
        return ()
    item = mapping[WORD]
    if "matrix" not in mapping and "foreach" not in mapping:
        mapping.wrong(WORD, "goes with `matrix` or `foreach`")
        return ()
    if item.kind != "list" or not item.values or any(each.kind != "mapping" for each in item.values):
        mapping.wrong(WORD, _EXAMPLE)
        return ()
    rules = [_rule(each, mapping) for each in item.values]
    return tuple(each for each in rules if each is not None)


def _rule(item: Item, mapping: NodeMapping) -> StopRule | None:
    given: dict[str, Any] = to_meta(item, mapping.where(WORD), mapping.problems)
    metric, optimization = given.get("metric"), given.get("optimization")
    value: Any = given.get("value")
    problem = ""
    if unknown := sorted(given.keys() - RULE_KEYS):
        problem = f"unknown key {quoted(unknown[0])}{choices(unknown[0], tuple(sorted(RULE_KEYS)))}"
    elif given.get("kind", "metric_early_stopping") != "metric_early_stopping":
        problem = f"{quoted(given['kind'])} is not supported; a sweep stops at a metric"
    elif not isinstance(metric, str) or isinstance(value, bool) or not isinstance(value, int | float):
        problem = _EXAMPLE
    elif not math.isfinite(value) or optimization not in _OPTIMIZATIONS:
        problem = f"expected a finite value, and optimization: {' or '.join(_OPTIMIZATIONS)}"
    elif given.get("policy", "all") != "all":
        problem = "only `policy: all` is supported: a run ends itself by its own program"
    if problem:
        mapping.problems.add(item.line, mapping.where(WORD), problem)
        return None
    return StopRule(str(metric), float(value), optimization == "minimize")
