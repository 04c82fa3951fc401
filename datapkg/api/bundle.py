"""Bundle: write states of packages into one file, and install from it on a machine without a network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from datapkg import origins, resolve
from datapkg.api.install import InstallOptions, finish, plan_fetch
from datapkg.api.install_result import InstallResult
from datapkg.api.results import BundleResult
from datapkg.errors import (
    Conflict,
    CorruptObject,
    DatapkgError,
    IntegrityError,
    InvalidInput,
    InvalidManifest,
    NewerFormat,
    NodeNotFound,
    ObjectNotFound,
)
from datapkg.format.bundle import BundledPackage, decode_contents, encode_contents
from datapkg.format.hashing import check_bytes
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref, State
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.lock_search import deciding_lock
from datapkg.objects.bundle_file import BundleObjects, BundleWriter, pieces_of
from datapkg.objects.files import beginning, no_such_path, replacing, sync_file, temp_path
from datapkg.objects.free_space import check_space
from datapkg.objects.progress import Counter, Progress, silent
from datapkg.objects.transfer import SMALL_BYTES, transfer
from datapkg.remote.addresses import check_address
from datapkg.remote.manifests import MAX_MANIFEST_BYTES
from datapkg.resolve import ResolvedState, find_installed
from datapkg.store.refs import Refs
from datapkg.store.store import Store


def write_bundle(
    home: Home, refs: Iterable[Ref], dest: Path, *, force: bool = False, progress: Progress = silent
) -> BundleResult:
    """Write the installed states that these refs name, all of them or nothing; objects that they share once.

    Without refs, the states that the nearest lock pins. The same states and versions in the same order give the same
    bytes; of two states of a package, the last becomes current where the bundle is installed.
    Raise `Conflict` if `dest` exists, unless `force`; `PackageNotInstalled`; `ObjectNotFound` if objects are missing.
    """
    dest = Path(dest).expanduser().absolute()
    found = [find_installed(home, ref) for ref in list(refs) or _locked_refs(home)]
    if not dest.parent.is_dir():
        raise no_such_path(dest.parent, "folder", "nothing was written")
    if os.path.lexists(dest) and not force:
        exact_refs = " ".join(str(each.ref) for each in found)
        raise Conflict(f"{dest} exists; nothing was written", hint=f"datapkg bundle {exact_refs} --force -o {dest}")
    manifests = {each.hash: (each.store, each.store.manifest(each.hash).size_bytes) for each in found}
    objects: dict[str, tuple[Store, int]] = dict(manifests)
    for each in found:
        objects |= {hash: (each.store, size) for hash, size in _objects(each).items() if hash not in objects}
    total = sum(size for _, size in objects.values())
    check_space(dest.parent, total, "the bundle")
    contents = encode_contents(_described(home, each) for each in found)
    size = _write(dest, contents, objects, Counter(progress, total))
    packages = [{"package": each.ref.package, "hash": each.hash, "path": each.ref.path} for each in found]
    return BundleResult(str(dest), packages, len(objects), size)


def _locked_refs(home: Home) -> list[Ref]:
    lock = deciding_lock(home)
    if lock is None or not lock[1].direct:
        raise InvalidInput("name the packages to bundle", hint="datapkg bundle user/name -o FILE.dpkg")
    states = {pin.package: pin.hash for pin in lock[1].direct}
    return [Ref.parse(package).at(State("hash", hash)) for package, hash in states.items()]


def _objects(found: ResolvedState) -> Mapping[str, int]:
    """Return the objects of a state; raise `ObjectNotFound` unless all are on this machine."""
    manifest = found.store.manifest(found.hash)
    if absent := found.store.absent(manifest, found.ref.path):
        exact = found.ref.at(State("hash", found.hash))
        line = f"{exact} is not wholly on this machine (objects missing: {len(absent):,}); nothing was written"
        raise ObjectNotFound(line, hint=f"datapkg fetch {exact}")
    return manifest.objects(found.ref.path)


def _described(home: Home, found: ResolvedState) -> BundledPackage:
    ref, refs = found.ref, found.store.refs
    exact = ref.at(State("hash", found.hash))
    tag = (ref.state.value,) if ref.state and ref.state.kind == "tag" else ()
    versions = tuple(sorted(name for name, hash in refs.versions(ref).items() if hash == found.hash))
    registry = origins.origin_of(home, exact, found.hash)
    return BundledPackage(
        package=ref.package, hash=found.hash, path=ref.path, registry=registry, tags=tag, versions=versions
    )


def _write(dest: Path, contents: bytes, objects: Mapping[str, tuple[Store, int]], counter: Counter) -> int:
    # A bundle is made to be given to others, so the umask decides; files of the store are private.
    with replacing(dest, temp_path(dest.parent, f".{beginning(dest.name)}"), mode=0o666) as file:
        writer = BundleWriter(file, contents)
        for hash, size, pieces in _bodies(objects):
            writer.add(hash, size, pieces)
            counter.add(size)
        writer.finish()
        sync_file(file)
        return file.tell()


def _bodies(objects: Mapping[str, tuple[Store, int]]) -> Iterator[tuple[str, int, Iterable[bytes]]]:
    """Yield hash, size and pieces of each object in order; runs of small ones of a store are read together."""
    runs = groupby(objects.items(), key=lambda item: (item[1][0].folder, item[1][1] < SMALL_BYTES))
    for (_, is_small), run in runs:
        some = dict(run)
        store = next(iter(some.values()))[0]
        if is_small:
            yield from ((hash, some[hash][1], [data]) for hash, data in store.objects.read_many(some))
            continue
        for hash, (_, size) in some.items():
            with store.objects.open(hash) as stream:
                yield hash, size, pieces_of(stream)


@dataclasses.dataclass(frozen=True)
class _Bundled:
    """A state of a bundle whose manifest is verified, the objects that it needs, and its origin on this machine."""

    entry: BundledPackage
    manifest: Manifest
    wanted: Mapping[str, int]
    origin: str


def install_bundle(
    home: Home, path: Path, *, registry: str | None = None, replace: bool = False, progress: Progress = silent
) -> list[InstallResult]:
    """Install all states of a bundle, or none: pointers move when all objects are here and verified.

    Each state gets as its origin `registry`, else the registry that it came from if the settings have that; else
    "local", so that a file never decides which server is contacted. Raise `InvalidInput` for a file that is not a
    bundle, `IntegrityError` for a damaged one, `Conflict` for a package of another registry, unless `replace`.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise no_such_path(path, "file", "nothing was installed")
    bundle = BundleObjects(path)
    with home.store.writing(), _explained(bundle):
        states = [_checked(home, bundle, each, registry, replace) for each in decode_contents(bundle.contents)]
        wanted = {hash: size for each in states for hash, size in each.wanted.items()}
        _check_members(bundle, wanted, {each.entry.hash for each in states})
        planned = plan_fetch(home, str(path), wanted)
        transfer(bundle, home.store.objects, planned, progress)
        home.store.forget_parts()
        left = dict(planned.needed)
        return [_finished(home, each, replace, left) for each in states]


