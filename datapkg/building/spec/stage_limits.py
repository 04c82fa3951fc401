"""Parse what a stage may use: time, tries, cores, memory, GPUs, how many of a matrix run at once, and its image."""

from __future__ import annotations

import math
import re

from datapkg.building.spec.document import Item
from datapkg.building.spec.model import Resources
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.plain_values import pairs_of, path_text
from datapkg.errors import InvalidInput
from datapkg.format.selection import parse_size
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted

MAX_RETRIES = 100
MAX_AT_ONCE = 1_000
_DURATION = re.compile(r"(?P<number>\d{1,9}(?:\.\d+)?)\s*(?P<unit>s|m|h|d)?\Z")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, None: 1}
_RESOURCES = ("cpu", "memory", "gpu")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}\Z")
_CORES = re.compile(r"\d{1,6}(?:\.\d{1,3})?\Z")


def timeout(mapping: NodeMapping) -> float | None:
    """Return the seconds of `timeout`, None for no limit."""
    if "timeout" not in mapping:
        return None
    text = mapping.text("timeout", "a duration such as 90s, 10m or 2h")
    if text is None:  # of another type, which is named already
        return None
    found = _DURATION.match(text)
    if found is None or not float(found["number"]):
        mapping.wrong("timeout", f"expected a duration such as 90s, 10m or 2h, got {quoted(text)}")
        return None
    return float(found["number"]) * _UNIT_S[found["unit"]]


def retries(mapping: NodeMapping) -> int:
    """Return how often a stage is tried again."""
    if "retries" not in mapping:
        return 0
    text = mapping.text("retries", "a number")
    if text is None:  # of another type, which is named already
        return 0
    if text.isdecimal() and int(text) <= MAX_RETRIES:
        return int(text)
    mapping.wrong("retries", f"expected a number from 0 to {MAX_RETRIES}, got {quoted(text)}")
    return 0


def concurrency(mapping: NodeMapping) -> int | None:
    """Return how many stages of a matrix run at once at most, None for no limit."""
    if "concurrency" not in mapping:
        return None
    text = mapping.text("concurrency", "a number")
    if text is None:  # of another type, which is named already
        return None
    if text.isdecimal() and 1 <= int(text) <= MAX_AT_ONCE:
        if "matrix" not in mapping and "foreach" not in mapping:
            mapping.wrong("concurrency", "goes with `matrix` or `foreach`")
        return int(text)
    mapping.wrong("concurrency", f"expected a number from 1 to {MAX_AT_ONCE:,}, got {quoted(text)}")
    return None


def resources(mapping: NodeMapping) -> Resources:
    """Return what a stage uses while it runs."""
    if "resources" not in mapping:
        return Resources()
    item = mapping["resources"]
    if item.kind != "mapping":
        mapping.wrong("resources", f"expected a mapping such as {{cpu: 2, memory: 4 GB, gpu: 1}}, got {kind_of(item)}")
        return Resources()
    found: dict[str, float] = {}
    for key, value in pairs_of(item, mapping.where("resources"), mapping.problems):
        place = path_text(mapping.where("resources"), key.text)
        amount = _amount(key.text, value)
        if isinstance(amount, str):
            mapping.problems.add(value.line, place, amount)
        else:
            found[key.text] = amount
    return Resources(found.get("cpu", 1), int(found.get("memory", 0)), int(found.get("gpu", 0)))


def _amount(name: str, item: Item) -> float | str:
    """Return a number of cores, bytes or GPUs, or an error message."""
    text = item.text if item.kind == "scalar" else ""
    if name == "cpu":
        is_right = _CORES.match(text) and 0 < float(text) < math.inf
        return float(text) if is_right else f"expected a number of cores such as 2 or 0.5, got {quoted(text)}"
    if name == "gpu":
        return int(text) if text.isdecimal() and int(text) <= MAX_AT_ONCE else f"expected a number, got {quoted(text)}"
    if name != "memory":
        return f"there is no such resource{choices(name, _RESOURCES)}"
    try:
        return parse_size(text)
    except InvalidInput:
        return f"expected a size such as 4 GB or 500 MiB, got {quoted(text)}"


def image(mapping: NodeMapping) -> str:
    """Return the name of the image in which a stage runs, "" for none."""
    if "image" not in mapping:
        if "network" in mapping:
            mapping.wrong("network", "goes with `image`; other stages use the network of this machine")
        return ""
    text = mapping.text("image", "the name of an image, such as python:3.12")
    if text is None:  # of another type, which is named already
        return ""
    if not _IMAGE.match(text):
        mapping.wrong("image", f"expected the name of an image, such as python:3.12, got {quoted(text)}")
    return text
