"""A copy of an SQLite database that can be read but not written, such as one on read-only media."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.exc import DatabaseError


def copy_database(source: Path, target: Path) -> None:
    """Write one moment of a database to a new file, with what is in its write-ahead log; write nothing beside it.

    Raise `sqlalchemy.exc.DatabaseError` if it cannot be read.
    """
    log, shared = (source.with_name(source.name + suffix) for suffix in ("-wal", "-shm"))
    if log.is_file() and log.stat().st_size and not shared.exists():
        # SQLite cannot read a write-ahead log without its index file, and cannot create that file on read-only media.
        for path in (source, log):
            shutil.copyfile(path, target.with_name(path.name.replace(source.name, target.name, 1)))
        return
    # Without a log nobody has the database open, or it would be there; SQLite would have to make one otherwise.
    options = "mode=ro" if shared.exists() else "mode=ro&immutable=1"
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?{options}", uri=True)) as connection,
            closing(sqlite3.connect(target)) as copy,
        ):
            connection.backup(copy)
    except sqlite3.Error as error:
        raise DatabaseError("backup", None, error) from error
