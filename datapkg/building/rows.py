"""Read the rows of a data file as one Arrow table, with the column types that a build would choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.building.pipeline import build_package
from datapkg.building.readers import TRANSFORMS
from datapkg.building.spec.from_value import spec_for
from datapkg.building.spec.model import BuildSpec
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.manifest.parsed import Block, Manifest, Node, TableNode
from datapkg.format.names import Ref
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects, Readable
from datapkg.tables.pandas_metadata import restore_categories

if TYPE_CHECKING:
    import pyarrow as pa

_READ_AS = {"string": "str", "double": "float64", "int64": "Int64", "bool": "boolean"}
_COULD_BE = {"null": tuple(_READ_AS), "int64": ("string", "double"), "double": ("string",), "bool": ("string",)}


@dataclass(frozen=True)
class Rows:
    """The rows of a file, its source entry for the record, and warnings."""

    table: pa.Table
    source: dict[str, Any]
    warnings: list[str]


def rows_of(path: Path, objects: Objects, columns: Mapping[str, str]) -> Rows:
    """Return the rows of a file, which is built into `objects` on the way.

    `columns` maps column names to the wanted types. A text column is read as its wanted type where its own values leave
    the type open: whole numbers may be doubles or text, and empty columns may be anything.

    Raise `NotFound` and `BuildFailed` as a build does, `InvalidInput` if the file does not become exactly one table.
    """
    if path.is_dir():
        raise InvalidInput(f"{quoted(path)} is a folder; rows come from files", hint="name the files in it")
    spec = spec_for(path, build_file=False)
    rows = _read(path, spec, objects)
    is_text = TRANSFORMS[spec.nodes[0].transform].family == "csv"
    if is_text and (wanted := _undecided(rows.table, columns)):
        return _read(path, replace(spec, nodes=[replace(spec.nodes[0], kwargs={"dtype": wanted})]), objects)
    return rows


def _read(path: Path, spec: BuildSpec, objects: Objects) -> Rows:
    built = build_package(spec, objects, previous=None, find_package=_no_package)
    nodes: list[Node] = built.manifest.nodes
    if len(nodes) != 1 or not isinstance(nodes[0], TableNode):
        what = nodes[0].kind if len(nodes) == 1 else f"group of {len(nodes):,} nodes"
        raise InvalidInput(f"{quoted(path)} is read as a {what}; only the rows of a table can be appended to one")
    return Rows(stored_rows(nodes[0].blocks, objects), built.record["sources"][0], built.warnings)


def _undecided(rows: pa.Table, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that could have the wanted types, with the dtype names for reading text."""
    found = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        kind = "null" if column.null_count == len(column) else str(column.type)
        wanted = columns.get(name, "")
        if wanted in _COULD_BE.get(kind, ()) and not (wanted == "double" and _would_change(column)):
            found[name] = _READ_AS[wanted]
    return found


def _would_change(column: pa.ChunkedArray) -> bool:
    """Return whether floats would change integers of a column; a build of all rows refuses these beside fractions."""
    import pyarrow.types as types

    from datapkg.building.readers.csv.inferred_types import INEXACT
    from datapkg.building.readers.csv.large_integers import size_of

    return bool(types.is_integer(column.type)) and size_of(column) == INEXACT


def stored_rows(blocks: Sequence[Block], objects: Readable) -> pa.Table:
    """Return the rows of blocks of a stored table; their objects must be present."""
    import pyarrow as pa

    from datapkg.tables.block_reader import open_block

    parts: list[pa.Table] = []
    with ExitStack() as stack:
        for block in blocks:
            file = open_block(stack.enter_context(objects.open(block.hash)), checked=True)
            parts.append(restore_categories(file.read(), file.schema_arrow))
    metadata = file.schema_arrow.metadata
    return pa.concat_tables([part.replace_schema_metadata(metadata) for part in parts]).unify_dictionaries()


def _no_package(ref: Ref) -> tuple[Manifest, Readable]:
    raise NotFound(f"{ref} is not looked for")
