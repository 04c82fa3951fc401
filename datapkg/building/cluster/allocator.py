"""Let glibc keep memory while a table is read, as it does by default.

Dask starts workers with `MALLOC_TRIM_THRESHOLD_=65536`, by which every larger piece of memory goes back to the system
as soon as it is free. A reader that takes and frees megabytes all the time then waits for page faults.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

VARIABLE = "MALLOC_TRIM_THRESHOLD_"
# From malloc.h of glibc, and the largest values that it chooses itself (DEFAULT_MMAP_THRESHOLD_MAX, and twice that).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MMAP_BYTES, _TRIM_BYTES = 32 << 20, 64 << 20
_DEFAULT_MMAP_BYTES = 128 << 10

_lock = threading.Lock()
_holders = 0


@contextmanager
def keeping_memory(environ: Mapping[str, str]) -> Iterator[None]:
    """Keep freed memory in this process inside the block; afterwards do again what the environment asks for.

    Without the variable, and without glibc, nothing is changed.
    """
    global _holders
    threshold, library = environ.get(VARIABLE, ""), _glibc()
    if library is None or not threshold.isdecimal():
        yield
        return
    with _lock:
        _holders += 1
        library.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)
        library.mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                library.mallopt(_MMAP_THRESHOLD, _DEFAULT_MMAP_BYTES)
                library.mallopt(_TRIM_THRESHOLD, int(threshold))
                library.malloc_trim(0)


@cache
def _glibc() -> Any:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
