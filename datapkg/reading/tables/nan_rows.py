"""Which conditions may be met by rows with NaN, of which the statistics of Parquet say nothing.

The least and the greatest value of a row group or a page leave NaN out, and Arrow takes them for the bounds of all
values: by them, `x != 7` excludes a page of 7 and NaN, although NaN is not 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from datapkg.reading.tables import row_filters

_MAX_COLUMNS = 4


def nan_cases(condition: pc.Expression, schema: pa.Schema) -> list[dict[str, pc.Expression]] | None:
    """Return the columns that are NaN in a row which may meet a condition, each with this fact as an expression.

    Each case is one set of columns; the case without any is left out. None if there may be too many, or if values
    inside of nested columns may be NaN: then statistics cannot be used at all.
    """
    if not any(_has_floats(field.type) for field in schema):
        return []
    tested = [schema.field(name) for name in row_filters.columns_of(condition, schema)]
    floats = [field for field in tested if _has_floats(field.type)]
    if len(floats) > _MAX_COLUMNS or not all(types.is_floating(field.type) for field in floats):
        return None
    facts = {each.name: pc.field(each.name) == pa.scalar(float("nan")).cast(each.type) for each in floats}
    cases = [dict(case) for size in range(1, len(facts) + 1) for case in combinations(facts.items(), size)]
    return [cases[at] for at in possible([together(case.values()) for case in cases], condition, schema)]


def _has_floats(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_floats(kind.storage_type)
    if types.is_dictionary(kind):
        return _has_floats(kind.value_type)
    return types.is_floating(kind) or any(_has_floats(kind.field(at).type) for at in range(kind.num_fields))


def together(facts: Iterable[pc.Expression]) -> pc.Expression:
    """Return the expression that all facts hold."""
    found = pc.scalar(True)
    for fact in facts:
        found = found & fact
    return found


def possible(facts: Sequence[pc.Expression], condition: pc.Expression, schema: pa.Schema) -> list[int]:
    """Return the numbers of the facts about rows that do not exclude a condition, as Arrow decides it; ascending."""
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    # Each fact is what a dataset knows of one of its files, of which none is opened.
    form, system = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [form.make_fragment(str(number), system, fact) for number, fact in enumerate(facts)]
    left = ds.FileSystemDataset(fragments, schema, form, system).get_fragments(condition)
    return sorted(int(each.path) for each in left)
