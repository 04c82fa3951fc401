"""Mirror: copy packages of a registry into one without a server, for backups, moves and machines without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from datapkg.errors import DatapkgError, InvalidInput, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.remote.client import Client
from datapkg.remote.static.client import StaticClient
from datapkg.remote.static.mirroring import Mirrored, mirror_files, mirror_pushes
from datapkg.remote.static.verification import packages_of


@dataclass(frozen=True)
class MirrorResult:
    """What was copied from `source` into `target`: packages with something new, log entries, and objects or packs.

    `left_out` are private packages that were not named; `private` those that were, which the target's readers can read.
    `failed` has the error of each package that could not be copied.
    """

    source: str
    target: str
    packages: int
    entries: int
    objects: int
    bytes_sent: int
    left_out: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    dry_run: bool = False
    failed: dict[str, DatapkgError] = field(default_factory=dict)


def mirror(
    home: Home,
    source: str,
    target: str,
    refs: Sequence[Ref] = (),
    *,
    dry_run: bool = False,
    progress: Progress = silent,
) -> MirrorResult:
    """Copy packages, by default all but private ones, with all states, tags and versions; what is there stays.

    A registry without a server has no private packages, so those of a server are copied only where `refs` names them.
    Both registries are addresses or names of the settings. A package that fails, such as one of which the target has
    what the source has not (`Conflict`), does not stop the others. Raise `InvalidInput` for a target that is a server.
    """
    theirs, mine = home.client(source), home.client(target)
    if not isinstance(mine, StaticClient):
        raise InvalidInput(
            f"{mine.url} is a server; a mirror is a folder or a bucket",
            hint="to copy a whole server: datapkg-registry export FILE",
        )
    if theirs.url == mine.url:
        raise InvalidInput(f"{mine.url} cannot be a mirror of itself")
    if not dry_run:
        mine.begin()
    public, hidden = (packages_of(theirs), []) if isinstance(theirs, StaticClient) else _by_access(theirs, refs)
    copied, failed = _copied(theirs, mine, list(refs or public), dry_run, progress)
    return MirrorResult(
        source=theirs.url,
        target=mine.url,
        packages=copied.packages,
        entries=copied.entries,
        objects=copied.objects,
        bytes_sent=mine.sent_bytes,
        left_out=[] if refs else hidden,
        private=hidden if refs else [],
        dry_run=dry_run,
        failed=failed,
    )


def _copied(
    theirs: Client, mine: StaticClient, refs: Sequence[Ref], dry_run: bool, progress: Progress
) -> tuple[Mirrored, dict[str, DatapkgError]]:
    """Copy what is new of each package; return what was copied, and the error of each package that was not."""
    copied, failed = Mirrored(), dict[str, DatapkgError]()
    for ref in refs:
        try:
            if isinstance(theirs, StaticClient):
                mirror_files(theirs.package_of(ref), mine, copied, dry_run=dry_run)
            else:
                mirror_pushes(theirs, ref, mine, copied, progress, dry_run=dry_run)
        except Unreachable:  # nor would the others be copied
            raise
        except DatapkgError as error:
            failed[ref.package] = error
    return copied, failed


def _by_access(server: Client, refs: Sequence[Ref]) -> tuple[list[Ref], list[str]]:
    """Return which packages of a server, by default all, are public, and the names of those that are private."""
    access = {ref: server.package(ref).public for ref in refs}
    access = access or {Ref.parse(each.package): each.public for each in server.packages()}
    return [ref for ref in access if access[ref]], [ref.package for ref in access if not access[ref]]
