"""Commit a draft as a new state: run its checks, store it, and push it on top of what others pushed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from datapkg.api.drafts.carried_checks import Reach
from datapkg.api.drafts.draft import DraftState
from datapkg.api.drafts.rebase import rebased
from datapkg.api.drafts.start import base_state, latest_state, require_complete
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.api.push import push_package
from datapkg.api.push_plan import new_objects, plan_push
from datapkg.api.push_record import sizes_before
from datapkg.building.record import versions
from datapkg.errors import Conflict
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import State
from datapkg.format.record_lists import split_record
from datapkg.objects.deltas import PlannedTransfer, planned_transfer
from datapkg.objects.progress import Progress
from datapkg.objects.transfer import TransferPlan
from datapkg.resolve import allowed_registry
from datapkg.store.refs import Current, LogEvent

# A try fails only if somebody else pushes between its start and its end.
TRIES = 5
_SAMPLED_NODES = 1_000


@contextmanager
def drafting(draft: DraftState, start: Callable[[DraftState], Manifest | None] = base_state) -> Iterator[DraftState]:
    """Open a draft of the state that `start` returns, and commit it when the block ends; an exception discards it."""
    with draft.home.store.writing():
        draft.base = base = start(draft)
        draft.sources = [draft.source(base)] if base else []
        draft.nodes, draft.meta = ManifestEdit(base), deepcopy(base.meta) if base else {}
        draft.is_open = True
        try:
            yield draft
        finally:
            draft.is_open = False
        if not draft.policy.skip_empty or base or draft.nodes or draft.meta:
            _commit(draft)


def _commit(draft: DraftState) -> None:
    manifest = draft.nodes.manifest(draft.meta)
    same = draft.base if draft.base is not None and manifest.hash == draft.base.hash else None
    if same is None or draft.checks.asks:
        _run_checks(draft, manifest)
    if same is not None and not draft.checks.differ(same):
        draft.hash = manifest.hash
        draft.transfer = planned_transfer(TransferPlan({}, 0), {}, manifest.size()) if draft.options.dry_run else None
    elif draft.options.dry_run:
        draft.hash = manifest.hash
        draft.transfer = _planned(draft, manifest)
    elif draft.options.push:
        with shown_progress(draft.options.progress) as report_progress:
            push_draft(draft, manifest, report_progress)
    else:
        _keep_here(draft, manifest)


def _planned(draft: DraftState, manifest: Manifest) -> PlannedTransfer | None:
    """Return what the push of a state would send; None if it is not pushed."""
    if not draft.options.push:
        return None
    client = draft.home.client(allowed_registry(draft.home, draft.ref, draft.options.registry))
    _, lists = split_record(_record_of(draft, draft.base))
    record = {draft.objects.put_bytes(lists): len(lists)} if lists else {}
    before = sizes_before(draft.home, draft.ref, draft.base.hash if draft.base else None)
    return plan_push(client, draft.ref, draft.objects, draft.base, manifest, (before, record))


def _run_checks(draft: DraftState, manifest: Manifest, theirs: Manifest | None = None) -> None:
    """Run the checks of the state's tables and record the results; raise `CheckFailed`."""
    reach = Reach(draft.objects, [*draft.sources, *([draft.source(theirs)] if theirs else [])])
    found = draft.checks.tried(draft.base, manifest, reach, run=draft.options.checks, theirs=theirs)
    draft.record = {key: value for key, value in draft.record.items() if key not in ("checks", "rules")} | found
    draft.warn(*draft.checks.warnings)


def _keep_here(draft: DraftState, manifest: Manifest) -> None:
    """Store a state that is not pushed, on top of the state that became current here meanwhile.

    Raise `Conflict` if others make a new one before each of `TRIES` tries.
    """
    store, parent = draft.home.store, draft.base
    for _ in range(TRIES):
        store.save(manifest)
        with store.refs.changing(draft.ref):  # between the look and the move of the pointer, no other one moves it
            current = store.refs.current(draft.ref)
            if current is None or (parent is not None and current.hash == parent.hash):
                _keep(draft, manifest, parent)
                return
        require_complete(draft, current.hash)
        before, parent = parent, store.manifest(current.hash)
        manifest = rebased(before, manifest, parent)
        _run_checks(draft, manifest, parent)
    raise Conflict(f"others changed {draft.ref.package} {TRIES} times meanwhile; nothing was changed", hint="try again")


def _keep(draft: DraftState, manifest: Manifest, parent: Manifest | None, at: str = "") -> None:
    """Store a state and make it current here; the pointer is moved last."""
    store = draft.home.store
    store.save(manifest)
    at, record = at or datetime.now(UTC).isoformat(), _record_of(draft, parent)
    store.append_log(draft.ref, LogEvent("build", manifest.hash, at, "local", draft.message, record))
    is_partial = _is_partial(draft, manifest)
    title = str(manifest.meta.get("title", ""))
    store.refs.set_current(draft.ref, Current(manifest.hash, "local", is_partial, title, manifest.size()))
    draft.hash = manifest.hash


def _is_partial(draft: DraftState, manifest: Manifest) -> bool:
    """Return whether objects of a state are missing here."""
    store = draft.home.store
    current = store.refs.current(draft.ref)
    if current is not None and not current.partial and store.has(current.hash):
        return bool(store.objects.missing(new_objects(store.manifest(current.hash), manifest)))
    # In most partial states something is missing near the beginning; reading all of a big manifest is the last resort.
    first = [hash for node in islice(manifest.entries(), _SAMPLED_NODES) for hash, _ in node.objects()]
    return bool(store.objects.missing(first) or store.absent(manifest))


def _record_of(draft: DraftState, parent: Manifest | None) -> dict[str, Any]:
    """Return the record of how the new state was made from its parent."""
    return {"libraries": versions(), **draft.record, **({"parent": parent.hash} if parent else {})}


def push_draft(draft: DraftState, manifest: Manifest, report_progress: Progress) -> None:
    """Push a state; if others pushed to other paths meanwhile, rebase on their state, up to `TRIES` times."""
    base, options, keep_first = draft.base, draft.options, draft.policy.keep_first
    for attempt in range(TRIES):
        at = datetime.now(UTC).isoformat()
        if keep_first:
            _keep(draft, manifest, base)
        else:
            # Without a pointer to it: a push reads the manifest from the store.
            draft.home.store.save(manifest)
        exact, parent = draft.ref.at(State("hash", manifest.hash)), draft.parent
        try:
            given: dict[str, Any] = {"tag": options.tag, "version": options.version, "registry": options.registry}
            given |= {"message": draft.message, "record": _record_of(draft, base)}
            draft.pushed = push_package(draft.home, exact, parent=parent, progress=report_progress, **given)
            if not keep_first:
                # With the time from before the push, so that the log has the build first.
                _keep(draft, manifest, base, at)
            return
        except Conflict:
            theirs = latest_state(draft)
            # If nobody pushed, the conflict is another one, such as a version that is taken.
            if theirs is None or theirs.hash == parent or attempt == TRIES - 1:
                raise
        manifest, base = rebased(base, manifest, theirs), theirs
        # Both states may pass their checks alone and fail together, as where one removed what the other refers to.
        _run_checks(draft, manifest, theirs)
