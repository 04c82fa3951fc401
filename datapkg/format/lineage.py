"""From which states of its package a state was made, for the graph of a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from datapkg.format import push_wire
from datapkg.format.names import is_hash

MAX_PARENTS = 16


def parents_of_push(
    package: str, push: push_wire.Publish, latest: str | None, is_state: Callable[[str], bool]
) -> list[str]:
    """Return the states of the package that a pushed state follows, each once.

    They are the latest one and those from which its build, edit or merge started, as far as the registry has them: the
    hash of an unpublished state is nobody else's. A forced push does not follow the latest state, but replaces it.
    """
    made_from = [each for each in parents_of_record(package, push.record) if is_state(each)]
    if push.force:
        based_on = [push.parent] if push.parent and is_state(push.parent) else []
        found = made_from or based_on
    else:
        found = [*([latest] if latest else []), *made_from]
    return [each for each in dict.fromkeys(found) if each != push.manifest][:MAX_PARENTS]


def parents_of_record(package: str, record: Mapping[str, Any]) -> list[str]:
    """Return the states of the package from which a build, edit or merge with this record started, each once."""
    return list(dict.fromkeys(_parents(package, record)))[:MAX_PARENTS]


def _parents(package: str, record: Mapping[str, Any]) -> Iterator[str]:
    parent, inputs = record.get("parent"), record.get("packages") if "merge" in record else None
    if isinstance(parent, str) and is_hash(parent):
        yield parent
    for each in inputs if isinstance(inputs, list) else ():
        if isinstance(each, dict) and each.get("package") == package and is_hash(each.get("hash")):
            yield each["hash"]
