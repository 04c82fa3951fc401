"""The log of a package, newest first: pushes at its registry, builds and installs on this machine."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from datapkg.api.history import check_whole_package, client_of, tags_at, versions_at
from datapkg.api.states import names_of
from datapkg.errors import InvalidInput, NotFound, ObjectNotFound, Unreachable
from datapkg.format import wire
from datapkg.format.chunks import LONG_BYTES
from datapkg.format.lineage import parents_of_record
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.review import review
from datapkg.format.names import Ref
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.remote.client import Client
from datapkg.resolve import find_installed, not_installed
from datapkg.store.refs import LogEvent

_NEVER = datetime.min.replace(tzinfo=UTC)
_Entry = dict[str, Any]


def log(
    home: Home, ref: Ref, *, remote: bool | None = None, registry: str | None = None, changes: bool = False
) -> list[dict[str, Any]]:
    """Return the whole log of a package (see `log_page`)."""
    return log_page(home, ref, remote=remote, registry=registry, changes=changes)[0]


def log_page(
    home: Home,
    ref: Ref,
    *,
    remote: bool | None = None,
    registry: str | None = None,
    changes: bool = False,
    limit: int | None = None,
    cursor: str = "",
) -> tuple[list[dict[str, Any]], str]:
    """Return at most `limit` entries of the log of a package, newest first, and the cursor of the next page.

    The cursor is "" on the last page. `remote` True omits this machine, False the registry; None includes both if a
    registry is configured. A state in the ref selects the entries of that state; without one, no more is read and
    requested than is returned or is before the cursor. Each entry has event, hash, created_at, author, message, tags,
    versions and origin; with `changes` also `changes` from the previous state (see `format.manifest.review`), None if
    one of the two is neither here nor at the registry. `parent` is the state that it followed as {hash}, or None;
    `parents` are all that it was made from; `bytes_logical` is None if it is not known. Raise the errors of a registry,
    `ObjectNotFound`, `VersionNotFound`, `TagNotFound`; `InvalidInput` for a cursor that is not one.
    """
    check_whole_package(ref)
    is_remote = remote or (remote is None and _has_registry(home, ref, registry))
    client, rest = _entries(home, client_of(home, ref, registry) if is_remote else None, ref, here=not remote)
    entries = _Entries(rest)
    hash = _hash_of(home, client, ref, list(entries.starting_at(0))) if ref.state else ""
    is_next = _after(cursor)
    wanted = (
        number for number, each in enumerate(entries.starting_at(0)) if hash in ("", each["hash"]) and is_next(each)
    )
    # One more than is shown tells whether there is another page.
    numbers = list(islice(wanted, None if limit is None else limit + 1))
    page = [entries.read[number] for number in numbers[:limit]]
    if changes:
        _add_changes(home, client, ref, entries, numbers[:limit])
    _add_sizes(home, page)
    shown = [{**each, "parent": _named(each["parent"]), "parents": list(map(_named, each["parents"]))} for each in page]
    return shown, _cursor(page, cursor) if len(numbers) > len(page) else ""


class _Entries:
    """Entries of a log, each read when it is asked for the first time."""

    def __init__(self, rest: Iterator[_Entry]) -> None:
        self.read: list[_Entry] = []
        self._rest = rest

    def starting_at(self, number: int) -> Iterator[_Entry]:
        while True:
            if number == len(self.read):
                self.read += islice(self._rest, 1)
                if number == len(self.read):
                    return
            yield self.read[number]
            number += 1


def _after(cursor: str) -> Callable[[_Entry], bool]:
    """Return whether an entry, of all in their order, comes after a cursor: a time, and how many have it before."""
    if not cursor:
        return lambda _: True
    text, _, count = cursor.rpartition("~")
    until = _time(text)
    if until == _NEVER or not count.isdecimal():
        raise InvalidInput(f"{quoted(cursor)} is not the cursor of a log", hint="datapkg log USER/NAME")
    left = int(count)

    def is_after(entry: _Entry) -> bool:
        nonlocal left
        at = _time(entry["created_at"])
        left -= at == until
        return at < until or (at == until and left < 0)

    return is_after


def _cursor(page: list[_Entry], before: str) -> str:
    """Return the position of the last entry of a page, which came after another cursor."""
    at = page[-1]["created_at"]
    text, _, count = before.rpartition("~")
    return f"{at}~{sum(each['created_at'] == at for each in page) + (int(count) if text == at else 0)}"


def _has_registry(home: Home, ref: Ref, registry: str | None) -> bool:
    return bool(registry or ref.registry or home.settings.get("registry").value)


def _entries(home: Home, client: Client | None, ref: Ref, *, here: bool) -> tuple[Client | None, Iterator[_Entry]]:
    """Return both logs as one, and the registry, None if it does not have the package but this machine has it."""
    is_here = here and next(home.store.refs.logged(ref), None) is not None
    first = None
    if client:
        try:
            pushed = client.log(ref)
            # The log is read lazily; the first entry tells whether the registry has the package.
            first = next(pushed, None)
            tags, versions = _by_state(tags_at(client, ref)), _by_state(versions_at(client, ref))
        except NotFound:
            if not is_here:
                raise
            client = None
        except Unreachable as error:
            if is_here:
                error.explain("", f"datapkg log {ref.package} --local")
            raise
    if not (first or is_here):
        raise not_installed(ref.at(None))
    refs = home.store.refs
    if client is None or first is None:
        return client, _local_entries(
            home, ref, names_of(refs.tags(ref)), names_of(refs.versions(ref), refs.yanked(ref))
        )
    pushes = _pushes(client, chain([first], pushed), tags, versions)
    if not is_here:
        return client, pushes
    # The registry lists its pushes, those of this machine too.
    local = _local_entries(home, ref, tags, versions)
    others = (each for each in local if (each["event"], each["origin"]) != ("push", client.url))
    return client, heapq.merge(pushes, others, key=lambda each: _time(each["created_at"]), reverse=True)


_Names = Mapping[str, list[dict[str, Any]]]


def _by_state(names: list[dict[str, Any]]) -> _Names:
    found: dict[str, list[dict[str, Any]]] = {}
    for each in names:
        found.setdefault(each["hash"], []).append(each)
    return found


def _local_entries(home: Home, ref: Ref, tags: _Names, versions: _Names) -> Iterator[_Entry]:
    for event in home.store.refs.log(ref):
        yield {
            "event": event.event,
            "hash": event.hash,
            "created_at": event.at,
            "author": "",
            "message": event.message,
            "tags": tags.get(event.hash, []),
            "versions": versions.get(event.hash, []),
            "origin": event.origin,
            "parent": event.record.get("parent"),
            "parents": parents_of_record(ref.package, event.record),
            "bytes_logical": None,
            "copied_from": _copied_from(event),
        }


def _copied_from(event: LogEvent) -> str:
    """Return the state that `cp` copied, as a ref; "" for any other event."""
    packages = event.record.get("packages")
    if event.record.get("origin") != "copy" or not isinstance(packages, list) or not packages:
        return ""
    return f"{packages[0].get('package')}@sha256:{packages[0].get('hash')}"


def _pushes(client: Client, pushed: Iterable[wire.LogEntry], tags: _Names, versions: _Names) -> Iterator[_Entry]:
    for entry in pushed:
        yield {
            "event": "push",
            "hash": entry.hash,
            "created_at": entry.pushed_at,
            "author": entry.author,
            "message": entry.message,
            "tags": tags.get(entry.hash, []),
            "versions": versions.get(entry.hash, []),
            "origin": client.url,
            "parent": entry.parent,
            "parents": entry.parents or ([entry.parent] if entry.parent else []),
            "bytes_logical": entry.bytes_logical,
            "copied_from": "",
        }


def _named(hash: str | None) -> dict[str, str] | None:
    return {"hash": hash} if hash else None


def _add_sizes(home: Home, page: list[_Entry]) -> None:
    """Add the sizes of states of this machine, from entries of a registry or from short manifests."""
    sizes = {each["hash"]: each["bytes_logical"] for each in page if each["bytes_logical"] is not None}
    for each in page:
        hash = each["hash"]
        # A long manifest would have to be read as a whole, for one cell of a table.
        if hash not in sizes and home.store.has(hash) and home.store.objects.size(hash) < LONG_BYTES:
            sizes[hash] = home.store.manifest(hash).size()
        each["bytes_logical"] = sizes.get(hash)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _NEVER
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _hash_of(home: Home, client: Client | None, ref: Ref, entries: list[_Entry]) -> str:
    """Return the full hash of the ref's state."""
    assert ref.state is not None
    if ref.state.kind == "hash":
        found = sorted({each["hash"] for each in entries if each["hash"].startswith(ref.state.value)})
        if not found:
            raise ObjectNotFound(
                f"the log of {ref.package} has no state {ref.state}", hint=f"datapkg log {ref.package}"
            )
        if len(found) > 1:
            listed = ", ".join(each[:16] for each in found)
            raise InvalidInput(f"{ref} is not one state: the hashes {listed} begin so", candidates=found)
        return found[0]
    return client.resolve(ref).hash if client else find_installed(home, ref).hash


def _add_changes(home: Home, client: Client | None, ref: Ref, entries: _Entries, numbers: list[int]) -> None:
    """Add to these entries the changes from their parents: the recorded one, else the previous state in the log."""
    manifests: dict[str, Manifest | None] = {}

    def manifest(hash: str) -> Manifest | None:
        if hash not in manifests:
            manifests[hash] = _manifest(home, client, ref, hash)
        return manifests[hash]

    for number in numbers:
        entry = entries.read[number]
        older = (each["hash"] for each in entries.starting_at(number + 1) if each["hash"] != entry["hash"])
        parent = entry["parent"] or next(older, None)
        before, after = manifest(parent) if parent else None, manifest(entry["hash"])
        is_known = after is not None and (before is not None or not parent)
        entry["changes"] = review(before, after) if is_known and after is not None else None


def _manifest(home: Home, client: Client | None, ref: Ref, hash: str) -> Manifest | None:
    """Return the manifest of a state, from this machine or the registry; None if neither has it."""
    try:
        if home.store.has(hash):
            return home.store.manifest(hash)
        return Manifest.parse(client.manifest(ref, hash), hash) if client else None
    except NotFound:
        return None
