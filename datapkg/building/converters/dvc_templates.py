"""Replace the `${…}` of DVC's templates by values of `vars`, params files, and items of `foreach` and `matrix`.

The rules are those of DVC's documentation, "Templating" in the reference of dvc.yaml.
"""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from datapkg.building.spec.stages import MAX_STAGES
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

_TEMPLATE = re.compile(r"(\\)?\$\{\s*([^{}]{1,1000}?)\s*\}")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,9})\]")
_MAX_TEXT = 1 << 20
ITEM, KEY = "item", "key"


def filled(value: Any, values: Mapping[str, Any], *, command: bool = False) -> Any:
    """Return a value with all templates in its texts replaced.

    A text that is one template alone becomes the value itself. In a command, mappings become options: `--lr 0.1`. Raise
    `InvalidInput` for a name that has no value.
    """
    if isinstance(value, dict):
        return {filled(key, values): filled(each, values, command=command) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, values, command=command) for each in value]
    if not isinstance(value, str):
        return value
    alone = _TEMPLATE.fullmatch(value)
    if alone and not alone[1] and not command:
        return looked_up(alone[2], values)
    parts, size, end = [], len(value), 0
    for match in _TEMPLATE.finditer(value):
        parts += [value[end : match.start()], _as_text(match, values, command)]
        size, end = size + len(parts[-1]), match.end()
        if size > _MAX_TEXT:
            raise InvalidInput(f"{quoted(value)} becomes a text of more than {_MAX_TEXT >> 20} MiB")
    return "".join([*parts, value[end:]])


def looked_up(path: str, values: Mapping[str, Any]) -> Any:
    """Return the value at a path such as `train.layers[0].size`; raise `InvalidInput` if there is none."""
    found: Any = values
    end = 0
    for step in _STEP.finditer(path):
        if step.start() != end:
            break
        end = step.end()
        key: Any = int(step[2]) if step[2] else step[1]
        try:
            found = found[key if isinstance(found, dict | Mapping) or step[2] else int(key)]
        except (KeyError, IndexError, TypeError, ValueError):
            names = tuple(found) if isinstance(found, Mapping) else ()
            raise InvalidInput(f"${{{path}}} has no value{suggestion(str(key), names)}") from None
    if end != len(path):
        raise InvalidInput(f"${{{path}}} is not a path such as ${{train.layers[0]}}")
    return found


def _as_text(match: re.Match[str], values: Mapping[str, Any], command: bool) -> str:
    if match[1]:
        return match[0][1:]  # `\${HOME}` is for the shell
    value = looked_up(match[2], values)
    if isinstance(value, dict) and command:
        return " ".join(_options(value, ""))
    if isinstance(value, dict | list):
        raise InvalidInput(f"${{{match[2]}}} is a list or mapping, and stands inside a text")
    return scalar_text(value)


def scalar_text(value: Any) -> str:
    """Return a scalar as DVC writes it into a text."""
    return "true" if value is True else "false" if value is False else "" if value is None else str(value)


def _options(value: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _options(each, f"{before}{name}.")
        elif each is True:
            yield f"--{before}{name}"
        elif each is not False:
            texts = each if isinstance(each, list) else [each]
            yield " ".join([f"--{before}{name}", *(_shell_text(text) for text in texts)])


def _shell_text(value: Any) -> str:
    return shlex.quote(value) if isinstance(value, str) else scalar_text(value)


def each_item(stage: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the suffix of the name and the additional values of each stage that a `foreach` or `matrix` makes."""
    if "foreach" in stage:
        items = filled(stage["foreach"], values)
        if isinstance(items, dict):
            yield from ((f"@{key}", {KEY: key, ITEM: each}) for key, each in items.items())
        elif isinstance(items, list):
            for number, each in enumerate(items):
                name = number if isinstance(each, dict | list) else scalar_text(each)
                yield f"@{name}", {ITEM: each, KEY: number}
        else:
            raise InvalidInput("`foreach` is neither a list nor a mapping")
        return
    axes = filled(stage["matrix"], values)
    if not isinstance(axes, dict) or not all(isinstance(each, list) for each in axes.values()):
        raise InvalidInput("`matrix` is not a mapping of names to lists")
    if math.prod(map(len, axes.values())) > MAX_STAGES:
        raise InvalidInput(f"`matrix` has more than {MAX_STAGES:,} combinations")
    numbered = [[(f"{name}{n}", each) for n, each in enumerate(axis)] for name, axis in axes.items()]
    for chosen in itertools.product(*numbered):
        names = [label if isinstance(each, dict | list) else scalar_text(each) for label, each in chosen]
        item = dict(zip(axes, (each for _, each in chosen), strict=True))
        yield f"@{'-'.join(names)}", {ITEM: item, KEY: "-".join(names)}


def merged(into: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return mappings merged at every depth; values of `more` win."""
    result = dict(into)
    for key, value in more.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result
