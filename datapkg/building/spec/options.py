"""Options of a build."""

from __future__ import annotations

from datapkg.format.frozen import dataclass


@dataclass(frozen=True)
class BuildOptions:
    """How to build a package.

    With `build_file`, a folder's build file is used if it has one; `allow_outside` allows files outside of the folder,
    `allow_code` the code of a fetched repository; `update` replaces the checksums of URLs; `force` ignores the cache;
    `dry_run` stores nothing; `gitignore` excludes what `.gitignore` ignores in a folder without a build file;
    `allow_empty` allows a package without nodes; `keep_going` skips sources that cannot be read. Stages of `again` run
    although nothing changed; `jobs` is how many run at once, 0 for one a core. `on` names a cluster that does the work,
    "" for this process, and `objects` the URL through which data move there. With `pull_cache`, results of stages are
    taken from the run cache of the package at `registry`, None for that of the settings.
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
    again: tuple[str, ...] = ()
    jobs: int = 0
    on: str = ""
    objects: str = ""
    pull_cache: bool = False
    registry: str | None = None
