"""feather and arrow: read a table in one of Arrow's file formats, detected by its first bytes.

They are the IPC file format (Feather version 2), the IPC stream format, and Feather version 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datapkg.building.readers import limited_reader
from datapkg.building.readers.columnar import chosen_columns, chosen_schema
from datapkg.building.readers.source_file import open_source_file, report
from datapkg.errors import InvalidInput

_FILE, _OLD_FEATHER = b"ARROW1", b"FEA1"


def arrow(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> Any:
    """Return the table in the file; its buffers are validated first because they are used without copying."""
    import pyarrow as pa

    from datapkg.building.readers.batches import batches

    with pa.OSFile(str(path), "rb") as file:
        start = file.read(len(_FILE))
    if start.startswith(_OLD_FEATHER):
        return _old_feather(path, kwargs)

    def read() -> Iterator[Any]:
        with _reader(path, start) as reader:
            for batch in _each(reader):
                yield chosen_columns(pa.Table.from_batches([batch]), kwargs)

    with _reader(path, start) as reader:
        return batches(chosen_schema(reader.schema, kwargs), read)


def _old_feather(path: Path, kwargs: dict[str, Any]) -> Any:
    """Return a Feather V1 table, converted in a child process because its reader crashes on corrupt files."""
    import pyarrow as pa

    from datapkg.building.readers.validity import check_values
    from datapkg.tables.frame_to_arrow import table_from_arrow

    with tempfile.TemporaryFile() as converted:
        try:
            limited_reader.run("feather", path, pa, output=converted)
        except limited_reader.ReaderDied as died:
            raise InvalidInput("it is damaged: the reader of Feather's first version fails on it") from died
        converted.seek(0)
        with pa.ipc.open_stream(converted) as reader:
            table = chosen_columns(reader.read_all(), kwargs)
    check_values(table)
    return table_from_arrow(table)


@contextmanager
def _reader(path: Path, start: bytes) -> Iterator[Any]:
    import pyarrow as pa

    if start == _FILE:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            yield reader
    else:
        with open_source_file(path) as stream, pa.ipc.open_stream(stream) as reader:
            yield reader


def _each(reader: Any) -> Iterator[Any]:
    if hasattr(reader, "num_record_batches"):
        for number in range(reader.num_record_batches):  # a file's footer is read first, so its position shows nothing
            report(number / reader.num_record_batches)
            yield reader.get_batch(number)
    else:
        yield from reader
