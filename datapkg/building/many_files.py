"""Many files become the one table of a node: hashed first, and read only if one of them has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from datapkg.building.build_context import BuildContext
from datapkg.building.cache import TransformResult, now_ns
from datapkg.building.node_writer import NodeWriter
from datapkg.building.readers import TRANSFORMS
from datapkg.building.readers.base import Described
from datapkg.building.sources.content_check import check_content
from datapkg.building.sources.file import files_hash, hash_source, open_source
from datapkg.building.sources.source_errors import failure, translated_errors
from datapkg.building.spec.model import FileSource, FilesSource, NodeSpec
from datapkg.errors import BuildFailed, DatapkgError
from datapkg.format.texts import quoted

_LEAVE_OUT = "mend the file, or leave it out by a narrower glob or a line in .datapkgignore"


def hash_files(source: FilesSource, desk: BuildContext) -> tuple[list[str], int]:
    """The hash of each file, and the bytes of all; what did not change since it was hashed is not read."""
    hashes, size = [], 0
    for file in source.files:
        known = desk.cache.hash_of(file.path)
        if known is None:
            at = now_ns()
            with open_source(file.path, file.shown, file.within) as stream:
                status = os.fstat(stream.fileno())
                known = hash_source(stream)
            desk.cache.record_hash(file.path, status, at, known[0])
        hashes.append(known[0])
        size += known[1]
    return hashes, size


def read_files(spec: NodeSpec, source: FilesSource, desk: BuildContext) -> tuple[TransformResult, bool]:
    """The table of all files, and whether nothing but the files settled how it is stored."""
    from datapkg.building.sources.concatenated import Concatenated

    before = [_stamp(each) for each in source.files]
    with translated_errors(spec, None) as said:
        stream = Concatenated(source.files, lambda file: _read(spec, file, said), said.append)
        stored = NodeWriter(spec, desk, None)
        nodes = stored.nodes(stream, "")
    for file, stamp in zip(source.files, before, strict=True):
        if _stamp(file) != stamp:
            raise BuildFailed(
                f"{quoted(file.shown)} changed while it was read",
                hint="build again when nothing writes to it",
                path=file.shown,
            )
    return TransformResult(nodes, list(dict.fromkeys(said)), stored.writer), stored.own


def source_record_of_files(spec: NodeSpec, source: FilesSource, hashes: list[str], size: int) -> dict[str, Any]:
    """What the record says of these files."""
    files = [{"file": file.shown, "hash": hash} for file, hash in zip(source.files, hashes, strict=True)]
    said = {"path": spec.path, "hash": files_hash(source, hashes), "size": size, "transform": spec.transform}
    return {**said, "concat": source.shown, "files": files, **({"kwargs": spec.kwargs} if spec.kwargs else {})}


def _read(spec: NodeSpec, file: FileSource, said: list[str]) -> Any:
    """The table of one file, or a stream of it whose errors name the file."""
    read = TRANSFORMS[spec.transform].read
    assert read is not None
    with open_source(file.path, file.shown, file.within) as stream:
        wrong = check_content(file, stream)
    said += [f"{file.shown}: {each}" for each in wrong]
    plain = replace(spec, place="")  # the caller says where the node was asked for
    try:
        value = read(file.path.absolute(), spec.kwargs, lambda line: said.append(f"{file.shown}: {line}"))
    except DatapkgError as error:
        raise failure(plain, file, error, wrong, error.hint or _LEAVE_OUT) from error
    except Exception as error:
        raise failure(plain, file, error, wrong, _LEAVE_OUT) from error
    return value.table if isinstance(value, Described) else value


def _stamp(file: FileSource) -> tuple[int, ...]:
    try:
        status = os.stat(file.path)
    except OSError as error:
        raise BuildFailed(f"{quoted(file.shown)} cannot be read: {error.strerror}", path=file.shown) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
