"""The build record of a push: its long lists are sent like objects, to a registry that accepts that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from datapkg.format import push_wire
from datapkg.format.names import Ref
from datapkg.format.record_lists import Record, read_lists, split_record
from datapkg.home import Home


def with_record(
    home: Home, ref: Ref, request: push_wire.Publish, record: Mapping[str, Any] | None
) -> tuple[push_wire.Publish, list[str]]:
    """Return the request with this record, by default that of the build here; and a warning if its lists are lost."""
    objects = home.store.objects
    if record:
        short, lists = split_record(record)
        return replace(request, record=short, record_object=objects.put_bytes(lists) if lists else None), []
    event = home.store.refs.recorded(ref, request.manifest)
    if event is None:
        return request, []
    if not event.record_object or not objects.missing([event.record_object]):
        return replace(request, record=event.record, record_object=event.record_object or None), []
    return replace(request, record=event.record), ["the lists in the build record are lost, and were not pushed"]


def whole_record(home: Home, request: push_wire.Publish) -> dict[str, Any]:
    """Return the record of a request with its lists."""
    if request.record_object is None:
        return request.record
    with home.store.objects.open(request.record_object) as stream:
        lists = read_lists(stream)
    return dict(Record(request.record, lambda: lists))


def for_older_registry(home: Home, request: push_wire.Publish) -> push_wire.Publish:
    """Return the request with the record inside, for a registry that takes no record as an object."""
    return replace(request, record=whole_record(home, request), record_object=None)


def record_sizes(home: Home, request: push_wire.Publish) -> dict[str, int]:
    """Return the object of the record, hash to size in bytes; empty for a short record."""
    return _sizes(home, request.record_object)


def sizes_before(home: Home, ref: Ref, latest: str | None) -> dict[str, int]:
    """Return the object of the record of the registry's latest state, if that was made here."""
    event = home.store.refs.recorded(ref, latest) if latest else None
    return _sizes(home, event.record_object if event else None)


def _sizes(home: Home, hash: str | None) -> dict[str, int]:
    objects = home.store.objects
    return {hash: objects.size(hash)} if hash and not objects.missing([hash]) else {}
