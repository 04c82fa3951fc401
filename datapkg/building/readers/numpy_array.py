"""numpy and npz: .npy files, stored unchanged after checking their header, and .npz archives of them.

Each array of an archive is a node. Nothing is unpacked before its declared sizes were found to be possible.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO

from datapkg.building.readers.source_file import report
from datapkg.errors import InvalidInput
from datapkg.format.texts import quoted
from datapkg.objects.progress import Share, ignore_share
from datapkg.tables.npy_header import check_size, read_header

_KINDS = "biufcmMSU"
_ENDING = ".npy"
# Limit of what an archive may unpack to: this multiple of its size, but at least `_ALWAYS_BYTES`.
_RATIO, _ALWAYS_BYTES = 200, 256 << 20


def header(stream: BinaryIO, share: Share = ignore_share) -> tuple[str, list[int]]:
    """Return (dtype, shape) of an open .npy file, of which little is read.

    Raise `InvalidInput` for objects, records and truncated files.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return _header(stream, size)


def _header(stream: IO[bytes], size: int) -> tuple[str, list[int]]:
    shape, _, dtype = read_header(stream)
    text = check_dtype(dtype)
    check_size(shape, dtype, size - stream.tell())
    return text, list(shape)


def npz(path: Path, kwargs: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the arrays in an archive by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_archive(members, path.stat().st_size)
            arrays, done, size = {}, 0, max(1, sum(each.file_size for each in members))
            for each in members:
                arrays[each.filename.removesuffix(_ENDING)] = _member(archive, each)
                done += each.file_size
                report(done / size)
            return arrays
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise InvalidInput(f"the archive is damaged: {error}") from error


def _check_archive(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [each.filename for each in members]
    if not names:
        raise InvalidInput("there is no array in it")
    for each in members:
        if not each.filename.endswith(_ENDING) or each.is_dir():
            raise InvalidInput(f"{quoted(each.filename)} in it is not an array")
        if each.flag_bits & 1:
            raise InvalidInput(f"{quoted(each.filename)} in it is encrypted")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"{quoted(twice)} is in it twice")
    whole = sum(each.file_size for each in members)
    if whole > max(_ALWAYS_BYTES, _RATIO * size):
        raise InvalidInput(
            f"{size:,} bytes claim to unpack to {whole:,}; more than {_RATIO} times as much is rejected",
            hint="save the arrays as .npy files",
        )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    from numpy.lib import format as npy

    try:
        with archive.open(member) as stream:
            _header(stream, member.file_size)  # before numpy allocates what the header claims
        with archive.open(member) as stream:
            array = npy.read_array(stream, allow_pickle=False)
            stream.read(1)  # to the end, where zipfile compares the checksum
    except InvalidInput as error:
        raise InvalidInput(f"{quoted(member.filename)}: {error}") from error
    return array


def check_dtype(dtype: Any) -> str:
    """Return the text of a dtype; raise `InvalidInput` unless it is a plain number, time or text."""
    if dtype.kind not in _KINDS:
        what = "Python objects" if dtype.hasobject else f"{dtype}"
        raise InvalidInput(f"an array of {what} cannot be kept: only numbers, times, bytes and text of fixed length")
    return str(dtype.str)


def to_bytes(array: Any) -> bytes:
    """Return an array in .npy format."""
    from numpy.lib import format as npy

    sink = io.BytesIO()
    npy.write_array(sink, array, allow_pickle=False)
    return sink.getvalue()
