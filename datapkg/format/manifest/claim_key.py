"""The key under which a verification of a table's stated content is stored."""

from __future__ import annotations

import hashlib

import msgspec

from datapkg.format.manifest.model import TableNode


def claim_key(table: TableNode) -> str:
    """Return a hash of everything that a manifest states about a table's values: content, columns, rows and objects."""
    stated = [table.content, table.columns, table.rows, [[each.hash, each.rows] for each in table.blocks]]
    return hashlib.sha256(msgspec.json.encode(stated)).hexdigest()
