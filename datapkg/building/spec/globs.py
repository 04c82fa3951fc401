"""Match globs of build files, such as `data/**/*.jpg`, against the files below a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable

from datapkg.building.spec.folder_files import DataFile
from datapkg.format.patterns import matcher

_WILD = re.compile(r"[*?\[]")


def is_glob(text: str) -> bool:
    """Return whether a key is a pattern, which contains `*`, `?` or `[`."""
    return _WILD.search(text) is not None


def fixed_prefix(pattern: str) -> tuple[str, str]:
    """Split a pattern into the folders before the first wildcard and the rest: `a/b/**/*.jpg` → `a/b`, `**/*.jpg`."""
    parts = pattern.split("/")
    count = next((index for index, part in enumerate(parts) if is_glob(part)), len(parts) - 1)
    return "/".join(parts[:count]), "/".join(parts[count:])


def match(pattern: str, files: Iterable[DataFile]) -> list[DataFile]:
    """Return the files whose path matches.

    `*` and `?` match within a name, `**` matches any number of folders, `[!ab]` any letter except these.
    """
    matches = matcher(pattern)
    return [file for file in files if matches(file.names)]
