"""Sync: a package made to follow a folder; what changed there is built and pushed, the rest is not even fetched."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from packaging.version import Version

from datapkg.api.build import fetcher, find_package, objects_for
from datapkg.api.edit import Draft, group_path
from datapkg.api.history import add_version, set_tag, versions
from datapkg.api.new_state import CommitOptions as EditOptions
from datapkg.api.rebase import ancestors
from datapkg.api.results import SyncResult
from datapkg.building.cache import BuildCache
from datapkg.building.checks.demands import below
from datapkg.building.pipeline import BuildOutput, build_package
from datapkg.building.source_diff import SourceDiff, carry_over, diff_sources
from datapkg.building.sources.prepare import prepared
from datapkg.building.spec.model import BuildSpec, FileSource, FilesSource, NodeSpec
from datapkg.building.spec.options import BuildOptions as BuildOptions
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.manifest.diff import diff, same_content
from datapkg.format.manifest.parsed import GroupNode, Manifest, Node
from datapkg.format.names import Ref, State, check_new_version, check_tag
from datapkg.format.texts import listed, quoted
from datapkg.home import Home
from datapkg.objects.base import Objects
from datapkg.objects.files import no_such_path
from datapkg.objects.progress import Progress, silent
from datapkg.resolve import allowed_registry, make_current

_PATHS_SHOWN = 10
_KINDS = ("added", "changed", "removed")


@dataclass(frozen=True)
class SyncOptions:
    """How a package follows a folder: in the group `to`; with `delete`, without what the folder has not.

    `confirm` says that an empty folder is meant to empty the package too. Of a `dry_run` nothing is kept or sent. `tag`
    and `version` name the state at the registry, also where nothing had to be pushed.
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
    """Makes the registry's latest state have what a folder has, named and read as a build does; gives what changed.

    Its manifest alone is fetched, and only what differs is built and sent; where nothing does, nothing is pushed. Files
    that are `busy` stay what they are in the package. Metadata stay unless the build file sets them. Killed at any
    moment, it is simply done again. Raises `NotFound` without the folder, `Conflict` where somebody pushed to the same
    paths meanwhile, or what was built here would be missed; the errors of a build and of a push.
    """
    folder = Path(folder)
    options = replace(options, to=group_path(options.to))
    _check(folder, ref)
    build_options = BuildOptions()
    with (
        prepared(folder, fetcher(home, progress), build_options, environ=home.environ) as found,
        objects_for(home.store, options.dry_run) as objects,
    ):
        draft = _Follower(home, ref, options, objects, progress)
        try:
            with draft:
                draft.follow(found.spec, folder, busy)
        except Conflict as error:
            if "theirs" in error.detail:
                line = f"datapkg sync {quote(str(folder))} {ref.package}"
                raise Conflict(error.message, hint=f"{line} puts yours over theirs", **error.detail) from error
            raise
    if not options.to and not options.dry_run:
        BuildCache(home.index, ref.package).keep_place(folder, build_options)
    return draft.result()


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


