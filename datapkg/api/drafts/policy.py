"""How a draft is committed: what the caller chooses, and what each command decides."""

from __future__ import annotations

from datapkg.format.frozen import dataclass
from datapkg.objects.progress import Progress


@dataclass(frozen=True)
class CommitOptions:
    """The caller's choices: the log message, and where the new state goes; with `push` it goes to the registry too.

    `origin` is recorded as what made the state; a `dry_run` keeps and sends nothing. `tag` and `version` name the state
    that is pushed. Without `checks` none is run, and the record says so.
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
    """What a command decides about its drafts.

    With `keep_first` the new state is the current one here before it is pushed, so a push that fails can be repeated
    with `datapkg push`; without, a failed command leaves nothing behind and is run again. `skip_empty` commits nothing
    where a new package would be empty. `alternative` completes the hint for somebody who has unpushed builds.
    """

    keep_first: bool = True
    skip_empty: bool = False
    alternative: str = "edit with push=False"
