"""Settings of a commit: the caller's choices, and the decisions of each command."""

from __future__ import annotations

from datapkg.format.frozen import dataclass
from datapkg.objects.progress import Progress


@dataclass(frozen=True)
class CommitOptions:
    """The caller's choices: the log message, and whether to `push` the new state to the registry.

    `origin` is recorded as the command that made the state; a `dry_run` stores and sends nothing. `tag` and `version`
    name the pushed state. Without `checks`, none is run, which is recorded.
    """

    message: str = ""
    push: bool = True
    registry: str | None = None
    progress: Progress | None = None
    origin: str = "edit"
    dry_run: bool = False
    tag: str | None = None
    version: str | None = None
    checks: bool = True


@dataclass(frozen=True)
class CommitPolicy:
    """The decisions of a command about its drafts.

    With `keep_first`, the new state becomes current here before it is pushed, so that a failed push can be repeated
    with `datapkg push`: the values of an edit are gone when its block ends. Without it, a failed command leaves nothing
    behind and is run again: the files of a sync or append still exist. `skip_empty` commits nothing if a new package
    would be empty. `alternative` completes the hint for users with unpushed builds.
    """

    keep_first: bool = True
    skip_empty: bool = False
    alternative: str = "edit with push=False"
