"""Show a package at a path, within a `with` block, to all code that opens files by Python's own functions.

For machines that cannot mount. `open`, `os.stat`, `os.listdir`, `os.scandir` and their like are replaced in the whole
process, and restored when the last hook ends; code that opens files in C (pyarrow, h5py, sqlite3 …) is not affected.
"""

from __future__ import annotations

import builtins
import functools
import glob
import os
import sys
import threading
from os import fsdecode, fspath, getcwd
from os import path as os_path
from pathlib import Path
from typing import TYPE_CHECKING

from datapkg.errors import InvalidInput
from datapkg.format.names import Ref
from datapkg.reading.files.os_shims import ANSWERS, TWO_PATHS, Spot, open_, refuse
from datapkg.reading.files.ref_paths import find_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from datapkg.home import Home
    from datapkg.reading.files.tree import FileTree


class OpenHook:
    """Shows a node of a package at `folder`, which need not exist; existing content is hidden meanwhile.

    Without a ref, the folder's text is the ref. The state is resolved when the `with` begins. Hooks may be nested and
    end in any order; of two at one path, the later one is seen. They affect all threads.
    """

    def __init__(
        self,
        home: Home,
        folder: str | os.PathLike[str],
        ref: Ref | str | None = None,
        *,
        lazy: bool | None = None,
        registry: str | None = None,
    ) -> None:
        text = str(fspath(folder))
        self._ref = ref if isinstance(ref, Ref) else Ref.parse(text if ref is None else ref)
        if ref is None:
            text = f"{self._ref.package}/{self._ref.path}" if self._ref.path else self._ref.package
        self._home, self._options = home, {"lazy": lazy, "registry": registry}
        self.folder = Path(os_path.abspath(text))
        if self.folder == self.folder.parent:
            raise InvalidInput("a package cannot be shown at the root of all files; name a folder")

    def __enter__(self) -> Path:
        package = Ref(self._ref.user, self._ref.name, state=self._ref.state, registry=self._ref.registry)
        whole = find_tree(self._home, str(package), **self._options)  # type: ignore[arg-type]
        tree = whole if not self._ref.path else type(whole)(whole.source, self._ref.path)
        tree.look("")  # a node that is missing is an error here, not at the first `open`
        # Code may follow the links of a path before it opens it.
        real = os_path.join(os_path.realpath(self.folder.parent), self.folder.name)
        _begin(self, tree, tuple(dict.fromkeys((str(self.folder), real))))
        return self.folder

    def __exit__(self, *_: object) -> None:
        _end(self)


# The active hooks, the latest first, with the paths by which each folder is known. The list is replaced, never changed,
# so that readers need no lock.
_active: tuple[tuple[OpenHook, FileTree, tuple[str, ...]], ...] = ()
_lock = threading.RLock()
_inside = threading.local()
_replaced: list[tuple[Any, str | None, Any, Any]] = []


