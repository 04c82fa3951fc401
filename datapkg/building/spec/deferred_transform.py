"""What to read a file as, where that is settled only once its name, or its first bytes, are here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.building.readers import TRANSFORMS, guess
from datapkg.building.spec.kwargs import Layer, merged, problem_with
from datapkg.errors import InvalidInput

# A file here exists nowhere, so what only a look inside would tell is not guessed from its name.
_NOWHERE = Path(os.devnull)
_LOOKED_INTO = (".json", ".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class DeferredTransform:
    """The transform that was said, for the node or a group above it ("" for none), kwargs of the groups and its own.

    `words` are kwargs that have a word of their own in a build file, such as `sheet`.
    """

    transform: str = ""
    layers: tuple[Layer, ...] = ()
    own: dict[str, Any] = field(default_factory=dict)
    words: dict[str, Any] = field(default_factory=dict)

    def of(self, path: Path) -> tuple[str, dict[str, Any]]:
        """Return the transform and kwargs of a file that is here.

        Raise `InvalidInput` for kwargs that do not fit it.
        """
        transform = self.transform or guess(path)
        family = TRANSFORMS[transform].family
        problems = [problem for name in self.own if (problem := problem_with(name, [family]))]
        problems += [problem for word in self.words if (problem := word_problem(word, family, transform))]
        if problems:
            raise InvalidInput("; ".join(problems))
        return transform, {**merged(self.layers, family, self.own), **self.words}

    def by_name(self, name: str) -> str:
        """Return the transform of a file of this name, as far as that tells."""
        return self.transform or guess(_NOWHERE / name)

    def is_settled(self, name: str) -> bool:
        """Return whether a file's name ("" for one not known yet) is enough to tell its transform."""
        looked_into = any(part in _LOOKED_INTO for part in Path(name.lower()).suffixes[-2:])
        return bool(self.transform or (name and not looked_into))


_OF_FAMILY = {"sheet": ("excel", "Excel files"), "table": ("sqlite", "SQLite databases")}


def word_problem(word: str, family: str, transform: str) -> str:
    """Return what is wrong with `sheet` or `table` for a transform; "" if it fits."""
    wanted, files = _OF_FAMILY[word]
    return "" if family == wanted else f"`{word}` is for {files}, and transform {transform} has none"
