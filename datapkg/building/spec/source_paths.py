"""Resolve paths and globs of a build file to files in its folder, and reject those that lead out of it."""

from __future__ import annotations

import difflib
import unicodedata
from itertools import islice
from pathlib import Path

from datapkg.building.spec.folder import name_problem
from datapkg.building.spec.folder_files import FolderFiles, is_inside, walk
from datapkg.building.spec.globs import fixed_prefix, match
from datapkg.building.spec.ignore_rules import below, read_ignore_file
from datapkg.building.spec.model import FileSource
from datapkg.format.suggestions import did_you_mean
from datapkg.format.texts import quoted

Parts = tuple[str, ...]

MAX_PATH = 4_096
# Limit for all globs together: number of files times number of parts of the pattern.
MAX_TRIED = 20_000_000
_SUGGESTIONS = 20
_COMPARED = 10_000


class SourceFolder:
    """The folder of the build file at `path`; `warnings` collects warnings."""

    def __init__(self, path: Path, *, allow_outside: bool) -> None:
        self.path, self.root, self.allow_outside = path, path.parent, allow_outside
        self.warnings: list[str] = []
        self._trees: dict[Path, FolderFiles] = {}
        self._tried = self._suggested = 0
        self._fence = None if allow_outside else self.root

    def file(self, text: str) -> FileSource | str:
        """Return the file at a path, or an error message."""
        if len(text) > MAX_PATH:
            return f"{quoted(text)} has {len(text):,} characters; at most {MAX_PATH:,} are allowed"
        path = self.root / text
        problem = self.outside(path, text) or self._file_problem(path, text)
        shown_as = path.name if Path(text).is_absolute() else Path(text).as_posix()
        return problem or FileSource(path, shown_as, within=self._fence)

    def glob(self, pattern: str) -> list[tuple[Parts, FileSource]] | str:
        """Return the files that match a pattern, each with its names below the fixed folders, or an error message."""
        if len(pattern) > MAX_PATH:
            return f"the pattern has {len(pattern):,} characters; at most {MAX_PATH:,} are allowed"
        prefix, rest = fixed_prefix(pattern)
        folder = self.root / prefix
        problem = self.outside(folder, prefix)
        if problem or not folder.is_dir():
            return problem or f"there is no folder {quoted(prefix)}"
        found = self._tree(folder, prefix).files
        self._tried += len(found) * len(rest.split("/"))
        if self._tried > MAX_TRIED:
            return f"with this the globs are tried on more than {MAX_TRIED:,} files; have fewer, or simpler ones"
        files = [file for file in match(rest, found) if file.path != self.path]
        if not files:
            return "matches no file (hidden files are not data)"
        start = f"{prefix}/" if prefix else ""
        return [(file.names, FileSource(file.path, f"{start}{file.shown}", within=self._fence)) for file in files]

    def _file_problem(self, path: Path, text: str) -> str:
        try:
            return self._named_problem(path, text)
        except OSError as error:
            return f"{quoted(text)} cannot be read: {error.strerror}"

    def _named_problem(self, path: Path, text: str) -> str:
        if path.is_file():
            return name_problem((unicodedata.normalize("NFC", path.name),))
        if path.is_dir():
            return f"{quoted(text)} is a folder; name its files, or take them by a glob such as {text.rstrip('/')}/*"
        if path.exists():
            return f"{quoted(text)} is not a regular file"
        if path.is_symlink():
            return f"{quoted(text)} is a broken link"
        self._suggested += 1
        near = _near(path) if self._suggested <= _SUGGESTIONS else []
        return f"there is no file {quoted(text)}{did_you_mean(near)}"

    def _tree(self, folder: Path, prefix: str) -> FolderFiles:
        """Return all files below a folder; it is walked once."""
        if folder not in self._trees:
            left_out = below(read_ignore_file(self.root), Path(prefix).parts)
            self._trees[folder] = tree = walk(folder, left_out=left_out, allow_outside=self.allow_outside)
            self.warnings += [f"{prefix}/{each}" if prefix else each for each in tree.warnings]
        return self._trees[folder]

    def outside(self, path: Path, text: str) -> str:
        """Return why a path may not be used, if it leads out of the folder; else ""."""
        try:
            if self.allow_outside or is_inside(path, self.root):
                return ""
        except (OSError, ValueError) as error:
            return f"{quoted(text)} cannot be read: {error}"
        return f"{quoted(text)} leads out of the folder of the build file; `--allow-outside` allows it"


def _near(path: Path) -> list[str]:
    """Return names in the folder of a missing path that are similar to its name."""
    if not path.parent.is_dir():
        return []
    names = sorted(each.name for each in islice(path.parent.iterdir(), _COMPARED))
    return difflib.get_close_matches(path.name, names, 3)
