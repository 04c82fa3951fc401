"""Read files in a child process with limits, where the library may abort the process on a damaged or hostile file.

calamine allocates the whole rectangle that the cells of a sheet span, and Rust aborts where memory is not there: one
cell at XFD1048575 is enough. pyarrow's reader of Feather's first version follows offsets that nobody checked. Neither
can be caught in the process itself. The child is this file, run as a script: it imports nothing but that one library.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

MAX_SECONDS = 600
# What a child may allocate: this share of the machine's memory, but at least so much.
_SHARE, _MIN_BYTES = 0.5, 2 << 30
# What a cell takes once it is a value in a DataFrame, with all that is made on the way.
_CELL_BYTES = 100
_MARK, _DONE, _ERROR = "datapkg: ", "done", "error: "


class ReaderDied(Exception):
    """The child aborted or ran into a limit; `doing` is the last that it told, "" where it told nothing."""

    def __init__(self, doing: str) -> None:
        super().__init__(doing)
        self.doing = doing


def run(task: str, path: Path, library: Any, output: IO[bytes] | None = None) -> None:
    """Run a task on a file in a child; what it writes goes to `output`, an open file.

    `library` is the module that the task imports. Raises `ReaderDied`, and `ValueError` with the library's own message
    for a file that it cannot read.
    """
    if not sys.executable:  # an embedded Python: there is no interpreter to start
        raise ValueError("it is read in a process of its own, and this Python does not know its interpreter")
    folder = str(Path(library.__file__).parents[1])
    line = [sys.executable, "-I", "-S", __file__, task, str(path), folder, str(max_bytes())]
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, check=False)
    told = [each for each in done.stderr.decode("utf-8", "replace").splitlines() if each.startswith(_MARK)]
    last = told[-1].removeprefix(_MARK) if told else ""
    if last.startswith(_ERROR):
        raise ValueError(last.removeprefix(_ERROR))
    if done.returncode or last != _DONE:
        raise ReaderDied(last)


def max_bytes() -> int:
    """The memory that a child may allocate."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _MIN_BYTES
    return max(_MIN_BYTES, int(memory * _SHARE))


def _main(task: str, path: str, folder: str, most: str) -> None:
    """What the child does. It tells on stderr what it is doing, so that its last line says where it died."""
    _limit(int(most))
    sys.path.append(folder)
    try:
        _TASKS[task](path, int(most))
        _tell(_DONE)
    except Exception as error:  # noqa: BLE001 - told to the parent; a panic of Rust is not an Exception
        _tell(_ERROR + (" ".join(str(error).split())[:500] or type(error).__name__))


def _limit(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {resource.RLIMIT_AS: most, resource.RLIMIT_CPU: MAX_SECONDS, resource.RLIMIT_CORE: 0}
    for limit, value in limits.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))


def _tell(what: str) -> None:
    os.write(2, f"{_MARK}{what}\n".encode("utf-8", "replace"))


def _open_workbook(path: str, most: int) -> None:
    """Open every sheet of a workbook, as calamine does when it is read."""
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(path)
    for number in _sheets_of_cells(book):
        _tell(str(number))
        sheet = book.get_sheet_by_index(number)
        if sheet.total_height * sheet.total_width * _CELL_BYTES > most:
            os._exit(1)


def _sheets_of_cells(book: Any) -> Iterable[int]:
    return (at for at, each in enumerate(book.sheets_metadata) if str(each.typ).endswith(".WorkSheet"))


def _convert_feather(path: str, most: int) -> None:
    """Write a table in Feather's first version to stdout as a stream of Arrow, once it was validated."""
    import pyarrow as pa
    from pyarrow import feather

    table = feather.read_table(path, memory_map=False)
    table.validate(full=True)
    with os.fdopen(1, "wb", closefd=False) as output, pa.ipc.new_stream(output, table.schema) as writer:
        writer.write_table(table)


_TASKS = {"workbook": _open_workbook, "feather": _convert_feather}

if __name__ == "__main__":
    _main(*sys.argv[1:])
