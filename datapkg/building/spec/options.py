"""How somebody wants a package to be built."""

from __future__ import annotations

from datapkg.format.frozen import dataclass


@dataclass(frozen=True)
class BuildOptions:
    """How to build: by the folder's build file if it has one; with files from outside of the folder; with code of a
    repository that is fetched; with new sums for addresses; believing nothing of earlier builds; keeping nothing;
    without what `.gitignore` ignores in a folder that has no build file; also where there is nothing to build; also
    where some sources cannot be read.
    """

    build_file: bool = True
    allow_outside: bool = False
    allow_code: bool = False
    update: bool = False
    force: bool = False
    dry_run: bool = False
    gitignore: bool = True
    allow_empty: bool = False
    keep_going: bool = False
