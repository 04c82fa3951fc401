"""One package of a registry without a server: what is asked of it, and what is changed without a push."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from datapkg.errors import InvalidInput, Unreachable
from datapkg.format import wire
from datapkg.format.dates import check_past, moment, no_state_then
from datapkg.format.hashing import check_bytes, check_hash, is_hash
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref, State, check_new_version, check_tag, check_version
from datapkg.format.record_lists import CHECK_LISTS, read_lists
from datapkg.format.record_packages import packages_of
from datapkg.format.static_registry import LATEST, Heads, LogChange
from datapkg.format.thin_wheel import wheel_version
from datapkg.objects.blobs.base import Blobs
from datapkg.remote.manifests import MAX_MANIFEST_BYTES
from datapkg.remote.static import names, search
from datapkg.remote.static.log import Position, RegistryLog
from datapkg.remote.static.objects import StaticObjects
from datapkg.remote.static.places import ObjectPlaces
from datapkg.remote.static.seen import SeenLogs
from datapkg.remote.static.wheels import PackageWheels, wheel_of_state

MAX_LISTS_BYTES = 64 << 20


class StaticPackage:
    """A package by its log, and by where its objects are; `author` is written into the log."""

    def __init__(self, blobs: Blobs, ref: Ref, seen: SeenLogs, author: str) -> None:
        self.blobs, self.ref, self.author = blobs, Ref(ref.user, ref.name), author
        self.log = RegistryLog(blobs, self.ref, seen)
        self.places = ObjectPlaces(blobs, self.ref, self._states)
        self.wheels = PackageWheels(blobs, self.ref, self.log, seen)
        self._pushes: dict[str, StaticObjects] = {}

    def _states(self) -> Iterator[str]:
        yield from names.states_named(self.heads())
        yield from (each.hash for each in self.pushed())

    def objects(self, push: str | None = None) -> StaticObjects:
        """Return the objects of the package; writable within the push of a state."""
        if push is None:
            return StaticObjects(self.blobs, self.places)
        if push not in self._pushes:
            self._pushes[push] = StaticObjects(self.blobs, self.places, push)
        return self._pushes[push]

    def heads(self) -> Heads:
        """Return the pointers of a package as they are now; raise `PackageNotFound`."""
        heads = self.log.read().heads
        names.check_package(self.ref, heads, self.blobs.url)
        return heads

    def pushed(self) -> Iterator[LogChange]:
        """Yield the pushes of a package, and new records of its states, from the last to the first."""
        first = self.heads().first
        for change in self.log.entries():
            if change.number < first:
                return
            if change.kind in ("push", "record"):
                yield change

    def info(self) -> wire.PackageInfo:
        """Return what a server would answer about the package."""
        heads = self.heads()
        return wire.PackageInfo(
            package=self.ref.package,
            public=True,
            # Nothing is known of owners: who may write the files may do everything.
            role="owner",
            latest=heads.latest,
            tags={tag: pointer.hash for tag, pointer in sorted(heads.tags.items())},
            versions=names.version_entries(heads),
            created_at=heads.created_at,
        )

    def resolve(self, state: State | None, *, with_packages: bool = False) -> wire.Resolved:
        """Return the state that is meant now, `latest` for None, with all tags and versions."""
        heads, wanted = self.heads(), state or State("tag", LATEST)
        tag = version = None
        if wanted.kind == "hash":
            hash = self._by_hash(heads, wanted.value)
        elif wanted.kind == "tag":
            tag, hash = wanted.value, names.tagged(self.ref, heads, wanted.value)
        elif wanted.kind == "date":
            hash = self._by_date(heads, wanted.value)
        else:
            version, hash = names.versioned(self.ref, heads, wanted)
        found: Any = self.places.of_state(hash)
        # The file of locations is derived and may be lost; the log has the same sizes.
        if found is None or not found.manifest_size:
            found = next(each for each in self.pushed() if each.hash == hash)
        named, hidden = packages_of(self._record(hash)) if with_packages else ([], 0)
        seen = [wire.PackageState(package=ref.package, hash=state) for ref, state in named if ref.registry is None]
        return wire.Resolved(
            package=self.ref.package,
            hash=hash,
            version=version,
            tag=tag,
            manifest_size=found.manifest_size,
            bytes_logical=found.bytes_logical,
            tags={tag: pointer.hash for tag, pointer in sorted(heads.tags.items())},
            versions={each.version: each.hash for each in names.version_entries(heads)},
            yanked=heads.yanked,
            packages=seen,
            hidden=hidden + len(named) - len(seen),
        )

    def _by_date(self, heads: Heads, value: str) -> str:
        """Return the state that was the latest at a moment, by the times in the log."""
        check_past(self.ref.package, value, datetime.now(UTC))
        at, first = moment(value), ""
        for change in self.log.entries():
            if change.number < heads.first:
                break
            is_latest = change.kind == "push" or (change.kind == "tag" and change.tag == LATEST)
            if is_latest and moment(change.at) <= at:
                return change.hash
            first = change.at
        raise no_state_then(self.ref.package, value, moment(first or heads.created_at))

    def _by_hash(self, heads: Heads, prefix: str) -> str:
        """Return the state whose hash begins like this; a full one is mostly found without reading the whole log."""
        if prefix in names.states_named(heads) or self.push_of(heads, prefix):
            return prefix
        found = {each.hash for each in self.pushed() if each.hash.startswith(prefix)}
        if not found:
            raise names.no_state(self.ref, prefix)
        if len(found) > 1:
            raise InvalidInput(
                f"sha256:{prefix} is the beginning of several states of {self.ref.package}: {', '.join(sorted(found))}",
                hint="give more digits of the hash",
                candidates=sorted(found),
            )
        return found.pop()

    def is_state(self, heads: Heads, hash: str) -> bool:
        """Return whether the package has this state, as far as that is known without reading the whole log."""
        return hash in names.states_named(heads) or self.push_of(heads, hash) is not None

    def push_of(self, heads: Heads, state: str) -> LogChange | None:
        """Return the push of a state by the number that is written with the places of its objects, None without one."""
        found = self.places.of_state(state) if is_hash(state) else None
        # A file from before a deletion names an entry of the former package.
        change = self.log.change(found.number) if found and heads.first <= found.number <= heads.number else None
        return change if change and (change.kind, change.hash) == ("push", state) else None

    def manifest(self, hash: str, size: int | None = None) -> bytes:
        """Return the bytes of a state's manifest, which are right; no more than `size` where that is known."""
        limit = MAX_MANIFEST_BYTES if size is None else min(size, MAX_MANIFEST_BYTES)
        self.places.of_state(check_hash(hash))
        # One byte more than allowed shows a longer one.
        with self.objects().open(hash, 0, limit + 1) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise Unreachable(f"{self.blobs.url} has a manifest of more than {limit:,} bytes where fewer were expected")
        check_bytes(data, hash, "manifest")
        return data

    def log_entries(self) -> Iterator[wire.LogEntry]:
        """Yield the pushes, newest first, each with the tags and versions that its state has now."""
        heads = self.heads()
        for each in self.pushed():
            if each.kind == "push":
                versions = [name for name, pointer in heads.versions.items() if pointer.hash == each.hash]
                yield wire.LogEntry(
                    hash=each.hash,
                    author=each.author,
                    message=each.message,
                    pushed_at=each.at,
                    parent=each.parent,
                    parents=each.parents or ([each.parent] if each.parent else []),
                    tags=sorted(tag for tag, pointer in heads.tags.items() if pointer.hash == each.hash),
                    versions=names.in_order(versions),
                    bytes_logical=each.bytes_logical,
                    **wheel_of_state(each),
                )

    def last_record(self, hash: str) -> LogChange:
        """Return the entry with the last record of a state; raise `ObjectNotFound`."""
        heads = self.heads()
        number = heads.records.get(check_hash(hash))
        found = self.log.change(number) if number else self.push_of(heads, hash)
        found = found or next((each for each in self.pushed() if each.hash == hash), None)
        if found is None:
            raise names.no_state(self.ref, hash)
        return found

    def _record(self, hash: str, keys: Sequence[str] | None = None) -> dict[str, Any]:
        """Return the last record of a state; of its long lists those of `keys`, which are the first, or all."""
        found = self.last_record(hash)
        record = dict(found.record)
        if found.record_object:
            self.places.of_state(hash)
            with self.objects().open(found.record_object) as stream:
                record |= read_lists(stream, keys, MAX_LISTS_BYTES)
        return record

    def checks(self, hash: str) -> wire.StateChecks:
        """Return the results of checks in the record of a state."""
        record = self._record(hash, CHECK_LISTS)
        lists = {key: value if isinstance(value := record.get(key), list) else [] for key in CHECK_LISTS}
        return wire.StateChecks(
            checks=[each for each in lists["checks"] if isinstance(each, dict)],
            rules=[each if isinstance(each, str) else "" for each in lists["rules"]],
        )

    def versions(self) -> list[wire.VersionEntry]:
        """Return the versions in PEP 440 order, with their wheels."""
        heads = self.heads()
        named = {version: wheel_version(version, 0, pointer.hash) for version, pointer in heads.versions.items()}
        wheels = self.wheels.hashes(heads, named.values())
        return [replace(each, wheel=wheels.get(named[each.version])) for each in names.version_entries(heads)]

    def set_tag(self, tag: str, hash: str) -> wire.TagList:
        """Make a tag name a state; moving `latest` returns the package to an earlier push."""
        position = self.move_tag(check_tag(tag), self._by_hash(self.heads(), check_hash(hash)))
        if tag == LATEST:
            manifest = read_manifest(self.manifest(hash), hash)
            search.keep(self.blobs, self.ref, search.summary_of(self.ref, position.heads, manifest))
        return names.tag_list(position.heads)

    def move_tag(self, tag: str, hash: str, at: str = "") -> Position:
        """Add the change of a tag to the log, now or `at` that time, unless it names this state already."""

        def tagged(heads: Heads) -> dict[str, Any] | None:
            names.check_package(self.ref, heads, self.blobs.url)
            is_set = tag in heads.tags and heads.tags[tag].hash == hash
            return None if is_set else {"kind": "tag", "tag": tag, "hash": hash, **_time(at)}

        return self.log.append(tagged, self.author)[0]

    def remove_tag(self, tag: str) -> wire.TagList:
        """Remove a tag; raise `TagNotFound`, or `InvalidInput` for `latest`, which every package has."""
        if check_tag(tag) == LATEST:
            hint = "move it: datapkg tag add USER/NAME@STATE latest"
            raise InvalidInput("the tag 'latest' cannot be removed", hint=hint)

        def untagged(heads: Heads) -> dict[str, Any]:
            names.check_package(self.ref, heads, self.blobs.url)
            names.tagged(self.ref, heads, tag)
            return {"kind": "untag", "tag": tag}

        return names.tag_list(self.log.append(untagged, self.author)[0].heads)

    def add_version(self, version: str, hash: str) -> wire.VersionList:
        """Give a state a version; repeating it does nothing, another state raises `Conflict`."""
        version = check_new_version(version)
        position = self.give_version(version, self._by_hash(self.heads(), check_hash(hash)))
        self.wheels.write_pages()
        return wire.VersionList(versions=names.version_entries(position.heads))

    def give_version(self, version: str, hash: str, at: str = "", wheels: Mapping[str, str] | None = None) -> Position:
        """Add a version to the log, now or `at` that time, unless this state has it already; `wheels` are stored."""

        def added(heads: Heads) -> dict[str, Any] | None:
            names.check_package(self.ref, heads, self.blobs.url)
            is_free = names.is_new_version(self.ref, heads, version, hash)
            if not is_free:
                return None
            built = wheels
            if built is None:
                built = self.wheels.of_version(heads, read_manifest(self.manifest(hash), hash), version)
            return {"kind": "version", "version": version, "hash": hash, "wheels": dict(built), **_time(at)}

        return self.log.append(added, self.author)[0]

    def set_yanked(self, version: str, reason: str | None) -> wire.VersionList:
        """Yank a version, or for None, undo that; raise `VersionNotFound`."""
        wanted = State("version", check_version(version))

        def changed(heads: Heads) -> dict[str, Any] | None:
            names.check_package(self.ref, heads, self.blobs.url)
            name, _ = names.versioned(self.ref, heads, wanted)
            if heads.yanked.get(name) == reason:
                return None
            return {"kind": "unyank" if reason is None else "yank", "version": name, "message": reason or ""}

        position, _ = self.log.append(changed, self.author)
        self.wheels.write_pages()
        return wire.VersionList(versions=names.version_entries(position.heads))

    def delete(self) -> None:
        """End the package; its objects stay until they are collected."""

        def deleted(heads: Heads) -> dict[str, Any]:
            names.check_package(self.ref, heads, self.blobs.url)
            return {"kind": "delete"}

        position, _ = self.log.append(deleted, self.author)
        search.keep(self.blobs, self.ref, search.summary_of(self.ref, position.heads, None))
        self.wheels.write_pages()


def _time(at: str) -> dict[str, str]:
    return {"at": at} if at else {}
