"""Small JSON files of a store, each of which names states by their hashes; reading one writes nothing."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

from datapkg.errors import CorruptObject, DamagedFile, exhausted
from datapkg.format.names import is_hash
from datapkg.objects.files import may_be_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


def names(folder: Path) -> list[str]:
    """Return what is in a folder, in order; nothing if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a file, None if there is no such file; raise `CorruptObject`.

    A file that may not be read, or not now, is not damaged, and `verify` must not move it away: raise the `OSError`.
    """
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("no object in it")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError, OSError) as error:
        if (lack := exhausted(error, f"reading {path}")) is not None:
            raise lack from error
        if may_be_whole(error):
            raise
        raise damaged(path, error) from error
    return value


def known_fields(path: Path, types: Mapping[str, type], needed: Iterable[str]) -> dict[str, Any] | None:
    """Return the known fields of a file, which a newer version may have written, None if there is no such file.

    Raise `CorruptObject` for a wrong type, for a field that is missing, and for a `hash` that is not one.
    """
    value = read_json(path)
    if value is None:
        return None
    if not is_hash(value.get("hash")):
        raise damaged(path, "no hash in it")
    known = {name: value[name] for name in types if name in value}
    wrong = [name for name, each in known.items() if not isinstance(each, types[name])]
    if wrong := wrong + [name for name in needed if name not in known]:
        raise damaged(path, f"wrong or without: {', '.join(wrong)}")
    return known


def damaged(path: Path, what: object) -> CorruptObject:
    """Return the error for a file that cannot be read."""
    return CorruptObject(f"{path} is damaged: {what}", hint="datapkg verify")


def warn(error: CorruptObject, then: str) -> None:
    """Warn of a corrupt file; `then` is what is done without it."""
    warnings.warn(f"{error.message}; {then}; datapkg verify sets it aside", DamagedFile, stacklevel=3)
