"""Install: a state of a package from its registry into the local store."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from datapkg.api.results import Installed, Outcome
from datapkg.errors import Conflict, DatapkgError, HashMismatch, InvalidInput, QuotaExceeded, Refused
from datapkg.format import wire
from datapkg.format.manifest import Manifest
from datapkg.format.names import Ref, State
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.objects.transfer import plan, transfer
from datapkg.remote.client import Client
from datapkg.store.refs import Current, LogEvent


@dataclass(frozen=True)
class Options:
    """How to install: the manifest alone, over another origin, from this registry."""

    meta_only: bool = False
    replace: bool = False
    registry: str | None = None


def install_packages(
    home: Home,
    refs: Iterable[Ref],
    *,
    meta_only: bool = False,
    registry: str | None = None,
    replace: bool = False,
    progress: Progress = silent,
) -> list[Outcome]:
    """Installs each ref in turn, going on after one that fails; `current` moves a package at a time."""
    options = Options(meta_only, replace, registry)
    return [_outcome(home, ref, options, progress) for ref in refs]


def _outcome(home: Home, ref: Ref, options: Options, progress: Progress) -> Outcome:
    try:
        return Outcome(str(ref), installed=install_one(home, ref, options, progress))
    except DatapkgError as error:
        return Outcome(str(ref), error=error)


def install_one(home: Home, ref: Ref, options: Options, progress: Progress = silent) -> Installed:
    """Installs one ref: resolve, manifest (its hash must be the one asked for), objects, pointer last.

    A full hash that is here already is installed without a request. What arrived before a failure stays in the store.
    """
    home.store.prepare()
    if installed := _install_offline(home, ref, options):
        return installed
    client = home.client(allowed_registry(home, ref, options.registry))
    resolved = client.resolve(ref)
    _check_resolved(ref, resolved)
    _check_origin(home, ref, client.url, options)
    manifest = _fetch_manifest(home, client, ref, resolved.hash)
    received = 0 if options.meta_only else _fetch_objects(home, client, ref, manifest, progress)
    home.store.save(manifest)
    home.store.refs.set_pointers(ref.user, ref.name, "tags", resolved.tags)
    home.store.refs.set_pointers(ref.user, ref.name, "versions", resolved.versions)
    return _finish(home, ref, manifest, client.url, options, (received, client.session.received_bytes))


def _install_offline(home: Home, ref: Ref, options: Options) -> Installed | None:
    store = home.store
    if ref.state is None or not ref.state.is_full_hash or not store.has(ref.state.value):
        return None
    manifest = store.manifest(ref.state.value)
    if not options.meta_only and store.absent(manifest, ref.path):
        return None
    current = store.refs.current(ref.user, ref.name)
    known = store.refs.known_hashes(ref.user, ref.name)
    origin = current.origin if current and manifest.hash in known else "local"
    return _finish(home, ref, manifest, origin, options, (0, 0))


def allowed_registry(home: Home, ref: Ref, given: str | None) -> str:
    """The address of the registry to ask for a ref; `given` is the one that the user named for this call.

    Raises `Refused` (with `detail["registry"]`) for one that is neither in the settings nor named by the user.
    """
    if ref.registry is None:
        return home.registry_url(given)
    url = home.registry_url(ref.registry)
    if given is not None and home.registry_url(given) != url:
        raise InvalidInput(f"{ref} names the registry {url}, but --registry says {home.registry_url(given)}")
    if given is None and "://" in ref.registry and not home.is_known(url):
        raise Refused(
            f"the registry {url} is not in your settings; it was not asked for {ref.package}",
            hint=f"say that you mean it: --registry {url}",
            registry=url,
        )
    return url


def _check_resolved(ref: Ref, resolved: wire.Resolved) -> None:
    if ref.state and ref.state.kind == "hash" and not resolved.hash.startswith(ref.state.value):
        raise HashMismatch(
            f"the registry answered with state {resolved.hash}, which is not the one asked for: {ref}",
            expected=ref.state.value,
            actual=resolved.hash,
        )


def _check_origin(home: Home, ref: Ref, url: str, options: Options) -> None:
    current = home.store.refs.current(ref.user, ref.name)
    if current and current.origin not in ("local", url) and not options.replace:
        raise Conflict(
            f"{ref.package} is installed from {current.origin}; {url} is another registry and may mean another package",
            hint=f"datapkg install --replace {ref}",
            installed_from=current.origin,
            asked_of=url,
        )


def _fetch_manifest(home: Home, client: Client, ref: Ref, hash: str) -> Manifest:
    if home.store.has(hash):
        return home.store.manifest(hash)
    return Manifest.parse(client.manifest(ref, hash), expected=hash)


def _fetch_objects(home: Home, client: Client, ref: Ref, manifest: Manifest, progress: Progress) -> int:
    planned = plan(manifest.objects(ref.path), home.store.objects)
    free = shutil.disk_usage(home.store.folder).free
    if planned.size_bytes > free:
        raise QuotaExceeded(
            f"{ref.package} needs {planned.size_bytes:,} bytes more, and {home.store.folder} has {free:,} free; "
            "nothing was downloaded",
            hint="make room, or set DATAPKG_HOME to a larger disk",
        )
    return transfer(client.objects(ref), home.store.objects, planned, progress).objects


def _finish(
    home: Home, ref: Ref, manifest: Manifest, origin: str, options: Options, received: tuple[int, int]
) -> Installed:
    refs = home.store.refs
    before = refs.current(ref.user, ref.name)
    pushed = {event.hash for event in refs.log(ref.user, ref.name) if event.event != "build"}
    sizes = manifest.objects()
    partial = bool((options.meta_only or ref.path) and home.store.absent(manifest))
    current = Current(manifest.hash, origin, partial, str(manifest.meta.get("title", "")), sum(sizes.values()))
    if before is None or before.hash != manifest.hash:
        at = datetime.now(UTC).isoformat()
        refs.append_log(ref.user, ref.name, LogEvent("install", manifest.hash, at, origin))
    if before != current:
        refs.set_current(ref.user, ref.name, current)
    note = ""
    if before and before.hash != manifest.hash and before.origin == "local" and before.hash not in pushed:
        state = State("hash", before.hash)
        note = f"the build that was here was never pushed; it is kept as {ref.package}@{state}"
    wanted = manifest.objects(ref.path)
    return Installed(ref.package, manifest.hash, received[0], received[1], sum(wanted.values()), note)
