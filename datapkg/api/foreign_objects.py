"""Fetch objects of other packages that a later push could not find at its registry.

Objects that the registry of the push has stay there: a push may rely on everything that its user may read. Objects at
another registry are fetched, since the push would fail without them.
"""

from __future__ import annotations

from collections.abc import Mapping

from datapkg.api.build_tools import push_target
from datapkg.api.states import check_not_removed
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import plan, transfer
from datapkg.origins import origin_of
from datapkg.resolve import ResolvedState


def foreign_objects(
    home: Home, ref: Ref, found: ResolvedState, sizes: Mapping[str, int], registry: str | None
) -> Mapping[str, int]:
    """Return the objects that `bring_foreign` would download."""
    if found.store is not home.store:
        return {}
    origin = origin_of(home, ref, found.hash)
    is_foreign = origin is not None and origin != push_target(home, registry)
    return plan(sizes, home.store.objects).needed if is_foreign else {}


def bring_foreign(
    home: Home,
    ref: Ref,
    found: ResolvedState,
    sizes: Mapping[str, int],
    registry: str | None,
    progress: Progress = silent,
) -> None:
    """Copy objects of a state (hash to size in bytes) from another store or a registry that is not the push target.

    Raise `PackageNotInstalled` if the package was removed since it was found.
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
