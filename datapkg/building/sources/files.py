"""Read many files as one table; they are hashed first, and read only if one of them has changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from datapkg.building.readers import TRANSFORMS
from datapkg.building.readers.base import Described
from datapkg.building.sources.base import Identity, KnownHashes, SourceContext, SourceHandler
from datapkg.building.sources.content_check import check_content
from datapkg.building.sources.file import files_hash, known_hash, open_source
from datapkg.building.sources.source_errors import failure, translated_errors
from datapkg.building.spec.model import FileSource, FilesSource, NodeSpec
from datapkg.errors import BuildFailed, DatapkgError, exhausted
from datapkg.format.texts import quoted

_LEAVE_OUT = "mend the file, or leave it out by a narrower glob or a line in .datapkgignore"


class FilesHandler(SourceHandler[FilesSource]):
    """Files of one kind, whose rows become one table."""

    def local_files(self, source: FilesSource) -> Sequence[FileSource]:
        return source.files

    def hash_now(self, source: FilesSource, cache: KnownHashes) -> str | None:
        """Return the hash over names and contents of the files."""
        return files_hash(source, [known_hash(each, cache)[0] for each in source.files])

    def identity(self, spec: NodeSpec, source: FilesSource, context: SourceContext) -> Identity:
        """Return hashes and sizes of all files; those that did not change since they were hashed are not read."""
        known = [known_hash(each, context.cache) for each in source.files]
        hash = files_hash(source, [each for each, _ in known])
        record: dict[str, Any] = {
            "path": spec.path,
            "hash": hash,
            "size": sum(size for _, size in known),
            "transform": spec.transform,
            "concat": source.shown,
            "files": [{"file": file.shown, "hash": hash} for file, (hash, _) in zip(source.files, known, strict=True)],
        }
        return Identity(record | ({"kwargs": spec.kwargs} if spec.kwargs else {}), hash, source.shown)

    @contextmanager
    def read(
        self, spec: NodeSpec, source: FilesSource, context: SourceContext, identity: Identity
    ) -> Iterator[tuple[Any, list[str]]]:
        """Yield a stream of the rows of all files; raise `BuildFailed` if one changed while it was read."""
        # Imported here because it is slow and not needed if nothing changed, and before reader threads import it at
        # once.
        import pandas  # noqa: F401

        from datapkg.building.sources.concatenated import Concatenated

        before = [_stamp(each) for each in source.files]
        with translated_errors(spec, None) as warnings:
            yield Concatenated(source.files, lambda file: _read(spec, file, warnings), warnings.append), warnings
        warnings[:] = dict.fromkeys(warnings)
        for file, stamp in zip(source.files, before, strict=True):
            if _stamp(file) != stamp:
                raise BuildFailed(
                    f"{quoted(file.shown)} changed while it was read",
                    hint="build again when nothing writes to it",
                    path=file.shown,
                )


def _read(spec: NodeSpec, file: FileSource, warnings: list[str]) -> Any:
    """Return the table of one file, or a stream of it; errors name the file."""
    read = TRANSFORMS[spec.transform].read
    assert read is not None
    with open_source(file.path, file.shown, file.within) as stream:
        wrong = check_content(file, stream)
    warnings += [f"{file.shown}: {each}" for each in wrong]
    plain = replace(spec, place="")  # the caller adds the place in the build file
    try:
        value = read(file.path.absolute(), spec.kwargs, lambda line: warnings.append(f"{file.shown}: {line}"))
    except DatapkgError as error:
        raise exhausted(error) or failure(plain, file, error, wrong, error.hint or _LEAVE_OUT) from error
    except Exception as error:
        raise exhausted(error) or failure(plain, file, error, wrong, _LEAVE_OUT) from error
    return value.table if isinstance(value, Described) else value


def _stamp(file: FileSource) -> tuple[int, ...]:
    try:
        status = os.stat(file.path)
    except OSError as error:
        what = f"{quoted(file.shown)} cannot be read: {error.strerror}"
        raise exhausted(error) or BuildFailed(what, path=file.shown) from error
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
