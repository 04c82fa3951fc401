"""The run cache of a package at its registry: results of stages, taken by a build and pushed after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from datapkg.errors import Forbidden, InvalidInput, PackageNotFound
from datapkg.format import push_wire, run_cache_wire, wire
from datapkg.format.manifest.parsed import Manifest
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import TransferPlan, transfer
from datapkg.origins import allowed_registry
from datapkg.remote.static.client import StaticClient
from datapkg.store.stage_results import FOLDER, StageResult, StageResults, key_of

if TYPE_CHECKING:
    from datapkg.api.build_result import BuildResult
    from datapkg.building.stages.shared_results import SharedResults
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.remote.client import Client

_IMPORTED = "imported."
_ENTRY_BYTES = 4 << 20
"""The JSON of one request has about so many bytes at most; registries allow 8 MiB."""


@dataclass(frozen=True)
class CachePush:
    """What was pushed to a run cache: results that it did not have, and the objects sent for them."""

    package: str
    added: int = 0
    present: int = 0
    objects_sent: int = 0
    bytes_sent: int = 0
    warnings: list[str] = field(default_factory=list)


def shared_results(
    home: Home, ref: Ref, registry: str | None, before: Mapping[str, Mapping[str, str]]
) -> SharedResults:
    """Return the run cache of a package for one build; `before` is what its stages were last run with.

    Raise `InvalidInput` for a registry that has no run caches.
    """
    from datapkg.building.stages.shared_results import SharedResults

    keys = (
        key_of({name: text for name, text in known.items() if not name.startswith(_IMPORTED)})
        for known in before.values()
    )
    return SharedResults(_client(home, ref, registry), ref, home.store, keys)


def check_may_fill(home: Home, ref: Ref, registry: str | None, *, is_pushed: bool) -> None:
    """Raise, before anything runs, what a push to the run cache is certain to raise.

    With `is_pushed`, the package is pushed before, so it need not exist.
    """
    client = _client(home, ref, registry)
    client.check_may_change(ref)
    try:
        role = client.package(ref).role
    except PackageNotFound as error:
        if is_pushed:
            return
        raise PackageNotFound(
            f"{error.message}; its run cache needs the package",
            hint=f"push it too: datapkg build {ref.package} --push --push-cache",
            **error.detail,
        ) from error
    if role not in ("owner", "writer"):
        raise Forbidden(
            f"you can read {ref.package}, but only its writers can push to its run cache",
            hint=f"ask {ref.user} for: datapkg access add {ref.package} YOUR_NAME --write",
        )


def push_results(
    home: Home,
    ref: Ref,
    built: BuildResult,
    *,
    registry: str | None = None,
    progress: Progress = silent,
) -> CachePush:
    """Push the results of the stages of a build to the run cache of its package; the registry gets what it lacks.

    Those of stages that ran now replace others that it has for the same inputs and code. Each is there with all its
    objects or not at all.
    """
    results, ran = _own_results(home, built), {each["stage"] for each in built.stages if each["action"] == "ran"}
    if not results:
        return CachePush(ref.package)
    client = _client(home, ref, registry)
    client.check_may_change(ref)
    new = _lacking(client, ref, results, ran)
    if not new:
        return CachePush(ref.package, present=len(results))
    manifests = {each.manifest: home.store.manifest(each.manifest) for each in new}
    present = len(results) - len(new)
    left_out = {hash for hash, each in manifests.items() if each.size_bytes > run_cache_wire.MAX_STAGE_MANIFEST_BYTES}
    new = [each for each in new if each.manifest not in left_out]
    warnings = [f"{len(left_out):,} results of too many files were not pushed"] if left_out else []
    added = objects_sent = bytes_sent = 0
    is_public = False
    for group in _groups(new, manifests):
        started, sent = _sent(home, client, ref, [manifests[each.manifest] for each in group], progress)
        entries = [
            run_cache_wire.StageEntry(key=key_of(each.known), code=each.code, manifest=each.manifest) for each in group
        ]
        added += client.keep_stages(ref, started.push, entries)
        objects_sent, bytes_sent = objects_sent + len(sent.needed), bytes_sent + sent.size_bytes
        is_public |= started.public
    if is_public:
        warnings.append(f"{ref.package} is public, so everybody can read the results in its run cache")
    return CachePush(ref.package, added, present, objects_sent, bytes_sent, warnings)


def _own_results(home: Home, built: BuildResult) -> dict[str, StageResult]:
    """Return the results by stage that are kept on this machine, and not taken from a run cache."""
    kept = StageResults(home.store.folder / FOLDER, home.store.tmp)
    return {name: result for name, result in built.results.items() if kept.may_share(result)}


def _client(home: Home, ref: Ref, registry: str | None) -> Client:
    client = home.client(allowed_registry(home, ref, registry))
    if isinstance(client, StaticClient):
        raise client.no_run_cache()
    return client


def _lacking(client: Client, ref: Ref, results: Mapping[str, StageResult], ran: set[str]) -> list[StageResult]:
    """Return the results that the run cache lacks; of those of `ran` also where it has another one."""
    keys = {name: key_of(result.known) for name, result in results.items()}
    there = {
        (hit.key, frozenset(hit.code.items())): hit.manifest
        for hit in client.find_stages(ref, list(dict.fromkeys(keys.values())))
    }
    found: dict[tuple[str, frozenset[tuple[str, str]]], StageResult] = {}
    for name, result in results.items():
        key = keys[name], frozenset(result.code.items())
        if key not in there or (name in ran and there[key] != result.manifest):
            found.setdefault(key, result)
    return list(found.values())


def _groups(results: Iterable[StageResult], manifests: Mapping[str, Manifest]) -> Iterator[list[StageResult]]:
    """Yield results in groups that one request may have; nearly always that is one group."""
    group: list[StageResult] = []
    entry_bytes = manifest_bytes = 0
    for each in results:
        size = manifests[each.manifest].size_bytes
        # An estimate of their JSON; a registry takes twice `_ENTRY_BYTES`.
        length = 300 + sum(2 * len(path) + 80 for path in each.code)
        is_full = (
            len(group) == run_cache_wire.MAX_STAGE_KEYS
            or manifest_bytes + size > run_cache_wire.MAX_STAGE_MANIFEST_BYTES
        )
        if group and (is_full or entry_bytes + length > _ENTRY_BYTES):
            yield group
            group, entry_bytes, manifest_bytes = [], 0, 0
        group.append(each)
        entry_bytes, manifest_bytes = entry_bytes + length, manifest_bytes + size
    if group:
        yield group


def _sent(
    home: Home, client: Client, ref: Ref, manifests: list[Manifest], progress: Progress
) -> tuple[push_wire.PushStarted, TransferPlan]:
    """Start a push and send the objects of results that the registry lacks; return what was sent."""
    asked: dict[str, int] = {each.hash: each.size_bytes for each in manifests}
    for each in manifests:
        asked.update(each.objects().items())
    first = list(asked)[: wire.MAX_HASHES]
    started = client.start_push(ref, manifests[0].hash, first)
    if not started.exists:  # it was deleted meanwhile
        raise InvalidInput(f"{ref.package} is not at {client.url}", hint=f"datapkg push {ref.package}")
    target, missing = client.objects(ref, started.push), set(started.missing)
    if rest := list(asked)[wire.MAX_HASHES :]:
        missing |= target.missing(rest)
    planned = TransferPlan({hash: size for hash, size in asked.items() if hash in missing}, len(asked) - len(missing))
    transfer(home.store.objects, target, planned, progress)
    return started, planned
