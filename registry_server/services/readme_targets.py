"""Targets of relative links in a README: nodes of the same state, and which of them are images.

Links are resolved as paths below the README's folder, the top of the package. A table is found by its path, or by the
path of the file from which it was built, since the README was written beside that file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from datapkg.format.manifest.parsed import FileNode, Kind, Manifest
from datapkg.objects.base import Readable
from registry_server.services.images import is_shown_image

# Each lookup of an image opens an object, so a README with endless links must have an end.
MAX_LOOKED_UP = 500
MAX_SUFFIXES = 3  # petals.csv.tar.gz


class Target(NamedTuple):
    """A node; `hash` and `file_name` are those of a file, and `is_image` whether a page may show it."""

    path: str
    kind: Kind
    hash: str = ""
    file_name: str = ""
    is_image: bool = False


@dataclass
class ReadmeTargets:
    """The link targets in one state; only the first `MAX_LOOKED_UP` addresses are looked up."""

    manifest: Manifest
    objects: Readable
    _found: dict[str, Target | None] = field(default_factory=dict)

    def find(self, address: str) -> Target | None:
        """Return the node that a relative address leads to, or None if it leads to none."""
        if address not in self._found:
            if len(self._found) >= MAX_LOOKED_UP:
                return None
            self._found[address] = self._look_up(address)
        return self._found[address]

    def _look_up(self, address: str) -> Target | None:
        path = _path(address)
        for candidate in _candidates(path) if path else ():
            kind = self.manifest.kind(candidate)
            if not kind:
                continue
            node = self.manifest.get(candidate)
            own_name = getattr(node, "file_name", "")
            if candidate != path and own_name != path.rpartition("/")[2]:
                continue
            if isinstance(node, FileNode):
                shown = is_shown_image(self.objects, node.hash, node.size)
                return Target(candidate, kind, node.hash, own_name or candidate.rpartition("/")[2], shown)
            return Target(candidate, kind)
        return None


def _path(address: str) -> str:
    """Return the path that an address names below the top of the package, or "" for an address elsewhere."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme or parts.netloc:
        return ""
    path: list[str] = []
    for name in unicodedata.normalize("NFC", unquote(parts.path)).split("/"):
        if name == "..":
            if not path:
                return ""
            path.pop()
        elif name not in ("", "."):
            path.append(name)
    return "/".join(path)


def _candidates(path: str) -> Iterator[str]:
    """Yield the path, then the path without its last suffix, then without the last two: nodes are named so."""
    yield path
    folder, slash, name = path.rpartition("/")
    for _ in range(MAX_SUFFIXES):
        name = name.rpartition(".")[0]
        if name:
            yield folder + slash + name