class _Follower(Draft):
    """A draft that is made to have what a folder has; nothing of it is here before the registry has it."""

    _is_kept_first = False

    def __init__(self, home: Home, ref: Ref, options: SyncOptions, objects: Objects, progress: Progress) -> None:
        edit = EditOptions(
            message=options.message,
            registry=options.registry,
            progress=progress,
            origin="sync",
            dry_run=options.dry_run,
            tag=check_tag(options.tag, "datapkg help sync") if options.tag else None,
            version=check_new_version(options.version) if options.version else None,
            checks=options.checks,
        )
        super().__init__(home, ref, edit)
        self._how, self._tell = options, progress
        self._objects: Objects = objects
        self._unpushed: Manifest | None = None
        self._theirs: dict[str, Node] = {}
        self._kept: list[str] = []
        self._changes: dict[str, list[str]] = {}
        self._skipped: list[str] = []

    def follow(self, spec: BuildSpec, folder: Path, busy: Collection[Path]) -> None:
        """Puts what the folder has in the place of what the draft has."""
        self._check_group()
        self._theirs = {node.path: node for node in self._base.entries()} if self._base else {}
        spec = _below(self._how.to, spec)
        taken = {str(each.absolute()) for each in busy}
        held = [node.path for node in spec.nodes if taken and _is_of(node, taken)]
        spec = replace(spec, nodes=[node for node in spec.nodes if node.path not in set(held)])
        made = self._made(replace(spec, nodes=[replace(node, checks=()) for node in spec.nodes]))
        # On the whole state, and not on what was built of it: a foreign key may name a table that did not change.
        self._checks.ask(spec.nodes, settled=made if spec.origin == "build file" else ())
        alone = self._alone(made, held)
        if self._how.delete:
            self._check_left(folder, made, held, alone)
        else:
            self._check_room(made, alone)
        self.meta |= spec.meta
        self._check_missed(made)
        self._apply(made, alone, held)
        self._compare()

    def result(self) -> SyncResult:
        """What came of it."""
        return SyncResult(
            package=self._ref.package,
            hash=self.hash,
            **self._changes,
            kept=self._kept,
            meta=self.meta != (self._base.meta if self._base else {}),
            is_new=self._base is None,
            pushed=self.pushed,
            warnings=self.warnings,
            skipped=self._skipped,
        )

    def _begin(self) -> Manifest | None:
        """The registry's latest state; one that was built here and not pushed is compared with what comes of this."""
        theirs = self._latest()
        refs, ref = self._home.store.refs, self._ref
        current = refs.current(ref.user, ref.name)
        if current and self._is_unpushed(current, theirs or Manifest.make([])):
            self._unpushed = self._home.store.manifest(current.hash)
        return theirs

    def _commit(self) -> None:
        if self._base or self._nodes or self.meta:
            super()._commit()
        if self._how.dry_run:
            self._check_version()
        elif self._base and self.hash == self._base.hash:
            self._meet(self._base)
            if self.pushed is None:  # else the push, for the sake of its checks, named it
                self._name(self._base)

    def _meet(self, state: Manifest) -> None:
        """Makes what the registry had already the current state here: made elsewhere, or by a sync that was killed."""
        home, ref = self._home, self._ref
        current = home.store.refs.current(ref.user, ref.name)
        if current is None or current.hash != state.hash:
            make_current(home, ref, state, allowed_registry(home, ref, self._how.registry), partial=True)

    def _check_version(self) -> None:
        """Raise `Conflict` where another state has the version that is asked for, as a push would."""
        if self._how.version is None or self._base is None:
            return
        for each in versions(self._home, self._ref, self._how.registry):
            if Version(each["name"]) == Version(self._how.version) and each["hash"] != self.hash:
                package, hash = self._ref.package, each["hash"]
                what = f"version {each['name']} of {package} is sha256:{hash[:12]}…, and versions never move"
                raise Conflict(what, hint=f"datapkg version ls {package}", expected=self.hash, actual=hash)

    def _name(self, state: Manifest) -> None:
        """Give the registry's state, to which nothing had to be pushed, the tag and version that are asked for."""
        exact, how = self._ref.at(State("hash", state.hash)), self._how
        if how.tag:
            set_tag(self._home, exact, how.tag, registry=how.registry)
        if how.version:
            add_version(self._home, exact, how.version, registry=how.registry)

    def _made(self, spec: BuildSpec) -> dict[str, Node]:
        """The nodes of the folder, of which those are built that the state has not."""
        home, ref = self._home, self._ref
        cache = BuildCache(home.index, ref.package)
        parted = diff_sources(spec.nodes, self._theirs, cache, self._is_right)
        built = build_package(
            replace(spec, nodes=parted.left),
            self._objects,
            previous=self._base,
            find_package=lambda wanted: find_package(home, wanted),
            cache=cache,
            secret=home.secret,
            progress=self._tell,
        )
        self._note(parted, built)
        made = [*parted.nodes, *built.manifest.nodes]
        return {node.path: carry_over(node, self._theirs.get(node.path), self._is_right) for node in made}

    def _note(self, parted: SourceDiff, built: BuildOutput) -> None:
        sources = [*parted.sources, *built.record["sources"]]
        self._record = {**built.record, "origin": "sync", "sources": sources}
        self.warnings += built.warnings
        self._skipped = built.skipped

    def _alone(self, made: dict[str, Node], held: list[str]) -> list[str]:
        """The nodes that the package alone has, of those that the folder stands for; groups not."""
        to = f"{self._how.to}/" if self._how.to else ""
        busy = tuple(f"{each}/" for each in held)
        return [
            path
            for path, node in self._theirs.items()
            if path.startswith(to)
            and path not in made
            and not isinstance(node, GroupNode)
            and not f"{path}/".startswith(busy)
        ]

    def _check_group(self) -> None:
        for path in (*ancestors(self._how.to), self._how.to):
            node = self._nodes.get(path)
            if node is not None and not isinstance(node, GroupNode):
                line = f"{quoted(path)} is a {node.kind} of {self._ref.package}; --to names a group"
                raise InvalidInput(line, hint=f"datapkg show {self._ref.package}")

    def _check_left(self, folder: Path, made: dict[str, Node], held: list[str], alone: list[str]) -> None:
        """Raises where a folder that has nothing would empty the package: a disk may be gone."""
        if not made and not held and alone and not self._how.confirm:
            where = f"{self._ref.package}/{self._how.to}" if self._how.to else self._ref.package
            to = f" --to {quote(self._how.to)}" if self._how.to else ""
            raise InvalidInput(
                f"{quoted(folder)} has nothing that a package is made of, and --delete would take all nodes "
                f"({len(alone):,}) out of {where}; nothing was changed",
                hint=f"datapkg sync {quote(str(folder))} {self._ref.package}{to} --delete --allow-empty",
            )

    def _check_room(self, made: dict[str, Node], alone: list[str]) -> None:
        """Raises where a node of the package alone is a group in the folder, or the other way round."""
        leaves = {path for path, node in made.items() if not isinstance(node, GroupNode)}
        groups = {above for path in made for above in ancestors(path)}
        places = {path for path in alone if path in groups}
        staying = (path for path in self._theirs if path not in made)  # empty groups too
        places |= {above for path in staying for above in ancestors(path) if above in leaves}
        if places:
            raise Conflict(
                f"{listed(sorted(places), _PATHS_SHOWN)}: a group on one side and a node on the other, "
                "of package and folder",
                hint="--delete takes away what the folder has not",
                paths=sorted(places),
            )

    def _check_missed(self, made: dict[str, Node]) -> None:
        """Raises where a state that was built here and never pushed has what this one would not have."""
        if self._unpushed is None:
            return
        theirs = self._theirs
        missed = [f"meta.{key}" for key in self._unpushed.meta.keys() - self.meta.keys()]
        missed += [
            node.path
            for node in self._unpushed.nodes
            if node.path not in made and not (node.path in theirs and same_content(node, theirs[node.path]))
        ]
        if missed:
            raise Conflict(
                f"{self._ref.package} was built here and not pushed, and has what neither the registry nor the folder "
                f"has: {listed(missed, _PATHS_SHOWN)}",
                hint=f"datapkg push {self._ref.package}",
                paths=missed,
            )

    def _apply(self, made: dict[str, Node], alone: list[str], held: list[str]) -> None:
        """Changes the draft, and no more of it than differs."""
        self._nodes.update({path: node for path, node in made.items() if self._theirs.get(path) != node})
        if not self._how.delete:
            self._kept = alone
            return
        gone = set(alone)
        leaves = [path for path, node in (self._theirs | made).items() if node.kind != "group" and path not in gone]
        used = {*made, *held, *(above for path in leaves for above in ancestors(path))}
        to = f"{self._how.to}/" if self._how.to else ""
        groups = [path for path, node in self._theirs.items() if node.kind == "group" and path.startswith(to)]
        for path in (*alone, *(each for each in groups if each not in used)):
            del self._nodes[path]

    def _compare(self) -> None:
        before = self._base or Manifest.make([])
        changes = diff(before, self._nodes.manifest(self.meta))
        self._changes = {kind: [each.path for each in changes if each.kind == kind] for kind in _KINDS}
        self._changes["added"] += [each.path for each in changes if each.kind == "renamed"]
        self._changes["removed"] += [each.old_path for each in changes if each.kind == "renamed"]
        self.message = self.message or f"sync {self.result().counts}"


def _below(to: str, spec: BuildSpec) -> BuildSpec:
    """The same in a group, whose metadata are those of the package."""
    if not to:
        return spec
    nodes = [
        replace(node, path=f"{to}/{node.path}", checks=tuple(below(check, f"{to}/") for check in node.checks))
        for node in spec.nodes
    ]
    groups: dict[str, dict[str, Any]] = {f"{to}/{path}": meta for path, meta in spec.groups.items()}
    return replace(spec, nodes=nodes, groups=({to: spec.meta} if spec.meta else {}) | groups, meta={})


def _is_of(node: NodeSpec, files: Collection[str]) -> bool:
    sources = node.source.files if isinstance(node.source, FilesSource) else [node.source]
    return any(isinstance(each, FileSource) and str(each.path.absolute()) in files for each in sources)
