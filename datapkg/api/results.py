"""What the verbs answer: plain values that the command line prints and programs read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.errors import DatapkgError
from datapkg.format.lockfile import Pin
from datapkg.format.texts import listed

_PATHS_SHOWN = 5


@dataclass(frozen=True)
class BuildResult:
    """A build: how many nodes were made anew or taken over, the bytes of all objects, and what is worth a line.

    `skipped` are the files of a folder that were left out, each with the reason; `updated` the addresses whose new sums
    were written into the build file: url, old, new. `why` says of each node why it was built or not, `checks` has what
    came of the checks, `left_out` what went wrong with each source that is not in the package, by the node's path.
    `reread` counts those taken over that were read all the same.
    """

    package: str
    hash: str
    built: int
    reused: int
    bytes_logical: int
    warnings: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    updated: list[dict[str, str]] = field(default_factory=list)
    why: dict[str, str] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    reread: int = 0


@dataclass(frozen=True)
class CheckResults:
    """What came of each check of each table, in order: path, check, outcome, rows, wrong, severity, place, found.

    The outcome is ok, failed or warned; `lines` say what was found, a sentence each.
    """

    results: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many came to this."""
        return sum(each["outcome"] == outcome for each in self.results)


@dataclass(frozen=True)
class PushResult:
    """A push: what travelled (bodies, in bytes) and the page that shows it; not `changed` where nothing was new.

    `record` is what goes up with the state about how it was built; `warnings` are worth a line each. `role` is owner or
    writer: a writer cannot share the package. In a dry run, `changes` lists what differs from the registry's latest
    state (see `format.review.review`).
    """

    package: str
    hash: str
    objects_sent: int
    bytes_sent: int
    bytes_logical: int
    url: str
    changed: bool = True
    public: bool = False
    role: str = "owner"
    record: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class AppendResult:
    """What was added to a package: paths of nodes, or `rows` to the table `to`, which has `rows_now` of them.

    `replaced` were there with other data, `same` with these; `is_new` says that there was no such package; `pushed` is
    None where nothing was sent.
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


@dataclass(frozen=True)
class EditResult:
    """What was taken out of a package or got another path: `removed` paths, and `moved` old ones with the new.

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
    """What packages became: `inputs` pin each by package and hash, `nodes` counts those that there are now.

    `renamed` maps the path that a node has now to the one it had, `dropped` are those that gave way, `concatenated` the
    tables that were put together. `bytes_absent` are those of objects that are at a registry alone.
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


@dataclass(frozen=True)
class CopyResult:
    """A package that is a copy of a state of `source`; `bytes_absent` are those of objects that are not here."""

    package: str
    hash: str
    source: str
    bytes_logical: int
    bytes_absent: int = 0


@dataclass(frozen=True)
class SyncResult:
    """What a package took over of a folder: paths of nodes; `kept` are those that the package alone has.

    `meta` says whether metadata of the package changed, `is_new` that there was no such package, `pushed` what the push
    came to: None where there was nothing to do. Of a dry run `hash` is that of the state that would be.
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

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.meta)

    @property
    def counts(self) -> str:
        """`+3 ~1 -2`: how many nodes were added, changed and removed; one that was renamed is both."""
        return f"+{len(self.added)} ~{len(self.changed)} -{len(self.removed)}"


@dataclass(frozen=True)
class InstallResult:
    """An installed state, and what travelled for it (bodies, in bytes); `note` is worth a line if not empty.

    `bytes_logical` are those of the objects that were asked for, `bytes_left` those of the state's others that are not
    on this machine. `overruled_by` is the lock file that pins another state, which imports here use.
    """

    package: str
    hash: str
    objects_received: int
    bytes_received: int
    bytes_logical: int
    note: str = ""
    bytes_left: int = 0
    overruled_by: str = ""


@dataclass(frozen=True)
class LockResult:
    """A lock file that was written: its path, a pin for each requirement, and what is worth a line."""

    path: Path
    pins: list[Pin]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PackageOutcome:
    """What became of one of several installs: the result, or the error."""

    ref: str
    installed: InstallResult | None = None
    error: DatapkgError | None = None


@dataclass(frozen=True)
class PackageListing:
    """A package on this machine; `partial` if some of its data may be at its registry alone.

    `states` are all that are kept, the current one first: hash, created_at, tags and versions of each.
    """

    package: str
    hash: str
    origin: str
    bytes_logical: int
    title: str = ""
    partial: bool = False
    states: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class PackageDetails:
    """One state of a package as `show` prints it; `nodes` are mappings of path, kind, rows, columns, size.

    `meta` are those of the package; `readme` and `licence_file` are paths of nodes, "" where there is none. `checks`
    have the outcome of each check when the state was built, if it was built here: path, check, outcome, rows, wrong.
    `bytes_absent` are those of objects that are not on this machine. `unchecked` are paths of tables whose content
    neither the registry nor this machine has checked. `registry` is the address that the package was looked at, where
    it is not this machine's; `is_imported` says that an import of the package gives this state. `why` says what decided
    on the state: "ref", "current", the path of a lock file, or the address of the registry.
    """

    package: str
    hash: str
    meta: dict[str, Any]
    nodes: list[dict[str, Any]]
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
    """An object whose bytes are wrong, and where it is used (empty where nothing uses it).

    With a `problem`, a table whose objects are intact and hold other values than its manifest states; `hash` is that of
    the first.
    """

    hash: str
    package: str
    path: str
    problem: str = ""


@dataclass(frozen=True)
class VerifyResult:
    """How many objects were hashed, which were damaged, and how many are absent on purpose (partial installs).

    `set_aside` says of each small file (a pointer, an event of a log) that was damaged what was wrong with it.
    `tables` counts the tables whose content was recomputed.
    """

    checked: int
    damaged: list[DamagedObject]
    absent: int = 0
    set_aside: list[str] = field(default_factory=list)
    tables: int = 0


@dataclass(frozen=True)
class RemoveResult:
    """A package that was removed, and the bytes that this freed.

    `bytes_shared` stay since other packages use them. `bytes_left` stay since a process at work may use them; they may
    go at `frees_at`, or when it ends (None). `problem` says why nothing was freed, `still_in` names a read-only store
    that has the package too.
    """

    package: str
    bytes_freed: int
    bytes_shared: int = 0
    bytes_left: int = 0
    frees_at: str | None = None
    problem: str = ""
    still_in: str = ""


@dataclass(frozen=True)
class WarmResult:
    """A table that has a warm copy, and the bytes of that; not `made` where it was here before."""

    package: str
    path: str
    rows: int
    size_bytes: int
    made: bool


@dataclass(frozen=True)
class ExportResult:
    """The files that were written, below a folder or as one file; `notes` say which tables got another format."""

    files: list[Path]
    size_bytes: int
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StubsResult:
    """What checkers are told below `folder`: the state of each package by its name, and the errors of the others.

    `written` and `removed` are the files that changed, as paths in the folder; where nothing may be written, those that
    would have to.
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


def unchecked_text(paths: list[str]) -> str:
    """Return a sentence that names tables whose content nobody has checked."""
    named = listed(paths, _PATHS_SHOWN)
    return f"the registry has not checked the content of {'tables' if len(paths) > 1 else 'table'} {named}"
