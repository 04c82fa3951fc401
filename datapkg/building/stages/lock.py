"""`datapkg.stages.lock`: what each stage was last run with and what it gave; it belongs in version control.

One line for each stage, sorted by name, so that git merges it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.errors import UPGRADE_HINT, InvalidLock, NewerFormat
from datapkg.objects.files import write_atomic

NAME = "datapkg.stages.lock"
FORMAT = 1
MAX_BYTES = 64 << 20

Entries = Mapping[str, Mapping[str, Any]]


def read_lock(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of the lock in a folder, none if there is no lock; raise `InvalidLock` for a damaged one."""
    path = folder / NAME
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidLock(f"{path} cannot be read: {error.strerror}", hint=f"ls -ld {quote(str(path))}") from error
    hint = f"delete it, the next build writes it again: rm {quote(str(path))}"
    try:
        value = json.loads(data) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError) as error:
        raise InvalidLock(f"{path} cannot be read: it is not JSON ({error})", hint=hint) from error
    version = value.get("datapkg") if isinstance(value, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise NewerFormat(f"{path}: format {version} is newer than what this datapkg reads", hint=UPGRADE_HINT)
    stages = value.get("stages") if isinstance(value, dict) and version == FORMAT else None
    if not isinstance(stages, dict) or not all(isinstance(each, dict) for each in stages.values()):
        raise InvalidLock(f"{path} is not a lock file of stages", hint=hint)
    return stages


def write_lock(folder: Path, entries: Entries) -> None:
    """Write the lock into a folder, unless it is so already."""
    lines = [f"{json.dumps(name)}: {json.dumps(entries[name], sort_keys=True)}" for name in sorted(entries)]
    data = f'{{\n"datapkg": {FORMAT},\n"stages": {{\n' + ",\n".join(lines) + "\n}}\n"
    path = folder / NAME
    if not path.is_file() or path.read_bytes() != data.encode():
        write_atomic(path, data.encode(), folder, mode=0o644)


def known_before(entries: Entries) -> dict[str, dict[str, str]]:
    """Return the identity that each stage had in its last run."""
    found = {}
    for name, entry in entries.items():
        known = entry.get("known")
        facts = known if isinstance(known, dict) else {}
        found[name] = {key: value for key, value in facts.items() if isinstance(value, str)}
    return found
