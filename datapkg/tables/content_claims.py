"""Compare what a manifest states of a table with the values in the table's objects.

A manifest guards the bytes of its objects by their hashes, but `content`, columns and rows are only claims of its
author. Block digests in the objects' footers prove nothing either, since the same author wrote them.
"""

from __future__ import annotations

from datapkg.objects.progress import Share, ignore_share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyarrow import Table

    from datapkg.format.manifest.model import TableNode
    from datapkg.tables.content_hash import Open


def claim_difference(table: TableNode, objects: Sequence[Open], share: Share = ignore_share) -> str:
    """Return how the values in a table's objects, in order, differ from what the manifest states; "" if they do not.

    Read every object, with some blocks in memory at a time. Raise pyarrow's errors, of nearly any class, for objects
    that cannot be read.
    """
    from datapkg.errors import CorruptObject, IntegrityError
    from datapkg.tables.block_boundaries import WIDE_COLUMNS
    from datapkg.tables.content_hash import content_of_opened

    rows: list[int] = []

    def read(part: Table, row: int) -> None:
        share((row + part.num_rows) / max(table.rows, 1))

    try:
        found = content_of_opened(objects, read, rows)
        # Earlier versions cut tables of many columns like narrow ones, and their content is still right.
        if found.hash != table.content and len(table.columns) > WIDE_COLUMNS:
            rows = []
            found = content_of_opened(objects, read, rows, as_narrow=True)
    except CorruptObject:
        raise
    except IntegrityError as error:
        return error.message
    if found.hash != table.content:
        return f"expected content {table.content}, the objects hold {found.hash}"
    if found.columns != [tuple(column) for column in table.columns]:
        return "the objects have other columns than the manifest states"
    if found.rows != table.rows or rows != [block.rows for block in table.blocks]:
        return f"expected {table.rows:,} rows, the objects hold {found.rows:,} (or they are distributed otherwise)"
    return ""


def claim_problem(table: TableNode, objects: Sequence[Open], share: Share = ignore_share) -> str:
    """Return the same; an unreadable object is a difference too, as no `content` can have been computed from it.

    Raise `ObjectNotFound` and `CorruptObject` for objects that are missing, or do not match their hashes.
    """
    from datapkg.errors import DatapkgError, exhausted

    try:
        return claim_difference(table, objects, share)
    except DatapkgError:
        raise
    except Exception as error:
        if (lack := exhausted(error, "reading a table's objects")) is not None:
            raise lack from error
        return f"its objects cannot be read: {str(error)[:300] or type(error).__name__}"
