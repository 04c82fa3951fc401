"""Results of stages from the run cache of a package at its registry, which a build takes instead of running.

The bytes of a result are verified against what its entry states. That the command would give them is what the writers
of the package say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from datapkg.building.spec.model import Stage
from datapkg.building.stages import metrics
from datapkg.errors import DatapkgError, InvalidManifest, Unreachable
from datapkg.format import run_cache_wire
from datapkg.format.manifest.parsed import FileNode, GroupNode, Manifest, Node
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.texts import quoted
from datapkg.objects.base import Writable
from datapkg.objects.memory import MemoryObjects
from datapkg.objects.transfer import plan, transfer
from datapkg.store.stage_results import FORMAT, StageResult, key_of

if TYPE_CHECKING:
    from datapkg.format.names import Ref
    from datapkg.remote.client import Client
    from datapkg.store.store import Store

HashOf = Callable[[str], str | None]
Wanted = Mapping[str, tuple[Stage, Mapping[str, str]]]
"""Stages by name, each with what determines its outputs and is known before the run."""

MAX_MANIFESTS_BYTES = 128 << 20
"""A build takes manifests of results of so many bytes together, since they are in memory: of a million files."""


class SharedResults:
    """The run cache of the package `ref`, as one build asks it; `expected` are keys that it will probably ask for.

    What fails is a warning, and the stage runs.
    """

    def __init__(self, client: Client, ref: Ref, store: Store, expected: Iterable[str]) -> None:
        self.package = ref.package
        self.warnings: list[str] = []
        self._client, self._ref, self._store = client, ref, store
        self._expected = list(expected)
        self._hits: dict[str, list[run_cache_wire.StageHit]] = {}
        self._manifests: dict[str, Manifest] = {}
        self._is_over = False
        self._bytes_left = MAX_MANIFESTS_BYTES

    def find(self, wanted: Wanted, hash_of: HashOf) -> dict[str, StageResult]:
        """Return the results that the run cache has for stages, whose objects need not be here.

        `hash_of` returns the hash of a file of code. One request asks for all, and the first for what is expected too.
        """
        keys = {name: key_of(known) for name, (_, known) in wanted.items()}
        self._ask(keys.values(), hash_of)
        found = {}
        for name, (stage, known) in wanted.items():
            hit = _fitting(self._hits.get(keys[name], ()), hash_of)
            if hit is not None and hit.manifest in self._manifests:
                nodes = self._manifests[hit.manifest].nodes
                if problem := _problem(stage, nodes):
                    self._refuse(name, problem)
                else:
                    found[name] = self._result(stage, known, hit, nodes)
        return found

    def fetch(self, found: Mapping[str, StageResult]) -> dict[str, StageResult]:
        """Fetch the objects of results and verify each; return the results that are here whole then."""
        sizes = {name: dict(each for node in result.nodes for each in node.objects()) for name, result in found.items()}
        failed = self._moved(self._store.objects, sizes)
        for name, error in failed.items():
            self._refuse(name, error.message)
        here = {name: result for name, result in found.items() if name not in failed}
        for result in here.values():
            self._store.save(self._manifests[result.manifest])
        return here

    def _result(
        self, stage: Stage, known: Mapping[str, str], hit: run_cache_wire.StageHit, nodes: list[Node]
    ) -> StageResult:
        return StageResult(
            format=FORMAT,
            stage=stage.name,
            manifest=hit.manifest,
            nodes=nodes,
            code=hit.code,
            seconds=0.0,
            at=hit.filled_at,
            known=dict(known),
            package=self.package,
            by=hit.by,
        )

    def _refuse(self, name: str, why: str) -> None:
        what = f"the result of stage {quoted(name)} in the run cache of {self.package} was not taken"
        self.warnings.append(f"{what}: {why}")

    def _ask(self, keys: Iterable[str], hash_of: HashOf) -> None:
        """Ask for keys that were not asked for yet, and fetch the manifests of the results that fit."""
        new = [key for key in dict.fromkeys(keys) if key not in self._hits]
        if not new or self._is_over:
            return
        new = list(dict.fromkeys([*new, *(key for key in self._expected if key not in self._hits)]))
        self._expected = []
        self._hits |= {key: [] for key in new}  # also those without a result, so that no key is asked for twice
        try:
            for hit in self._client.find_stages(self._ref, new):
                self._hits.setdefault(hit.key, []).append(hit)
        except DatapkgError as error:
            self._give_up(error)
            return
        fitting = (_fitting(self._hits[key], hash_of) for key in new)
        self._fetch_manifests({hit.manifest: hit.manifest_size for hit in fitting if hit is not None})

    def _give_up(self, error: DatapkgError) -> None:
        self._is_over = True
        self.warnings.append(f"nothing more was taken from the run cache of {self.package}: {error.message}")

    def _fetch_manifests(self, sizes: Mapping[str, int]) -> None:
        """Fetch the manifests of results into memory; those that are too long or not as stated are left out."""
        right: dict[str, int] = {}
        for hash, size in sizes.items():
            if 0 <= size <= min(self._bytes_left, run_cache_wire.MAX_STAGE_MANIFEST_BYTES):
                self._bytes_left -= size
                right[hash] = size
        if left_out := len(sizes) - len(right):
            what = f"{left_out:,} results in the run cache of {self.package} were not taken"
            self.warnings.append(f"{what}: their lists of files are longer than a build takes")
        fetched = MemoryObjects()
        failed = self._moved(fetched, {hash: {hash: size} for hash, size in right.items()})
        for hash in right.keys() - failed.keys():
            try:
                self._manifests[hash] = read_manifest(fetched.read(hash), hash)
            except InvalidManifest as error:
                failed[hash] = error
        for each in failed.values():
            self.warnings.append(f"a result in the run cache of {self.package} was not taken: {each.message}")

    def _moved(self, target: Writable, groups: Mapping[str, Mapping[str, int]]) -> dict[str, DatapkgError]:
        """Move objects (hash to size in bytes) of several results here, all at once; return the errors by result.

        After a failure, each result is tried alone; without an answer of the registry none is.
        """
        theirs = self._client.objects(self._ref)
        everything: dict[str, int] = {}
        for sizes in groups.values():
            everything |= sizes
        try:
            transfer(theirs, target, plan(everything, target))
        except DatapkgError as error:
            if len(groups) == 1 or isinstance(error, Unreachable):
                return dict.fromkeys(groups, error)
        else:
            return {}
        failed: dict[str, DatapkgError] = {}
        for name, sizes in groups.items():
            try:
                transfer(theirs, target, plan(sizes, target))
            except DatapkgError as error:
                failed[name] = error
        return failed


def shown_origin(result: StageResult) -> str:
    """Return where a result comes from that was not made here, as it is shown."""
    return f"from the cache of {result.package} (by {result.by}, {result.at[:10]})"


def _fitting(hits: Iterable[run_cache_wire.StageHit], hash_of: HashOf) -> run_cache_wire.StageHit | None:
    """Return the newest result whose code is the same here."""
    fitting = (hit for hit in hits if all(_is_below(path) and hash_of(path) == hash for path, hash in hit.code.items()))
    return max(fitting, key=lambda hit: hit.filled_at, default=None)


def _is_below(path: str) -> bool:
    """Return whether a path that somebody else states is one of a file in the build folder."""
    parts = PurePosixPath(path).parts
    return "\0" not in path and bool(parts) and parts[0] != "/" and ".." not in parts


def _problem(stage: Stage, nodes: Iterable[Node]) -> str:
    """Return why these nodes cannot be the outputs of a stage, "" if they can."""
    kinds: dict[str, set[bool]] = {}
    for node in nodes:
        if not isinstance(node, FileNode | GroupNode) or node.meta:
            return f"{quoted(node.path)} is neither a file nor a group"
        name, slash, _ = node.path.partition("/")
        kinds.setdefault(name, set()).add(bool(slash) or isinstance(node, GroupNode))
    for name, text in stage.outputs.items():
        if kinds.get(name) != {text.endswith("/")}:
            return f"it has no {'folder' if text.endswith('/') else 'file'} for the output {quoted(name)}"
    if more := kinds.keys() - {*stage.outputs, metrics.FILE}:
        return f"{quoted(min(more))} is not an output of it"
    return ""
