"""Parse `concat: true`, which reads the files of a folder or a glob as one table."""

from __future__ import annotations

from pathlib import PurePosixPath

from datapkg.building.readers import TRANSFORMS, guess
from datapkg.building.spec.document import scalar_value
from datapkg.building.spec.globs import fixed_prefix, is_glob
from datapkg.building.spec.model import FileSource, FilesSource
from datapkg.building.spec.node_mapping import NodeMapping
from datapkg.building.spec.source_paths import SourceFolder
from datapkg.format.texts import quoted


def is_concat(mapping: NodeMapping) -> bool:
    """Return whether the node has `concat: true`; a value that is not a boolean is recorded as a mistake."""
    if "concat" not in mapping:
        return False
    item = mapping["concat"]
    try:
        value = scalar_value(item) if item.kind == "scalar" else None
    except ValueError:
        value = None
    if not isinstance(value, bool):
        mapping.wrong("concat", "expected true or false")
    return value is True


def read_many(
    mapping: NodeMapping, folder: SourceFolder, text: str, transform: str | None
) -> tuple[FilesSource, str] | str:
    """Return the files of a folder or a pattern and their transform, or an error message.

    Without an explicit transform, files that are not tables are skipped. Files whose names begin with `_` are always
    skipped, because Spark and Hive write such files beside the data.
    """
    pattern = text if is_glob(text) else f"{text.rstrip('/')}/**/*" if text.rstrip("/") not in ("", ".") else "**/*"
    found = folder.glob(pattern)
    if isinstance(found, str):
        return found
    files = [file for _, file in found if not any(each.startswith("_") for each in file.shown.split("/")[-1:])]
    named = {file: guess(file.path) for file in files}
    if transform is not None:
        of_name = [file for file in files if named[file] == transform]
        return _checked(of_name if of_name and not is_glob(text) else files, text, transform)
    tables = {file: each for file, each in named.items() if TRANSFORMS[each].kind == "table"}
    kinds = sorted(set(tables.values()))
    if len(kinds) != 1:
        what = f"files of {len(kinds)} kinds: {', '.join(kinds)}" if kinds else "no file that is read as a table"
        return f"{quoted(text)} has {what}; set `transform` for those that become one table"
    return _checked(list(tables), text, kinds[0])


def _checked(files: list[FileSource], text: str, transform: str) -> tuple[FilesSource, str] | str:
    if not files:
        return f"{quoted(text)} has no file that is data"
    if TRANSFORMS[transform].kind != "table":
        return f"`concat` makes one table, and transform {transform} gives none"
    return FilesSource(tuple(files), text), transform


def name_of(pattern: str) -> str:
    """Return the node name for a glob with `concat`: the folder before the first wildcard; "" if there is none."""
    return PurePosixPath(fixed_prefix(pattern)[0]).name
