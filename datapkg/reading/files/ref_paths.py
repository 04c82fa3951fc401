"""Paths such as `uciml/iris@1.2/measurements.parquet`: which package and state is meant, and what lies there."""

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
        """The whole path, with the state right behind the package."""
        return f"{self.package}/{self.path}" if self.path else self.package

    @property
    def exact(self) -> str:
        """The path that means the same bytes for ever: with the hash of the state."""
        ref = self.tree.source.ref
        return f"{ref}/{self.path}" if self.path else str(ref)


def find_place(home: Home, path: str, **options: Any) -> RefPath:
    """What lies at `user/name[@state]/node`, the state also behind the node; `options` are those of `find_tree`.

    A node that is called exactly so is what is meant; where there is none, `%40` and the like are read as in addresses.
    Raises `NoSuchFile`, whatever is absent; `CorruptObject` for a damaged manifest.
    """
    error: DatapkgError | None = None
    for package, rest in _readings(path):
        try:
            tree = find_tree(home, package, **options)
            return RefPath(package, tree, rest, tree.look(rest))
        except ObjectNotFound:  # the manifest was expected here: nobody may take that for "there is no such file"
            raise
        except (NotFound, InvalidName) as this:
            error = this
    assert error is not None
    raise absent(error, path)


def absent(error: DatapkgError, path: str) -> NoSuchFile:
    """The error for a path of which something is not there, in the words of what was found out.

    Those are asked for when they are read: many programs only try whether a file exists.
    """
    detail = {key: value for key, value in error.detail.items() if key != "path"}
    found = NoSuchFile(str(error.args[0]), **detail, path=path)
    found.filename = path
    found.__cause__ = error
    found.explain_later(partial(_say, found, error))
    return found


def _say(found: NoSuchFile, error: DatapkgError) -> None:
    is_said = not error.hint or error.hint in error.message
    found.message = error.message if is_said else f"{error.message}; type: {error.hint}"
    found.explain("", error.hint)


def _readings(path: str) -> Iterator[tuple[str, str]]:
    """The ways to read a path as a package with its state, and a path in it; the most literal one first."""
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
    """The files of a package, `user/name[@state]`; the same object for the same state, so that it is read once.

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
