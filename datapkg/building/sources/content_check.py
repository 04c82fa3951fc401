"""Detect files whose content does not match their name: pointers instead of data, error pages, truncated text.

Such files come from clones without Git LFS, downloads that returned a login page, and interrupted copies. Only the
first and last bytes are read, and the first bytes below the compression of compressed text.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Callable
from os.path import splitext
from typing import Any, BinaryIO

from datapkg.building.readers.compression import SUFFIXES
from datapkg.building.spec.model import FileSource
from datapkg.errors import BuildFailed
from datapkg.format.texts import quoted

_START_BYTES, _END_BYTES = 1_024, 64
_SPACES = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
# Pointers, by their first bytes; a file longer than any pointer is not one. https://github.com/git-lfs/git-lfs,
# docs/spec.md; https://git-annex.branchable.com/internals/pointer_file
_LFS, _ANNEX = b"version https://git-lfs.github.com/spec/v", b"/annex/objects/"
_POINTER_BYTES = 32_768  # the limit of git-annex; those of LFS are shorter than 1,024

_TEXT_TABLES = (".csv", ".tsv", ".ssv", ".json", ".jsonl", ".ndjson")
_BINARY = (
    *(
        ".parquet",
        ".feather",
        ".arrow",
        ".arrows",
        ".orc",
        ".avro",
        ".xls",
        ".xlsx",
        ".ods",
        ".sqlite",
        ".sqlite3",
        ".db",
    ),
    *(".npy", ".npz", ".h5", ".hdf5", ".nc", ".mat", ".pkl", ".pt", ".pth", ".onnx", ".safetensors", ".bin", ".pdf"),
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".wav", ".mp3", ".flac", ".ogg", ".mp4"),
    *(".zip", ".tar", ".tgz", ".7z", ".gz", ".bz2", ".xz", ".zst"),
)
_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PAGE = re.compile(rb"<!doctype html|<html[\s>]|<head[\s>]", re.IGNORECASE)
_MARKUP = {"an HTML page": _PAGE, "an XML document": re.compile(rb"<\?xml\s|<Error>")}
_OTHERS = {
    "a zip archive or a workbook": re.compile(rb"PK\x03\x04"),
    "compressed by gzip": re.compile(rb"\x1f\x8b\x08"),
    "a Parquet file": re.compile(rb"PAR1"),
    "an Excel workbook": re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    "a PDF document": re.compile(rb"%PDF-"),
}
_OBJECT = re.compile(rb'\{\s*"[^"\n]{1,100}"\s*:')
_ENDS = {b"{": b"}", b"[": b"]"}


def check_content(source: FileSource, stream: BinaryIO) -> list[str]:
    """Return warnings about an open file, from its first and last bytes; the stream is at its beginning afterwards.

    Raise `BuildFailed` for a pointer to data that was not fetched.
    """
    size, name = stream.seek(0, os.SEEK_END), source.name
    stream.seek(0)
    start = stream.read(_START_BYTES)
    stream.seek(0)
    inner = _unpacked(name, stream)
    for each in (start, inner) if size <= _POINTER_BYTES else ():
        _refuse_pointer(source, each.removeprefix(_BOM))
    what = unlike_name(name, start) or _cut_short(name, start, stream, size)
    what = what or (unlike_name(splitext(name)[0], inner) if inner else "")
    return [what] if what else []


def _unpacked(name: str, stream: BinaryIO) -> bytes:
    """Return the first bytes of compressed text; empty if it is not compressed text or cannot be read."""
    stem, suffix = splitext(name.lower())
    if suffix not in _OPENERS or splitext(stem)[1] not in _TEXT_TABLES:
        return b""
    try:
        with _OPENERS[suffix](stream) as text:
            return bytes(text.read(_START_BYTES))
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):  # the reader reports this
        return b""
    finally:
        stream.seek(0)


def _refuse_pointer(source: FileSource, start: bytes) -> None:
    if start.startswith(_LFS) and b"\noid " in start:
        system, line = "Git LFS", "git lfs pull"
    elif start.startswith(_ANNEX) and b"\n" in start:
        system, line = "git-annex", "git annex get ."
    else:
        return
    is_remote = "url" in source.record
    raise BuildFailed(
        f"{quoted(source.shown)} is a pointer of {system}, not the data",
        hint="give the address of the file itself, not of its pointer" if is_remote else line,
        path=source.shown,
    )


def unlike_name(name: str, start: bytes) -> str:
    """Return the problem of a file whose first bytes do not match its name; "" if there is none."""
    suffix = splitext(name.lower())[1]
    is_packed = suffix in SUFFIXES
    if suffix == ".dvc" and start.startswith((b"outs:", b"md5:")):
        return "it is a pointer of DVC, not the data; `dvc pull` brings them"
    if suffix not in _TEXT_TABLES and suffix not in _BINARY:
        return ""
    text = start.removeprefix(_BOM).lstrip(_SPACES)
    kinds = {**_MARKUP, **(_OTHERS if suffix in _TEXT_TABLES else {})}
    for kind, pattern in kinds.items():
        if pattern.match(text):
            return f"it is {kind}, though its name ends in {suffix}; is it the answer of a server, or misnamed?"
    is_json = "json" in suffix
    if not is_json and not is_packed and _OBJECT.match(text):
        return f"it begins as JSON does, though its name ends in {suffix}; is it the answer of a server?"
    return ""


def _cut_short(name: str, start: bytes, stream: BinaryIO, size: int) -> str:
    """Return the problem of a JSON file whose last bracket does not match its first; "" if there is none."""
    if not name.lower().endswith(".json"):
        return ""
    text = start.removeprefix(_BOM).lstrip(_SPACES)
    if not text and size <= _START_BYTES:
        return "it is empty"
    expected = _ENDS.get(text[:1])
    stream.seek(max(0, size - _END_BYTES))
    end = stream.read(_END_BYTES).rstrip(_SPACES)
    stream.seek(0)
    if expected is None or not end or end.endswith(expected):
        return ""
    return f"it begins with {text[:1].decode()} but does not end with {expected.decode()}; it may be cut short"
