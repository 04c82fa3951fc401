"""Read files in a child process with limits, where a library may abort the process on a corrupt or hostile file.

calamine allocates the whole rectangle that the cells of a sheet span, and Rust aborts if memory is insufficient: one
cell at XFD1048575 is enough. pyarrow's reader of Feather version 1 and LMDB follow unchecked offsets, and readstat,
which is written in C, writes past its buffers if the header of an SPSS file was modified. None of this can be caught
within the process. The child is this file, run as a script: it imports nothing except those libraries.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

MAX_SECONDS = 600  # of CPU time
# The memory limit of a child: this share of the machine's memory, but at least `_MIN_BYTES`.
_SHARE, _MIN_BYTES = 0.5, 2 << 30
# Memory for one cell as a value in a DataFrame, including everything allocated on the way.
_CELL_BYTES = 100
_BATCH_ROWS, _BATCH_BYTES = 16_384, 32 << 20
_MARK, _DONE, _ERROR, _NO_MEMORY = "datapkg: ", "done", "error: ", "memory: "


class ReaderDied(Exception):
    """The child aborted or exceeded a limit; `doing` is its last message, "" if there was none."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self.doing = doing


def run(
    task: str,
    path: Path,
    *libraries: Any,
    output: IO[bytes] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Run a task on a file in a child process; its standard output goes to `output`, an open file.

    `libraries` are the modules that the task imports, `options` are JSON values. Raise `ReaderDied` if the child
    aborts, and `ValueError` with the library's message for a file that it cannot read.
    """
    if not sys.executable:  # an embedded Python: there is no interpreter to start
        raise ValueError("it is read in a process of its own, and this Python does not know its interpreter")
    folders = dict.fromkeys(str(Path(each.__file__).parents[1]) for each in libraries)
    settings = json.dumps({"folders": list(folders), "most": max_bytes(), **(options or {})})
    # Isolated and without site-packages: the child imports only from the folders of the given libraries.
    line = [sys.executable, "-I", "-S", __file__, task, os.path.abspath(path), settings]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False)
    # Libraries write to standard error too.
    told = [each for each in done.stderr.decode("utf-8", "replace").splitlines() if each.startswith(_MARK)]
    last = told[-1].removeprefix(_MARK) if told else ""
    if last.startswith(_NO_MEMORY):
        raise MemoryError(f"{task} may use {max_bytes() >> 20:,} MiB: {last.removeprefix(_NO_MEMORY)}")
    if last.startswith(_ERROR):
        raise ValueError(last.removeprefix(_ERROR))
    if done.returncode or last != _DONE:
        raise ReaderDied(last)


def max_bytes() -> int:
    """Return the number of bytes that a child may allocate."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _MIN_BYTES
    return max(_MIN_BYTES, int(memory * _SHARE))


def _main(task: str, path: str, settings: str) -> None:
    """Run a task in the child; progress goes to stderr, so that the last line shows where it died."""
    options = json.loads(settings)
    _limit(options["most"])
    sys.path += options["folders"]
    try:
        _TASKS[task](path, options)
        _tell(_DONE)
    except Exception as error:  # noqa: BLE001 - told to the parent; a panic of Rust is not an Exception
        kind = _NO_MEMORY if isinstance(error, MemoryError) else _ERROR
        _tell(kind + (" ".join(str(error).split())[:500] or type(error).__name__))


def _limit(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    # No core file: it could be as large as the memory limit, and an abort is expected here.
    limits = {resource.RLIMIT_AS: most, resource.RLIMIT_CPU: MAX_SECONDS, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _tell(what: str) -> None:
    os.write(2, f"{_MARK}{what}\n".encode("utf-8", "replace"))


def _open_workbook(path: str, options: dict[str, Any]) -> None:
    """Open every sheet of a workbook, as calamine does when it is read."""
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(path)
    for number in _sheets_of_cells(book):
        _tell(str(number))
        sheet = book.get_sheet_by_index(number)
        if sheet.total_height * sheet.total_width * _CELL_BYTES > options["most"]:
            os._exit(1)


def _sheets_of_cells(book: Any) -> Iterable[int]:
    return (at for at, each in enumerate(book.sheets_metadata) if str(each.typ).endswith(".WorkSheet"))


def _convert_feather(path: str, options: dict[str, Any]) -> None:
    """Write a Feather V1 table to stdout as an Arrow stream, after validating it."""
    from pyarrow import feather

    table = feather.read_table(path, memory_map=False)
    table.validate(full=True)
    _write(table)


def _convert_readstat(path: str, options: dict[str, Any]) -> None:
    """Write what pyreadstat reads to stdout as an Arrow stream; columns are numbered, since names may be equal.

    The schema metadata `datapkg` is JSON with names, labels, and value labels as pairs, since their keys are numbers.
    """
    import pyarrow as pa
    import pyreadstat

    frame, found = getattr(pyreadstat, options["function"])(path, **options["kwargs"])
    told = {
        "names": list(frame.columns),
        "labels": found.column_names_to_labels,
        "value_labels": {name: list(labels.items()) for name, labels in found.value_labels.items()},
        "variable_to_label": found.variable_to_label,
    }
    frame.columns = [str(number) for number in range(len(frame.columns))]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    _write(table.replace_schema_metadata({**(table.schema.metadata or {}), "datapkg": json.dumps(told)}))


def _write(table: Any) -> None:
    import pyarrow as pa

    with os.fdopen(1, "wb", closefd=False) as output, pa.ipc.new_stream(output, table.schema) as writer:
        writer.write_table(table)


def _convert_lmdb(path: str, options: dict[str, Any]) -> None:
    """Write the keys and values of a database to stdout as an Arrow stream."""
    import lmdb
    import pyarrow as pa

    wanted = options["database"]
    schema = pa.schema([("key", pa.binary()), ("value", pa.binary())])
    size = os.path.getsize(path)
    with (
        # Without its lock file: the file may lie on a read-only disk, and nobody writes to a source.
        lmdb.open(path, subdir=False, readonly=True, lock=False, create=False, max_dbs=1, map_size=size) as environment,
        environment.begin(db=environment.open_db(wanted.encode(), create=False) if wanted else None) as transaction,
        os.fdopen(1, "wb", closefd=False) as output,
        pa.ipc.new_stream(output, schema) as writer,
    ):
        keys: list[bytes] = []
        values: list[bytes] = []
        held = 0
        for key, value in transaction.cursor():
            keys.append(key)
            values.append(value)
            held += len(key) + len(value)
            if held >= _BATCH_BYTES or len(keys) >= _BATCH_ROWS:
                writer.write_batch(
                    pa.record_batch([pa.array(keys, pa.binary()), pa.array(values, pa.binary())], schema)
                )
                keys, values, held = [], [], 0
        if keys:
            writer.write_batch(pa.record_batch([pa.array(keys, pa.binary()), pa.array(values, pa.binary())], schema))


_TASKS = {
    "workbook": _open_workbook,
    "feather": _convert_feather,
    "readstat": _convert_readstat,
    "lmdb": _convert_lmdb,
}

if __name__ == "__main__":
    _main(*sys.argv[1:])
