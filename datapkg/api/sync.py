"""Sync: make a package follow a folder; what changed there is built and pushed, the rest is not fetched.

The new state becomes current here once the registry has it: the folder still exists, so a sync that failed or was
killed is repeated and leaves no state that blocks it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from packaging.version import Version

from datapkg.api.build_tools import fetcher, find_package, objects_for
from datapkg.api.drafts.commit import drafting
from datapkg.api.drafts.contents import spec_below, without_checks
from datapkg.api.drafts.draft import DraftState, group_path
from datapkg.api.drafts.policy import CommitOptions, CommitPolicy
from datapkg.api.drafts.rebase import ancestors
from datapkg.api.drafts.start import is_unpushed, latest_state
from datapkg.api.history import add_version, set_tag, versions
from datapkg.api.results import SyncResult
from datapkg.building.cache import BuildCache
from datapkg.building.pipeline import build_package
from datapkg.building.source_diff import carry_over, diff_sources
from datapkg.building.sources.prepare import prepared
from datapkg.building.spec.model import BuildSpec, FileSource, FilesSource, NodeSpec
from datapkg.building.spec.options import BuildOptions as BuildOptions
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.manifest.diff import diff, same_content
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node
from datapkg.format.names import Ref, State, check_new_version, check_tag
from datapkg.format.texts import listed, quoted
from datapkg.home import Home
from datapkg.objects.files import no_such_path
from datapkg.objects.progress import Progress, silent
from datapkg.origins import allowed_registry
from datapkg.resolve import make_current

_PATHS_SHOWN = 10
_KINDS = ("added", "changed", "removed")
_POLICY = CommitPolicy(keep_first=False, skip_empty=True)


@dataclass(frozen=True)
class SyncOptions:
    """How a package follows a folder: in the group `to`; with `delete`, nodes that the folder lacks are removed.

    `confirm` allows an empty folder to empty the package. A `dry_run` stores and sends nothing. `tag` and `version`
    name the state at the registry, even if nothing had to be pushed.
    """

    to: str = ""
    delete: bool = False
    confirm: bool = False
    message: str = ""
    dry_run: bool = False
    registry: str | None = None
    tag: str | None = None
    version: str | None = None
    checks: bool = True


def sync(
    home: Home,
    folder: Path,
    ref: Ref,
    options: SyncOptions = SyncOptions(),
    *,
    busy: Collection[Path] = (),
    progress: Progress = silent,
) -> SyncResult:
    """Make the registry's latest state match a folder, named and read as in a build; return what changed.

    Only the manifest is fetched, and only differences are built and sent; if there are none, nothing is pushed. `busy`
    files are left unchanged in the package. Metadata is kept unless the build file sets it. If the process is killed,
    run it again. Raise `NotFound` if the folder is missing, `Conflict` if somebody pushed to the same paths meanwhile,
    or if an unpushed build would be lost; the errors of a build and of a push.
    """
    folder = Path(folder)
    options = replace(options, to=group_path(options.to))
    _check(folder, ref)
    build_options = BuildOptions()
    draft = DraftState(home, ref, _commit_options(options, progress), _POLICY)
    with (
        prepared(folder, fetcher(home, progress), build_options, environ=home.settings.environ) as found,
        # Entered before the draft: its commit, which a dry run only plans, reads these objects.
        objects_for(home.store, options.dry_run) as draft.objects,
        home.store.writing(),
    ):
        try:
            with drafting(draft, latest_state):
                synced = _follow(draft, options, found.spec, folder, busy)
            # After the commit, whose hash tells whether the registry had the state already.
            _settle(draft, options)
        except Conflict as error:
            if "theirs" in error.detail:
                line = f"datapkg sync {quote(str(folder))} {ref.package}"
                raise Conflict(error.message, hint=f"{line} puts yours over theirs", **error.detail) from error
            raise
    if not options.to and not options.dry_run:
        BuildCache(home.index, ref.package).keep_place(folder, build_options)
    return replace(synced, hash=draft.hash, pushed=draft.pushed, warnings=draft.warnings, transfer=draft.transfer)


def _commit_options(options: SyncOptions, progress: Progress) -> CommitOptions:
    return CommitOptions(
        message=options.message,
        registry=options.registry,
        progress=progress,
        origin="sync",
        dry_run=options.dry_run,
        tag=check_tag(options.tag, "datapkg help sync") if options.tag else None,
        version=check_new_version(options.version) if options.version else None,
        checks=options.checks,
    )


def _check(folder: Path, ref: Ref) -> None:
    if ref.path or ref.state:
        line = f"datapkg sync {quote(str(folder))} {ref.package}" + (f" --to {quote(ref.path)}" if ref.path else "")
        raise InvalidInput(f"{ref} names more than a package", hint=line)
    if not folder.exists():
        raise no_such_path(folder, "folder")
    if not folder.is_dir():
        raise InvalidInput(
            f"{quoted(folder)} is not a folder", hint=f"datapkg append {ref.package} {quote(str(folder))}"
        )


@dataclass(frozen=True)
class _FolderState:
    """The built nodes of a folder, and those of the package.

    `held` are the paths of busy files; `alone` are the paths of nodes, not groups, that only the package has in the
    target group of the folder.
    """

    made: dict[str, Node]
    theirs: dict[str, Node]
    held: list[str]
    alone: list[str]


def _follow(
    draft: DraftState, options: SyncOptions, spec: BuildSpec, folder: Path, busy: Collection[Path]
) -> SyncResult:
    """Replace the contents of the draft by those of the folder; return the changes, before the commit."""
    _check_group(draft, options.to)
    theirs = {node.path: node for node in draft.base.entries()} if draft.base else {}
    spec = spec_below(spec, options.to)
    taken = {str(each.absolute()) for each in busy}
    held = [node.path for node in spec.nodes if taken and _is_of(node, taken)]
    spec = replace(spec, nodes=[node for node in spec.nodes if node.path not in set(held)])
    made, skipped = _build_changed(draft, spec, theirs)
    # Checks run on the whole state, not on what was built: a foreign key may refer to an unchanged table.
    draft.checks.ask(spec.nodes, settled=made if spec.origin == "build file" else ())
    state = _FolderState(made, theirs, held, _alone(options.to, made, theirs, held))
    if options.delete:
        _check_not_emptied(draft, options, folder, state)
    else:
        _check_room(state)
    draft.meta |= spec.meta
    _check_unpushed(draft, state)
    _apply(draft, options, state)
    result = SyncResult(
        package=draft.ref.package,
        hash="",
        **_changes(draft),
        kept=[] if options.delete else state.alone,
        meta=draft.meta != (draft.base.meta if draft.base else {}),
        is_new=draft.base is None,
        skipped=skipped,
    )
    draft.message = draft.message or f"sync {result.counts}"
    return result


def _settle(draft: DraftState, options: SyncOptions) -> None:
    """Finish a sync after its commit: the registry may already have had the state."""
    if options.dry_run:
        _check_version(draft, options)
    elif draft.base and draft.hash == draft.base.hash:
        _adopt(draft, draft.base)
        if draft.pushed is None:  # otherwise it was pushed because its checks changed, with these names
            _name(draft, draft.base, options)


def _adopt(draft: DraftState, state: Manifest) -> None:
    """Make a state that the registry already has, from another machine or a killed sync, the current one here."""
    home, ref = draft.home, draft.ref
    current = home.store.refs.current(ref)
    if current is None or current.hash != state.hash:
        make_current(home, ref, state, allowed_registry(home, ref, draft.options.registry), partial=True)


def _check_version(draft: DraftState, options: SyncOptions) -> None:
    """Raise `Conflict` if another state has the requested version, as a push would."""
    if options.version is None or draft.base is None:
        return
    for each in versions(draft.home, draft.ref, options.registry):
        if Version(each["name"]) == Version(options.version) and each["hash"] != draft.hash:
            package, hash = draft.ref.package, each["hash"]
            what = f"version {each['name']} of {package} is sha256:{hash[:12]}…, and versions never move"
            raise Conflict(what, hint=f"datapkg version ls {package}", expected=draft.hash, actual=hash)


def _name(draft: DraftState, state: Manifest, options: SyncOptions) -> None:
    """Give the registry's state, to which nothing had to be pushed, the requested tag and version."""
    exact = draft.ref.at(State("hash", state.hash))
    if options.tag:
        set_tag(draft.home, exact, options.tag, registry=options.registry)
    if options.version:
        add_version(draft.home, exact, options.version, registry=options.registry)


