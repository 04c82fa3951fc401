"""Mirror: copy packages of a registry into one without a server, for backups, moves and machines without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datapkg.errors import InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.remote.static.client import StaticClient
from datapkg.remote.static.mirroring import Mirrored, mirror_files, mirror_pushes
from datapkg.remote.static.verification import packages_of


@dataclass(frozen=True)
class MirrorResult:
    """What was copied from `source` into `target`: packages with something new, log entries, and objects or packs."""

    source: str
    target: str
    packages: int
    entries: int
    objects: int
    bytes_sent: int


def mirror(
    home: Home, source: str, target: str, refs: Sequence[Ref] = (), *, progress: Progress = silent
) -> MirrorResult:
    """Copy packages, by default all that can be read, with all states, tags and versions; what is there stays.

    Both registries are addresses or names of the settings. Raise `Conflict` where the target has what the source has
    not, `InvalidInput` for a target that is a server.
    """
    theirs, mine = home.client(source), home.client(target)
    if not isinstance(mine, StaticClient):
        raise InvalidInput(
            f"{mine.url} is a server; a mirror is a folder or a bucket",
            hint="datapkg-registry export and import copy a whole server",
        )
    if theirs.url == mine.url:
        raise InvalidInput(f"{mine.url} cannot be a mirror of itself")
    mine.begin()
    result = Mirrored()
    if isinstance(theirs, StaticClient):
        for ref in refs or packages_of(theirs):
            mirror_files(theirs.package_of(ref), mine, result)
    else:
        for ref in refs or [Ref.parse(each.package) for each in theirs.packages()]:
            mirror_pushes(theirs, ref, mine, result, progress)
    return MirrorResult(theirs.url, mine.url, result.packages, result.entries, result.objects, mine.sent_bytes)
