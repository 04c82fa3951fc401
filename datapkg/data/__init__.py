"""What is installed, to be imported: `from datapkg.data.USER import NAME`."""

from __future__ import annotations

import sys

from datapkg.reading.importer import FINDER, child_module, users
from datapkg.reading.nodes.base import is_dunder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__: list[str] = []
__path__ = []  # users are found by our finder alone, which looks for their files everywhere on the path

if FINDER not in sys.meta_path:
    sys.meta_path.append(FINDER)


def __getattr__(name: str) -> ModuleType:
    return child_module(__name__, name)


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if is_dunder(name)), *users()})
