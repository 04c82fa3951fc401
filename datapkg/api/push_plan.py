"""Push plan: find the objects of a state that must be sent, given a state that the registry has.

The manifest is an object like the others, so one request finds everything that is missing. A push asks only about
objects that its parent state lacks: the registry has those of its own `latest`, and lists damaged ones among them when
the push starts. If it does not send that list, the push asks about all objects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from mmap import ACCESS_READ, mmap
from typing import cast

from datapkg.errors import DatapkgError
from datapkg.format import push_wire
from datapkg.format.chunks import Step
from datapkg.format.hashing import READ_BYTES
from datapkg.format.manifest.delta import HEAD_BYTES, MAX_STEPS, steps_over
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.earlier import Replacement, replaced_objects
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.format.object_sets import joined
from datapkg.format.object_sizes import AT_ONCE, lacking
from datapkg.objects.base import Readable
from datapkg.objects.deltas import (
    Guesses,
    PlannedTransfer,
    known_chunks,
    long_ones,
    new_bytes,
    planned_transfer,
    sample,
    steps_from,
)
from datapkg.objects.progress import TRANSFERRING, Progress
from datapkg.objects.transfer import TransferPlan
from datapkg.remote.client import Client, PushTarget
from datapkg.remote.objects import RESUMED_BYTES
from datapkg.store.verified import VerifiedObjects


def new_objects(before: Manifest | None, manifest: Manifest) -> Mapping[str, int]:
    """Return the objects of nodes that differ from those of another state; all objects if there is none."""
    if before is None:
        return manifest.objects()
    _, after = changed(before, manifest)
    return {hash: size for node in after.values() for hash, size in node.objects()}


@dataclass(frozen=True)
class PushPlan:
    """A started push; `before` is a state that is here and may be the registry's `latest`."""

    objects: Readable
    target: PushTarget
    started: push_wire.PushStarted
    before: Manifest | None
    latest: Manifest | None
    older: Iterable[Manifest] = ()
    """Other states that the registry had when this machine last saw them: a file may be as it was in one of them."""

    @property
    def _is_held(self) -> bool:
        """Return whether the registry is known to have every object of the state before, except those it listed."""
        return self.before is not None and self.started.damaged is not None and self.started.latest == self.before.hash

    def plan(self, manifest: Manifest, asked: Mapping[str, int]) -> TransferPlan:
        """Return what the registry lacks; it was asked about the first `asked` objects when the push started."""
        known, absent, wanted = set(first_hashes(asked)), set(self.started.missing), asked
        if not self._is_held and self.before is not None:  # else all objects are among those asked about
            wanted = joined(wanted, manifest.objects())
        elif damaged := self.started.damaged:
            everything = manifest.objects()
            wanted = joined(wanted, {hash: everything[hash] for hash in damaged if hash in everything})
            known.update(damaged)
            absent.update(damaged)
        wanted = joined(wanted, older := self._damaged_elsewhere(wanted))
        known.update(older)
        absent.update(older)

        def missing(some: Sequence[str]) -> set[str]:
            rest = [hash for hash in some if hash not in known]
            return absent.intersection(some) | (self.target.missing(rest) if rest else set())

        needed = lacking(wanted, missing)
        return TransferPlan(needed, len(wanted) - len(needed))

    def _damaged_elsewhere(self, wanted: Mapping[str, int]) -> dict[str, int]:
        """Return the damaged objects of the registry's older states that are here, so that it gets these back too."""
        others = {hash for hash in self.started.damaged or () if hash not in wanted}
        return {hash: self.objects.size(hash) for hash in sorted(others - self.objects.missing(others))}

    def deltas(
        self, planned: TransferPlan, manifest: Manifest, records: tuple[dict[str, int], dict[str, int]] = ({}, {})
    ) -> dict[str, list[Step]]:
        """Return, by hash, the steps that build needed objects from chunks of those that they replace.

        `records` has the previous and the new object of the record: hash to size in bytes.
        """
        deltas: dict[str, list[Step]] = {}
        if manifest.hash in planned.needed and (steps := self._steps(manifest)):
            deltas[manifest.hash] = steps
        if self.latest is None or self.started.damaged is None:
            return deltas
        damaged = set(self.started.damaged)
        guesses = Guesses(self.objects, partial(sample, self.objects))
        replaced = chain(replaced_objects(self.latest, manifest), self._replaced_of_older(manifest, planned, deltas))
        for removed, added, is_guess in chain([Replacement(*records)], replaced):
            wanted = {hash: size for hash, size in long_ones(added).items() if hash in planned.needed}
            wanted = {hash: size for hash, size in wanted.items() if not is_guess or hash not in deltas}
            absent = self.objects.missing(removed) if wanted else set()
            bases = long_ones({hash: size for hash, size in removed.items() if hash not in damaged | absent})
            if not wanted or (is_guess and not guesses.is_likely(bases, wanted)):
                continue
            known = known_chunks(self.objects, bases)
            for hash, size in wanted.items() if known else ():
                if steps := steps_from(self.objects.chunks(hash, size) or [], known):
                    deltas[hash] = steps
        return deltas

    def _replaced_of_older(
        self, manifest: Manifest, planned: TransferPlan, deltas: Mapping[str, list[Step]]
    ) -> Iterator[Replacement]:
        """Yield what is replaced of older states by long objects that have no delta yet, once it is asked for."""
        if not any(hash not in deltas for hash in long_ones(planned.needed)):
            return
        for before in self.older:
            for removed, added, is_guess in replaced_objects(before, manifest):
                left = {hash: size for hash, size in added.items() if hash not in deltas}
                if left and not is_guess:
                    yield Replacement(removed, left)

    def arrived(self, planned: TransferPlan, manifest: str, deltas: Mapping[str, list[Step]]) -> dict[str, int]:
        """Return, by hash, the bytes of objects that arrived in an interrupted upload, which goes on from there."""
        whole = {hash: size for hash, size in long_ones(planned.needed).items() if hash not in deltas}
        # Only long objects are sent in uploads that can be resumed.
        found = self.target.arrived(whole)
        long = {hash: steps for hash, steps in deltas.items() if new_bytes(steps) >= RESUMED_BYTES}
        return found | {hash: self._arrived_of_delta(hash, steps) for hash, steps in long.items() if hash != manifest}

    def _arrived_of_delta(self, hash: str, steps: Iterable[Step]) -> int:
        """Return how many of the new bytes of a delta, which travel as an object of their own, arrived already."""
        sha256, size = hashlib.sha256(), 0
        for step in steps:
            if step.source is None:
                with self.objects.open(hash, step.offset, step.offset + step.size) as stream:
                    while piece := stream.read(READ_BYTES):
                        sha256.update(piece)
                size += step.size
        remainder = sha256.hexdigest()
        is_missing = self.target.missing([remainder])
        return self.target.arrived({remainder: size}).get(remainder, 0) if is_missing else size

    def send_deltas(
        self, planned: TransferPlan, manifest: Manifest, deltas: dict[str, list[Step]], progress: Progress
    ) -> TransferPlan:
        """Send objects as deltas; return the plan of what is left, which is sent whole."""
        sent: dict[str, int] = {}
        for hash, steps in deltas.items():
            try:
                with self._mapped(hash, manifest) as new:
                    self.target.put_delta(hash, new, steps)
            except DatapkgError:  # of whatever kind: what is sent whole needs nothing of the registry's
                continue
            sent[hash] = planned.needed[hash]
            progress(TRANSFERRING, sum(sent.values()), planned.size_bytes)
        if not sent:
            return planned
        left = {hash: size for hash, size in planned.needed.items() if hash not in sent}
        return TransferPlan(left, planned.present + len(sent))

    @contextmanager
    def _mapped(self, hash: str, manifest: Manifest) -> Iterator[memoryview]:
        if hash == manifest.hash:
            yield manifest.view if isinstance(manifest, MappedManifest) else memoryview(manifest.data)
            return
        place, raw = cast(VerifiedObjects, self.objects).opened(hash)  # only a dry run has others
        with (
            raw as file,
            mmap(file.fileno(), 0, access=ACCESS_READ) as data,
            memoryview(data)[place.offset : place.offset + place.size] as view,
        ):
            yield view

    def _steps(self, manifest: Manifest) -> list[Step]:
        """Return the delta from the previous manifest to this one; empty if it is better sent whole."""
        before = self.before
        if not (self._is_held and isinstance(before, MappedManifest) and isinstance(manifest, MappedManifest)):
            return []
        steps = steps_over(manifest.gaps(before), before.hash, before.size_bytes)
        return steps if len(steps) <= MAX_STEPS and 2 * new_bytes(steps) <= manifest.size_bytes else []


