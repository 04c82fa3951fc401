"""Cat: write the bytes of one node of a package, of a table its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from datapkg.api.exporting.stored_nodes import check_present, stored_bytes
from datapkg.errors import NodeNotFound
from datapkg.format.manifest.parsed import GroupNode, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.missing.earlier_states import explained
from datapkg.reading.source import Remote, Source
from datapkg.reading.tables.delimited_text import Bytes, Dialect, write_text
from datapkg.reading.tables.json_rows import write_json
from datapkg.reading.tables.stored_table import StoredTable
from datapkg.resolve import find_or_peek


def cat(
    home: Home,
    ref: Ref,
    write: Callable[[Bytes], Any],
    *,
    as_json: bool = False,
    remote: bool = False,
    registry: str | None = None,
    tell: Callable[[str], Any] = lambda url: None,
) -> None:
    """Write the bytes of a file or array; a table as csv text, or with `as_json` as an array with one object per row.

    With `remote`, or if the package is not installed, the data come from its registry; `tell` is called with its URL
    before.
    """
    found = find_or_peek(home, ref, registry, remote=remote)
    manifest = found.store.manifest(found.hash)
    node = manifest.get(ref.path) if ref.path else None
    if node is None or isinstance(node, GroupNode):
        with explained(found, home):
            manifest.below(ref.path)
        what = f"{ref} is a group" if ref.path else f"{ref} is a whole package"
        raise NodeNotFound(f"{what}; cat shows one table or file", hint=f"datapkg show {ref}")
    if "://" in found.why:
        tell(found.why)
        source = Source(found.store, ref, found.hash, Remote(home, found.why))
    else:
        check_present(found, manifest, ref)
        source = Source(found.store, ref, found.hash)
    if not isinstance(node, TableNode):
        text: Iterator[Bytes] = stored_bytes(source, node)
    else:
        table = StoredTable(source, node)
        text = write_json(table) if as_json else write_text(table, Dialect())
    for piece in text:
        write(piece)
