"""What a conversion gives: the nodes and stages of a build file, and everything that could not be mapped."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from datapkg.building.readers import node_name
from datapkg.building.spec.deferred_transform import DeferredTransform
from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.keywords import RESERVED
from datapkg.building.spec.stages import MAX_STAGES
from datapkg.errors import InvalidInput

_IN_NAME = re.compile(r"[^A-Za-z0-9_]+")
_NAME_CHARS = 50
# Of a group, this would be its metadata.
_RESERVED = RESERVED | {"meta"}


@dataclass(frozen=True)
class Unmapped:
    """A key of a source file that the build file does not have, with its line (0 for the whole file) and why."""

    file: str
    line: int
    key: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.reason}"


@dataclass
class Conversion:
    """The parts of a build file, as keywords and values.

    `nodes` maps node paths to the keywords of a node; `stages` maps names to the keywords of a stage. `restored` are
    data files that were copied from the cache of another tool, `missing` those that are nowhere on this machine.
    """

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    unmapped: list[Unmapped] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _groups: set[str] = field(default_factory=set)

    def leave_out(self, file: str, line: int, key: str, reason: str) -> None:
        """Name a key that is not mapped."""
        self.unmapped.append(Unmapped(file, line, key, reason))

    def add_node(self, path: str, keywords: Mapping[str, Any], *, is_group: bool = False) -> str:
        """Add a node for a file or folder at a path, and return the path of the node, or "" if there can be none."""
        *parents, last = [part for part in path.split("/") if part not in ("", ".")] or ["data"]
        name = (
            last if is_group else node_name(last, str(keywords.get("transform") or DeferredTransform().by_name(last)))
        )
        parts = [f"{part}_" if part in _RESERVED else part for part in (*parents, name)]
        if name_problem(tuple(parts)):
            return ""
        node, number = "/".join(parts), 1
        while self._is_taken(node):
            number += 1
            node = "/".join((*parts[:-1], f"{parts[-1]}_{number}"))
        self.nodes[node] = dict(keywords)
        self._groups.update(_parents(node))
        return node

    def _is_taken(self, path: str) -> bool:
        return path in self.nodes or path in self._groups or not self.nodes.keys().isdisjoint(_parents(path))

    def add_stage(self, name: str, keywords: Mapping[str, Any]) -> None:
        """Add a stage; keywords without a value are left out. Raise `InvalidInput` for too many stages."""
        if len(self.stages) >= MAX_STAGES:
            raise InvalidInput(f"there are more than {MAX_STAGES:,} stages; a build file has at most as many")
        self.stages[name] = {word: value for word, value in keywords.items() if value not in (None, False, {}, [], "")}


def _parents(path: str) -> set[str]:
    return {"/".join(path.split("/")[:depth]) for depth in range(1, path.count("/") + 1)}


def free_name(text: str, taken: Container[str]) -> str:
    """Return a name of letters, digits and underscores for a text, which is not among those taken."""
    base = _IN_NAME.sub("_", text).strip("_")[-_NAME_CHARS:].strip("_") or "data"
    base = f"n_{base}" if base[0].isdigit() else base
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def escaped(text: str) -> str:
    """Return a text for `run`, in which braces name inputs, params and outputs."""
    return text.replace("{", "{{").replace("}", "}}")
