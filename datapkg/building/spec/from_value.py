"""Turn an argument of `build` into a spec: a directory, a build file, one data file, or values in memory."""

from __future__ import annotations

import unicodedata
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from datapkg.building.readers import guess
from datapkg.building.spec.folder import name_problem, raise_problems, scan_directory, scan_file
from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.building.spec.model import BuildSpec, FileSource, NodeSpec, PackageSource, ValueSource
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref
from datapkg.format.texts import quoted
from datapkg.objects.files import no_such_path

_VALUES_HINT = 'datapkg.build("USER/NAME", {"table": dataframe, "file": pathlib.Path("a.csv")})'


def spec_for(
    path: Path,
    *,
    build_file: bool = True,
    allow_outside: bool = False,
    update: bool = False,
    gitignore: bool = True,
) -> BuildSpec:
    """Return what to build from a path: a directory (by its build.yml, if it has one), a build file or one data file.

    With `build_file=False`, a directory is built without its build file. With `gitignore=False`, files that its
    `.gitignore` files ignore are included. With `update`, checksums of URLs may be missing. Raise `NotFound` if the
    path does not exist.
    """
    if path.is_dir():
        inside = path / BUILD_FILE
        if build_file and inside.is_file():
            return read_build_file(inside, allow_outside=allow_outside, update=update)
        return scan_directory(path, allow_outside=allow_outside, gitignore=gitignore)
    if not path.exists():
        raise no_such_path(path)
    if not path.is_file():
        raise InvalidInput(f"{quoted(path)} is neither a directory nor an ordinary file")
    if build_file and path.suffix.lower() in (".yml", ".yaml"):
        return read_build_file(path, allow_outside=allow_outside, update=update)
    return scan_file(path)


def spec_from_values(values: Any) -> BuildSpec:
    """Return what to build from values in memory: a DataFrame, an Arrow table or a numpy array is the node `data`.

    A dict maps names to nodes, and may contain dicts (groups), None (an empty group), paths of files or directories,
    and packages or nodes of packages, which are pinned and not copied. A package or group given alone is replaced by
    its contents. Values are not changed. Raise `InvalidInput` that lists every value that cannot be a node.
    """
    reader = _Values()
    ref = _ref_of(values)
    if isinstance(values, dict):
        reader.group(values, ())
    elif ref is None:
        reader.node(values, ("data",))
    elif values.__kind__ in ("group", "package"):
        reader.group({name: values[name] for name in values.__source__.children(ref.path).names}, ())
    else:
        reader.node(values, (ref.path.rpartition("/")[2],))
    raise_problems(reader.problems, "what was given", _VALUES_HINT)
    meta = _meta_of(values, ref) if ref else {}
    return BuildSpec("values", reader.nodes, reader.groups, meta, warnings=reader.warnings, skipped=reader.skipped)


def _ref_of(value: Any) -> Ref | None:
    """Return the exact reference of an opened package or node; None for any other value."""
    attributes = getattr(value, "__dict__", {})
    if "__source__" not in attributes or "__at__" not in attributes:
        return None
    ref = attributes["__source__"].ref
    if attributes["__source__"].parts:
        what = f"a part of {ref.package} cannot be built from, since a node is pinned whole"
        raise InvalidInput(f"{what}; give its values: a DataFrame of node(), a path of node.path")
    return Ref(ref.user, ref.name, attributes["__at__"], ref.state)


def _meta_of(value: Any, ref: Ref) -> dict[str, Any]:
    """Return the metadata of a package or group that is copied; a table's or file's metadata comes with its node."""
    if value.__kind__ not in ("group", "package"):
        return {}
    entry = value.__source__.entry(ref.path) if ref.path else value.__source__.manifest
    return deepcopy(entry.meta) if entry else {}


class _Values:
    """Collect nodes and groups from nested dicts of values."""

    def __init__(self) -> None:
        self.nodes: list[NodeSpec] = []
        self.groups: dict[str, dict[str, Any]] = {}
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.skipped: list[str] = []

    def group(self, values: dict[Any, Any], parts: tuple[str, ...]) -> None:
        """Add a group and everything below it."""
        if parts and not values:
            self.groups["/".join(parts)] = {}
        names: dict[str, Any] = {}
        for name, value in values.items():
            plain = unicodedata.normalize("NFC", name) if isinstance(name, str) else name
            here = (*parts, plain)
            problem = name_problem(here) or (f"it is here twice: {names[plain]!r}" if plain in names else "")
            names[plain] = name
            if problem:
                self.problems.append(("/".join(map(str, here)), problem))
            elif isinstance(value, dict):
                self.group(value, here)
            else:
                self.node(value, here)

    def node(self, value: Any, parts: tuple[str, ...]) -> None:
        """Add one value as a node."""
        path = "/".join(parts)
        if value is None:
            self.groups[path] = {}
        elif isinstance(value, Path):
            self._path(value, path)
        elif ref := _ref_of(value):
            self.nodes.append(NodeSpec(path, PackageSource(ref)))
        elif _is_data(value):
            self.nodes.append(NodeSpec(path, ValueSource(value)))
        else:
            expected = (
                "a DataFrame, an Arrow table, a numpy array, a package or a node of one, a pathlib.Path, a dict or None"
            )
            self.problems.append((path, f"expected {expected}, got {type(value).__name__}"))

    def _path(self, value: Path, path: str) -> None:
        if value.is_dir():
            inside = scan_directory(value)
            self.nodes += [replace(each, path=f"{path}/{each.path}") for each in inside.nodes]
            self.warnings += inside.warnings
            self.skipped += inside.skipped
        elif value.is_file():
            self.nodes.append(NodeSpec(path, FileSource(value, value.name), guess(value)))
        else:
            self.problems.append((path, f"there is no file or directory {quoted(value)}"))


def _is_data(value: Any) -> bool:
    """Return whether this is a numpy array or supports the Arrow stream interface (pandas, polars, pyarrow)."""
    # By name: a build that is given no array need not import numpy.
    array = any((kind.__module__, kind.__name__) == ("numpy", "ndarray") for kind in type(value).__mro__)
    return array or hasattr(value, "__arrow_c_stream__")
