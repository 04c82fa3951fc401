"""Check out one node as one file of a project, which is replaced only while it is as it was written."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from shlex import quote

from datapkg.api.export import export
from datapkg.api.exporting.record import (
    ABSENT,
    EDITED,
    NO_STAMP,
    UNCHANGED,
    ExportedFile,
    read_record,
    stamped,
    write_record,
)
from datapkg.errors import Conflict
from datapkg.format.hashing import hash_bytes, hash_stream
from datapkg.format.manifest.parsed import Node
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.folders import OpenFolder, made_folders
from datapkg.objects.progress import Progress


def check_out_file(home: Home, ref: Ref, node: Node, dest: Path, link: str, progress: Progress) -> bool:
    """Write a node to a file and return True; False if it is there already, also if it was edited since.

    Raise `Conflict` where the pinned node differs from the one that was edited.
    """
    if dest.is_dir() and not dest.is_symlink():
        what = f"{dest} is a folder, and {ref.at(None)} is one file; nothing was written"
        raise Conflict(what, hint=f"mv {quote(str(dest))} {quote(f'{dest}.old')}")
    key = hash_bytes(json.dumps([node.kind, list(node.objects()), link]).encode())
    with made_folders(dest.parent), OpenFolder.at(dest.parent) as parent:
        before = _record(home, ref, dest)
        state = file_state(home, ref, dest)
        if before and before.key == key and state != ABSENT:
            return False
        if state == EDITED:
            if not _is_same(home, ref, dest):
                raise Conflict(f"{dest} was edited or made since the last install; nothing was written")
        else:
            export(home, ref, dest, link=link, force=state == UNCHANGED, progress=progress)
        written = ExportedFile((dest.name,), _hash(dest), NO_STAMP, node.path, key)
        write_record(home.data, dest, str(ref.at(None)), [stamped(written, parent)], dest.parent)
    return state != EDITED


def file_state(home: Home, ref: Ref, dest: Path) -> str:
    """Return whether a file is as it was written, edited (or of somebody else), or absent."""
    before = _record(home, ref, dest)
    if before is None:
        return EDITED if os.path.lexists(dest) else ABSENT
    with OpenFolder.at(dest.parent) as parent:
        return before.state(parent)


def _record(home: Home, ref: Ref, dest: Path) -> ExportedFile | None:
    record = read_record(home.data, dest, str(ref.at(None)), dest.parent)
    return record.files[0] if record and record.files else None


def _is_same(home: Home, ref: Ref, dest: Path) -> bool:
    """Return whether a file has the bytes that would be written, as after the export that the conflict's hint names."""
    if not dest.is_file():
        return False
    with tempfile.TemporaryDirectory(prefix="datapkg-") as folder:
        export(home, ref, Path(folder) / dest.name)
        return _hash(Path(folder) / dest.name) == _hash(dest)


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hash_stream(stream)[0]