@contextmanager
def _explained(bundle: BundleObjects) -> Iterator[None]:
    """Inside, errors for what is wrong with the contents of a bundle name its file."""
    try:
        yield
    # Nothing is damaged then, and its message says to upgrade.
    except NewerFormat:
        raise
    except (IntegrityError, InvalidManifest, ObjectNotFound, NodeNotFound) as error:
        raise bundle.corrupt(error.message) from error


def _checked(home: Home, bundle: BundleObjects, entry: BundledPackage, registry: str | None, replace: bool) -> _Bundled:
    """Return a state after verifying its manifest; raise for pointers that it must not replace."""
    hash = entry.hash
    if (size := bundle.size(hash)) > MAX_MANIFEST_BYTES:
        raise CorruptObject(f"manifest {hash} has {size:,} bytes; at most {MAX_MANIFEST_BYTES:,} are allowed")
    data = bundle.read(hash)
    check_bytes(data, hash, "manifest")
    manifest = read_manifest(data, hash)
    origin = _origin(home, entry, registry)
    if not replace:
        _check_pointers(home.store.refs, entry, origin)
    return _Bundled(entry, manifest, manifest.objects(entry.path), origin)


def _origin(home: Home, entry: BundledPackage, registry: str | None) -> str:
    if registry is not None:
        return home.registry_url(registry)
    try:
        url = check_address(entry.registry) if entry.registry else ""
    except DatapkgError:
        return "local"
    current = home.store.refs.current(entry.ref)
    return url if url and (home.is_known(url) or (current and current.origin == url)) else "local"


def _check_pointers(refs: Refs, entry: BundledPackage, origin: str) -> None:
    """Raise `Conflict` if the package came from another registry, or a version names another state here."""
    ref, hint = entry.ref, "datapkg install --replace FILE.dpkg"
    current = refs.current(ref)
    if current and current.origin not in ("local", origin, entry.registry):
        what = f"{ref.package} is installed from {current.origin}, and the bundle has it from {entry.registry}"
        raise Conflict(f"{what}; nothing was installed", hint=hint, installed_from=current.origin)
    known = refs.versions(ref)
    for version in entry.versions:
        if known.get(version, entry.hash) != entry.hash:
            what = f"version {version} of {ref.package} is sha256:{known[version][:12]} here, and another in the bundle"
            raise Conflict(f"{what}; nothing was installed", hint=hint)


def _check_members(bundle: BundleObjects, wanted: Mapping[str, int], manifests: set[str]) -> None:
    """Raise `CorruptObject` unless a bundle has the objects that its manifests state, in these sizes, and no other."""
    if missing := bundle.missing(wanted):
        raise CorruptObject(f"objects missing: {len(missing):,}, such as {min(missing)}")
    if extra := set(bundle) - wanted.keys() - manifests:
        raise CorruptObject(f"objects that no package in it has: {len(extra):,}, such as {min(extra)}")
    for hash, size in wanted.items():
        if bundle.size(hash) != size:
            raise CorruptObject(f"object {hash} has {bundle.size(hash):,} bytes; its manifest states {size:,}")


def _finished(home: Home, state: _Bundled, replace: bool, left: dict[str, int]) -> InstallResult:
    entry, refs = state.entry, home.store.refs
    ref = entry.ref
    # None: a bundle cannot say which tables a registry has checked.
    resolve.save(home, state.manifest, None)
    if entry.tags:
        refs.set_pointers(ref, "tags", refs.tags(ref) | dict.fromkeys(entry.tags, entry.hash))
    if entry.versions:
        refs.set_pointers(ref, "versions", refs.versions(ref) | dict.fromkeys(entry.versions, entry.hash))
    # An object that several states share is counted as received by the first of them alone.
    sizes = [left.pop(hash) for hash in state.wanted if hash in left]
    options = InstallOptions(replace=replace)
    done = finish(home, ref, state.manifest, state.origin, options, (len(sizes), sum(sizes)))
    if entry.registry and state.origin == "local":
        note = f"{ref.package} came from {quoted(entry.registry)}, which is not in your settings; it was not recorded"
        done = dataclasses.replace(done, note="; ".join(filter(None, (done.note, note))))
    return done
