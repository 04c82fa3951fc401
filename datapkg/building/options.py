"""How somebody wants a package to be built."""

from __future__ import annotations

from datapkg.format.values import dataclass


@dataclass(frozen=True)
class Options:
    """How to build: by the folder's build file if it has one; with files from outside of the folder; with code of a
    repository that is fetched; with new sums for addresses; believing nothing of earlier builds; keeping nothing.
    """

    build_file: bool = True
    allow_outside: bool = False
    allow_code: bool = False
    update: bool = False
    force: bool = False
    dry_run: bool = False
