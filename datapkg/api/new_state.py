"""How a draft becomes a state: its checks are tried, it is kept here, and pushed upon what others made meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from datapkg.api.carried_checks import CheckedState, Reach
from datapkg.api.notebook_progress import shown as shown_progress
from datapkg.api.push import push_package
from datapkg.api.push_plan import new_objects
from datapkg.api.rebase import rebased
from datapkg.api.results import PushResult
from datapkg.api.states import check_complete
from datapkg.building.record import versions
from datapkg.errors import Conflict
from datapkg.format.frozen import dataclass
from datapkg.format.manifest.edit import ManifestEdit
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.base import Readable
from datapkg.objects.progress import Progress
from datapkg.reading.source import Remote, Source
from datapkg.store.refs import Current, LogEvent

TRIES = 5
FEW = 1_000


@dataclass(frozen=True)
class CommitOptions:
    """What an edit says in the log, and where it goes; with `push` it goes to the registry too.

    `origin` is what the record says made the state; of a `dry_run` nothing is kept or sent. `tag` and `version` name
    the state that is pushed. Without `checks` none is tried, and the record says so.
    """

    message: str = ""
    push: bool = True
    registry: str | None = None
    progress: Progress | None = None
    origin: str = "edit"
    dry_run: bool = False
    tag: str | None = None
    version: str | None = None
    checks: bool = True


class NewState:
    """The nodes, metadata and record of a state that is being made from `_base`, and what becomes of them."""

    # Whether the new state becomes the current one here before it is pushed: a push that fails can then be repeated.
    _is_kept_first = True

    def __init__(self, home: Home, ref: Ref, options: CommitOptions) -> None:
        self._home, self._ref, self._options = home, ref, options
        self._base: Manifest | None = None
        self._parent: str | None = None
        self._nodes = ManifestEdit()
        self._record: dict[str, Any] = {"origin": options.origin, "sources": []}
        self._checks = CheckedState(home, ref, options.registry)
        self._objects: Readable = home.store.objects
        self._others: list[Source] = []  # of packages of which nodes were taken over
        self.meta: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.message = options.message
        self.pushed: PushResult | None = None
        self.hash = ""

    def _latest(self) -> Manifest | None:
        """The registry's latest state, of which the manifest alone is fetched; None where it has no such package."""
        raise NotImplementedError

    def _commit(self) -> None:
        manifest = self._nodes.manifest(self.meta)
        same = self._base if self._base is not None and manifest.hash == self._base.hash else None
        if same is None or self._checks.asks:
            self._try_checks(manifest)
        if self._options.dry_run or (same is not None and not self._checks.differ(same)):
            self.hash = manifest.hash
        elif self._options.push:
            with shown_progress(self._options.progress) as tell:
                self._push(manifest, tell)
        else:
            self._keep_here(manifest)

    def _try_checks(self, manifest: Manifest, theirs: Manifest | None = None) -> None:
        """Try what the state's tables must hold, and note in the record what it came to; raise `CheckFailed`."""
        reach = Reach(self._objects, [*self._sources(), *([self._state(theirs)] if theirs else [])])
        found = self._checks.tried(self._base, manifest, reach, run=self._options.checks, theirs=theirs)
        self._record = {key: value for key, value in self._record.items() if key not in ("checks", "rules")} | found
        self.warnings = list(dict.fromkeys([*self.warnings, *self._checks.warnings]))

    def _sources(self) -> list[Source]:
        """The states that nodes of the draft came from."""
        return [*([self._state(self._base)] if self._base else []), *self._others]

    def _state(self, manifest: Manifest) -> Source:
        return Source(self._home.store, self._ref, manifest.hash, Remote(self._home, self._options.registry))

    def _check_complete(self, hash: str) -> None:
        """Raise `BuildFailed` where the new state would be made upon one that `build --keep-going` left incomplete."""
        line = f"datapkg push {self._ref.package}@sha256:{hash}"
        check_complete(
            self._home, self._ref.at(None), hash, "nothing was changed", f"build it again, or push it as it is: {line}"
        )

    def _keep_here(self, manifest: Manifest) -> None:
        """Keeps a state that is not pushed, on top of what became current here meanwhile."""
        current = self._home.store.refs.current(self._ref.user, self._ref.name)
        parent = self._base
        if current is not None and (parent is None or current.hash != parent.hash):
            self._check_complete(current.hash)
            before, parent = parent, self._home.store.manifest(current.hash)
            manifest = rebased(before, manifest, parent)
            self._try_checks(manifest, parent)
        self._keep(manifest, parent)

    def _keep(self, manifest: Manifest, parent: Manifest | None, at: str = "") -> None:
        """Makes a state the current one here; the pointer moves last."""
        store, user, name = self._home.store, self._ref.user, self._ref.name
        store.save(manifest)
        at, record = at or datetime.now(UTC).isoformat(), self._recorded(parent)
        store.refs.append_log(user, name, LogEvent("build", manifest.hash, at, "local", self.message, record))
        is_partial = self._is_partial(manifest)
        title = str(manifest.meta.get("title", ""))
        store.refs.set_current(user, name, Current(manifest.hash, "local", is_partial, title, manifest.size()))
        self.hash = manifest.hash

    def _is_partial(self, manifest: Manifest) -> bool:
        """Whether objects of a state are not here."""
        store, current = self._home.store, self._home.store.refs.current(self._ref.user, self._ref.name)
        if current is not None and not current.partial and store.has(current.hash):
            return bool(store.objects.missing(new_objects(store.manifest(current.hash), manifest)))
        first = [hash for node in islice(manifest.entries(), FEW) for hash, _ in node.objects()]
        return bool(store.objects.missing(first) or store.absent(manifest))

    def _recorded(self, parent: Manifest | None) -> dict[str, Any]:
        """What is said of how the new state came from this one."""
        return {"libraries": versions(), **self._record, **({"parent": parent.hash} if parent else {})}

    def _push(self, manifest: Manifest, tell: Progress) -> None:
        """Pushes what is new; what others pushed meanwhile to other paths is taken in first, a few times."""
        base, options = self._base, self._options
        for attempt in range(TRIES):
            at = datetime.now(UTC).isoformat()
            if self._is_kept_first:
                self._keep(manifest, base)
            else:
                self._home.store.save(manifest)
            exact, parent = self._ref.at(State("hash", manifest.hash)), self._parent
            try:
                given: dict[str, Any] = {"tag": options.tag, "version": options.version, "registry": options.registry}
                record, message = self._recorded(base), self.message
                self.pushed = push_package(
                    self._home, exact, parent=parent, message=message, record=record, progress=tell, **given
                )
                if not self._is_kept_first:
                    self._keep(manifest, base, at)
                return
            except Conflict:
                theirs = self._latest()
                if theirs is None or theirs.hash == parent or attempt == TRIES - 1:
                    raise
            manifest, base = rebased(base, manifest, theirs), theirs
            self._try_checks(manifest, theirs)
