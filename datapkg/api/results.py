"""Results of the operations: plain values that the command line prints and programs read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.errors import DatapkgError

if TYPE_CHECKING:
    from datapkg.api.push_result import PushResult
    from datapkg.objects.deltas import PlannedTransfer


@dataclass(frozen=True)
class CheckResults:
    """The result of each check of each table, in order: path, check, outcome, rows, wrong, severity, place, found.

    The outcome is ok, failed or warned; `lines` describe the findings, one sentence each.
    """

    results: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """Return how many checks have this outcome."""
        return sum(each["outcome"] == outcome for each in self.results)


@dataclass(frozen=True)
class AppendResult:
    """The result of an append: paths of added nodes, or `rows` added to the table `to`, which now has `rows_now` rows.

    `replaced` nodes had other data before, `same` nodes the same; `is_new` means that the package was created; `pushed`
    is None if nothing was sent; `transfer` is the plan of a dry run.
    """

    package: str
    hash: str
    to: str
    added: list[str]
    replaced: list[str]
    same: list[str]
    rows: int = 0
    rows_now: int = 0
    is_new: bool = False
    pushed: PushResult | None = None
    warnings: list[str] = field(default_factory=list)
    transfer: PlannedTransfer | None = None


@dataclass(frozen=True)
class EditResult:
    """The result of an edit: `removed` paths, and `moved` old paths with the new ones.

    `nodes_removed` counts tables, files and arrays, those below a group too.
    """

    package: str
    hash: str
    removed: list[str]
    moved: dict[str, str]
    nodes_removed: int
    pushed: PushResult | None = None
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MergeResult:
    """The result of a merge: `inputs` pins each package by its hash, `nodes` counts the nodes of the new state.

    `renamed` maps new paths to old ones, `dropped` are nodes that were replaced by others, `concatenated` are tables.
    `bytes_absent` counts bytes that only a registry has. A dry run has a `transfer`, and no hash where it concatenates.
    """

    package: str
    hash: str
    inputs: list[dict[str, str]]
    nodes: int
    renamed: dict[str, str]
    dropped: list[str]
    concatenated: list[str]
    bytes_logical: int
    bytes_absent: int
    warnings: list[str] = field(default_factory=list)
    transfer: PlannedTransfer | None = None


@dataclass(frozen=True)
class CopyResult:
    """A package that is a copy of a state of `source`; `bytes_absent` counts bytes of objects that are not here."""

    package: str
    hash: str
    source: str
    bytes_logical: int
    bytes_absent: int = 0


@dataclass(frozen=True)
class SyncResult:
    """The result of a sync: paths of nodes; `kept` are nodes that only the package has.

    `meta` tells whether metadata of the package changed, `is_new` whether it was created; `pushed` is the result of the
    push, or None if there was nothing to do. A dry run has the `hash` that would be made, and `transfer`, its plan.
    """

    package: str
    hash: str
    added: list[str]
    changed: list[str]
    removed: list[str]
    kept: list[str]
    meta: bool = False
    is_new: bool = False
    pushed: PushResult | None = None
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    transfer: PlannedTransfer | None = None

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.meta)

    @property
    def counts(self) -> str:
        """Return how many nodes were added, changed and removed, such as `+3 ~1 -2`; a rename counts as both."""
        return f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"


@dataclass(frozen=True)
class BundleResult:
    """A written bundle: its file and size in bytes, its states (package, hash, path), and how many objects it has."""

    bundle: str
    packages: list[dict[str, str]]
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class PackageListing:
    """A package on this machine; `partial` if some of its data may be at its registry alone.

    `states` are all that are kept, the current one first: hash, created_at, tags and versions of each. `wheel` is what
    a wheel of this environment pins the package to: hash, registry, and path of the pin. Without a current state, the
    package is listed with that one.
    """

    package: str
    hash: str
    origin: str
    bytes_logical: int
    title: str = ""
    partial: bool = False
    states: list[dict[str, Any]] = field(default_factory=list)
    wheel: dict[str, str] | None = None


@dataclass(frozen=True)
class PackageDetails:
    """One state of a package as `show` prints it; `nodes` are mappings of path, kind, rows, columns, size.

    `node_count` and `node_bytes` are the number and size of all nodes, also where `nodes` has only the first. `meta` is
    the metadata of the package; `readme` and `licence_file` are paths of nodes, "" if there is none. `checks` are the
    check results of the build, if it was built here: path, check, outcome, rows, wrong. `bytes_absent` counts the bytes
    of objects that are not on this machine. `unchecked` are paths of tables whose content is not known to be verified,
    here or by a registry. `registry` is the URL that the package was read from, "" for this machine;
    `is_imported` states whether an import of the package returns this state. `why` is what selected the state: "ref",
    "current", the path of a lock file, or the URL of the registry.
    """

    package: str
    hash: str
    meta: dict[str, Any]
    nodes: list[dict[str, Any]]
    node_count: int = 0
    node_bytes: int = 0
    readme: str = ""
    licence_file: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    bytes_absent: int = 0
    unchecked: list[str] = field(default_factory=list)
    registry: str = ""
    is_imported: bool = True
    why: str = "current"


@dataclass(frozen=True)
class DamagedObject:
    """A corrupt object, and where it is used (empty if nothing uses it).

    With a `problem`, it is a table whose objects are intact but whose values differ from its manifest; `hash` is that
    of its first object. At a registry without a server, a problem without a hash is one of the package's log.
    """

    hash: str
    package: str
    path: str
    problem: str = ""


@dataclass(frozen=True)
class VerifyResult:
    """How many objects were verified, which are corrupt, and how many are missing on purpose (partial installs).

    `set_aside` describes each small corrupt file (a pointer, a log event) that was moved away.
    `tables` counts the tables whose content was recomputed, `repaired` the objects that were fetched again.
    """

    checked: int
    damaged: list[DamagedObject]
    absent: int = 0
    set_aside: list[str] = field(default_factory=list)
    tables: int = 0
    repaired: int = 0


@dataclass(frozen=True)
class RemoveResult:
    """A removed package, and the bytes that this freed.

    `bytes_shared` stay because other packages use them; `bytes_left` because a running process may, until `frees_at` or
    its end (None). `problem` is the reason why nothing was freed, `still_in` a read-only store that also has the
    package.
    """

    package: str
    bytes_freed: int
    bytes_shared: int = 0
    bytes_left: int = 0
    frees_at: str | None = None
    problem: str = ""
    still_in: str = ""


@dataclass(frozen=True)
class FreedState:
    """An older state that was given up; `created_at` is when it was last built, installed or pushed here.

    `is_pushed` states whether a registry had it when it was last asked, so that it can be installed again.
    """

    package: str
    hash: str
    created_at: str | None
    is_pushed: bool


@dataclass(frozen=True)
class GcResult:
    """The states and the number of objects that were deleted, and the bytes that this freed, leftovers included.

    `bytes_stored` is the size of all objects before, `bytes_leftover` that of files that belonged to nothing.
    `bytes_recent` stay for a day, as nothing needs them and an interrupted install may; `bytes_left` because a running
    process may use them, until `frees_at` or its end (None). `bytes_compacted` of those freed are bytes that older
    states share with newer ones.
    """

    states: list[FreedState]
    objects: int
    bytes_freed: int
    bytes_stored: int = 0
    bytes_leftover: int = 0
    bytes_recent: int = 0
    bytes_compacted: int = 0
    bytes_left: int = 0
    frees_at: str | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class WarmResult:
    """A table that has a warm copy, and the bytes of the copy; `made` is false if it existed before."""

    package: str
    path: str
    rows: int
    size_bytes: int
    made: bool


@dataclass(frozen=True)
class ExportResult:
    """The files of an export, below a folder or as one file; `notes` name tables that got another format.

    Of a second export into a folder, `unchanged` counts the files that were left as they were, and `removed` are those
    that are no longer in the package.
    """

    files: list[Path]
    size_bytes: int
    notes: list[str] = field(default_factory=list)
    unchanged: int = 0
    removed: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class StubsResult:
    """The stubs below `folder`: the state of each package by its name, and the errors of the others.

    `written` and `removed` are changed files, as paths in the folder; for a dry run, those that would change.
    """

    folder: Path
    packages: dict[str, str]
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, DatapkgError] = field(default_factory=dict)


@dataclass(frozen=True)
class MountResult:
    """A package, or a node in it, that is shown as files in a folder."""

    folder: Path
    package: str
    hash: str
