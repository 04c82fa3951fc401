"""The key under which it is remembered that a table holds what its manifest states."""

from __future__ import annotations

import hashlib

import msgspec

from datapkg.format.manifest.model import TableNode


def claim_key(table: TableNode) -> str:
    """Return a hash of all that a manifest states of a table's values: content, columns, rows and objects."""
    stated = [table.content, table.columns, table.rows, [[each.hash, each.rows] for each in table.blocks]]
    return hashlib.sha256(msgspec.json.encode(stated)).hexdigest()
