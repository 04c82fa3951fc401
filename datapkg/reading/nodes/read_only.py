"""Metadata as a node shows them: a read-only dict, since changes to a copy would be lost."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class ReadOnlyDict(dict[str, "Any"]):
    """A dict that refuses changes and shows how to make them; a copy of it, or `dict(…)`, may be written to.

    It is a real dict, and so are the dicts below it, so that JSON, pickle and others accept it.
    """

    __slots__ = ("_how",)

    def __init__(self, values: dict[str, Any], how: str) -> None:
        """Copy the values; `how` is the code that changes them."""
        super().__init__({key: _shown(value, how) for key, value in values.items()})
        self._how = how

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"metadata of one state of a package are read-only; write: {self._how}")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def copy(self) -> dict[str, Any]:
        return dict(self)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: object) -> dict[str, Any]:
        return {key: _plain(value) for key, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (self.__deepcopy__(None),)


def _shown(value: Any, how: str) -> Any:
    if isinstance(value, dict):
        return ReadOnlyDict(value, how)
    return [_shown(each, how) for each in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, ReadOnlyDict):
        return value.__deepcopy__(None)
    return [_plain(each) for each in value] if isinstance(value, list) else value
