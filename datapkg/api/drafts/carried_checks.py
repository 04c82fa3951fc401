"""Carry the checks of a draft from the record of the previous state, and run them on the new state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, BinaryIO

import msgspec

from datapkg.building.checks.definitions import Entry, packed, unpacked
from datapkg.building.checks.demands import (
    NOT_RUN,
    CarriedCheck,
    Tried,
    asked_for,
    carried_checks_of,
    run_carried_checks,
)
from datapkg.building.checks.report import raise_failed, warnings_of
from datapkg.building.checks.run import tables_at
from datapkg.building.spec.model import NodeSpec
from datapkg.errors import DatapkgError, ObjectNotFound, Unreachable
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.base import Readable
from datapkg.origins import allowed_registry, origin_of
from datapkg.reading.source import Source
from datapkg.store.store import Store

_HINT = "correct the data; --no-checks (checks=False) makes the state all the same, and its record says so"


class CheckedState:
    """The checks of a draft: those of the previous state, moved with its nodes, and those of added build files."""

    def __init__(self, home: Home, ref: Ref, registry: str | None) -> None:
        self._home, self._ref, self._registry = home, ref, registry
        self._moves: list[tuple[str, str]] = []
        self._specs: list[NodeSpec] = []
        self._settled: set[str] = set()
        self._known: dict[str, list[CarriedCheck]] = {}
        self._taken: list[CarriedCheck] | None = None
        self._entries: list[Entry] = []
        self.warnings: list[str] = []

    @property
    def asks(self) -> bool:
        """Return whether a build file has checks of its own."""
        return bool(self._specs)

    def move(self, old: str, new: str) -> None:
        """Move the checks of a node or group, and references to it, to another path."""
        self._moves.append((old, new))

    def ask(self, specs: Iterable[NodeSpec], settled: Collection[str] = ()) -> None:
        """Add the checks of a build file; at the `settled` paths they replace those of the previous state."""
        self._specs += [each for each in specs if each.checks]
        self._settled |= set(settled)

    def take(self, demands: Iterable[CarriedCheck]) -> None:
        """Replace the checks of the previous state, for a draft that is made from other packages."""
        self._taken = list(demands)

    def tried(
        self,
        base: Manifest | None,
        manifest: Manifest,
        objects: Readable,
        *,
        run: bool = True,
        theirs: Manifest | None = None,
    ) -> dict[str, Any]:
        """Run all checks of a state; return the part of its record with the results.

        `theirs` is a state that others made from `base` meanwhile and that the new one follows: their tables keep the
        checks of that state. Raise `CheckFailed` with all failures.
        """
        demands = self._demands(base, manifest, theirs)
        try:
            tried = run_carried_checks(demands, manifest, objects, run=run)
        except (ObjectNotFound, Unreachable) as error:
            what = f"the checks of {self._ref.package} read data that is not on this machine: {error.message}"
            hint = f"{error.hint}; or --no-checks, which the record then says" if error.hint else _HINT
            raise type(error)(what, hint=hint, **error.detail) from error
        raise_failed(tried.results, _HINT)
        self._warn(demands, tried, manifest)
        self._entries = tried.entries
        return packed(tried.entries)

    def differ(self, base: Manifest) -> bool:
        """Return whether the last checked state has other checks or results than the previous state."""
        before = (each.entry for each in self._of_state(base))
        return bool(self._entries) and sorted(map(str, self._entries)) != sorted(map(str, before))

    def _demands(self, base: Manifest | None, manifest: Manifest, theirs: Manifest | None) -> list[CarriedCheck]:
        earlier = self._taken if self._taken is not None else self._of_state(base)
        for old, new in self._moves:
            earlier = [each.moved(old, new) for each in earlier]
        if theirs is not None and theirs is not base:
            mine = [each for each in earlier if theirs.get(each.path) != manifest.get(each.path)]
            others = [each for each in self._of_state(theirs) if theirs.get(each.path) == manifest.get(each.path)]
            earlier = mine + others
        asked = [
            demand
            for spec in self._specs
            for table in tables_at(manifest, spec.path)
            for demand in asked_for(spec.checks, table.path, earlier, manifest.get)
        ]
        taken = {(each.path, each.name) for each in asked}
        kept = [each for each in earlier if each.path not in self._settled and (each.path, each.name) not in taken]
        return [*kept, *asked]

    def _of_state(self, state: Manifest | None) -> list[CarriedCheck]:
        if state is None:
            return []
        if state.hash not in self._known:
            entries, problem = known_checks(self._home, self._home.store, self._ref, state.hash, self._registry)
            self.warnings += [problem] if problem else []
            self._known[state.hash] = carried_checks_of(entries, state.get)
        return self._known[state.hash]

    def _warn(self, demands: Sequence[CarriedCheck], tried: Tried, manifest: Manifest) -> None:
        lines = warnings_of(tried.results)
        lines += [
            f"Data check: {each.name} of {each.path} was not run: {reason}"
            for each, reason in tried.skipped
            if reason != NOT_RUN
        ]
        for each in demands:
            node = manifest.get(each.path)
            if node is not None and not isinstance(node, TableNode):
                lines.append(f"Data check: {each.name} ends here: {each.path} is a {node.kind} now")
        self.warnings = list(dict.fromkeys([*self.warnings, *lines]))


def known_checks(home: Home, store: Store, ref: Ref, hash: str, registry: str | None) -> tuple[list[Entry], str]:
    """Return the recorded checks of a state, and a warning if they cannot be determined.

    The record is in the log of the machine that made the state; on other machines the state's registry is queried.
    """
    refs = store.refs
    record = store.record(ref, hash)
    entries = unpacked(record or {})
    if entries or (record is not None and any(refs.log(ref, "push", hash=hash))):
        return entries, ""
    origin = origin_of(home, ref, hash)
    if origin is None and hash not in refs.tags(ref).values():
        return entries, ""
    try:
        url = origin if origin is not None and registry is None else allowed_registry(home, ref, registry)
        return unpacked(msgspec.to_builtins(home.client(url).checks(ref, hash))), ""
    except DatapkgError as error:
        what = f"the checks of {ref.package}@{hash[:12]} are not known on this machine, and were not run"
        return entries, f"{what}: {error.message}"


class Reach(Readable):
    """The objects of a draft: those here, else those of the states that its nodes came from."""

    def __init__(self, mine: Readable, sources: Sequence[Source]) -> None:
        self._mine, self._sources = mine, sources
        self._held: list[set[str]] | None = None

    def missing(self, hashes: Iterable[str]) -> set[str]:
        """Return the hashes of objects that are not on this machine."""
        return self._mine.missing(hashes)

    def size(self, hash: str) -> int:
        """Return the size of an object in bytes."""
        return self._of(hash).size(hash)

    def open(self, hash: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """Open an object; of a big remote object, only the ranges that are read are fetched."""
        return self._of(hash).open(hash, start, stop)

    def _of(self, hash: str) -> Readable:
        if not self._mine.missing([hash]):
            return self._mine
        if self._held is None:
            self._held = [set(source.manifest.objects()) for source in self._sources]
        for source, held in zip(self._sources, self._held, strict=True):
            if hash in held:
                return source.through if source.is_lazy else source.store.objects
        return self._mine
