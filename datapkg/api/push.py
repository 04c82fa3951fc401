"""Push: send a state of a package from the local store to its registry; only missing objects are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from datapkg.api.push_plan import PushPlan, first_hashes, new_objects, size_of_steps, without
from datapkg.api.push_record import for_older_registry, record_sizes, sizes_before, whole_record, with_record
from datapkg.api.push_result import PushResult
from datapkg.api.states import check_complete
from datapkg.errors import Conflict, DatapkgError, Forbidden, InvalidInput, ObjectNotFound, PackageNotFound
from datapkg.format import push_wire
from datapkg.format.manifest.diff import same_data, stored_otherwise
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.manifest.review import review
from datapkg.format.names import Ref, State, check_new_version, check_tag, is_hash
from datapkg.format.object_sets import joined
from datapkg.format.object_sizes import lacking
from datapkg.format.texts import quoted, unchecked_text
from datapkg.home import Home
from datapkg.objects.deltas import planned_transfer
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, transfer
from datapkg.origins import allowed_registry
from datapkg.reading.source import Remote, Source
from datapkg.remote.client import Client
from datapkg.resolve import LATEST, find_installed, not_installed
from datapkg.store.refs import LogEvent, Refs

SHOWN_DIGITS = 12
_MOST_EVENTS, _MOST_OLDER = 20, 2


def push_package(
    home: Home,
    ref: Ref,
    *,
    public: bool = False,
    message: str = "",
    tag: str | None = None,
    version: str | None = None,
    force: bool = False,
    confirm: bool = False,
    dry_run: bool = False,
    parent: str | None = None,
    record: dict[str, Any] | None = None,
    registry: str | None = None,
    progress: Progress = silent,
) -> PushResult:
    """Push the last built state (or the ref's own) and make it the registry's `latest`, `tag` and `version`.

    `parent` is the hash, or its beginning, of the state that this one follows; by default the registry's latest as last
    seen here. `message` and `record` default to those of the build. Objects that the registry has need not be here. A
    `dry_run` raises what the push would raise before objects are sent, and returns what would change. Raise `Conflict`
    if the registry's latest state is not `parent`, unless `force`; `ObjectNotFound` for objects that are neither here
    nor there. An interrupted push is resumed by the next one.
    """
    _check_request(ref, message)
    hash = _state_to_push(home, ref)
    request = push_wire.Publish(
        manifest=hash,
        parent=State.parse(f"sha256:{parent.removeprefix('sha256:')}").value if parent else None,
        force=force,
        public=public,
        confirm_public=confirm,
        message=message or _message(home, ref, hash),
        tag=check_tag(tag, f"datapkg push {ref} --version {tag}") if tag else None,
        version=check_new_version(version, f"datapkg push {ref} --tag {version}") if version else None,
    )
    manifest = home.store.manifest(request.manifest)
    request, lost = with_record(home, ref, request, record)
    client = home.client(allowed_registry(home, ref, registry))
    result = _push(home, client, ref, manifest, request, dry_run, progress)
    return replace(result, warnings=lost + result.warnings)


def _check_request(ref: Ref, message: str) -> None:
    if ref.path:
        raise InvalidInput(f"{ref} names a node; a push takes a whole package", hint=f"datapkg push {ref.package}")
    if len(message) > push_wire.MAX_MESSAGE:
        raise InvalidInput(
            f"the message has {len(message):,} characters; at most {push_wire.MAX_MESSAGE:,} are allowed"
        )


def _push(
    home: Home,
    client: Client,
    ref: Ref,
    manifest: Manifest,
    request: push_wire.Publish,
    dry_run: bool,
    progress: Progress,
) -> PushResult:
    before = _state_before(home, ref, request.parent, manifest)
    own = {manifest.hash: manifest.size_bytes, **record_sizes(home, request)}
    asked = joined(own, new_objects(before, manifest))
    begun = _begin(home, client, ref, manifest, request, first_hashes(asked))
    started, request, manifest = begun.started, begun.request, begun.manifest
    older = _older_states(home, ref, client.url, started.latest)
    sending = PushPlan(home.store.objects, client.objects(ref, started.push), started, before, begun.theirs, older)
    records = record_sizes(home, request)
    planned = _planned(sending, begun, asked, records)
    _check_here(home, ref, planned)
    # After the check that all is here: deltas read the objects.
    deltas = sending.deltas(planned, manifest, (sizes_before(home, ref, started.latest), records))
    arrived = sending.arrived(planned, manifest.hash, deltas) if dry_run else {}
    logical = _size(home, ref, manifest)
    moving = planned_transfer(planned, deltas, logical, arrived, size_of_steps(deltas))
    result = _result(home, client, ref, begun, planned, (moving.bytes_moved, logical))
    if planned.needed or dry_run:  # so that no limit of the registry is noticed after everything was sent
        client.check_publish(ref, started.push, _check_of(request, manifest, planned, records, logical))
    if dry_run:
        changes = review(begun.theirs, manifest)
        return replace(result, record=whole_record(home, request), changes=changes, transfer=moving)
    sent_before = client.sent_bytes
    left = sending.send_deltas(planned, manifest, deltas, progress)
    transfer(home.store.objects, sending.target, left, progress)
    published = client.publish(ref, started.push, request, objects=len(asked))
    _remember(home, ref, manifest, client.url, request, published.changed)
    return _completed(result, published, client, client.sent_bytes - sent_before)


def _completed(result: PushResult, published: push_wire.Published, client: Client, sent_bytes: int) -> PushResult:
    """Return the result of a push with what the registry answered at its end."""
    unchecked = [unchecked_text(published.unchecked)] if published.unchecked else []
    return replace(
        result,
        bytes_sent=sent_bytes,
        url=published.url,
        changed=published.changed,
        public=published.public,
        role=published.role,
        warnings=[*client.notes(), *result.warnings, *unchecked],
    )


def _planned(sending: PushPlan, begun: _Begun, asked: Mapping[str, int], records: dict[str, int]) -> TransferPlan:
    """Return what has to be sent; of a state that the registry has already, at most the object of the record."""
    if begun.is_adopted:
        lacking = {hash: size for hash, size in records.items() if hash in begun.started.missing}
        return TransferPlan(lacking, len(asked))
    planned = sending.plan(begun.manifest, asked)
    return without(planned, [begun.unwanted]) if begun.unwanted else planned


def _result(
    home: Home, client: Client, ref: Ref, begun: _Begun, planned: TransferPlan, sizes: tuple[int, int]
) -> PushResult:
    """Return the result of a push that sends so many bytes, of a state of so many."""
    public = begun.started.public or begun.request.public
    return PushResult(
        package=ref.package,
        hash=begun.manifest.hash,
        objects_sent=len(planned.needed),
        bytes_sent=sizes[0],
        bytes_logical=sizes[1],
        url=f"{client.url}/{ref.package}",
        changed=begun.manifest.hash != begun.started.latest,
        public=public,
        record=begun.request.record,
        warnings=begun.refused + (_warnings(home, begun.manifest) if begun.request.public else []),
    )


@dataclass(frozen=True)
class _Begun:
    """A started push that does not conflict with the registry's latest state, `theirs`.

    `is_adopted` is true if their manifest is pushed because it has the same data; `refused` explains why it was not.
    `unwanted` is the object of the record, which an older registry takes inside the request.
    """

    started: push_wire.PushStarted
    request: push_wire.Publish
    manifest: Manifest
    theirs: Manifest | None
    is_adopted: bool
    refused: list[str]
    unwanted: str | None = None


def _begin(
    home: Home, client: Client, ref: Ref, manifest: Manifest, request: push_wire.Publish, hashes: list[str]
) -> _Begun:
    """Start a push; raise `Conflict` or `Forbidden` before anything is sent."""
    started = client.start_push(ref, manifest.hash, hashes)
    request = msgspec.structs.replace(request, parent=_parent(home, ref, client.url, request.parent, started.latest))
    _check_started(ref, started, request)
    theirs = _their_manifest(home, client, ref, manifest, started.latest)
    agreed, refused = _adopted(home, client, ref, manifest, theirs)
    is_adopted = agreed.hash != manifest.hash
    if agreed.hash != started.latest:
        _check_parent(ref, client.url, started.latest, request)
    if is_adopted:  # a push is for one manifest
        started = client.start_push(ref, agreed.hash, [agreed.hash, *record_sizes(home, request)])
    # With `force`, a given beginning of a hash may not match `latest`; a request needs a full hash.
    parent = request.parent if request.parent is None or is_hash(request.parent) else started.latest
    request = msgspec.structs.replace(request, manifest=agreed.hash, parent=parent)
    if request.record_object and not started.record_objects:
        request, unwanted = for_older_registry(home, request), request.record_object
        return _Begun(started, request, agreed, theirs, is_adopted, refused, unwanted)
    return _Begun(started, request, agreed, theirs, is_adopted, refused)


def _check_of(
    request: push_wire.Publish, manifest: Manifest, planned: TransferPlan, records: dict[str, int], logical: int
) -> push_wire.PublishCheck:
    return push_wire.PublishCheck(
        publish=request,
        manifest_size=manifest.size_bytes,
        record_size=sum(records.values()),
        bytes_logical=logical,
        largest_to_send=max(planned.needed.values(), default=0),
        bytes_to_send=planned.size_bytes,
    )


def _size(home: Home, ref: Ref, manifest: Manifest) -> int:
    current = home.store.refs.current(ref)
    known = current.bytes_logical if current and current.hash == manifest.hash else 0
    return known or manifest.size()


def _state_before(home: Home, ref: Ref, parent: str | None, manifest: Manifest) -> Manifest | None:
    """Return the state that this one probably follows at the registry, if it is here."""
    hash = parent or home.store.refs.tags(ref).get(LATEST)
    if hash == manifest.hash:
        return manifest
    return home.store.manifest(hash) if hash and is_hash(hash) and home.store.has(hash) else None


def _older_states(home: Home, ref: Ref, url: str, latest: str | None) -> Iterator[Manifest]:
    """Yield the newest states that were pushed to a registry or installed from it, without its latest one."""
    events = (each for each in islice(home.store.refs.log(ref), _MOST_EVENTS) if each.event in ("push", "install"))
    hashes = dict.fromkeys(each.hash for each in events if each.origin == url and each.hash != latest)
    for hash in islice(filter(home.store.has, hashes), _MOST_OLDER):
        with suppress(DatapkgError):  # a damaged manifest: more is sent, and nothing is wrong
            yield home.store.open_manifest(hash)


def _check_here(home: Home, ref: Ref, planned: TransferPlan) -> None:
    if absent := lacking(planned.needed, home.store.objects.missing):
        raise ObjectNotFound(
            f"{len(absent):,} objects of {ref.package} are neither on this machine nor at the registry, "
            f"the first is {min(absent)}; nothing was pushed",
            hint=f"datapkg fetch {ref.package}, or build the package again",
            hash=min(absent),
        )


def _warnings(home: Home, manifest: Manifest) -> list[str]:
    """Return hints about what the publisher of a public package may have forgotten."""
    from datapkg.building.metadata_lint import licence_hint

    hint = licence_hint(manifest, home.store.objects)
    return [hint] if hint else []


def _state_to_push(home: Home, ref: Ref) -> str:
    if ref.state is not None:
        return find_installed(home, ref).hash
    newest = next(home.store.refs.log(ref, "build", "install"), None)
    if newest is None:
        error = not_installed(ref)
        raise PackageNotFound(f"{ref.package} was not built here", hint=f"datapkg build {ref.package} PATH") from error
    if newest.event != "build":
        raise InvalidInput(
            f"nothing of {ref.package} was built since it was installed; there is nothing new to push",
            hint=f"datapkg build {ref.package} PATH (or push a state by its hash: {ref.package}@sha256:…)",
        )
    line = f"datapkg push {ref.package}@sha256:{newest.hash}"
    check_complete(home, ref, newest.hash, "nothing was pushed", f"to push it as it is: {line}")
    return newest.hash


def _check_started(ref: Ref, started: push_wire.PushStarted, request: push_wire.Publish) -> None:
    if request.public and started.exists and not started.public and not request.confirm_public:
        raise Forbidden(
            f"{ref.package} is private; making it public shows all its earlier pushes to everybody",
            hint=f"datapkg push {ref} --public --yes",
        )
    if request.parent and not started.exists and not request.force:
        raise Conflict(
            f"{ref.package} was deleted at the registry since it was last pushed or installed here",
            hint=f"datapkg push {ref} --force",
        )


def _check_parent(ref: Ref, url: str, latest: str | None, request: push_wire.Publish) -> None:
    """Raise `Conflict`, before anything is sent, if the registry's latest state is not the parent."""
    if request.force or latest is None or request.parent == latest:
        return
    known = f"sha256:{latest[:SHOWN_DIGITS]}…"
    if request.parent == request.manifest:
        ours = f"sha256:{request.manifest[:SHOWN_DIGITS]}…"
        raise Conflict(
            f"{ref.package} at {url} is {known} now, and {ours} was pushed before that; nothing was pushed",
            hint=f"datapkg install {ref.package} (to make the older state the latest: datapkg push {ref} --force)",
            expected=request.parent,
            actual=latest,
        )
    if request.parent is None:
        what = f"{ref.package} is at {url} already, in the state {known}, which this machine has never seen"
    else:
        what = f"somebody pushed to {ref.package} meanwhile: its latest state at {url} is {known}"
        what += f", and this push goes on from sha256:{request.parent[:SHOWN_DIGITS]}…"
    raise Conflict(
        f"{what}; nothing was pushed",
        hint=f"datapkg push {ref} --onto sha256:{latest} (what changed: datapkg log {ref.package} --changes)",
        expected=request.parent,
        actual=latest,
    )


def _their_manifest(home: Home, client: Client, ref: Ref, manifest: Manifest, latest: str | None) -> Manifest | None:
    """Return the registry's latest state; None if it has none."""
    if latest is None or latest == manifest.hash:
        return manifest if latest else None
    if home.store.has(latest):
        return home.store.manifest(latest)
    return read_manifest(client.mapped_manifest(ref, latest, home.store.tmp, manifest), latest, older=manifest)


def _adopted(
    home: Home, client: Client, ref: Ref, manifest: Manifest, theirs: Manifest | None
) -> tuple[Manifest, list[str]]:
    """Return the registry's manifest if it has the same data in other blocks, else ours; and warnings.

    Its tables are fetched and verified once, unless they were verified here before; a table that differs from its
    manifest causes a warning.
    """
    if theirs is None or theirs.hash == manifest.hash or not same_data(theirs, manifest):
        return manifest, []
    source = Source(home.store, ref, theirs.hash, Remote(home, client.url))
    for table in stored_otherwise(manifest, theirs):
        try:
            problem = source.claim_problem(table)
        except DatapkgError as error:
            problem = error.message
        if problem:
            return manifest, [f"{quoted(table.path)} at the registry is replaced by yours: {problem}"]
    home.store.save(theirs)
    return theirs, []


def _parent(home: Home, ref: Ref, url: str, given: str | None, latest: str | None) -> str | None:
    """Return the parent of a push: the given state, else the registry's `latest` as it was last seen here.

    A state that was built here since then counts as seen: its push was killed after the registry had accepted it.
    """
    if given is not None:
        return latest if latest and latest.startswith(given) else given
    refs = home.store.refs
    if latest and latest == refs.tags(ref).get(LATEST):  # whatever its address was then
        return latest
    seen = _seen_at(refs, ref, url)
    if latest is None or latest == seen:
        return seen
    built = next(refs.log(ref, "build", hash=latest), None)
    other = next(refs.log(ref, "push", "install"), None) if built else None
    return latest if built and (other is None or other.at < built.at) else seen


def _seen_at(refs: Refs, ref: Ref, url: str) -> str | None:
    """Return the latest state of a registry as it was last seen here; the tags that are cached may be another's."""
    newest = next(refs.log(ref, "push", "install"), None)
    if newest is None or newest.origin == url:
        return refs.tags(ref).get(LATEST)
    return next((event.hash for event in refs.log(ref, "push", "install") if event.origin == url), None)


def _message(home: Home, ref: Ref, hash: str) -> str:
    """Return the message of the build that made this state here, or ""."""
    return next((event.message for event in home.store.refs.log(ref, "build", hash=hash)), "")


def _remember(home: Home, ref: Ref, manifest: Manifest, url: str, request: push_wire.Publish, changed: bool) -> None:
    refs = home.store.refs
    tags = {**refs.tags(ref), LATEST: manifest.hash}
    if request.tag:
        tags[request.tag] = manifest.hash
    refs.set_pointers(ref, "tags", tags)
    if request.version:
        versions = {**refs.versions(ref), request.version: manifest.hash}
        refs.set_pointers(ref, "versions", versions)
    if changed:
        at = datetime.now(UTC).isoformat()
        home.store.append_log(ref, LogEvent("push", manifest.hash, at, url, request.message))
