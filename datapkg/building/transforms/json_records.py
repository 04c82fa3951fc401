"""json."""

from __future__ import annotations
from pathlib import Path
from typing import Any


def json(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    raise NotImplementedError


jsonl = json


def begins_with_records(path: Path) -> bool:
    return False