def first_hashes(asked: Mapping[str, int]) -> list[str]:
    """Return the hashes of the objects that the request that starts a push asks about."""
    # Not as many as it may have: the registry would need 60 MB to read these, while it starts the push.
    return list(islice(asked, AT_ONCE))


def without(planned: TransferPlan, hashes: Collection[str]) -> TransferPlan:
    """Return the plan without these objects."""
    if not any(hash in planned.needed for hash in hashes):
        return planned
    left = lacking(planned.needed, lambda some: {hash for hash in some if hash not in hashes})
    return TransferPlan(left, planned.present)


def plan_push(
    client: Client,
    ref: Ref,
    objects: Readable,
    before: Manifest | None,
    manifest: Manifest,
    records: tuple[dict[str, int], dict[str, int]],
) -> PlannedTransfer:
    """Return what a push of a state to the registry's latest one, `before`, would send; raise what its start would.

    `records` has the previous and the new object of the record: hash to size in bytes.
    """
    asked = joined({manifest.hash: manifest.size_bytes, **records[1]}, new_objects(before, manifest))
    started = client.start_push(ref, manifest.hash, first_hashes(asked))
    plan = PushPlan(objects, client.objects(ref, started.push), started, before, before)
    planned = plan.plan(manifest, asked)
    if not started.record_objects:  # then the record travels inside the request
        planned = without(planned, records[1])
    deltas = plan.deltas(planned, manifest, records)
    arrived = plan.arrived(planned, manifest.hash, deltas)
    return planned_transfer(planned, deltas, manifest.size(), arrived, size_of_steps(deltas))


def size_of_steps(deltas: Mapping[str, list[Step]]) -> int:
    """Return the bytes that the steps of deltas take in the bodies that carry them."""
    return HEAD_BYTES * sum(map(len, deltas.values()))
