"""Append: add files to a group of a package, or their rows to a table; existing data is not fetched.

Concurrent appends both succeed, also to one table: the later one is applied again to the state that the other made. A
failed append leaves nothing behind and can be repeated, because its files still exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote

from datapkg.api.build_tools import fetcher, objects_for
from datapkg.api.drafts.commit import TRIES, drafting
from datapkg.api.drafts.contents import append_rows, build_nodes, spec_below
from datapkg.api.drafts.draft import DraftState, group_path
from datapkg.api.drafts.policy import CommitOptions, CommitPolicy
from datapkg.api.drafts.rebase import ancestors
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.api.results import AppendResult
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
_POLICY = CommitPolicy(keep_first=False, alternative="append with --no-push")


@dataclass(frozen=True)
class AppendOptions:
    """Options of an append: the target group or table `to`, "" for the package; `replace` overwrites nodes.

    A `dry_run` stores and sends nothing.
    """

    to: str = ""
    replace: bool = False
    message: str = ""
    push: bool = True
    registry: str | None = None
    checks: bool = True
    dry_run: bool = False


def append(
    home: Home,
    ref: Ref,
    files: Sequence[Path],
    options: AppendOptions = AppendOptions(),
    *,
    progress: Progress = silent,
) -> AppendResult:
    """Add files to a package: to a table their rows, elsewhere nodes that are named and read as in a build.

    A folder becomes a group with its contents. Either all files are added or none. Raise `NotFound` for a missing file,
    `Conflict` for existing nodes, unless `replace`; `InvalidInput` for rows that do not match the table; the errors of
    a build and of a push.
    """
    _check(ref, files)
    options = replace(options, to=group_path(options.to))
    for attempt in range(TRIES):
        try:
            return _append(home, ref, files, options, progress)
        except Conflict as error:  # somebody pushed to the same paths meanwhile: repeat on their state
            if "theirs" not in error.detail:
                raise
            if attempt == TRIES - 1:
                what = f"others pushed to the same places of {ref.package} at each of {TRIES} tries; nothing was added"
                raise Conflict(what, hint="type the same again", **error.detail) from error
    raise AssertionError


def _append(home: Home, ref: Ref, files: Sequence[Path], options: AppendOptions, progress: Progress) -> AppendResult:
    commit = CommitOptions(
        *(options.message, options.push, options.registry, progress),
        origin="append",
        dry_run=options.dry_run,
        checks=options.checks,
    )
    added, rows, to = _Added(), 0, options.to
    state = DraftState(home, ref, commit, _POLICY)
    # `drafting` commits when the block ends, which reads the objects of a dry run too: so it is the inner one.
    with objects_for(home.store, options.dry_run) as state.objects, drafting(state) as draft:
        if isinstance(draft.nodes.get(to), TableNode):
            rows = _add_rows(draft, to, files)
        else:
            added = _add_nodes(draft, options, files)
    return AppendResult(
        package=ref.package,
        hash=draft.hash,
        to=to,
        added=added.added,
        replaced=added.replaced,
        same=added.same,
        rows=rows,
        rows_now=node.rows if rows and isinstance(node := draft.nodes.get(to), TableNode) else 0,
        is_new=draft.base is None,
        pushed=draft.pushed,
        warnings=draft.warnings,
        transfer=draft.transfer,
    )


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


@dataclass
class _Added:
    """Paths of the nodes built from files: new nodes, replaced ones, and those whose data is unchanged."""

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)


def _add_rows(draft: DraftState, path: str, files: Sequence[Path]) -> int:
    """Append the rows of each file in turn to the table at a path; return their number."""
    from datapkg.building.rows import rows_of

    node, total = draft.nodes.get(path), 0
    columns = dict(node.columns) if isinstance(node, TableNode) else {}
    for file in files:
        with (
            # Temporary objects: only the rows are needed, since the longer table has other blocks than the file alone.
            objects_for(draft.home.store, dry_run=True) as objects,
            shown_progress(draft.options.progress) as report_progress,
        ):
            report_progress("reading", 0, 0)
            rows = rows_of(file, objects, columns)
            try:
                append_rows(draft, path, rows.table)
            except InvalidInput as error:
                raise _of_file(file, error, f"datapkg show {draft.ref.package}/{path}") from error
        total += rows.table.num_rows
        draft.record["sources"].append({**rows.source, "path": path, "appended": True})
        draft.warnings += rows.warnings
    return total


def _add_nodes(draft: DraftState, options: AppendOptions, files: Sequence[Path]) -> _Added:
    """Add the nodes built from files and folders."""
    at = draft.nodes.get(options.to)
    if at is not None and not isinstance(at, GroupNode):
        raise InvalidInput(
            f"{quoted(options.to)} is a {at.kind}; files are added to a group, or their rows to a table",
            hint=f"datapkg show {draft.ref.package}",
        )
    prefix = f"{options.to}/" if options.to else ""
    made = {
        node.path: node for node in build_nodes(draft, _joined([_spec(draft.home, each, prefix) for each in files]))
    }
    _check_room(draft, made)
    added = _Added()
    for path, node in made.items():
        _put(draft, path, node, added)
    if added.replaced and not options.replace:
        raise Conflict(
            f"{draft.ref.package} has other data at {listed(added.replaced, _PATHS_SHOWN)}; nothing was added",
            hint="the same with --replace puts these in their place",
            paths=added.replaced,
        )
    return added


def _put(draft: DraftState, path: str, node: Node, added: _Added) -> None:
    before = draft.nodes.get(path)
    after = carry_over(node, before, draft.is_right)
    if not isinstance(node, GroupNode):
        same = before is not None and same_content(before, node)
        (added.added if before is None else added.same if same else added.replaced).append(path)
    draft.nodes[path] = after


def _spec(home: Home, path: Path, prefix: str) -> BuildSpec:
    """Return the spec of a file or folder below its target group; a folder becomes a group."""
    is_folder = path.is_dir()
    # `.` and `..` name no group, so their contents are added to the target itself.
    name = path.name if is_folder and path.name != ".." else ""
    if name and (problem := name_problem((name,))):
        raise InvalidInput(f"folder {quoted(path)} cannot be a group: {problem}")
    prefix += f"{name}/" if name else ""
    options = BuildOptions(build_file=is_folder)
    with prepared(path, fetcher(home, silent), options, environ=home.settings.environ) as found:
        return spec_below(replace(found.spec, meta={}), prefix.removesuffix("/"))


def _check_room(draft: DraftState, made: dict[str, Node]) -> None:
    """Raise `Conflict` if a node would be inside a node that is not a group, or replace a group."""
    problems = []
    for path, node in made.items():
        if problem := draft.blocked(path):
            problems.append(problem)
        if not isinstance(node, GroupNode) and _is_group(draft, path):
            problems.append(f"{quoted(path)} is a group there")
    if problems:
        lines = "".join(f"\n  {each}" for each in problems[:_PATHS_SHOWN])
        raise Conflict(f"there is no room in {draft.ref.package}; nothing was added:{lines}", paths=problems)


def _is_group(draft: DraftState, path: str) -> bool:
    return isinstance(draft.nodes.get(path), GroupNode) or any(draft.nodes.below(path))


def _joined(specs: Sequence[BuildSpec]) -> BuildSpec:
    """Join the specs of several files into one; raise `InvalidInput` if two would become the same node."""
    nodes = [node for spec in specs for node in spec.nodes]
    places: dict[str, str] = {}
    groups = {above for node in nodes for above in ancestors(node.path)}
    problems = []
    for node in nodes:
        place = str(node.source.location) if isinstance(node.source, FileSource) else node.place
        other = places.setdefault(node.path, place)
        if other != place:
            problems.append((place, f"it and {quoted(other)} would both be node {quoted(node.path)}"))
        elif node.path in groups:
            problems.append((place, f"{quoted(node.path)} would be a node and a group"))
    raise_problems(problems, "this")
    named_groups = {path: meta for spec in specs for path, meta in spec.groups.items()}
    warnings = [each for spec in specs for each in spec.warnings]
    skipped = [each for spec in specs for each in spec.skipped]
    return BuildSpec("append", nodes, named_groups, warnings=warnings, skipped=skipped)


def _of_file(file: Path, error: DatapkgError, hint: str) -> DatapkgError:
    line = f"nothing was appended: {quoted(file)}: {error.message}"
    return type(error)(line, hint=error.hint or hint, **error.detail)
