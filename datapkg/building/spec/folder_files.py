"""The files below a folder that are data.

What is hidden, made by Python or npm, reached by a link to elsewhere, or left out by a rule of the folder is not.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from datapkg.building.spec.library_folders import installed_by
from datapkg.errors import InvalidInput
from datapkg.format.names import MAX_DEPTH
from datapkg.format.texts import quoted

BUILD_FILE = "build.yml"
IGNORE_FILE = ".datapkgignore"
GIT_FILE = ".gitignore"

# Why a rule leaves out what has these names from the folder on, and is a folder or not; "" for what stays.
LeftOut = Callable[[Sequence[str], bool], str]


@dataclass(frozen=True)
class DataFile:
    """A file below the folder; `parts` are its names from there on, `names` the same in Unicode's normal form NFC."""

    path: Path
    parts: tuple[str, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return _normal(self.parts)

    @property
    def shown(self) -> str:
        return "/".join(self.parts)


@dataclass
class FolderFiles:
    """The files in order of their names, and what was left out, each with the reason."""

    files: list[DataFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def walk(root: Path, *, left_out: LeftOut, allow_outside: bool = False) -> FolderFiles:
    """Return all data files below a folder; links are followed while they stay in it (anywhere with `allow_outside`).

    Raise `InvalidInput` for a folder that cannot be read.
    """
    tree = FolderFiles()
    real = os.path.realpath(root)
    for parts, path in _files(str(root), (), () if allow_outside else (real,), (real,), left_out, tree):
        tree.files.append(DataFile(Path(path), parts))
    return tree


def _normal(parts: tuple[str, ...]) -> tuple[str, ...]:
    return parts if "".join(parts).isascii() else tuple(unicodedata.normalize("NFC", part) for part in parts)


def is_inside(path: str | Path, root: str | Path) -> bool:
    """Return whether a path, all links followed, lies in a folder."""
    real, home = os.path.realpath(path), os.path.realpath(root)
    return real == home or real.startswith(home.rstrip("/") + "/")


def _files(
    folder: str,
    parts: tuple[str, ...],
    fence: tuple[str, ...],
    above: tuple[str, ...],
    left_out: LeftOut,
    tree: FolderFiles,
) -> Iterator[tuple[tuple[str, ...], str]]:
    """`fence` is the folder that links may not leave, if any; `above` the real folders that this one lies in."""
    if len(parts) >= MAX_DEPTH + 1:
        raise InvalidInput(f"{quoted('/'.join(parts))} is deeper than {MAX_DEPTH} folders")
    for entry in _entries(folder):
        here = (*parts, entry.name)
        reason = _not_data(entry, parts)
        if reason is None:
            reason = left_out(_normal(here), _is_dir(entry)) or None
        if reason is None and entry.is_symlink():
            reason = _bad_link(entry.path, fence, above)
            if reason:
                tree.warnings.append(f"{'/'.join(here)} was left out: it is a link that {reason}")
                reason = f"link that {reason}"
        if reason is None and _is_dir(entry):
            yield from _files(entry.path, here, fence, (*above, os.path.realpath(entry.path)), left_out, tree)
        elif reason is None and stat.S_ISREG(entry.stat().st_mode):
            yield here, entry.path
        elif reason != "":
            tree.skipped.append(f"{'/'.join(here)}: {reason or 'not a regular file'}")


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidInput(f"folder {quoted(folder)} cannot be read: {error.strerror}") from error


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _not_data(entry: os.DirEntry[str], parts: tuple[str, ...]) -> str | None:
    """Return why this is not data; "" for what says how to build, of which nothing need be said; None for data."""
    if entry.name == GIT_FILE or (entry.name in (BUILD_FILE, IGNORE_FILE) and not parts):
        return ""
    if entry.name.startswith("."):
        return "hidden"
    if entry.name == "__pycache__":
        return "made by Python"
    return installed_by(entry.name, entry.path) if _is_dir(entry) else None


def _bad_link(path: str, fence: tuple[str, ...], above: tuple[str, ...]) -> str | None:
    if not os.path.exists(path):
        return "leads nowhere"
    if any(not is_inside(path, folder) for folder in fence):
        return "leaves the folder"
    if os.path.isdir(path) and os.path.realpath(path) in above:
        return "leads to a folder that it lies in"
    return None
