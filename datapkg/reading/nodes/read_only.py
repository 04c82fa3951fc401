"""Metadata as a node shows them: a dict that cannot be changed, since what is written to a copy would be lost."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class ReadOnlyDict(dict[str, "Any"]):
    """A dict that says how to change what it shows; a copy of it, or `dict(…)`, may be written to.

    It is a dict of its own, with dicts like it below, so that JSON, pickle and others take it as one.
    """

    __slots__ = ("_how",)

    def __init__(self, values: dict[str, Any], how: str) -> None:
        """`how` is what to type in order to change them."""
        super().__init__({key: _shown(value, how) for key, value in values.items()})
        self._how = how

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"metadata of one state of a package do not change; write: {self._how}")

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
