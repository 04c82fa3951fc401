"""Suggest the names that a mistyped one may have meant."""

from __future__ import annotations

from bisect import bisect_left
from functools import wraps

from datapkg.format.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

# Comparing is slow: of more names than these, only the ones next to the word in sorted order are compared.
_COMPARED = 100
_LISTED = 9


def close_names(word: str, known: Iterable[str], limit: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return up to `limit` known names for a mistyped one, the nearest first.

    Names with the same letters come before those with a common beginning, and these before similar ones. A higher
    `cutoff`, up to 1, suits names that are alike anyway, such as files with one suffix.
    """
    import difflib  # here, since every command loads this module, and few need it

    names = list(known)
    if len(names) > _COMPARED:
        at = max(0, bisect_left(names := sorted(names), word) - _COMPARED // 2)
        names = names[at : at + _COMPARED]
    letters = sorted(word)
    swapped = [each for each in names if sorted(each) == letters]
    prefixed = [
        each for each in names if min(len(each), len(word)) >= 3 and (word.startswith(each) or each.startswith(word))
    ]
    similar = difflib.get_close_matches(word, names, limit, cutoff)
    return list(dict.fromkeys([*swapped, *prefixed, *similar]))[:limit]


def suggesting_keywords(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function whose TypeError suggests a name for a misspelt keyword, as Python 3.13 does."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for word in kwargs:
            if word not in names:
                near = did_you_mean(close_names(word, [each for each in names if each != "self"], limit=1))
                raise TypeError(f"{function.__qualname__}() got an unexpected keyword argument {word!r}{near}")
        return function(*args, **kwargs)

    return call


def did_you_mean(near: Iterable[str]) -> str:
    """Return `; did you mean 'a' or 'b'?` for the end of a message, or "" without names."""
    names = " or ".join(map(quoted, near))
    return f"; did you mean {names}?" if names else ""


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'a'?` with the known name nearest to a mistyped one, or "" if none is near."""
    return did_you_mean(close_names(word, known, 1))


def choices(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known name, and all known names."""
    names = list(known)
    return f"{suggestion(word, names) or ';'} there are {', '.join(names)}"


def advice(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the similar names, or else all of a few."""
    names = list(known)
    if near := did_you_mean(close_names(word, names)):
        return near
    return (
        f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(quoted, names))}"
        if 0 < len(names) <= _LISTED
        else ""
    )
