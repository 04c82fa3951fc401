"""Find the data files below a folder.

Hidden files, files created by Python or npm, links that leave the folder, and files excluded by the folder's rules are
not data.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datapkg.building.spec.library_folders import installed_by
from datapkg.building.spec.model import LocatedFile
from datapkg.errors import InvalidInput
from datapkg.format.names import MAX_DEPTH
from datapkg.format.texts import quoted

BUILD_FILE = "build.yml"
IGNORE_FILE = ".datapkgignore"
GIT_FILE = ".gitignore"

# Return why a rule excludes a path (names relative to the folder; folder or not); "" if it is included.
LeftOut = Callable[[Sequence[str], bool], str]


@dataclass(frozen=True, slots=True)
class DataFile(LocatedFile):
    """A file below the folder; `parts` are the names in its relative path, `names` the same in Unicode NFC."""

    parts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names in the relative path, in Unicode's normal form NFC."""
        return _normal(self.parts)

    @property
    def shown(self) -> str:
        """Return the relative path with `/`, for messages and the record."""
        return "/".join(self.parts)


@dataclass
class FolderFiles:
    """The files, ordered by name, and the excluded paths, each with the reason."""

    files: list[DataFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def walk(root: Path, *, left_out: LeftOut, allow_outside: bool = False) -> FolderFiles:
    """Return all data files below a folder; links are followed while they stay in it (always with `allow_outside`).

    Raise `InvalidInput` for a folder that cannot be read.
    """
    tree = FolderFiles()
    real = os.path.realpath(root)
    for parts, path in _files(str(root), (), () if allow_outside else (real,), (real,), left_out, tree):
        tree.files.append(DataFile(path, parts))
    return tree


def _normal(parts: tuple[str, ...]) -> tuple[str, ...]:
    return parts if "".join(parts).isascii() else tuple(unicodedata.normalize("NFC", part) for part in parts)


def is_inside(path: str | Path, root: str | Path) -> bool:
    """Return whether a path, with all links resolved, is inside a folder."""
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
    """Yield the files of a folder; `fence` are folders that links may not leave, `above` the real folders around it."""
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
    """Return why this is not data; "" for files that configure the build, which are not reported; None for data."""
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
    # A link to a folder around it would be walked forever.
    if os.path.isdir(path) and os.path.realpath(path) in above:
        return "leads to a folder that it lies in"
    return None