def _build_changed(draft: DraftState, spec: BuildSpec, theirs: dict[str, Node]) -> tuple[dict[str, Node], list[str]]:
    """Return the nodes of the folder, building only those that the package lacks, and the skipped files."""
    home = draft.home
    cache = BuildCache(home.index, draft.ref.package)
    known = diff_sources(without_checks(spec.nodes), theirs, cache, draft.is_right)
    built = build_package(
        replace(spec, nodes=known.left),
        draft.objects,
        previous=draft.base,
        find_package=lambda wanted: find_package(home, wanted),
        cache=cache,
        secret=home.settings.secret,
        progress=draft.options.progress or silent,
    )
    draft.record = {**built.record, "origin": "sync", "sources": [*known.sources, *built.record["sources"]]}
    draft.warnings += built.warnings
    nodes = (*known.nodes, *built.manifest.nodes)
    return {node.path: carry_over(node, theirs.get(node.path), draft.is_right) for node in nodes}, built.skipped


def _alone(to: str, made: dict[str, Node], theirs: dict[str, Node], held: list[str]) -> list[str]:
    """Return the paths of nodes, not groups, in the target group that only the package has."""
    prefix = f"{to}/" if to else ""
    busy = tuple(f"{each}/" for each in held)
    return [
        path
        for path, node in theirs.items()
        if path.startswith(prefix)
        and path not in made
        and not isinstance(node, GroupNode)
        and not f"{path}/".startswith(busy)
    ]


