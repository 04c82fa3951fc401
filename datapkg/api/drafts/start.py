"""Choose the state that a draft starts from: the registry's latest, or the current one here."""

from __future__ import annotations

from datapkg.api.drafts.draft import DraftState
from datapkg.api.states import check_complete
from datapkg.errors import Conflict, NotFound, Refused
from datapkg.format.manifest.diff import same_data, stored_otherwise
from datapkg.format.manifest.parsed import Manifest
from datapkg.origins import allowed_registry
from datapkg.resolve import fetch_manifest, keep, resolve
from datapkg.store.refs import Current


def base_state(draft: DraftState) -> Manifest | None:
    """Return the state to edit: the registry's latest if the draft is pushed, else the current one here.

    Raise `Conflict` if a build was not pushed, since an edit of the registry's state would not contain it.
    """
    home, ref, options = draft.home, draft.ref, draft.options
    current = home.store.refs.current(ref)
    has_registry = options.registry or ref.registry or home.settings.get("registry").value
    # Without a state here, an edit that is not pushed starts from the registry's too: else it would begin empty.
    theirs = latest_state(draft) if options.push or (current is None and has_registry) else None
    if current is None:
        if theirs is None:
            _check_not_elsewhere(draft)
        return theirs
    if theirs is None:
        require_complete(draft, current.hash)
        return home.store.manifest(current.hash)
    if is_unpushed(draft, current, theirs):
        raise Conflict(
            f"{ref.package} was built here and not pushed; an edit of the registry's state would miss it",
            hint=f"datapkg push {ref.package} (or {draft.policy.alternative})",
        )
    return theirs


def current_state(draft: DraftState) -> Manifest | None:
    """Return the current state here without contacting a registry."""
    store = draft.home.store
    current = store.refs.current(draft.ref)
    return store.manifest(current.hash) if current else None


def latest_state(draft: DraftState) -> Manifest | None:
    """Return the registry's latest state and make it the draft's parent; None if the registry lacks the package.

    Only the manifest is fetched. Raise `NotLoggedIn` before any request if the draft is to be pushed without a token.
    """
    home, ref = draft.home, draft.ref
    client = home.client(allowed_registry(home, ref, draft.options.registry))
    if draft.options.push:
        client.check_may_change(ref)
    try:
        resolved = resolve(home, client, ref)
    except NotFound:
        return None
    manifest = fetch_manifest(home, client, ref, resolved)
    if not draft.options.dry_run:
        keep(home, ref, manifest, resolved)
    draft.parent = manifest.hash
    return manifest


def is_unpushed(draft: DraftState, current: Current, theirs: Manifest) -> bool:
    """Return whether the current state was made here, was never pushed, and differs in data from the registry's."""
    if current.origin != "local" or current.hash == theirs.hash:
        return False
    refs, ref = draft.home.store.refs, draft.ref
    if any(refs.log(ref, "push", hash=current.hash)):
        return False
    mine = draft.home.store.manifest(current.hash)
    is_right = (draft.is_right(table, theirs) for table in stored_otherwise(mine, theirs))
    return not (same_data(theirs, mine) and all(is_right))


def require_complete(draft: DraftState, hash: str) -> None:
    """Raise `BuildFailed` if the new state would follow one that `build --keep-going` left incomplete."""
    line = f"datapkg push {draft.ref.package}@sha256:{hash}"
    hint = f"build it again, or push it as it is: {line}"
    check_complete(draft.home, draft.ref.at(None), hash, "nothing was changed", hint)


def _check_not_elsewhere(draft: DraftState) -> None:
    """Raise `Refused` if only a read-only store has the package: a new package of that name would hide it."""
    ref = draft.ref
    if other := next((each for each in draft.home.stores[1:] if each.refs.current(ref)), None):
        raise Refused(
            f"{ref.package} is in the read-only store {other.folder}; nothing was changed",
            hint=f"datapkg cp {ref.package} {ref.user}/OTHER",
        )
