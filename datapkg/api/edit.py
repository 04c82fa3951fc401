"""Edit: change a package by its manifest; data that is not changed need not be on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec

from datapkg.api.drafts.commit import drafting
from datapkg.api.drafts.contents import append_rows, build_nodes
from datapkg.api.drafts.draft import DraftState, group_path
from datapkg.api.drafts.policy import CommitOptions, CommitPolicy
from datapkg.api.push_result import PushResult
from datapkg.api.results import EditResult
from datapkg.errors import InvalidInput, NotFound, PackageNotFound
from datapkg.format.manifest.parsed import GroupNode, Manifest
from datapkg.format.names import Ref, State
from datapkg.format.texts import quoted
from datapkg.home import Home


class Draft:
    """A package that is edited inside a `with`; leaving the block makes a new state, an exception discards it.

    `meta` is the package's metadata, and can be changed; `message` goes into the log. After the block, `hash` and
    `package` are those of the new state, and `pushed` is the result of the push.
    """

    def __init__(self, home: Home, ref: Ref, options: CommitOptions = CommitOptions()) -> None:  # noqa: B008 - it is frozen
        self._state = DraftState(home, ref, options)

    @property
    def base(self) -> Manifest | None:
        """Return the state that the edit started from; None for a new package."""
        return self._state.base

    @property
    def meta(self) -> dict[str, Any]:
        """Return the metadata of the package, which can be changed in place or replaced."""
        return self._state.meta

    @meta.setter
    def meta(self, meta: dict[str, Any]) -> None:
        """Replace the metadata of the package."""
        self._state.meta = meta

    @property
    def message(self) -> str:
        """Return the message for the log."""
        return self._state.message

    @message.setter
    def message(self, message: str) -> None:
        """Set the message for the log."""
        self._state.message = message

    @property
    def warnings(self) -> list[str]:
        """Return the warnings of the edit, one line each."""
        return self._state.warnings

    @property
    def pushed(self) -> PushResult | None:
        """Return the result of the push; None if nothing was pushed."""
        return self._state.pushed

    @property
    def hash(self) -> str:
        """Return the hash of the new state; "" inside of the block."""
        return self._state.hash

    @property
    def package(self) -> Any:
        """Return the new state; its data is fetched when it is read."""
        from datapkg.reading.load import load

        state = self._state
        if not state.hash:
            raise InvalidInput("the package has its new state once the `with` block was left")
        return load(state.ref.at(State("hash", state.hash)), state.home, lazy=True, registry=state.options.registry)

    def __enter__(self) -> Self:
        self._block: AbstractContextManager[DraftState] = drafting(self._state)
        self._block.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._block.__exit__(*exc_info)

    def __contains__(self, path: object) -> bool:
        nodes = self._state.nodes
        return isinstance(path, str) and (path in nodes or any(nodes.below(path)))

    def __setitem__(self, path: str, value: Any) -> None:
        """Replace a node or group by a value of any kind that a build accepts.

        An opened node or package is pinned in the record, and its data is not copied. A node's metadata is kept if the
        new node is of the same kind. The value is stored at once, but not reachable until the block ends. Raise
        `InvalidInput`, `BuildFailed`.
        """
        from datapkg.building.spec.from_value import spec_from_values

        nodes, path = self._state.nodes, self._state.free_path(path)
        for part in reversed(path.split("/")):
            value = {part: value}
        # Built before anything is removed: a failed build leaves the draft as it was.
        made = build_nodes(self._state, spec_from_values(value))
        for old in list(nodes.below(path)):
            del nodes[old]
        before = nodes.pop(path, None)
        nodes.update((node.path, node) for node in made)
        after = nodes.get(path)
        if before is not None and after is not None and before.kind == after.kind and before.meta:
            nodes[path] = msgspec.structs.replace(after, meta={**before.meta, **after.meta})

    def __delitem__(self, path: str) -> None:
        """Remove a node, or a group with everything in it; raise `NodeNotFound`."""
        self._state.remove(path)

    def move(self, old: str, new: str) -> None:
        """Move a node or group to another path; raise `NodeNotFound`, and `Conflict` if the path is taken."""
        self._state.move(old, new)

    def meta_of(self, path: str) -> dict[str, Any]:
        """Return a copy of the metadata of a node or group; raise `NodeNotFound`."""
        self._state.paths_at(path)
        node = self._state.nodes.get(path)
        return deepcopy(node.meta) if node else {}

    def set_meta(self, path: str, meta: dict[str, Any]) -> None:
        """Replace the metadata of a node or group; raise `NodeNotFound`."""
        self._state.paths_at(path)
        node = self._state.nodes.get(path) or GroupNode(path=path)
        self._state.nodes[path] = msgspec.structs.replace(node, meta=deepcopy(meta))

    def append(self, path: str, rows: Any) -> None:
        """Append rows, a DataFrame or an Arrow table, to a table; columns and types must be the same.

        Only the footers and the last block are read, and fetched if missing; the whole table if it was never verified
        on this machine, if the rows have new categories or the first missing values of a column of integers or
        booleans, or if it was not written by datapkg in blocks. Raise `NodeNotFound`, `InvalidInput` that names each
        column that does not match, `HashMismatch` if the stored table differs from its manifest.
        """
        append_rows(self._state, path, rows)

    def add(self, group: str, pattern: str, folder: str | Path = ".") -> list[str]:
        """Add the files of a folder that match a pattern such as `new/**/*.jpg` to a group; return their paths.

        Files are named and read as in a build; folders below the fixed beginning of the pattern become groups. Nodes at
        the same paths are replaced. Raise `NotFound` if no file matches.
        """
        from datapkg.building.spec.folder import name_files, raise_problems
        from datapkg.building.spec.folder_files import walk
        from datapkg.building.spec.globs import fixed_prefix, match
        from datapkg.building.spec.ignore_rules import read_ignore_file
        from datapkg.building.spec.model import BuildSpec

        group = self._state.free_path(group)
        prefix, rest = fixed_prefix(pattern)
        place = Path(folder) / prefix
        files = match(rest, walk(place, left_out=read_ignore_file(place)).files) if place.is_dir() else []
        if not files:
            raise NotFound(f"no file matches {quoted(pattern)} in {quoted(folder)}", hint="look at the pattern")
        nodes, problems = name_files(files)
        raise_problems(problems, f"pattern {quoted(pattern)}")
        nodes = [replace(node, path=f"{group}/{node.path}") for node in nodes]
        made = {self._state.free_path(each.path): each for each in build_nodes(self._state, BuildSpec("values", nodes))}
        self._state.nodes.update(made)
        return list(made)


def edit(
    home: Home,
    ref: Ref,
    *,
    remove: Sequence[str] = (),
    move: Sequence[tuple[str, str]] = (),
    options: CommitOptions = CommitOptions(),  # noqa: B008 - it is frozen
) -> EditResult:
    """Remove nodes or groups from a package, then move others to new paths; either everything is done or nothing.

    Raise `PackageNotFound`, `NodeNotFound`, `Conflict` if a new path is taken, and the errors of a push.
    """
    removed, moves = [group_path(path) for path in remove], [(group_path(old), group_path(new)) for old, new in move]
    with drafting(DraftState(home, ref, options, CommitPolicy(alternative="edit with --no-push"))) as draft:
        if (before := draft.base) is None:
            raise PackageNotFound(f"there is no package {ref.package}, here or at its registry", package=ref.package)
        for path in removed:
            draft.remove(path)
        for old, new in moves:
            draft.move(old, new)
    after = home.store.manifest(draft.hash)
    return EditResult(
        package=ref.package,
        hash=draft.hash,
        removed=removed,
        moved=dict(moves),
        nodes_removed=sum(node.kind != "group" for node in before.nodes) - sum(n.kind != "group" for n in after.nodes),
        pushed=draft.pushed,
        warnings=draft.warnings,
    )
