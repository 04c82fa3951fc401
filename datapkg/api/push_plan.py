"""Push plan: find the objects of a state that must be sent, given a state that the registry has.

The manifest is an object like the others, so one request finds everything that is missing. A push asks only about
objects that its parent state lacks: the registry has those of its own `latest`, and lists damaged ones among them when
the push starts. If it does not send that list, the push asks about all objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from datapkg.errors import DatapkgError
from datapkg.format import wire
from datapkg.format.manifest.delta import MAX_STEPS, Step, steps_over
from datapkg.format.manifest.diff import changed
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import Manifest
from datapkg.objects.transfer import TransferPlan
from datapkg.remote.objects import RegistryObjects


def new_objects(before: Manifest | None, manifest: Manifest) -> dict[str, int]:
    """Return the objects of nodes that differ from those of another state; all objects if there is none."""
    if before is None:
        return manifest.objects()
    _, after = changed(before, manifest)
    return {hash: size for node in after.values() for hash, size in node.objects()}


@dataclass(frozen=True)
class PushPlan:
    """A started push; `before` is a state that is here and may be the registry's latest."""

    target: RegistryObjects
    started: wire.PushStarted
    before: Manifest | None

    @property
    def _is_held(self) -> bool:
        """Return whether the registry is known to have every object of the state before, except those it listed."""
        return self.before is not None and self.started.damaged is not None and self.started.latest == self.before.hash

    def plan(self, manifest: Manifest, asked: dict[str, int]) -> TransferPlan:
        """Return what the registry lacks; it was asked about the first `asked` objects when the push started."""
        known, missing, wanted = set(list(asked)[: wire.MAX_HASHES]), set(self.started.missing), dict(asked)
        if not self._is_held:
            wanted |= manifest.objects()
        elif damaged := self.started.damaged:
            everything = manifest.objects()
            wanted |= {hash: everything[hash] for hash in damaged if hash in everything}
            known.update(damaged)
            missing.update(damaged)
        if rest := [hash for hash in wanted if hash not in known]:
            missing |= self.target.missing(rest)
        needed = {hash: size for hash, size in wanted.items() if hash in missing}
        return TransferPlan(needed, len(wanted) - len(needed))

    def size_bytes(self, planned: TransferPlan, manifest: Manifest) -> int:
        """Return the number of bytes that a plan sends, with the manifest as a delta if possible."""
        steps = self._steps(manifest) if manifest.hash in planned.needed else []
        return planned.size_bytes - (manifest.size_bytes - _new_bytes(steps) if steps else 0)

    def send_manifest(self, planned: TransferPlan, manifest: Manifest) -> TransferPlan:
        """Send a long manifest as a delta from the state before, if the registry accepts it; return the rest."""
        steps = self._steps(manifest) if manifest.hash in planned.needed else []
        if not steps or not isinstance(manifest, MappedManifest):
            return planned
        try:
            self.target.put_delta(manifest.hash, manifest.view, steps)
        except DatapkgError:  # of any kind: sending the whole manifest does not depend on the registry's state
            return planned
        return TransferPlan(
            {hash: size for hash, size in planned.needed.items() if hash != manifest.hash}, planned.present + 1
        )

    def _steps(self, manifest: Manifest) -> list[Step]:
        """Return the delta from the previous manifest to this one; empty if it is better sent whole."""
        before = self.before
        if not (self._is_held and isinstance(before, MappedManifest) and isinstance(manifest, MappedManifest)):
            return []
        steps = steps_over(manifest.gaps(before), before.hash, before.size_bytes)
        return steps if len(steps) <= MAX_STEPS and 2 * _new_bytes(steps) <= manifest.size_bytes else []


def _new_bytes(steps: list[Step]) -> int:
    return sum(step.size for step in steps if step.source is None)
