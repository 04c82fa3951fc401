"""Parse `sql` with its `connection`, and `python` with the files that are passed to its function."""

from __future__ import annotations

import keyword
import re

from datapkg.building.spec.document import Item
from datapkg.building.spec.function_ref import FUNCTION
from datapkg.building.spec.globs import is_glob
from datapkg.building.spec.model import FileSource, PythonSource, SqlSource
from datapkg.building.spec.node_mapping import NodeMapping, kind_of
from datapkg.building.spec.plain_values import to_kwargs
from datapkg.building.spec.source_paths import SourceFolder
from datapkg.format.texts import quoted

MAX_QUERY = 100_000
MAX_FILES = 100_000
MAX_PATTERNS = 10_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}\Z")


def read_sql(mapping: NodeMapping) -> SqlSource | None:
    """Return a query and the name of the environment variable that holds the database's URL."""
    query = mapping.text("sql", "a query")
    if query is not None and len(query) > MAX_QUERY:
        mapping.wrong("sql", f"the query has {len(query):,} characters; at most {MAX_QUERY:,} are allowed")
        query = None
    if "connection" not in mapping:
        what = "a query needs `connection`: the name of the environment variable that holds the database's address"
        mapping.wrong("sql", what)
        return None
    name = mapping.text("connection", "the name of an environment variable")
    if name is not None and not _VARIABLE.match(name):
        # It may hold a password, so it is not shown.
        what = "expected the name of an environment variable, such as SALES_DB, which holds the database's address"
        mapping.wrong("connection", f"{what}; an address or a password does not belong in a build file")
        name = None
    return SqlSource(query, name) if query is not None and name is not None else None


def read_python(mapping: NodeMapping, folder: SourceFolder) -> PythonSource | None:
    """Return a function of a module beside the build file, and the files that are passed to it."""
    files = _files(mapping, folder)
    text = mapping.text("python", "a function, module:function")
    found = FUNCTION.match(text) if text is not None else None
    if text is not None and (found is None or any(map(keyword.iskeyword, re.split("[.:]", text)))):
        what = "expected module:function, such as prepare:prices for prices() of prepare.py"
        mapping.wrong("python", f"{what}, got {quoted(text)}")
        return None
    if found is None:
        return None
    module = folder.file(found[1].replace(".", "/") + ".py")
    if isinstance(module, str):
        mapping.wrong("python", module)
        return None
    return PythonSource(module.path, found[2], tuple(files)) if files is not None else None


def read_keywords(mapping: NodeMapping) -> dict[str, object]:
    """Return the kwargs of a function: any valid argument names."""
    values = to_kwargs(mapping["kwargs"], mapping.where("kwargs"), mapping.problems) if "kwargs" in mapping else {}
    for name in [name for name in values if not name.isidentifier() or keyword.iskeyword(name)]:
        mapping.wrong("kwargs", f"{quoted(name)} cannot be the name of an argument")
        del values[name]
    return values


def _files(mapping: NodeMapping, folder: SourceFolder) -> list[FileSource] | None:
    """Return the files of `file` and `files`, in pattern order; after a mistake, record it and return None."""
    found: list[FileSource] = []
    right = True
    for word in ("file", "files"):
        items = _items(mapping, word)
        right = right and items is not None
        for item in items or []:
            files = _matched(item, folder)
            if isinstance(files, str):
                mapping.problems.add(item.line, mapping.where(word), files)
                right = False
            else:
                found += files
            if len(found) > MAX_FILES:
                mapping.wrong("python", f"gets more than {MAX_FILES:,} files, which is the bound")
                return None
    return found if right else None


def _items(mapping: NodeMapping, word: str) -> list[Item] | None:
    if word not in mapping:
        return []
    item = mapping[word]
    if word == "files" and item.kind == "list":
        if len(item.values) <= MAX_PATTERNS:
            return item.values
        mapping.wrong(
            word, f"has {len(item.values):,} paths; at most {MAX_PATTERNS:,} are allowed: take them by a glob"
        )
        return None
    if item.kind == "scalar" and item.text and not item.is_null:
        return [item]
    more = " or a list of such" if word == "files" else ""
    mapping.wrong(word, f"expected the path of a file, or a glob{more}, got {kind_of(item)}")
    return None


def _matched(item: Item, folder: SourceFolder) -> list[FileSource] | str:
    if item.kind != "scalar" or not item.text or item.is_null:
        return f"expected the path of a file, or a glob, got {kind_of(item)}"
    if is_glob(item.text):
        found = folder.glob(item.text)
        return found if isinstance(found, str) else [file for _, file in found]
    file = folder.file(item.text)
    return file if isinstance(file, str) else [file]
