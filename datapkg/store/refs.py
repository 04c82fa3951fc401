"""The small pointers of a store: each package's current state, the registry's tags and versions, and the log.

A corrupt one is reported by a `DamagedFile` warning and skipped, so that one file never blocks the others: the current
state of a package then follows from its log; tags and versions return with the next install. Reading writes nothing,
since another process may be replacing the file; `verify` moves it away and restores it.
"""

from __future__ import annotations

import contextlib
import json
import os
from itertools import islice
from pathlib import Path

from datapkg.errors import CorruptObject, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.names import Ref, check_tag, check_version, is_hash
from datapkg.objects.files import make_folder, temp_path, write_atomic
from datapkg.store.log import LogEvent, PackageLog, check_event
from datapkg.store.small_files import damaged, known_fields, names, read_json, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal

    from datapkg.store.log import Event


@dataclass(frozen=True)
class Current:
    """The state that was last built or installed, and its origin (a registry's URL, or "local").

    `partial` means that some of its objects were omitted on purpose; title and size are stored here so that lists need
    not read the manifest.
    """

    hash: str
    origin: str
    partial: bool = False
    title: str = ""
    bytes_logical: int = 0


class Refs:
    """The folder `packages/` of a store: user, name, then one small file for each pointer.

    Of a `Ref`, only the package is used here, not its path, state or registry.
    """

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder = Path(folder)
        self.tmp = Path(tmp)
        self.removed = self.tmp.parent / "trash" / "removed"

    def _package(self, ref: Ref) -> Path:
        return self.folder / ref.user / ref.name

    def packages(self, user: str | None = None) -> list[Ref]:
        """Return the packages with a current state, in order; with `user`, those of this user."""
        return [ref for ref in self.folders(user) if self._has_current(ref)]

    def folders(self, user: str | None = None) -> list[Ref]:
        """Return every package of which anything is stored, even if only a log or the registry's tags, in order."""
        users = names(self.folder) if user is None else [user]
        return [Ref(each, name) for each in users for name in names(self.folder / each)]

    def users(self) -> list[str]:
        """Return the users who have a package with a current state, in order."""
        return [user for user in names(self.folder) if self.has_user(user)]

    def has_user(self, user: str) -> bool:
        """Return whether a user has a package with a current state."""
        return any(self._has_current(ref) for ref in self.folders(user))

    def _has_current(self, ref: Ref) -> bool:
        return (self._package(ref) / "current").exists()

    def knows(self, ref: Ref) -> bool:
        """Return whether anything of a package is stored, even if only its log."""
        return self._package(ref).is_dir()

    def current(self, ref: Ref) -> Current | None:
        """Return the last built or installed state, or None; if the pointer is corrupt, the log's last state."""
        path = self._package(ref) / "current"
        try:
            value = _current_fields(path)
            return Current(**value) if value else None
        except CorruptObject as error:
            newest = self._newest(ref)
            then = f"it is {newest.hash[:12]}… by the log" if newest else f"type: datapkg install {ref.package}"
            warn(error, f"what {ref.package} is now is not known from it; {then}")
            return newest

    def _newest(self, ref: Ref) -> Current | None:
        """Return the state that was last built or installed according to the log; objects of it may be missing."""
        newest = next(self.log(ref, "build", "install"), None)
        return Current(newest.hash, newest.origin, partial=True) if newest else None

    @contextlib.contextmanager
    def changing(self, ref: Ref) -> Iterator[None]:
        """Hold the lock of a package while its current state is looked at and replaced; raise `Conflict`."""
        from datapkg.objects.folder_lock import changing  # most commands only read

        make_folder(self._package(ref))
        with changing(self._package(ref)):
            yield

    def set_current(self, ref: Ref, current: Current) -> None:
        """Set the pointer; this is the last step of a build or install."""
        self._write(self._package(ref) / "current", vars(current))

    def tags(self, ref: Ref) -> dict[str, str]:
        """Return the registry's tags as last seen: name to hash."""
        return self._pointers(ref, "tags")

    def versions(self, ref: Ref) -> dict[str, str]:
        """Return the registry's versions as last seen: version to hash."""
        return self._pointers(ref, "versions")

    def yanked(self, ref: Ref) -> dict[str, str]:
        """Return the yanked versions of the registry as last seen, with their reasons."""
        return _unless_damaged(self._package(ref) / "yanked.json", _reasons_in) or {}

    def set_yanked(self, ref: Ref, reasons: dict[str, str]) -> None:
        """Replace the cached reasons of the registry's yanked versions."""
        if reasons != self.yanked(ref):
            self._write(self._package(ref) / "yanked.json", reasons)

    def dates(self, ref: Ref) -> dict[str, str]:
        """Return the states that dates meant at the registry: the normal form of a date to a hash."""
        return _unless_damaged(self._package(ref) / "dates.json", _pointers_in) or {}

    def keep_date(self, ref: Ref, date: str, hash: str) -> None:
        """Remember which state a date means; that does not change, since what happened before it does not."""
        self._write(self._package(ref) / "dates.json", {**self.dates(ref), date: hash})

    def kept(self, ref: Ref) -> set[str]:
        """Return the states that the user pinned: `gc` never deletes them."""
        return set(self._pointers(ref, "kept").values())

    def keep(self, ref: Ref, hash: str) -> None:
        """Pin a state, for `gc`."""
        self._write(self._package(ref) / "kept" / hash, {"hash": hash})

    def unkeep(self, ref: Ref, hash: str) -> None:
        """Remove the pin of a state; one without a pin is not an error."""
        (self._package(ref) / "kept" / hash).unlink(missing_ok=True)

    def _pointers(self, ref: Ref, kind: str) -> dict[str, str]:
        """Return pointers from their file, or as older versions wrote them, from a folder with a file for each."""
        package = self._package(ref)
        if (found := _unless_damaged(package / f"{kind}.json", _pointers_in)) is not None:
            return found
        values = {each: _unless_damaged(package / kind / each, _pointer_fields) for each in names(package / kind)}
        return {each: value["hash"] for each, value in values.items() if value}

    def set_pointers(self, ref: Ref, kind: Literal["tags", "versions"], values: dict[str, str]) -> None:
        """Replace the cached tags or versions of the registry.

        Raise `InvalidName`, before anything is written, for an invalid name or hash.
        """
        check = check_tag if kind == "tags" else check_version
        old = self._pointers(ref, kind)
        for each, hash in values.items():
            if each not in old:
                check(each)
            if not is_hash(hash):
                raise InvalidName(f"{kind}: {hash!r} is not a hash")
        folder = self._package(ref) / kind
        if old != values or folder.exists():
            # Before the old folder is deleted: a process that is killed in between leaves both.
            self._write(folder.with_suffix(".json"), values)
            import shutil  # loads slowly, and most folders are of newer versions

            shutil.rmtree(folder, ignore_errors=True)

    def append_log(self, ref: Ref, event: LogEvent) -> None:
        """Write one event as a file of its own; events are never changed."""
        self._log(ref).append(event)

    def log(self, ref: Ref, *kinds: Event, hash: str = "") -> Iterator[LogEvent]:
        """Yield the events of a package, of some kinds or of one state if these are given, newest first.

        Each is read when it is asked for: what takes the newest one does not depend on how long the log is.
        """
        return self._log(ref).events(*kinds, hash=hash)

    def logged(self, ref: Ref) -> Iterator[tuple[str, str]]:
        """Yield the hash and time (UTC in ISO format) of each event of a package, newest first, without reading it."""
        return self._log(ref).states()

    def newest(self, ref: Ref) -> Iterator[str]:
        """Yield the hash of each of the newest events of a package, whose number does not grow with its log."""
        return self._log(ref).newest()

    def _log(self, ref: Ref) -> PackageLog:
        return PackageLog(self._package(ref), self.tmp)

    def recorded(self, ref: Ref, hash: str, event: Event = "build") -> LogEvent | None:
        """Return the newest build of this state on this machine; None if there is none.

        With "install", return the event with the check results that came from a registry; those without are skipped.
        """
        events = self.log(ref, event, hash=hash)
        return next((each for each in events if event == "build" or each.record), None)

    def newest_builds(self, ref: Ref, most: int) -> list[LogEvent]:
        """Return the builds among the newest `most` events of a package, the newest first."""
        return [each for each in islice(self.log(ref), most) if each.event == "build"]

    def damaged(self, ref: Ref) -> list[tuple[Path, str]]:
        """Return the corrupt files of a package, each with a message."""
        package = self._package(ref)
        checks: dict[Path, Callable[[Path], object]] = {package / "current": _current_fields}
        checks |= {package / kind / each: _pointer_fields for kind in _POINTERS for each in names(package / kind)}
        checks |= {package / f"{kind}.json": _pointers_in for kind in _POINTERS}
        checks |= {package / "yanked.json": _reasons_in, package / "dates.json": _pointers_in}
        checks |= dict.fromkeys(self._log(ref).paths(), check_event)
        found = []
        for path, check in checks.items():
            try:
                check(path)
            except CorruptObject as error:
                found.append((path, error.message))
        return found

    def known_hashes(self, ref: Ref, beginning: str = "") -> set[str]:
        """Return every state of the package that is known on this machine and whose hash begins so."""
        known = {hash for hash, _ in self._log(ref).states(beginning)}
        known.update(self.tags(ref).values(), self.versions(ref).values(), self.kept(ref))
        if current := self.current(ref):
            known.add(current.hash)
        return {each for each in known if each.startswith(beginning)}

    def record_objects(self, ref: Ref) -> set[str]:
        """Return the objects that have long lists of the records in the log of the package."""
        return {event.record_object for event in self.log(ref) if event.record_object}

    def remove(self, ref: Ref) -> bool:
        """Move a package, including its log, into the trash in one step; return False if it was not here.

        `gc` finds there what the package referred to.
        """
        # A new folder each time: a package of this name may be removed again before its space is freed.
        target = temp_path(self.removed, "package") / ref.user / ref.name
        target.parent.mkdir(mode=0o700, parents=True)
        try:
            os.replace(self._package(ref), target)
        except FileNotFoundError:
            for each in (target.parent, target.parent.parent):
                each.rmdir()
            return False
        # It fails while the user has other packages here, which is wanted.
        with contextlib.suppress(OSError):
            os.rmdir(self.folder / ref.user)
        return True

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        # Keys keep their order, because that of kwargs in a build record matters.
        write_atomic(path, json.dumps(value, ensure_ascii=False).encode() + b"\n", self.tmp)


_POINTERS = ("tags", "versions", "kept")


def _current_fields(path: Path) -> dict[str, Any] | None:
    types = {"hash": str, "origin": str, "partial": bool, "title": str, "bytes_logical": int}
    return known_fields(path, types, ("hash", "origin"))


def _pointer_fields(path: Path) -> dict[str, Any] | None:
    return known_fields(path, {"hash": str}, ("hash",))


def _pointers_in(path: Path) -> dict[str, Any] | None:
    found = read_json(path)
    if found and not all(map(is_hash, found.values())):
        raise damaged(path, "a value is not a hash")
    return found


def _reasons_in(path: Path) -> dict[str, Any] | None:
    found = read_json(path)
    if found and not all(isinstance(each, str) for each in found.values()):
        raise damaged(path, "a value is not text")
    return found


def _unless_damaged(path: Path, read: Callable[[Path], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the value of a pointer; None, with a warning, if it is corrupt."""
    try:
        return read(path)
    except CorruptObject as error:
        warn(error, "it was passed over")
        return None
