"""Name the states of a package that have a node, in the error for a state that does not have it.

States on this machine are searched first, then a few at the package's registry. All of this happens when the message of
the error is read: programs that only test whether something exists do not wait.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import chain

from datapkg.errors import DatapkgError, NodeNotFound
from datapkg.reading.missing.python_code import load_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.resolve import ResolvedState
    from datapkg.store.store import Store

    Has = Callable[[Manifest], bool]
    States = list[tuple[str, Manifest]]

_LOOKED_THROUGH, _NAMED = 20, 5
_SHOWN_DIGITS = 12
_UNNAMED = "the package"  # the name in errors of a manifest, which does not contain its package's name


def explain(
    error: NodeNotFound,
    store: Store,
    ref: Ref,
    hash: str,
    home: Home | None = None,
    *,
    registry: str = "",
    suffixes: tuple[str, ...] = (),
) -> NodeNotFound:
    """Let an error name, when it is read, the state that lacks the node, and the states that have it.

    At most `_LOOKED_THROUGH` states on this machine, the newest, are searched; if none has it, those that
    `earlier_states` returns, of the `registry` that the state is at or was seen at last. With `suffixes`, tables and
    arrays also match by their path with one of these.
    """
    error.explain_later(
        partial(_explain, error, store, ref, hash, partial(_earlier, store, ref, home, registry), suffixes)
    )
    return error


def _earlier(store: Store, ref: Ref, home: Home | None, registry: str) -> States:
    from datapkg.reading.missing.registry_states import earlier_states

    return earlier_states(store, ref, home, registry)


def _explain(
    error: NodeNotFound, store: Store, ref: Ref, hash: str, earlier: Callable[[], States], suffixes: tuple[str, ...]
) -> None:
    path = str(error.detail.get("path", ""))
    had: list[str] = []
    if not path.rpartition("/")[2].startswith("_"):
        paths = {path, *(path.removesuffix(each) for each in suffixes)}
        had = _states_with(store, ref, hash, earlier, lambda manifest: any(map(manifest.kind, paths)))
    if error.message.startswith(_UNNAMED):
        error.message = ref.package + error.message.removeprefix(_UNNAMED)
    where = f"the state is sha256:{hash[:_SHOWN_DIGITS]}"
    if not had:
        near = error.detail.get("near")
        error.explain(where, error.hint or (load_line(ref, near) if near else f"datapkg show {ref.package}"))
        return
    more = f" and {len(had) - _NAMED} more" if len(had) > _NAMED else ""
    for key in ("near", "meant"):  # the spelling was right
        error.detail.pop(key, None)
    error.explain(f"{where}; it was in {', '.join(had[:_NAMED])}{more}", f"datapkg show {ref.package}@{had[0]}")


@contextmanager
def explained(found: ResolvedState, home: Home | None = None) -> Iterator[None]:
    """Inside, an error for a missing node names the state, and the states that have the node."""
    try:
        yield
    except NodeNotFound as error:
        if "path" in error.detail:
            registry = found.why if "://" in found.why else ""
            explain(error, found.store, found.ref, found.hash, home, registry=registry)
        raise


def _states_with(store: Store, ref: Ref, hash: str, earlier: Callable[[], States], has: Has) -> list[str]:
    """Return the other states that have a node, newest first, as what follows the `@` of a ref."""
    refs = store.refs
    versions = {state: version for version, state in refs.versions(ref).items()}
    known = chain((each for each, _ in refs.logged(ref)), versions, refs.tags(ref).values())
    others: dict[str, None] = {}
    for each in known:
        if each != hash and each not in others and store.holds(each):
            others[each] = None
            if len(others) == _LOOKED_THROUGH:
                break
    found = []
    for each in others:
        try:
            has_node = has(store.open_manifest(each))
        except DatapkgError:  # a corrupt state must not hide the error
            continue
        if has_node:
            found.append(versions.get(each) or f"sha256:{each[:_SHOWN_DIGITS]}")
    if not found:
        found = [name for name, manifest in earlier() if manifest.hash not in {hash, *others} and has(manifest)]
    return found
