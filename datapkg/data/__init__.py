"""Installed packages, to be imported: `from datapkg.data.USER import NAME`."""

import sys as _sys

from datapkg.reading import importer as _importer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ()
__path__ = []  # only our finder finds users; it searches the whole path for their files

if _importer.FINDER not in _sys.meta_path:
    _sys.meta_path.append(_importer.FINDER)


def __getattr__(name: str) -> "ModuleType":
    return _importer.child_module(__name__, name)


def __dir__() -> list[str]:
    return [*_importer.users(), *(name for name in globals() if name[:2] == "__" == name[-2:])]
