"""xls, xlsx and ods: read the sheets of a workbook as `pandas.read_excel` does with calamine.

`sheet` selects one by name or number from 0, several in a list, or all by "*". By default, the sheets that are visible
and not empty are read: one is a table, several are a group. Sheets of charts and macros are never read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapkg.building.readers import limited_reader
from datapkg.building.readers.converters import with_functions
from datapkg.building.readers.excel_cells import large_columns, with_cells
from datapkg.building.readers.excel_range import cell_range
from datapkg.building.readers.source_file import report
from datapkg.errors import InvalidInput
from datapkg.format.suggestions import suggestion
from datapkg.format.texts import quoted

Warn = Callable[[str], None]
ALL = "*"
_CHOOSERS = ("sheet", "sheet_name")
# The part of the work that opening all sheets in the child takes; calamine reports nothing within a sheet.
_OPENED = 0.3


@dataclass(frozen=True)
class _Sheet:
    name: str
    is_shown: bool
    is_empty: bool


def excel(path: Path, kwargs: dict[str, Any], warn: Warn) -> Any:
    """Return the table of one sheet, or a dict of tables by sheet name."""
    import pandas

    _check_size(path)
    report(_OPENED)
    options = {key: value for key, value in kwargs.items() if key not in _CHOOSERS}
    with pandas.ExcelFile(path, engine="calamine") as file:
        chosen = _chosen(_sheets(file.book), kwargs, warn)
        if isinstance(chosen, _Sheet):
            return _table(file, chosen, options, warn)
        tables = {}
        for number, sheet in enumerate(chosen, start=1):
            tables[sheet.name] = _table(file, sheet, options, warn, among=True)
            report(_OPENED + (1 - _OPENED) * number / len(chosen))
        return tables


def _check_size(path: Path) -> None:
    """Raise `InvalidInput` for a workbook that calamine cannot open in the available memory, where it would abort."""
    import python_calamine

    try:
        limited_reader.run("workbook", path, python_calamine)
    except limited_reader.ReaderDied as died:
        most = f"{limited_reader.max_bytes() / 2**30:.1f} GiB of memory"
        if not died.doing:
            raise InvalidInput(f"it cannot be opened in {most}, or the reader fails on it") from died
        number = int(died.doing)
        name = python_calamine.CalamineWorkbook.from_path(path).sheet_names[number]
        corners = cell_range(path, number)
        spans = f"spans {':'.join(corners)}, more cells than fit" if corners else "spans more cells than fit"
        stray = f"clear the stray cells up to {corners[1]}" if corners else "clear cells that stray far from the data"
        raise InvalidInput(
            f"sheet {quoted(name)} {spans} into {most}",
            hint=f"{stray} and save the file again, or save the sheet as CSV",
        ) from died


def _sheets(book: Any) -> list[_Sheet]:
    return [
        _Sheet(each.name, _word(each.visible) == "Visible", book.get_sheet_by_name(each.name).start is None)
        for each in book.sheets_metadata
        if _word(each.typ) == "WorkSheet"
    ]


def _word(value: Any) -> str:
    """Return the enum member's name, such as `Hidden` for `SheetVisibleEnum.Hidden`."""
    return str(value).rpartition(".")[2]


def _chosen(sheets: list[_Sheet], kwargs: dict[str, Any], warn: Callable[[str], None]) -> _Sheet | list[_Sheet]:
    choosers = [key for key in _CHOOSERS if key in kwargs]
    if len(choosers) > 1:
        raise InvalidInput("`sheet` and `sheet_name` mean the same; leave one out")
    if not sheets:
        raise InvalidInput("the workbook has no sheet of cells")
    if not choosers:
        return _data(sheets, warn)
    wanted = kwargs[choosers[0]]
    if choosers == ["sheet_name"] and (isinstance(wanted, bool) or not isinstance(wanted, str | int)):
        raise InvalidInput(
            "`sheet_name` is the name or the number of one sheet", hint='`sheet: "*"` takes all, `sheet: [A, B]` some'
        )
    if wanted == ALL:
        return _not_empty(sheets, warn)
    return [_one(sheets, each) for each in wanted] if isinstance(wanted, list) else _one(sheets, wanted)


def _data(sheets: list[_Sheet], warn: Callable[[str], None]) -> _Sheet | list[_Sheet]:
    """Return the default data of a workbook: its visible sheets that are not empty."""
    seen = [each for each in sheets if each.is_shown]
    hidden = [each.name for each in sheets if not each.is_shown and not each.is_empty]
    if hidden:
        warn(f'left out, since they are hidden: {", ".join(map(quoted, hidden))}; `sheet: "*"` takes all sheets')
    full = [each for each in seen if not each.is_empty]
    if not full:
        raise InvalidInput(f"every sheet is empty: {_listed(sheets)}" if not hidden else "every sheet shown is empty")
    return full[0] if len(full) == 1 else full


def _not_empty(sheets: list[_Sheet], warn: Callable[[str], None]) -> list[_Sheet]:
    full = [each for each in sheets if not each.is_empty]
    if not full:
        raise InvalidInput(f"every sheet is empty: {_listed(sheets)}")
    if empty := [each.name for each in sheets if each.is_empty]:
        warn(f"left out, since they are empty: {', '.join(map(quoted, empty))}")
    return full


def _one(sheets: list[_Sheet], wanted: Any) -> _Sheet:
    """Return the sheet with this name; a number that is not a sheet's name counts from 0."""
    by_name = {each.name: each for each in sheets}
    if not isinstance(wanted, bool) and isinstance(wanted, str | int):
        if str(wanted) in by_name:
            return by_name[str(wanted)]
        if isinstance(wanted, int) and 0 <= wanted < len(sheets):
            return sheets[wanted]
    name = quoted(wanted) if isinstance(wanted, str) else str(wanted)
    hint = suggestion(wanted, by_name) if isinstance(wanted, str) else ""
    raise InvalidInput(f"there is no sheet {name}{hint or ';'} there are {_listed(sheets)}")


def _listed(sheets: list[_Sheet]) -> str:
    return ", ".join(quoted(each.name) for each in sheets)


def _table(file: Any, sheet: _Sheet, options: dict[str, Any], warn: Warn, among: bool = False) -> Any:
    from datapkg.tables.frame_to_arrow import dtype_kwarg, table_from_frame

    try:
        return table_from_frame(_frame(file, sheet, with_functions(options), warn), dtype_kwarg)
    except ValueError as error:
        if not among:
            raise
        hint = error.hint if isinstance(error, InvalidInput) else ""
        raise InvalidInput(f"sheet {quoted(sheet.name)}: {error}", hint=hint) from error


def _frame(file: Any, sheet: _Sheet, options: dict[str, Any], warn: Warn) -> Any:
    import pandas

    def read(**more: Any) -> pandas.DataFrame:
        return pandas.read_excel(file, sheet_name=sheet.name, **options, **more)

    def cells() -> Any:
        return file.book.get_sheet_by_name(sheet.name).to_python()

    frame = with_cells(read(), options, cells, lambda: read(dtype=object))
    if large := large_columns(frame):
        names = ", ".join(quoted(str(label)) for label in large)
        warn(f"columns {names} have integers above 2^53: a cell holds a float, and may have lost their last digits")
    return frame
