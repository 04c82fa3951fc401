"""The folder of the code that is running: of the main script, or pytest's root. It decides which lock is followed."""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))
_LIBRARIES = frozenset({"site-packages", "dist-packages"})

_test_roots: list[str] = []
_last: tuple[str, str | None] = ("", None)


def push_test_root(folder: str) -> None:
    """Let this folder be that of the code, until `pop_test_root`."""
    _test_roots.append(folder)


def pop_test_root() -> None:
    """Forget the folder that `push_test_root` set last."""
    if _test_roots:
        _test_roots.pop()


def code_folder() -> str | None:
    """Return pytest's root while it runs, else the folder of the main script with its links followed.

    None for programs that are installed, such as Jupyter, and where no file is run: there, the working directory is
    meant. In children of `multiprocessing` it is the folder of the parent's script.
    """
    if _test_roots:
        return _test_roots[-1]
    file = _main_file()
    global _last
    if file != _last[0]:
        _last = file, _script_folder(file)
    return _last[1]


def _main_file() -> str:
    """Return the path of the main script, "" if there is none.

    A child that was spawned runs it as `__mp_main__`, and its own `__main__` is the code of multiprocessing.
    """
    for name in ("__mp_main__", "__main__"):
        if isinstance(file := getattr(sys.modules.get(name), "__file__", None), str):
            return file
    return ""


def _script_folder(file: str) -> str | None:
    if not file or file.startswith("<"):
        return None
    given = os.path.dirname(os.path.abspath(file))
    real = os.path.dirname(os.path.realpath(file))
    return None if _is_installed(given) or _is_installed(real) else real


def _is_installed(folder: str) -> bool:
    """Return whether this folder is one of the environment: for libraries, for programs, or of datapkg itself."""
    programs = {os.path.join(prefix, "bin") for prefix in (sys.prefix, sys.base_prefix, "/usr", "/usr/local")}
    programs |= {os.path.dirname(sys.executable), os.path.expanduser("~/.local/bin")}
    libraries = (os.path.dirname(os.path.realpath(os.__file__)), _HERE)
    inside = any(f"{folder}{os.sep}".startswith(f"{each}{os.sep}") for each in libraries)
    return inside or folder in programs or not _LIBRARIES.isdisjoint(folder.split(os.sep))
