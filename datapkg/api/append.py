"""Append: files added to a group of a package, or their rows to a table in it; what is there is not fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.api.build import fetcher, objects_for
from datapkg.api.edit import Draft, group_path
from datapkg.api.new_state import TRIES
from datapkg.api.new_state import CommitOptions as EditOptions
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.api.rebase import ancestors
from datapkg.api.results import AppendResult
from datapkg.building.checks.demands import below
from datapkg.building.source_diff import carry_over
from datapkg.building.sources.prepare import prepared
from datapkg.building.spec.folder import name_problem, raise_problems
from datapkg.building.spec.model import BuildSpec, FileSource
from datapkg.building.spec.options import BuildOptions as BuildOptions
from datapkg.errors import Conflict, DatapkgError, InvalidInput, NotFound
from datapkg.format.manifest.diff import same_content
from datapkg.format.manifest.parsed import GroupNode, Node, TableNode
from datapkg.format.names import Ref
from datapkg.format.texts import listed, quoted
from datapkg.home import Home
from datapkg.objects.files import no_such_path
from datapkg.objects.progress import Progress, silent

_PATHS_SHOWN = 10


@dataclass(frozen=True)
class AppendOptions:
    """Where files go: the group or table `to`, "" for the package itself; with `replace`, over nodes that are there."""

    to: str = ""
    replace: bool = False
    message: str = ""
    push: bool = True
    registry: str | None = None
    checks: bool = True


def append(
    home: Home,
    ref: Ref,
    files: Sequence[Path],
    options: AppendOptions = AppendOptions(),
    *,
    progress: Progress = silent,
) -> AppendResult:
    """Adds files to a package: to a table their rows, elsewhere nodes that are named and read as in a build.

    A folder becomes a group with what is below it. All of them or none. Raises `NotFound` for a file that is not there,
    `Conflict` for nodes that the package has, unless `replace`; `InvalidInput` for rows that do not fit; the errors of
    a build and of a push.
    """
    _check(ref, files)
    options = replace(options, to=group_path(options.to))
    for attempt in range(TRIES):
        try:
            return _append(home, ref, files, options, progress)
        except Conflict as error:  # somebody pushed to the same places meanwhile: once more, from there
            if "theirs" not in error.detail:
                raise
            if attempt == TRIES - 1:
                what = f"others pushed to the same places of {ref.package} at each of {TRIES} tries; nothing was added"
                raise Conflict(what, hint="type the same again", **error.detail) from error
    raise AssertionError


def _append(home: Home, ref: Ref, files: Sequence[Path], options: AppendOptions, progress: Progress) -> AppendResult:
    edit = EditOptions(
        options.message, options.push, options.registry, progress, origin="append", checks=options.checks
    )
    with _Adder(home, ref, edit) as draft:
        if isinstance(draft.node(options.to), TableNode):
            draft.add_rows(options.to, files)
        else:
            draft.add_nodes(options, files)
    return draft.result(options.to)


def _check(ref: Ref, files: Sequence[Path]) -> None:
    if ref.path or ref.state:
        names = " ".join(quote(str(each)) for each in files[:3])
        line = f"datapkg append {ref.package} {names}" + (f" --to {quote(ref.path)}" if ref.path else "")
        raise InvalidInput(f"{ref} names more than a package", hint=line)
    if absent := [each for each in files if not each.exists()]:
        if len(absent) == 1:
            raise no_such_path(absent[0], note="nothing was added")
        what = ", ".join(quoted(each) for each in absent[:_PATHS_SHOWN])
        raise NotFound(f"there is no file or folder {what}; nothing was added", paths=[str(each) for each in absent])


class _Adder(Draft):
    """A draft to which files are added; where it is pushed, nothing of it is here before the registry has it."""

    _is_kept_first = False
    _otherwise = "append with --no-push"

    def __init__(self, home: Home, ref: Ref, options: EditOptions) -> None:
        super().__init__(home, ref, options)
        self._added: list[str] = []
        self._replaced: list[str] = []
        self._same: list[str] = []
        self._rows = 0

    def node(self, path: str) -> Node | None:
        """The node at a path."""
        return self._nodes.get(path)

    def add_rows(self, path: str, files: Sequence[Path]) -> None:
        """Appends the rows of each file in turn to the table at this path."""
        from datapkg.building.rows import rows_of

        node = self.node(path)
        columns = dict(node.columns) if isinstance(node, TableNode) else {}
        for file in files:
            with objects_for(self._home.store, dry_run=True) as objects, shown_progress(self._options.progress) as tell:
                tell("reading", 0, 0)
                rows = rows_of(file, objects, columns)
                try:
                    self.append(path, rows.table)
                except InvalidInput as error:
                    raise _of_file(file, error, f"datapkg show {self._ref.package}/{path}") from error
            self._rows += rows.table.num_rows
            self._record["sources"].append({**rows.source, "path": path, "appended": True})
            self.warnings += rows.warnings

    def add_nodes(self, options: AppendOptions, files: Sequence[Path]) -> None:
        """Adds the nodes that files and folders become."""
        at = self.node(options.to)
        if at is not None and not isinstance(at, GroupNode):
            raise InvalidInput(
                f"{quoted(options.to)} is a {at.kind}; files are added to a group, or their rows to a table",
                hint=f"datapkg show {self._ref.package}",
            )
        prefix = f"{options.to}/" if options.to else ""
        spec = _joined([self._spec(file, prefix) for file in files])
        made = {node.path: node for node in self._built(spec)}
        self._check_room(made)
        for path, node in made.items():
            self._put(path, node)
        if self._replaced and not options.replace:
            raise Conflict(
                f"{self._ref.package} has other data at {listed(self._replaced, _PATHS_SHOWN)}; nothing was added",
                hint="the same with --replace puts these in their place",
                paths=self._replaced,
            )

    def result(self, to: str) -> AppendResult:
        """What came of it."""
        return AppendResult(
            package=self._ref.package,
            hash=self.hash,
            to=to,
            added=self._added,
            replaced=self._replaced,
            same=self._same,
            rows=self._rows,
            rows_now=node.rows if self._rows and isinstance(node := self.node(to), TableNode) else 0,
            is_new=self._base is None,
            pushed=self.pushed,
            warnings=self.warnings,
        )

    def _spec(self, path: Path, prefix: str) -> BuildSpec:
        """What a file or folder is to become, below the group that it goes to; a folder in one of its name."""
        is_folder = path.is_dir()
        name = path.name if is_folder and path.name != ".." else ""
        if name and (problem := name_problem((name,))):
            raise InvalidInput(f"folder {quoted(path)} cannot be a group: {problem}")
        prefix += f"{name}/" if name else ""
        how = BuildOptions(build_file=is_folder)
        with prepared(path, fetcher(self._home, silent), how, environ=self._home.environ) as found:
            spec = found.spec
        nodes = [
            replace(each, path=f"{prefix}{each.path}", checks=tuple(below(check, prefix) for check in each.checks))
            for each in spec.nodes
        ]
        groups: dict[str, dict[str, Any]] = {f"{prefix}{each}": meta for each, meta in spec.groups.items()}
        return replace(spec, nodes=nodes, groups=groups, meta={})

    def _check_room(self, made: dict[str, Node]) -> None:
        """Raises where a node would lie in one that is not a group, or where a group is."""
        problems = []
        for path, node in made.items():
            for above in ancestors(path):
                at = self.node(above)
                if at is not None and not isinstance(at, GroupNode):
                    problems.append(f"{quoted(path)} would lie in {quoted(above)}, which is a {at.kind}")
            if not isinstance(node, GroupNode) and self._is_group(path):
                problems.append(f"{quoted(path)} is a group there")
        if problems:
            lines = "".join(f"\n  {each}" for each in problems[:_PATHS_SHOWN])
            raise Conflict(f"there is no room in {self._ref.package}; nothing was added:{lines}", paths=problems)

    def _is_group(self, path: str) -> bool:
        return isinstance(self._nodes.get(path), GroupNode) or any(self._nodes.below(path))

    def _put(self, path: str, node: Node) -> None:
        before = self._nodes.get(path)
        after = carry_over(node, before, self._is_right)
        if before is None:
            self._added += [] if isinstance(node, GroupNode) else [path]
        elif not isinstance(node, GroupNode):
            (self._same if same_content(before, node) else self._replaced).append(path)
        self._nodes[path] = after


def _joined(specs: Sequence[BuildSpec]) -> BuildSpec:
    """Several things to build as one; raises `InvalidInput` for those that would be one node."""
    nodes = [node for spec in specs for node in spec.nodes]
    places: dict[str, str] = {}
    groups = {above for node in nodes for above in ancestors(node.path)}
    problems = []
    for node in nodes:
        place = str(node.source.path) if isinstance(node.source, FileSource) else node.place
        other = places.setdefault(node.path, place)
        if other != place:
            problems.append((place, f"it and {quoted(other)} would both be node {quoted(node.path)}"))
        elif node.path in groups:
            problems.append((place, f"{quoted(node.path)} would be a node and a group"))
    raise_problems(problems, "this")
    groups_said = {path: meta for spec in specs for path, meta in spec.groups.items()}
    warnings = [each for spec in specs for each in spec.warnings]
    skipped = [each for spec in specs for each in spec.skipped]
    return BuildSpec("append", nodes, groups_said, warnings=warnings, skipped=skipped)


def _of_file(file: Path, error: DatapkgError, hint: str) -> DatapkgError:
    line = f"nothing was appended: {quoted(file)}: {error.message}"
    return type(error)(line, hint=error.hint or hint, **error.detail)
