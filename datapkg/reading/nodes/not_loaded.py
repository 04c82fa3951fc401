"""Errors for what only a loaded table or array can do, with the code to type instead."""

from __future__ import annotations

import sys

from datapkg.errors import NodeNotFound, WrongType
from datapkg.format import suggestions
from datapkg.format.texts import quoted
from datapkg.reading.missing.python_code import expression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

    from datapkg.reading.protocols import NodeLike, TableLike

INDEXERS = ("loc", "iloc", "at", "iat")
_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
}
_ORDERS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_SIGNS = {"neg": "-", "pos": "+", "invert": "~"}


def refuse_pandas(node: NodeLike, line: str) -> None:
    """Raise `WrongType` if a pandas function asks a node for what only a frame has; `line` is the code to type.

    Called from methods that pandas calls on frames: an array, for one, has no names and only one dtype. numpy and
    Cython, which pass the call on, have no Python frame of their own.
    """
    if _is_asked_by_pandas(3):
        raise WrongType(_takes_frames(node, line), hint=line)


def refuse_pandas_table(node: NodeLike) -> None:
    """Do the same for a table node, which is loaded by calling it."""
    if _is_asked_by_pandas(3):
        line = f"{expression(node.__source__, node.__at__)}()"
        raise WrongType(_takes_frames(node, line), hint=line)


def _is_asked_by_pandas(depth: int) -> bool:
    # `depth` counts from here: this function, the one that asks, the method of the node, and then its caller.
    frame: FrameType | None = sys._getframe(depth)
    while frame is not None and frame.f_code.co_filename == suggestions.__file__:  # a wrapper of the method
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "pandas"


def _takes_frames(node: NodeLike, line: str) -> str:
    place = f"{node.__source__.ref.package}{'/' + node.__at__ if node.__at__ else ''}"
    return f"{place} is a {node.__kind__} node, and pandas takes a DataFrame; write: {line}"


def no_attribute(node: TableLike, name: str) -> AttributeError:
    """Return the error for a missing attribute of a table node: a column, a frame's method, or a typing error.

    If pandas asks, the error shows the call that loads the frame. It stays an `AttributeError`, since pandas tests some
    attributes of every argument.
    """
    if _is_asked_by_pandas(3):
        line = f"{expression(node.__source__, node.__at__)}()"
        return NodeNotFound(_takes_frames(node, line), hint=line)
    if name[:1] == "_":
        return AttributeError(name)
    place, loaded = f"{node.__source__.ref.package}/{node.__at__}", f"{expression(node.__source__, node.__at__)}()"
    if name in node.columns:
        return NodeNotFound(f"{place}: a column is taken with [{name!r}]")
    if form := _of_frames(name):
        return NodeNotFound(f"{place} is a table node, which has no {quoted(name)}; load it first: {loaded}.{form}")
    if name in ("read_bytes", "read_text"):
        return NodeNotFound(f"{place} is a table node, which has no {quoted(name)}; its Parquet file is at .path")
    near = _near(node, name, node.columns)
    return NodeNotFound(f"{place} is a table node, which has no {quoted(name)}{near or f'; load it with {loaded}'}")


def no_array_attribute(node: NodeLike, name: str) -> NodeNotFound:
    """Return the error for a missing attribute of an array node: one of numpy's arrays, or a typing error."""
    import numpy as np

    what = f"{node.__source__.ref.package}/{node.__at__} is an array node, which has no {quoted(name)}"
    loaded = f"{expression(node.__source__, node.__at__)}()"
    if hasattr(np.ndarray, name):
        return NodeNotFound(f"{what}; load it first: {loaded}.{_form(np.ndarray, name)}")
    return NodeNotFound(f"{what}{_near(node, name, []) or f'; load it with {loaded}'}")


def _of_frames(name: str) -> str:
    """Return how a DataFrame's attribute of this name is written; "" if it has none."""
    import pandas as pd

    if not hasattr(pd.DataFrame, name):
        return ""
    if name in INDEXERS:
        return f"{name}[…]"
    return _form(pd.DataFrame, name)


def _form(kind: type, name: str) -> str:
    return f"{name}(…)" if callable(getattr(kind, name)) else name


def _near(node: NodeLike, name: str, columns: list[str]) -> str:
    from difflib import get_close_matches

    own = {each: f".{each}" for each in dir(type(node)) if each[0] != "_"}
    ways = own | {column: f"[{column!r}]" for column in columns if column not in own}
    near = get_close_matches(name, list(ways), n=3)
    return f"; did you mean {' or '.join(ways[each] for each in near)}?" if near else ""


class NotLoaded:
    """Operators that tell the user to load the node first; == tests whether two are the same node."""

    def __setitem__(self: Any, key: object, value: object) -> NoReturn:
        loaded = expression(self.__source__, self.__at__)
        raise TypeError(
            f"a node is read-only; load it, and change the result: frame = {loaded}(); frame[{key!r:.80}] = …"
        )

    def __delitem__(self: Any, key: object) -> NoReturn:
        loaded = expression(self.__source__, self.__at__)
        raise TypeError(
            f"a node is read-only; load it, and change the result: frame = {loaded}(); del frame[{key!r:.80}]"
        )


def _refusing(form: str) -> Any:
    def refuse(self: Any, *_: object) -> NoReturn:
        loaded = f"{expression(self.__source__, self.__at__)}()"
        what = "an array" if self.kind == "array" else "a table"
        raise TypeError(f"{what} node is not loaded and cannot be used in calculations; write: {form.format(loaded)}")

    return refuse


def _add_operators() -> None:
    for name, sign in _OPERATORS.items():
        setattr(NotLoaded, f"__{name}__", _refusing(f"{{}} {sign} …"))
        setattr(NotLoaded, f"__r{name}__", _refusing(f"… {sign} {{}}"))
    for name, sign in _ORDERS.items():
        setattr(NotLoaded, f"__{name}__", _refusing(f"{{}} {sign} …"))
    for name, sign in _SIGNS.items():
        setattr(NotLoaded, f"__{name}__", _refusing(f"{sign}{{}}"))


_add_operators()