def _forget_lock() -> None:
    """Replace the lock in the child of a fork: one that another thread held would never be released."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget_lock)


def _begin(hook: OpenHook, tree: FileTree, prefixes: tuple[str, ...]) -> None:
    global _active
    with _lock:
        if not _active:
            _replace_all()
        _active = ((hook, tree, prefixes), *_active)


def _end(hook: OpenHook) -> None:
    global _active
    with _lock:
        at = next(at for at, each in enumerate(_active) if each[0] is hook)
        _active = _active[:at] + _active[at + 1 :]
        if not _active:
            _put_back()


def locate(path: Any) -> Spot | str | None:
    """Return where a path leads into a package; None for any other path.

    A text is returned for a path that enters the folder and leaves it again (`..`): the same path without the detour.
    """
    if type(path) is str:
        text = path
    elif isinstance(path, int) or getattr(_inside, "busy", False):
        return None
    else:
        try:
            text = fsdecode("." if path is None else path)
        except TypeError:
            return None
    if text[:1] != "/":
        try:
            text = f"{getcwd()}/{text}"
        except OSError:
            return None
    # `normpath`, which keeps two slashes in front, is left out where it changes nothing: every open comes here.
    is_plain = "//" not in text and "/." not in text
    spot = _match(text, path) if is_plain else _match("/" + os_path.normpath(text).lstrip("/"), path)
    if getattr(_inside, "busy", False):
        return None
    if spot is None and not is_plain and _match(text, path):
        return os_path.normpath(text)
    return spot


def _match(text: str, given: Any) -> Spot | None:
    for _, tree, prefixes in _active:
        for prefix in prefixes:
            if text.startswith(prefix) and text[len(prefix) : len(prefix) + 1] in ("", "/"):
                return Spot(tree, text[len(prefix) :].strip("/"), "." if given is None else fspath(given))
    return None


def _replacement(real: Callable[..., Any], answer: Callable[..., Any], keyword: str) -> Callable[..., Any]:
    """Return a function like `real`, which handles paths in a package and calls `real` for all others."""

    @functools.wraps(real)
    def call(*args: Any, **kwargs: Any) -> Any:
        spot = locate(args[0] if args else kwargs.get(keyword))
        if spot is None or kwargs.get("dir_fd") is not None:
            return real(*args, **kwargs)
        rest = args[1:]
        kwargs.pop(keyword, None)
        if isinstance(spot, str):
            return real(spot, *rest, **kwargs)
        return _answered(answer, spot, real, *rest, **kwargs)

    return call


def _refusal(real: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function like `real`, which takes two paths and writes, and refuses paths in a package."""

    @functools.wraps(real)
    def call(src: Any, dst: Any, *args: Any, **kwargs: Any) -> Any:
        for spot in (locate(src), locate(dst)):
            if isinstance(spot, Spot):
                refuse(spot, real)
        return real(src, dst, *args, **kwargs)

    return call


def _answered(answer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the answer; meanwhile, this thread's own file access is not redirected."""
    _inside.busy = True
    try:
        return answer(*args, **kwargs)
    finally:
        _inside.busy = False


def _replace_all() -> None:
    try:
        ours = _replacement(builtins.open, open_, "file")
        for owner, name in _keepers_of_open():
            _replace(owner, name, ours)
        for name, answer in ANSWERS.items():
            if hasattr(os, name):
                _replace(os, name, _replacement(getattr(os, name), answer, "path"))
        for name in TWO_PATHS:
            _replace(os, name, _refusal(getattr(os, name)))
        _replace_scandir_of_pathlib()
    except BaseException:
        _put_back()
        raise


def _keepers_of_open() -> Iterator[tuple[Any, str | None]]:
    """Return where `open` is looked up, including modules that copied it when they were loaded."""
    named = (("builtins", "open"), ("io", "open"), ("_io", "open"), ("tarfile", "bltn_open"), ("bz2", "_builtin_open"))
    for module, name in named:  # pickle looks it up in `_io`
        if module in sys.modules:
            yield sys.modules[module], name
    if openers := getattr(sys.modules.get("numpy.lib._datasource"), "_file_openers", None):
        yield openers._file_openers, None


def _replace_scandir_of_pathlib() -> None:
    """Replace `os.scandir` in a class of `pathlib`, where Python 3.13 keeps it for `Path.glob`."""
    for value in list(vars(glob).values()):
        kept = vars(value).get("scandir") if isinstance(value, type) else None
        if isinstance(kept, staticmethod) and kept.__func__ is getattr(os.scandir, "__wrapped__", None):
            _replaced.append((value, "scandir", kept, staticmethod(os.scandir)))
            value.scandir = _replaced[-1][3]


def _replace(owner: Any, name: str | None, ours: Callable[..., Any]) -> None:
    real = _get(owner, name)
    _replaced.append((owner, name, real, ours))
    _set(owner, name, ours)
    for known in _sets_of_functions():  # tells callers whether a function takes `follow_symlinks`
        if real in known:
            known.add(ours)


def _put_back() -> None:
    """Restore everything, except what others have replaced meanwhile: their function still calls this one."""
    while _replaced:
        owner, name, real, ours = _replaced.pop()
        if _get(owner, name) is ours:
            _set(owner, name, real)
        for known in _sets_of_functions():
            if real in known:
                known.discard(ours)


def _sets_of_functions() -> tuple[set[Any], ...]:
    return (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks)


def _get(owner: Any, name: str | None) -> Any:
    return owner[name] if isinstance(owner, dict) else vars(owner)[name]


def _set(owner: Any, name: str | None, value: Any) -> None:
    if isinstance(owner, dict):
        owner[name] = value
    else:
        setattr(owner, str(name), value)
