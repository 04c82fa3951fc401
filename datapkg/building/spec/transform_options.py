"""Resolve `transform` and `kwargs` of a node, including those inherited from groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datapkg.building.readers import TRANSFORMS, guess
from datapkg.building.spec.column_notes import read_words
from datapkg.building.spec.deferred_transform import DeferredTransform, word_problem
from datapkg.building.spec.kwargs import FAMILIES, Layer, merged, problem_with
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.plain_values import to_kwargs
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import choices
from datapkg.format.texts import quoted


class TransformOptions:
    """How one node, or all matches of one glob, are read; each mistake is recorded once."""

    def __init__(self, mapping: NodeMapping, inherited: str | None, layers: tuple[Layer, ...]) -> None:
        self._mapping, self._inherited, self._layers = mapping, inherited, layers
        self._words = read_words(mapping)
        self._own = transform_of(mapping) if "transform" in mapping else None
        self._is_wrong = "transform" in mapping and self._own is None

    def of(self, path: Path | None) -> tuple[str, dict[str, Any]]:
        """Return the transform and the kwargs of a file: the node's own, those of the groups above, or guessed.

        `path` is None for a file that is invalid.
        """
        if self._is_wrong:
            return "id", {}
        transform = self._own or self._inherited or (guess(path) if path is not None else "id")
        family = TRANSFORMS[transform].family
        own = self.kwargs_of(self._mapping, [family])
        if path is not None:
            self._check_words(family, transform)
        return transform, {**merged(self._layers, family, own), **self._words}

    @property
    def transform(self) -> str | None:
        """Return the transform of the node or a group above it; None if the file name decides."""
        return self._own or self._inherited

    def later(self, name: str) -> tuple[str, dict[str, Any], DeferredTransform]:
        """Return transform and kwargs of a file not available yet ("" if unnamed), and the deferred transform."""
        how = DeferredTransform(self._own or self._inherited or "", self._layers, {}, self._words)
        transform = how.by_name(name)
        family = TRANSFORMS[transform].family
        is_settled = how.is_settled(name)
        own = self.kwargs_of(self._mapping, [family] if is_settled else list(FAMILIES))
        if is_settled:
            self._check_words(family, transform)
        how = DeferredTransform(how.transform, how.layers, own, how.words)
        return transform, {**merged(self._layers, family, own), **self._words}, how

    def _check_words(self, family: str, transform: str) -> None:
        for word in self._words:
            if problem := word_problem(word, family, transform):
                self._mapping.wrong(word, problem)

    @staticmethod
    def kwargs_of(mapping: NodeMapping, families: list[str]) -> dict[str, Any]:
        """Return the explicit kwargs for a transform of these families; unsupported ones are recorded as mistakes."""
        if "kwargs" not in mapping:
            return {}
        item, place = mapping["kwargs"], mapping.where("kwargs")
        values = to_kwargs(item, place, mapping.problems)
        lines = {key.text: key.line for key, _ in item.pairs} if item.kind == "mapping" else {}
        for name in list(values):
            if problem := problem_with(name, families):
                mapping.problems.add(lines.get(name, item.line), place, problem)
                del values[name]
        return values


def transform_of(mapping: NodeMapping) -> str | None:
    """Return the explicit transform; record a mistake and return None if there is no such transform."""
    name = mapping.text("transform", "the name of a transform")
    try:
        if name is None or TRANSFORMS.get(name):
            return name
    except InvalidInput as error:
        mapping.wrong("transform", str(error))
        return None
    mapping.wrong("transform", f"unknown transform {quoted(name)}{choices(name, TRANSFORMS)}")
    return None
