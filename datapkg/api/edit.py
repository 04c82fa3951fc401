"""Edit: a package changed by its manifest alone; what stays need not be on this machine."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from datapkg.api.new_state import CommitOptions, NewState
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.api.rebase import ancestors
from datapkg.api.results import EditResult
from datapkg.errors import Conflict, InvalidInput, NodeNotFound, NotFound, NotLoggedIn, PackageNotFound, Refused
from datapkg.format.manifest.diff import same_data, stored_otherwise
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node, TableNode
from datapkg.format.names import Ref, State, check_node_path
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.objects.base import Readable
from datapkg.reading.source import Remote, Source
from datapkg.resolve import allowed_registry, fetch_manifest, keep, resolve
from datapkg.store.refs import Current

if TYPE_CHECKING:
    from datapkg.building.spec.model import BuildSpec
    from datapkg.building.table_append import StoredRows


def group_path(text: str) -> str:
    """The path of a group as it was typed, maybe with a slash at its end; "" is the package. Raises `InvalidName`."""
    path = unicodedata.normalize("NFC", text).removesuffix("/")
    if path:
        check_node_path(path)
    return path


class Draft(NewState):
    """A package while it is edited, inside a `with`; leaving that makes a new state of it, an exception does not.

    `hash` and `package` are those of the new state, once the block was left, `pushed` what its push came to. `message`
    goes into the log.
    """

    _otherwise = "edit with push=False"

    def __init__(self, home: Home, ref: Ref, options: CommitOptions = CommitOptions()) -> None:  # noqa: B008 - it is frozen
        if ref.state is not None or ref.path:
            raise InvalidInput(f"{ref} names more than a package", hint=f"name the package alone: {ref.package}")
        super().__init__(home, ref, options)
        self._is_open = False

    @property
    def base(self) -> Manifest | None:
        """The state that the edit started from; None where there was none."""
        return self._base

    @property
    def package(self) -> Any:
        """The new state; its data are fetched when they are read."""
        from datapkg.reading.load import load

        if not self.hash:
            raise InvalidInput("the package has its new state once the `with` block was left")
        return load(self._ref.at(State("hash", self.hash)), self._home, lazy=True, registry=self._options.registry)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._home.store.writing())
            self._base = base = self._begin()
            self._nodes, self.meta = ManifestEdit(base), deepcopy(base.meta) if base else {}
            self._is_open, self._writing = True, stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_open = False
        with self._writing:
            if kind is None:
                self._commit()

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and (path in self._nodes or any(self._nodes.below(path)))

    def __setitem__(self, path: str, value: Any) -> None:
        """Makes a node or group of a value, of any kind that a build takes; what was there goes.

        A node or package that was opened is pinned in the record, and its data stay where they are.

        Metadata of a node stay where the new one is of the same kind. The value is stored now, and known to nobody
        until the block is left. Raises `InvalidInput`, `BuildFailed`.
        """
        from datapkg.building.spec.from_value import spec_from_values

        path = self._free(path)
        for part in reversed(path.split("/")):
            value = {part: value}
        made = self._built(spec_from_values(value))
        for old in list(self._nodes.below(path)):
            del self._nodes[old]
        before = self._nodes.pop(path, None)
        self._nodes.update((node.path, node) for node in made)
        after = self._nodes.get(path)
        if before is not None and after is not None and before.kind == after.kind and before.meta:
            self._nodes[path] = msgspec.structs.replace(after, meta={**before.meta, **after.meta})

    def __delitem__(self, path: str) -> None:
        """Takes away a node, or a group with all in it; raises `NodeNotFound`."""
        for each in self._at(path):
            del self._nodes[each]

    def move(self, old: str, new: str) -> None:
        """Gives a node or group another path; raises `NodeNotFound`, and `Conflict` where something is there."""
        moved = self._at(old)
        new = self._free(new)
        if new in self or new.startswith(f"{old}/"):
            raise Conflict(
                f"{quoted(old)} cannot become {quoted(new)}: something is there already, or it lies in itself"
            )
        nodes = {each: self._nodes.pop(each) for each in moved}
        for each, node in nodes.items():
            path = new + each[len(old) :]
            self._nodes[path] = msgspec.structs.replace(node, path=path)
        self._checks.move(old, new)

    def meta_of(self, path: str) -> dict[str, Any]:
        """The metadata of a node or group, a copy; raises `NodeNotFound`."""
        self._at(path)
        node = self._nodes.get(path)
        return deepcopy(node.meta) if node else {}

    def set_meta(self, path: str, meta: dict[str, Any]) -> None:
        """Makes these the metadata of a node or group, in the place of what it has; raises `NodeNotFound`."""
        self._at(path)
        node = self._nodes.get(path) or GroupNode(path=path)
        self._nodes[path] = msgspec.structs.replace(node, meta=deepcopy(meta))

    def append(self, path: str, rows: Any) -> None:
        """Add rows, a DataFrame or an Arrow table, at the end of a table; columns and types must be the same.

        Reads, and fetches where they are not here, the footers and the last block; the whole table if it was never
        verified on this machine, if the rows have other categories or the first missing values of a column of integers
        or booleans, or if it was not written by datapkg in blocks. Raises `NodeNotFound`, `InvalidInput` naming each
        column that does not fit, `HashMismatch` for a false table.
        """
        from datapkg.building.table_append import append_rows

        self._at(path)
        node = self._nodes.get(path)
        if not isinstance(node, TableNode):
            raise InvalidInput(f"{quoted(path)} is not a table: rows can be appended to tables alone")
        self._nodes[path] = after = append_rows(node, rows, self._stored(node))
        self._home.store.claims.mark_verified([after])

    def _stored(self, node: TableNode) -> StoredRows:
        """What gives footers of a table's blocks, what brings blocks here, and what is wrong with what is stated."""
        from datapkg.building.table_append import StoredRows
        from datapkg.reading.tables.arrow_reader import footers
        from datapkg.reading.tables.stored_table import StoredTable

        source, path = self._source_of(node.path)
        part = partial(msgspec.structs.replace, node, path=path)
        return StoredRows(
            self._home.store.objects,
            footers=lambda blocks: list(footers(StoredTable(source, part(blocks=blocks)))),
            bring=lambda blocks: source.bring(part(blocks=blocks)),
            problem=lambda: source.claim_problem(part()),
        )

    def _is_right(self, table: TableNode, state: Manifest | None = None) -> bool:
        """Verify a table of a state (by default, that which the edit started from); a false one gives a warning."""
        state = state or self._base
        assert state is not None
        source = Source(self._home.store, self._ref, state.hash, Remote(self._home, self._options.registry))
        if problem := source.claim_problem(table):
            line = f"{quoted(table.path)} at the registry was not reused: {problem}"
            self.warnings = list(dict.fromkeys([*self.warnings, line]))
        return not problem

    def _source_of(self, path: str) -> tuple[Source, str]:
        """The state that has what was at a path in the beginning, and its path there."""
        base = self._base.hash if self._base else ""
        return Source(self._home.store, self._ref, base, Remote(self._home, self._options.registry)), path

    def add(self, group: str, pattern: str, folder: str | Path = ".") -> list[str]:
        """Adds the files of a folder that a pattern such as `new/**/*.jpg` means to a group; gives their paths.

        They are named and read as in a build; what lies below folders before the first wildcard is in groups as there.
        Nodes at the same paths are replaced. Raises `NotFound` where the pattern means no file.
        """
        from datapkg.building.spec.folder import name_files, raise_problems
        from datapkg.building.spec.folder_files import walk
        from datapkg.building.spec.globs import fixed_prefix, match
        from datapkg.building.spec.ignore_rules import read_ignore_file
        from datapkg.building.spec.model import BuildSpec

        group = self._free(group)
        prefix, rest = fixed_prefix(pattern)
        place = Path(folder) / prefix
        files = match(rest, walk(place, left_out=read_ignore_file(place)).files) if place.is_dir() else []
        if not files:
            raise NotFound(f"no file matches {quoted(pattern)} in {quoted(folder)}", hint="look at the pattern")
        nodes, problems = name_files(files)
        raise_problems(problems, f"pattern {quoted(pattern)}")
        nodes = [replace(node, path=f"{group}/{node.path}") for node in nodes]
        made = {self._free(node.path): node for node in self._built(BuildSpec("values", nodes))}
        self._nodes.update(made)
        return list(made)

    def _begin(self) -> Manifest | None:
        """The state that the edit starts from: the registry's latest where it is pushed to, else what is here."""
        store = self._home.store
        current = store.refs.current(self._ref.user, self._ref.name)
        if current and not self._options.push:
            self._check_complete(current.hash)
            return store.manifest(current.hash)
        has_registry = self._options.registry or self._ref.registry or self._home.setting("registry").value
        theirs = self._latest() if self._options.push or has_registry else None
        if current is None:
            if theirs is None:
                self._check_not_elsewhere()
            return theirs
        if theirs is None:
            self._check_complete(current.hash)
            return store.manifest(current.hash)
        if self._is_unpushed(current, theirs):
            raise Conflict(
                f"{self._ref.package} was built here and not pushed; an edit of the registry's state would miss it",
                hint=f"datapkg push {self._ref.package} (or {self._otherwise})",
            )
        return theirs

    def _check_not_elsewhere(self) -> None:
        """Raise `Refused` where only a read-only store has the package: a new one of that name would hide it."""
        ref = self._ref
        if other := next((each for each in self._home.stores[1:] if each.refs.current(ref.user, ref.name)), None):
            raise Refused(
                f"{ref.package} is in the read-only store {other.folder}; nothing was changed",
                hint=f"datapkg cp {ref.package} {ref.user}/OTHER",
            )

    def _latest(self) -> Manifest | None:
        """The registry's latest state, of which the manifest alone is fetched; None where it has no such package."""
        client = self._home.client(allowed_registry(self._home, self._ref, self._options.registry))
        if self._options.push and (known := client.session.credential).token is None:
            what = f"changing {self._ref.package} at {client.url} needs a token ({known.note})"
            raise NotLoggedIn(what, hint=known.hint)
        try:
            resolved = resolve(self._home, client, self._ref)
        except NotFound:
            return None
        manifest = fetch_manifest(self._home, client, self._ref, resolved)
        if not self._options.dry_run:
            keep(self._home, self._ref, manifest, resolved)
        self._parent = manifest.hash
        return manifest

    def _is_unpushed(self, current: Current, theirs: Manifest) -> bool:
        if current.origin != "local" or current.hash == theirs.hash:
            return False
        pushed = self._home.store.refs.log(self._ref.user, self._ref.name, "push")
        if any(event.hash == current.hash for event in pushed):
            return False
        mine = self._home.store.manifest(current.hash)
        is_right = (self._is_right(table, theirs) for table in stored_otherwise(mine, theirs))
        return not (same_data(theirs, mine) and all(is_right))

    def _free(self, path: str) -> str:
        """A path at which a node can be; raises `InvalidInput` where it would lie in one that is not a group."""
        self._check_open()
        if not isinstance(path, str):
            raise InvalidInput(f"the path of a node is text such as raw/a, got {type(path).__name__}")
        path = unicodedata.normalize("NFC", path)
        check_node_path(path)
        for above in ancestors(path):
            node = self._nodes.get(above)
            if node is not None and not isinstance(node, GroupNode):
                raise InvalidInput(f"{quoted(path)} would lie in {quoted(above)}, which is a {node.kind}")
        return path

    def _at(self, path: str) -> list[str]:
        """The paths of a node and of all below it."""
        self._check_open()
        found = [*([path] if path in self._nodes else []), *self._nodes.below(path)]
        if not found:
            hint = f"datapkg show {self._ref.package}"
            near = close_names(path, list(self._nodes), cutoff=0.7)[:1]
            line = f"{self._ref.package} has no node {quoted(path)}"
            if near:
                meant = [path, near[0]]
                raise NodeNotFound(f"{line}; did you mean {quoted(near[0])}?", path=path, meant=meant)
            raise NodeNotFound(line, hint=hint, path=path)
        return found

    def _check_open(self) -> None:
        if not self._is_open:
            raise InvalidInput("a draft is changed inside of its `with` block")

    def _built(self, spec: BuildSpec) -> list[Node]:
        """The nodes of sources, stored; no state has them yet."""
        from datapkg.building.cache import BuildCache
        from datapkg.building.pipeline import build_package

        before = [self._nodes[each.path] for each in spec.nodes if each.path in self._nodes]
        self._checks.ask(spec.nodes)  # tried on the whole state: a foreign key may name a table that is not built here
        spec = replace(spec, nodes=[replace(each, checks=()) for each in spec.nodes])
        with shown_progress(self._options.progress) as tell:
            built = build_package(
                spec,
                self._home.store.objects,
                previous=Manifest.make(before),
                find_package=self._find_package,
                cache=BuildCache(self._home.index, self._ref.package),
                secret=self._home.secret,
                progress=tell,
            )
        self._record["sources"] += built.record["sources"]
        if pins := built.record.get("packages"):
            self._record["packages"] = [*self._record.get("packages", []), *pins]
        self.warnings += built.warnings
        return built.manifest.nodes

    def _find_package(self, wanted: Ref) -> tuple[Manifest, Readable]:
        from datapkg.api.build import find_package

        manifest, readable = find_package(self._home, wanted, self._options.registry)
        self._others.append(Source(self._home.store, wanted, manifest.hash, Remote(self._home)))
        return manifest, readable


