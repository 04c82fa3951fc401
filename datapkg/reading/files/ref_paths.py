"""Resolve paths such as `uciml/iris@1.2/measurements.parquet` to a package, its state, and a file in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from datapkg.errors import DatapkgError, InvalidName, NoSuchFile, NotFound, ObjectNotFound
from datapkg.format.names import Ref
from datapkg.reading.files.tree import Entry, FileTree
from datapkg.reading.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from datapkg.home import Home

KEPT_TREES = 64


class RefPath(NamedTuple):
    """A file or folder of a package: `package` as it was written, its files, and the path among them."""

    package: str
    tree: FileTree
    path: str
    entry: Entry

    @property
    def name(self) -> str:
        """The whole path, with the state directly after the package."""
        return f"{self.package}/{self.path}" if self.path else self.package

    @property
    def exact(self) -> str:
        """The path that names the same bytes for ever: with the hash of the state."""
        ref = self.tree.source.ref
        return f"{ref}/{self.path}" if self.path else str(ref)


def find_place(home: Home, path: str, **options: Any) -> RefPath:
    """Return what is at `user/name[@state]/node`, or with the state after the node; `options` are those of `find_tree`.

    A node with exactly this name takes precedence; without one, `%40` and the like are decoded as in URLs. Raise
    `NoSuchFile` for whatever is missing, `CorruptObject` for a corrupt manifest.
    """
    error: DatapkgError | None = None
    for package, rest in _readings(path):
        try:
            tree = find_tree(home, package, **options)
            return RefPath(package, tree, rest, tree.look(rest))
        except ObjectNotFound:  # a missing manifest is not a missing file
            raise
        except (NotFound, InvalidName) as this:
            error = this
    assert error is not None
    raise absent(error, path)


def absent(error: DatapkgError, path: str) -> NoSuchFile:
    """Return the error for a path of which a part is missing, with the message of that error.

    The message is computed when it is read: many programs only test whether a file exists.
    """
    detail = {key: value for key, value in error.detail.items() if key != "path"}
    found = NoSuchFile(str(error.args[0]), **detail, path=path)
    found.filename = path
    found.__cause__ = error
    found.explain_later(partial(_fill_message, found, error))
    return found


def _fill_message(found: NoSuchFile, error: DatapkgError) -> None:
    is_shown = not error.hint or error.hint in error.message
    found.message = error.message if is_shown else f"{error.message}; type: {error.hint}"
    found.explain("", error.hint)


def _readings(path: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to read a path as a package with its state, and a path in it; the most literal one first."""
    user, _, below = path.partition("/")
    name, _, rest = below.partition("/")
    package = f"{user}/{name}"
    yield package, rest
    if "%" in rest:
        yield package, unquote(rest)
    node, at, state = rest.rpartition("@")
    if at and "@" not in name and "/" not in state:
        yield f"{package}@{state}", node
        if "%" in node:
            yield f"{package}@{state}", unquote(node)


_trees: dict[tuple[Any, ...], FileTree] = {}


def find_tree(home: Home, package: str, *, lazy: bool | None = None, registry: str | None = None) -> FileTree:
    """Return the files of a package, `user/name[@state]`; the same object for the same state, so that it is read once.

    `lazy` (by default the setting of that name) and `registry` are those of `load`, and so are the errors.
    """
    is_lazy = bool(home.settings.get("lazy").value if lazy is None else lazy)
    source = open_source(Ref.parse(package), home, lazy=is_lazy, registry=registry)
    key = (source.store.folder, source.ref.package, source.hash, source.is_lazy, registry)
    if (tree := _trees.get(key)) is None:
        tree = _trees.setdefault(key, FileTree(source))
        for old in list(_trees)[:-KEPT_TREES]:
            _trees.pop(old, None)
    return tree
