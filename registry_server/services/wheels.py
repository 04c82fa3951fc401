"""Thin wheels of a package: built once, when a state is published or gets a version, and never built again.

A later version of this program may write other bytes for the same state, but locks name the sha256 of what was served
before. So a wheel is an object of the registry with a row in the database, and whoever needs it takes that. Building
happens before the transaction that publishes, which then only lists the wheel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.parser import BytesParser

from sqlalchemy import Connection

from datapkg.errors import DatapkgError
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.thin_wheel import ThinWheel, thin_wheel, wheel_version
from registry_server.db import numbers, objects, states, wheels
from registry_server.db.packages import PackageRow
from registry_server.db.wheels import Wheel
from registry_server.services import downloads
from registry_server.services.registry import Registry

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """A wheel whose bytes are stored, and what `Registry.deletions` was before."""

    wheel: ThinWheel
    deletions: int


class StateWheels:
    """The wheels of one state of `user/name`; prepare before a transaction, keep in it."""

    def __init__(self, registry: Registry, package: str, manifest: Manifest) -> None:
        self._registry, self._package, self._manifest = registry, package, manifest
        self._user, _, self._name = package.partition("/")
        self._stored: dict[str, _Stored] = {}

    @property
    def state(self) -> str:
        """The hash of the state."""
        return self._manifest.hash

    def prepare(self, connection: Connection, package_id: int | None, *given: str | None) -> None:
        """Build and store what is not there yet, by the number that the state has, or gets if nobody pushes meanwhile.

        `given` has versions, and None for the wheel without one.
        """
        number = None if package_id is None else numbers.of_state(connection, package_id, self._manifest.hash)
        number = number or numbers.following(connection, self._user, self._name, package_id)
        for version in given:
            named = wheel_version(version, number, self._manifest.hash)
            if wheels.find(connection, self._user, self._name, named) is None:
                self._stored[named] = self._store(named)

    def keep(self, connection: Connection, version: str | None, number: int, built_at: datetime) -> Wheel:
        """List the wheel of a version, or that of the state without one, in a write transaction; return it.

        If there is one already, that one is meant, whatever its bytes.
        """
        named = wheel_version(version, number, self._manifest.hash)
        if known := wheels.find(connection, self._user, self._name, named):
            return known
        stored = self._stored.get(named) or self._store(named)
        built = stored.wheel
        if self._registry.restore({built.sha256}, stored.deletions):
            self._put(built)  # a sweep took it; the next one waits for this transaction
        objects.list_stored(connection, {built.sha256: len(built.data)}, self._registry.now())
        return wheels.add(
            connection,
            self._user,
            self._name,
            Wheel(
                version=named,
                state=self._manifest.hash,
                object=built.sha256,
                size=len(built.data),
                metadata=built.metadata_sha256,
                requires_python=BytesParser().parsebytes(built.metadata)["Requires-Python"] or "",
                built_at=built_at,
            ),
        )

    def _store(self, version: str) -> _Stored:
        deletions = self._registry.deletions
        built = thin_wheel(self._manifest, self._package, self._registry.settings.url, version)
        self._put(built)
        return _Stored(built, deletions)

    def _put(self, built: ThinWheel) -> None:
        self._registry.new_writer().put_bytes(built.data, built.sha256)


def of_state(registry: Registry, package: str, hash: str) -> StateWheels:
    """Return the wheels of a state by its manifest, which is read; raise `CorruptObject`."""
    manifest = read_manifest(downloads.map_checked(registry, hash), hash, verified=True)
    return StateWheels(registry, package, manifest)


def of_states(connection: Connection, package: PackageRow, numbered: Mapping[str, int]) -> dict[str, str]:
    """Return the sha256 of the wheels without a version of states (hash to number), by state."""
    named = {wheel_version(None, number, hash): hash for hash, number in numbered.items()}
    built = wheels.hashes(connection, package.user, package.name, named)
    return {named[version]: sha256 for version, sha256 in built.items()}


def of_versions(connection: Connection, package: PackageRow, given: Mapping[str, str]) -> dict[str, str]:
    """Return the sha256 of the wheels of versions (with the states that they name), by version."""
    named = {wheel_version(version, 0, hash): version for version, hash in given.items()}
    built = wheels.hashes(connection, package.user, package.name, named)
    return {named[version]: sha256 for version, sha256 in built.items()}


def build_missing(registry: Registry, package_id: int, package: str) -> None:
    """Build the wheels of states and versions that were published by an earlier version of this program."""
    for hash, number, versions in _missing(registry, package_id, package):
        try:
            built = of_state(registry, package, hash)
        except DatapkgError as error:  # damaged: it cannot be installed either
            logger.warning("%s@sha256:%s has no wheel: %s", package, hash[:12], error)
            continue
        with registry.db.read() as connection:
            built.prepare(connection, package_id, *versions)
            at = wheels.pushed_at(connection, package_id, hash) or registry.now()
        with registry.db.write() as connection:
            if numbers.of_state(connection, package_id, hash) == number:  # not deleted meanwhile
                for version, given_at in versions.items():
                    built.keep(connection, version, number, given_at or at)


def _missing(
    registry: Registry, package_id: int, package: str
) -> list[tuple[str, int, dict[str | None, datetime | None]]]:
    """Return each state that lacks wheels, with its number, and the versions (None: without one) that lack theirs."""
    user, _, name = package.partition("/")
    with registry.db.read() as connection:
        built = wheels.versions_of_package(connection, user, name)
        given: dict[str, dict[str | None, datetime | None]] = {}
        for each in states.versions_of(connection, package_id):
            given.setdefault(each.hash, {None: None})[each.version] = each.created_at
        found = []
        for hash, number in wheels.states_of(connection, package_id):
            wanted = given.get(hash, {None: None})
            lacking = {v: at for v, at in wanted.items() if wheel_version(v, number, hash) not in built}
            if lacking:
                found.append((hash, number, lacking))
    return found


def restore(registry: Registry, hashes: Collection[str]) -> list[str]:
    """Store lost wheels again where this program builds the same bytes from their states; return those objects."""
    with registry.db.read() as connection:
        lost = wheels.with_objects(connection, hashes)
    found = []
    for package, wheel in lost:
        try:
            manifest = read_manifest(downloads.map_checked(registry, wheel.state), wheel.state, verified=True)
        except DatapkgError:
            continue
        data = thin_wheel(manifest, package, registry.settings.url, wheel.version).data
        if hash_bytes(data) == wheel.object:
            registry.new_writer().put_bytes(data, wheel.object)
            found.append(wheel.object)
    return found


def build_all_missing(registry: Registry, is_stopped: Callable[[], bool]) -> None:
    """Build the wheels that are missing in all packages; end early, between two packages, if `is_stopped()`."""
    with registry.db.read() as connection:
        left = wheels.incomplete(connection)
    for package_id, user, name in left:
        if is_stopped():
            return
        build_missing(registry, package_id, f"{user}/{name}")