class _Editor(Draft):
    """A draft of the command line."""

    _otherwise = "edit with --no-push"


def edit(
    home: Home,
    ref: Ref,
    *,
    remove: Sequence[str] = (),
    move: Sequence[tuple[str, str]] = (),
    options: CommitOptions = CommitOptions(),  # noqa: B008 - it is frozen
) -> EditResult:
    """Take nodes or groups out of a package, then give others another path; all of it or nothing.

    Raises `PackageNotFound`, `NodeNotFound`, `Conflict` where something is at a new path, and the errors of a push.
    """
    with _Editor(home, ref, options) as draft:
        if draft.base is None:
            raise PackageNotFound(f"there is no package {ref.package}, here or at its registry", package=ref.package)
        for path in map(group_path, remove):
            del draft[path]
        moves = [(group_path(old), group_path(new)) for old, new in move]
        for old, new in moves:
            draft.move(old, new)
    before, after = draft.base, home.store.manifest(draft.hash)
    return EditResult(
        package=ref.package,
        hash=draft.hash,
        removed=[group_path(path) for path in remove],
        moved=dict(moves),
        nodes_removed=sum(node.kind != "group" for node in before.nodes) - sum(n.kind != "group" for n in after.nodes),
        pushed=draft.pushed,
        warnings=draft.warnings,
    )