def _check_group(draft: DraftState, to: str) -> None:
    """Raise `InvalidInput` if the target of the folder is not a group."""
    for path in (*ancestors(to), to):
        node = draft.nodes.get(path)
        if node is not None and not isinstance(node, GroupNode):
            line = f"{quoted(path)} is a {node.kind} of {draft.ref.package}; --to names a group"
            raise InvalidInput(line, hint=f"datapkg show {draft.ref.package}")


def _check_not_emptied(draft: DraftState, options: SyncOptions, folder: Path, state: _FolderState) -> None:
    """Raise `InvalidInput` if an empty folder would empty the package: its disk may not be mounted."""
    if not state.made and not state.held and state.alone and not options.confirm:
        package = draft.ref.package
        where = f"{package}/{options.to}" if options.to else package
        to = f" --to {quote(options.to)}" if options.to else ""
        raise InvalidInput(
            f"{quoted(folder)} has nothing that a package is made of, and --delete would take all nodes "
            f"({len(state.alone):,}) out of {where}; nothing was changed",
            hint=f"datapkg sync {quote(str(folder))} {package}{to} --delete --allow-empty",
        )


def _check_room(state: _FolderState) -> None:
    """Raise `Conflict` if a node that only the package has is a group in the folder, or the reverse."""
    leaves = {path for path, node in state.made.items() if not isinstance(node, GroupNode)}
    groups = {above for path in state.made for above in ancestors(path)}
    places = {path for path in state.alone if path in groups}
    staying = (path for path in state.theirs if path not in state.made)  # empty groups too
    places |= {above for path in staying for above in ancestors(path) if above in leaves}
    if places:
        raise Conflict(
            f"{listed(sorted(places), _PATHS_SHOWN)}: a group on one side and a node on the other, "
            "of package and folder",
            hint="--delete takes away what the folder has not",
            paths=sorted(places),
        )


def _check_unpushed(draft: DraftState, state: _FolderState) -> None:
    """Raise `Conflict` if a state that was built here and never pushed has nodes that the new one would lack."""
    store, ref, theirs = draft.home.store, draft.ref, state.theirs
    current = store.refs.current(ref)
    if current is None or not is_unpushed(draft, current, draft.base or Manifest.make([])):
        return
    unpushed = store.manifest(current.hash)
    missed = [f"meta.{key}" for key in unpushed.meta.keys() - draft.meta.keys()]
    missed += [
        node.path
        for node in unpushed.nodes
        if node.path not in state.made and not (node.path in theirs and same_content(node, theirs[node.path]))
    ]
    if missed:
        raise Conflict(
            f"{ref.package} was built here and not pushed, and has what neither the registry nor the folder "
            f"has: {listed(missed, _PATHS_SHOWN)}",
            hint=f"datapkg push {ref.package}",
            paths=missed,
        )


def _apply(draft: DraftState, options: SyncOptions, state: _FolderState) -> None:
    """Change those nodes of the draft that differ; with `delete`, remove those that the folder lacks."""
    made, theirs = state.made, state.theirs
    draft.nodes.update({path: node for path, node in made.items() if theirs.get(path) != node})
    if not options.delete:
        return
    gone = set(state.alone)
    leaves = [path for path, node in (theirs | made).items() if node.kind != "group" and path not in gone]
    used = {*made, *state.held, *(above for path in leaves for above in ancestors(path))}
    to = f"{options.to}/" if options.to else ""
    groups = [path for path, node in theirs.items() if node.kind == "group" and path.startswith(to)]
    for path in (*state.alone, *(each for each in groups if each not in used)):
        del draft.nodes[path]


def _changes(draft: DraftState) -> dict[str, Any]:
    """Return the paths that were added, changed and removed."""
    changes = diff(draft.base or Manifest.make([]), draft.nodes.manifest(draft.meta))
    paths = {kind: [each.path for each in changes if each.kind == kind] for kind in _KINDS}
    paths["added"] += [each.path for each in changes if each.kind == "renamed"]
    paths["removed"] += [each.old_path for each in changes if each.kind == "renamed"]
    return paths


def _is_of(node: NodeSpec, files: Collection[str]) -> bool:
    sources = node.source.files if isinstance(node.source, FilesSource) else [node.source]
    return any(isinstance(each, FileSource) and str(each.path.absolute()) in files for each in sources)
