"""The transform of a file whose name or first bytes are not known until it is downloaded or extracted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.building.readers import TRANSFORMS, guess
from datapkg.building.spec.kwargs import Layer, merged, problem_with
from datapkg.errors import InvalidInput

# A path that does not exist, so that no transform is guessed from the contents of a file.
_NOWHERE = Path(os.devnull)
_LOOKED_INTO = (".json", ".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class DeferredTransform:
    """The transform set for the node or a group above it ("" for none), the groups' kwargs, and the node's own.

    `words` are kwargs that have a keyword of their own in a build file, such as `sheet`.
    """

    transform: str = ""
    layers: tuple[Layer, ...] = ()
    own: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)

    def of(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Return the transform and kwargs of a file that is available now.

        Raise `InvalidInput` for kwargs that the transform does not have.
        """
        transform = self.transform or guess(path)
        family = TRANSFORMS[transform].family
        problems = [problem for name in self.own if (problem := problem_with(name, [family]))]
        problems += [problem for word in self.words if (problem := word_problem(word, family, transform))]
        if problems:
            raise InvalidInput("; ".join(problems))
        return transform, {**merged(self.layers, family, self.own), **self.words}

    def by_name(self, name: str) -> str:
        """Return the transform that a file name implies."""
        return self.transform or guess(_NOWHERE / name)

    def is_settled(self, name: str) -> bool:
        """Return whether a file's name ("" if not known yet) is sufficient to determine its transform."""
        looked_into = any(part in _LOOKED_INTO for part in Path(name.lower()).suffixes[-2:])
        return bool(self.transform or (name and not looked_into))


_OF_FAMILY = {"sheet": ("excel", "Excel files"), "table": ("sqlite", "SQLite databases")}


def word_problem(word: str, family: str, transform: str) -> str:
    """Return the problem of using `sheet` or `table` with a transform; "" if there is none."""
    wanted, files = _OF_FAMILY[word]
    return "" if family == wanted else f"`{word}` is for {files}, and transform {transform} has none"
