"""Which way a path is built: by its build file, as a directory, or as one data file."""

from __future__ import annotations

from pathlib import Path

from datapkg.building.build_file import read_build_file
from datapkg.building.directory import scan_directory, scan_file
from datapkg.building.spec import BuildSpec
from datapkg.building.tree import BUILD_FILE
from datapkg.errors import InvalidInput, NotFound
from datapkg.format.names import shown


def spec_for(path: Path, *, build_file: bool = True, allow_outside: bool = False) -> BuildSpec:
    """What to build from a path: a directory (by its build.yml, if it has one), a build file or one data file.

    With `build_file=False` a directory is built as it lies. Raises `NotFound` where there is nothing.
    """
    if path.is_dir():
        inside = path / BUILD_FILE
        if build_file and inside.is_file():
            return read_build_file(inside, allow_outside=allow_outside)
        return scan_directory(path, allow_outside=allow_outside)
    if not path.exists():
        raise NotFound(
            f"there is no file or directory {shown(path)}",
            hint="give the path of a directory, a build.yml or a data file",
            path=str(path),
        )
    if not path.is_file():
        raise InvalidInput(f"{shown(path)} is neither a directory nor an ordinary file")
    if build_file and path.suffix.lower() in (".yml", ".yaml"):
        return read_build_file(path, allow_outside=allow_outside)
    return scan_file(path)
