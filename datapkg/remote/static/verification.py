"""Verify a registry without a server: every log entry by entry, and every byte that a state needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from datapkg.errors import DatapkgError, IntegrityError, NotFound, QuotaExceeded, Refused
from datapkg.format import static_registry as layout
from datapkg.format.hashing import hash_bytes, hash_stream
from datapkg.format.locations import RECIPE, WHOLE
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref
from datapkg.objects.progress import VERIFYING, Progress
from datapkg.objects.threads import ThreadPool
from datapkg.remote.static.client import StaticClient
from datapkg.remote.static.package import StaticPackage


@dataclass
class VerifiedStates:
    """The objects that were read, and what is wrong: hash, package, path of a node and problem, each of them or ""."""

    checked: set[str] = field(default_factory=set)
    damaged: list[tuple[str, str, str, str]] = field(default_factory=list)


def packages_of(client: StaticClient) -> list[Ref]:
    """Return all packages of a registry: those that have a log, or where keys cannot be listed, those of the index."""
    try:
        found = {entry[0] for each in client.blobs.list("packages/") if (entry := layout.entry_of(each.key))}
    except Refused:
        return [Ref.parse(each.package) for each in client.packages()]
    return sorted(found, key=lambda ref: ref.package)


def verify_registry(client: StaticClient, refs: list[Ref], progress: Progress) -> VerifiedStates:
    """Verify these packages; each object is read once, whichever states have it."""
    result = VerifiedStates()
    for ref in refs:
        package = client.package_of(ref)
        try:
            states = list(_states(package))
        except DatapkgError as error:
            result.damaged.append(("", ref.package, "", error.message))
            continue
        for state, record_object in states:
            _verify_state(package, state, record_object, result, progress)
        _verify_wheels(package, result)
    return result


def _states(package: StaticPackage) -> Iterator[tuple[str, str | None]]:
    """Yield each state with the object of its record; raise `IntegrityError` where the log does not hold together."""
    package.log.check_end()
    entries = list(package.log.entries())[::-1]
    heads, pointers = layout.no_package(package.ref), {""}
    for change in entries:
        heads = layout.applied(heads, change)
        if layout.digest(heads) != change.heads:
            raise IntegrityError(f"entry {change.number} of the log does not match the pointers that it states")
        pointers.add(change.heads)
    try:
        written = hash_bytes(package.blobs.read(layout.heads_key(package.ref), layout.MAX_HEADS_BYTES))
    except (NotFound, QuotaExceeded):
        written = ""
    if written not in pointers:
        raise IntegrityError("heads.json does not match any entry of the log; the next push writes it again")
    for change in entries:
        if change.kind in ("push", "record") and heads.first and change.number >= heads.first:
            yield change.hash, change.record_object


def _verify_wheels(package: StaticPackage, result: VerifiedStates) -> None:
    for change in package.log.entries():
        for version, sha256 in change.wheels.items():
            try:
                package.wheels.read(version, sha256)
            except DatapkgError as error:
                result.damaged.append((sha256, package.ref.package, "", f"the wheel {version}: {error.message}"))


def _verify_state(
    package: StaticPackage, state: str, record_object: str | None, result: VerifiedStates, progress: Progress
) -> None:
    def wrong(hash: str, path: str, problem: str = "") -> None:
        result.damaged.append((hash, package.ref.package, path, problem))

    if state not in result.checked:
        result.checked.add(state)
        package.places.of_state(state)
        try:
            manifest = read_manifest(package.manifest(state), state)
        except DatapkgError as error:
            wrong(state, "", f"the manifest cannot be read: {error.message}")
            return
        _verify_objects(package, manifest, result, progress)
    if record_object and record_object not in result.checked:
        result.checked.add(record_object)
        if not _is_right(package, record_object):
            wrong(record_object, "", "the object of the build record is damaged")


def _verify_objects(package: StaticPackage, manifest: Manifest, result: VerifiedStates, progress: Progress) -> None:
    paths = {hash: node.path for node in manifest.entries() for hash, _ in node.objects()}
    sizes = {hash: size for hash, size in manifest.objects().items() if hash not in result.checked}
    done, total = 0, sum(sizes.values())
    small = [hash for hash in sizes if _pack_of(package, hash) not in (WHOLE, RECIPE, "")]
    right = set[str]()
    try:
        for hash, data in package.objects().read_many(small):
            if hash_bytes(data) == hash:
                right.add(hash)
            progress(VERIFYING, done := done + len(data), total)
    except (DatapkgError, OSError):  # a pack that is gone: each is looked at alone
        pass
    left = [hash for hash in sizes if hash not in right]
    with ThreadPool(package.blobs.jobs) as pool:
        for hash, is_right in zip(left, pool.map(partial(_is_right, package), left), strict=True):
            if not is_right:
                result.damaged.append((hash, package.ref.package, paths[hash], ""))
            progress(VERIFYING, done := done + sizes[hash], total)
    result.checked |= sizes.keys()


def _pack_of(package: StaticPackage, hash: str) -> str:
    try:
        return package.places.find(hash).pack
    except DatapkgError:
        return ""


def _is_right(package: StaticPackage, hash: str) -> bool:
    try:
        with package.objects().open(hash) as stream:
            return hash_stream(stream)[0] == hash
    except (DatapkgError, OSError):
        return False
