"""Find the code of a command: the files that it names, and the modules beside them that Python files import."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_WORD = re.compile(r"[^\s'\"=;|&<>()`$]+")
_MAX_BYTES = 4 << 20
_MAX_WORDS = 10_000
_MAX_FILES = 5_000


def named_files(command: str, root: Path, folder: str = "") -> list[str]:
    """Return the files that words of a command name, relative to `root`; `folder` is where it runs."""
    found: dict[str, None] = {}
    for number, word in enumerate(_WORD.finditer(command)):
        if number == _MAX_WORDS:
            break
        path = inner_path(word[0], folder)
        if path and len(path) < 1000 and (root / path).is_file() and not _leads_out(root, path):
            found[path] = None
    return list(found)


def with_modules(files: Iterable[str], root: Path) -> list[str]:
    """Return the files, and all modules below `root` that Python files among them import, at any distance."""
    found = dict.fromkeys(files)
    todo = list(found)
    while todo and len(found) < _MAX_FILES:
        file = todo.pop()
        if file.endswith(".py"):
            for module in _imported(root / file):
                for path in _module_files(module, PurePosixPath(file).parent, root):
                    if path not in found and not _leads_out(root, path):
                        found[path] = None
                        todo.append(path)
    return sorted(found)


def inner_path(text: str, folder: str = "") -> str:
    """Return a path in its shortest form, relative to where `folder` is.

    Return "" for one that is absolute, leads further upwards, or is an address.
    """
    parts = folder.split("/") if folder else []
    if text.startswith(("/", "~")) or "://" in text or "\0" in text:
        return ""
    for part in text.split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _leads_out(root: Path, path: str) -> bool:
    return not (root / path).resolve().is_relative_to(root.resolve())


def _imported(path: Path) -> Iterator[str]:
    """Yield the names of modules that a file imports, relative ones with their dots."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of invalid escapes in somebody's code
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return  # its own run will show the mistake
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}{'' if base.endswith('.') else '.'}{alias.name}" for alias in node.names)


def _module_files(module: str, folder: PurePosixPath, root: Path) -> Iterator[str]:
    """Yield the files of a module beside a script, or below the root, its packages' `__init__` included."""
    name = module.lstrip(".")
    level = len(module) - len(name)
    bases = [folder, PurePosixPath()] if not level else [_above(folder, level - 1)]
    parts = name.split(".") if name else []
    for base in bases:
        for depth in range(len(parts) + 1):
            stem = base.joinpath(*parts[:depth])
            for path in (stem / "__init__.py", stem.with_suffix(".py") if depth else stem / "__init__.py"):
                if (root / path).is_file():
                    yield path.as_posix()


def _above(folder: PurePosixPath, levels: int) -> PurePosixPath:
    for _ in range(levels):
        folder = folder.parent
    return folder
