"""The packages whose nodes a state contains, as its build record names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datapkg.errors import InvalidName
from datapkg.format.names import Ref, is_hash

MAX_PACKAGES = 1_000


def packages_of(record: Mapping[str, Any]) -> tuple[list[tuple[Ref, str]], int]:
    """Return the packages of a record with the hashes of their states, each once, and how many cannot be named.

    Of a record that is not well-formed, or names very many, the rest counts as those: it may come from anybody.
    """
    found: dict[tuple[Ref, str], None] = {}
    strange = 0
    entries = record.get("packages")
    for entry in entries if isinstance(entries, list) else ():
        try:
            ref, hash = Ref.parse(entry["package"]), entry["hash"]
        except (InvalidName, KeyError, TypeError):
            strange += 1
            continue
        if is_hash(hash):
            found[Ref(ref.user, ref.name, registry=ref.registry), hash] = None
        else:
            strange += 1
    named = list(found)
    return named[:MAX_PACKAGES], strange + len(named[MAX_PACKAGES:])
