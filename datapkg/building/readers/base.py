"""The contract of transforms, which read a file as a table, an array or a file."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

from datapkg.objects.progress import Share

Warn = Callable[[str], None]
Kind = Literal["table", "array", "file"]


@dataclass(frozen=True)
class Described:
    """An Arrow table with metadata from its source, such as descriptions of columns."""

    table: Any
    meta: dict[Hashable, Any]


@dataclass(frozen=True)
class Transform:
    """One way to read a source; transforms of one `family` share kwargs.

    `read(path, kwargs, warn)` returns an Arrow table, a `Described` table, a `TableStream` or a numpy array; or a dict
    of these, if one source is a group of nodes. `keep(stream, share)` inspects an open file whose bytes may be stored
    unchanged: it returns the `Content` of a table, (dtype, shape) of an array, or None if `read` must be called
    instead. `kwargs` are the accepted names, for transforms that are not pandas functions. `provider` is the name and
    version of the distribution of a plugin, for the record.
    """

    name: str
    kind: Kind
    family: str
    read: Callable[[Path, dict[str, Any], Warn], Any] | None = None
    keep: Callable[[BinaryIO, Share], Any] | None = None
    kwargs: frozenset[str] = frozenset()
    provider: dict[str, str] = field(default_factory=dict)
