"""excel."""

from __future__ import annotations
from pathlib import Path
from typing import Any


def excel(path: Path, kwargs: dict[str, Any], warn: Any) -> Any:
    raise NotImplementedError
