"""Write archives by hand, valid or malformed as a test requires."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable

import pyarrow as pa

# Name to content: bytes of a file, target of a link as text, None for a folder.
Entries = dict[str, bytes | str | None]


def zip_of(entries: Entries, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip, with links as Unix programs write them."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, body in entries.items():
            info = zipfile.ZipInfo(name)
            info.filename = name  # unchanged: ZipInfo normalises some names
            info.compress_type = method
            mode = 0o120777 if isinstance(body, str) else 0o040755 if body is None else 0o100644
            info.external_attr = mode << 16
            archive.writestr(info, body or b"")
    return data.getvalue()


def tar_of(entries: Entries | Iterable[tuple[str, bytes | str | None]], kind: str = "") -> bytes:
    """Return a tar, optionally compressed (gz bz2 xz zst)."""
    data = io.BytesIO()
    pairs = entries.items() if isinstance(entries, dict) else entries
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, body in pairs:
            info = tarfile.TarInfo(name)
            if isinstance(body, str):
                info.type, info.linkname = tarfile.SYMTYPE, body
            elif body is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(body)
            archive.addfile(info, io.BytesIO(body) if isinstance(body, bytes) else None)
    return packed(data.getvalue(), kind)


def packed(data: bytes, kind: str) -> bytes:
    """Return compressed bytes."""
    return _PACKERS[kind](data)


def _zst(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": _zst,
}
MAKERS: dict[str, Callable[[Entries], bytes]] = {
    "zip": zip_of,
    "tar": tar_of,
    **{f"tar.{kind}": lambda entries, kind=kind: tar_of(entries, kind) for kind in ("gz", "bz2", "xz", "zst")},  # type: ignore[misc]
}
