"""Fetch objects of other packages that a later push could not find at its registry."""

from __future__ import annotations

from collections.abc import Mapping

from datapkg.api.build import push_target
from datapkg.api.states import check_not_removed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import plan, transfer
from datapkg.resolve import ResolvedState, origin_of


def bring_foreign(
    home: Home,
    ref: Ref,
    found: ResolvedState,
    sizes: Mapping[str, int],
    registry: str | None,
    progress: Progress = silent,
) -> None:
    """Copy objects of a state (hash to size in bytes) that are in another store, or at another registry than a push
    would go to; what the registry of the push has stays there. Raise `PackageNotInstalled` if the package was removed
    since it was found.
    """
    mine = home.store.objects
    needed = plan(sizes, mine).needed
    if not needed:
        return
    if found.store is not home.store:
        there = found.store.objects.missing(needed)
        here = {hash: size for hash, size in needed.items() if hash not in there}
        transfer(found.store.objects, mine, plan(here, mine), progress)
        return
    check_not_removed(home, ref, needed)
    origin = origin_of(home, ref, found.hash)
    if origin is not None and origin != push_target(home, registry):
        transfer(home.client(origin).objects(ref), mine, plan(needed, mine), progress)
