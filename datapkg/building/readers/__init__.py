"""The table of transforms, which read a source as a table, array or file; chosen by name or guessed from the file name.

Each family has a module with functions that take a path (or an open file) and kwargs; slow libraries are imported when
one of them runs. Other distributions add transforms by entry points, which are consulted for unknown names only.
"""

from __future__ import annotations

import os
from pathlib import Path

from datapkg.building.readers import (
    arrow_file,
    delimited,
    excel,
    json_records,
    lmdb_file,
    numpy_array,
    orc,
    parquet,
    sqlite_file,
    statistical,
    tfrecord,
)
from datapkg.building.readers.base import Transform
from datapkg.building.readers.compression import SUFFIXES
from datapkg.building.readers.plugins import Transforms

TRANSFORMS = Transforms(
    Transform("csv", "table", "csv", read=delimited.csv),
    Transform("tsv", "table", "csv", read=delimited.tsv),
    Transform("ssv", "table", "csv", read=delimited.ssv),
    Transform("json", "table", "json", read=json_records.json),
    Transform("jsonl", "table", "json", read=json_records.jsonl),
    Transform("xls", "table", "excel", read=excel.excel),
    Transform("xlsx", "table", "excel", read=excel.excel),
    Transform("ods", "table", "excel", read=excel.excel),
    Transform("feather", "table", "arrow", read=arrow_file.arrow),
    Transform("arrow", "table", "arrow", read=arrow_file.arrow),
    Transform("orc", "table", "orc", read=orc.orc),
    Transform("parquet", "table", "parquet", read=parquet.parquet, keep=parquet.content),
    Transform("sqlite", "table", "sqlite", read=sqlite_file.sqlite, kwargs=frozenset({"table"})),
    Transform("stata", "table", "stata", read=statistical.stata),
    Transform("sas", "table", "sas", read=statistical.sas),
    Transform("spss", "table", "spss", read=statistical.spss, kwargs=statistical.SPSS_KWARGS),
    Transform("xport", "table", "xport", read=statistical.xport, kwargs=statistical.XPORT_KWARGS),
    Transform("lmdb", "table", "lmdb", read=lmdb_file.lmdb, kwargs=lmdb_file.LMDB_KWARGS),
    Transform("tfrecord", "table", "tfrecord", read=tfrecord.tfrecord, kwargs=tfrecord.TFRECORD_KWARGS),
    Transform("numpy", "array", "numpy", keep=numpy_array.header),
    Transform("npz", "array", "numpy", read=numpy_array.npz),
    Transform("id", "file", "id"),
)

_EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".ssv": "ssv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xls": "xls",
    ".xlsx": "xlsx",
    ".ods": "ods",
    ".feather": "feather",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".orc": "orc",
    ".parquet": "parquet",
    ".dta": "stata",
    ".sas7bdat": "sas",
    ".sav": "spss",
    ".zsav": "spss",
    ".por": "spss",
    ".xpt": "xport",
    ".npy": "numpy",
    ".npz": "npz",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}
_PACKED_FAMILIES = ("csv", "json")
_LOOKED_AT = {"json": json_records.begins_with_records, "sqlite": sqlite_file.is_database}


def guess(path: str | os.PathLike[str]) -> str:
    """Return the name of the transform for a file, by its extension and, for some, by its first bytes."""
    stem, extension = _split(os.path.basename(path))
    name = _EXTENSIONS.get(extension.lower(), "id")
    if name in _LOOKED_AT and not _LOOKED_AT[name](Path(path)):
        return "id"
    return name if stem else "id"


def node_name(file_name: str, transform: str) -> str:
    """Return the name of a file's node: parsed files lose their extension, files stored unchanged keep it."""
    if TRANSFORMS[transform].kind == "file":
        return file_name
    return _split(file_name)[0] or file_name


def _split(file_name: str) -> tuple[str, str]:
    """Return stem and extension; a compressed table has the inner extension: `a.csv.gz` → `a`, `.csv`."""
    stem, dot, last = file_name.rpartition(".")
    if not stem:
        return file_name, ""
    if dot + last.lower() in SUFFIXES:
        inner, inner_dot, inner_last = stem.rpartition(".")
        extension = inner_dot + inner_last
        known = _EXTENSIONS.get(extension.lower())
        if inner and known and TRANSFORMS[known].family in _PACKED_FAMILIES:
            return inner, extension
    return stem, dot + last
