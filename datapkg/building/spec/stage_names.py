"""Check the names of a stage: those of inputs, params and outputs, and where its command has them in braces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from datapkg.building.spec.matrix_values import ITEM
from datapkg.building.spec.model import Stage
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.plain_values import pairs_of
from datapkg.building.spec.stage_matrix import NAME
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
_NAMING = ("inputs", "params", "outputs", "matrix", "foreach")


def check_names(mapping: NodeMapping, stage: Stage, varied: Sequence[str]) -> None:
    """Check that no name is used twice, and that the command has no other names in braces."""
    problems, line, place = mapping.problems, mapping.line, mapping.place
    names = [*stage.inputs, *stage.params, *stage.outputs, *dict.fromkeys(varied)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.add(line, place, f"has two things of the name {quoted(name)}")
    for name in dict.fromkeys([*stage.params, *varied]):
        if not NAME.match(name):
            what = f"{quoted(name)} is not a valid name of a param; use letters, digits and underscores"
            problems.add(line, place, what)
    written = written_names(mapping, _NAMING)
    if written is None:
        return
    used = [match[1] for word in stage.run for match in PLACEHOLDER.finditer(word) if match[1]]
    for name in dict.fromkeys(used):
        if name not in names and name not in written:
            advice = suggestion(name, tuple(names)) or "; write {{ for a brace"
            mapping.wrong("run", f"{{{name}}} is not an input, param or output{advice}")


def written_names(mapping: NodeMapping, words: Iterable[str]) -> set[str] | None:
    """Return the names that these keywords give, of entries with mistakes too; None where that cannot be told.

    Where a name is used whose entry is wrong, that is not a second mistake.
    """
    found: set[str] = set()
    for word in words:
        if word not in mapping or mapping[word].is_null:
            continue
        items = mapping[word].values if word == "foreach" and mapping[word].kind == "list" else [mapping[word]]
        for item in items:
            if item.kind == "mapping":
                found |= {key.text for key, _ in pairs_of(item, "", None)}
            elif word == "foreach":
                found.add(ITEM)
            else:
                return None
    return found
