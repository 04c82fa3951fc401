"""Which states of a package had a node that another state does not have: said where such a node is asked for."""

from __future__ import annotations

from contextlib import contextmanager

from datapkg.errors import DatapkgError, NodeNotFound
from datapkg.format.texts import listed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from datapkg.format.names import Ref
    from datapkg.home import ResolvedState
    from datapkg.store.store import Store

_LOOKED_THROUGH, _NAMED = 20, 5
_SHOWN_DIGITS = 12
_UNNAMED = "the package"  # as a manifest names it, which does not know whose it is


def explain(error: NodeNotFound, store: Store, ref: Ref, hash: str) -> NodeNotFound:
    """Add to an error the state that has no such node, and the states on this machine that have it.

    At most `_LOOKED_THROUGH` states, the newest, are looked through.
    """
    path = str(error.detail.get("path", ""))
    had = [] if path.rpartition("/")[2].startswith("_") else _states_with(store, ref, hash, path)
    if error.message.startswith(_UNNAMED):
        error.message = ref.package + error.message.removeprefix(_UNNAMED)
    where = f"the state is sha256:{hash[:_SHOWN_DIGITS]}"
    if not had:
        is_near = error.hint or "meant" in error.detail
        error.explain(where, None if is_near else f"datapkg show {ref.package}")
        return error
    error.explain(f"{where}; it was in {listed(had, _NAMED, str)}", f"datapkg show {ref.package}@{had[0]}")
    return error


@contextmanager
def explained(found: ResolvedState) -> Iterator[None]:
    """Inside, an error for an absent node names the state, and the states that have the node."""
    try:
        yield
    except NodeNotFound as error:
        if "path" in error.detail:
            explain(error, found.store, found.ref, found.hash)
        raise


def _states_with(store: Store, ref: Ref, hash: str, path: str) -> list[str]:
    """The other states that are here and have a node at a path, newest first, as what follows the `@` of a ref."""
    refs, user, name = store.refs, ref.user, ref.name
    versions = {state: version for version, state in refs.versions(user, name).items()}
    known = [event.hash for event in refs.log(user, name)]
    known += [*versions, *refs.tags(user, name).values()]
    others = [each for each in dict.fromkeys(known) if each != hash and store.holds(each)]
    found = []
    for each in others[:_LOOKED_THROUGH]:
        try:
            has_node = bool(store.open_manifest(each).kind(path))
        except DatapkgError:  # a damaged state is no help, and no reason to fail otherwise
            continue
        if has_node:
            found.append(versions.get(each) or f"sha256:{each[:_SHOWN_DIGITS]}")
    return found
