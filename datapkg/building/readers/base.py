"""What a transform is."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

Warn = Callable[[str], None]
Kind = Literal["table", "array", "file"]


@dataclass(frozen=True)
class Described:
    """An Arrow table, and metadata that its source states: descriptions of columns."""

    table: Any
    meta: dict[Hashable, Any]


@dataclass(frozen=True)
class Transform:
    """One way to read a source; `family` names those that share kwargs.

    `read(path, kwargs, warn)` gives an Arrow table, a `Described` one, a `TableStream` or a numpy array; or a dict of
    such, where one source is a group of nodes. `keep(stream)` looks at an open file whose bytes may be kept as they
    are: it gives the `Content` of a table, (dtype, shape) of an array, or None where they may not, and `read` is
    called. `kwargs` are the names that one takes which is not a function of pandas, `provider` the distribution of one
    that is not ours and its version, for the record.
    """

    name: str
    kind: Kind
    family: str
    read: Callable[[Path, dict[str, Any], Warn], Any] | None = None
    keep: Callable[[BinaryIO], Any] | None = None
    kwargs: frozenset[str] = frozenset()
    provider: dict[str, str] = field(default_factory=dict)
