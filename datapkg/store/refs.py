"""The small pointers of a store: each package's current state, the registry's tags and versions, and the log.

A corrupt one is reported by a `DamagedFile` warning and skipped, so that one file never blocks the others: the current
state of a package then follows from its log; tags and versions return with the next install. Reading writes nothing,
since another process may be replacing the file; `verify` moves it away and restores it.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from pathlib import Path

from datapkg.errors import CorruptObject, DamagedFile, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.names import Ref, check_tag, check_version, is_hash
from datapkg.objects.files import temp_path, write_atomic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Literal

    Event = Literal["build", "install", "push"]


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


@dataclass(frozen=True)
class LogEvent:
    """One build, install or push of a package on this machine; `at` is UTC in ISO format.

    `record_object` is the hash of the object with the long lists of the record (`format/record_lists.py`), or "".
    """

    event: Event
    hash: str
    at: str
    origin: str = "local"
    message: str = ""
    record: dict[str, Any] = {}  # noqa: RUF012 - each event has its own
    record_object: str = ""


_LOG_TIME, _LOG_DIGITS = "%Y%m%dT%H%M%S.%fZ", 22


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

    def packages(self) -> list[Ref]:
        """Return the packages with a current state, in order."""
        return [ref for ref in self.folders() if (self._package(ref) / "current").exists()]

    def folders(self) -> list[Ref]:
        """Return every package of which anything is stored, even if only a log or the registry's tags, in order."""
        return [Ref(user, name) for user in _names(self.folder) for name in _names(self.folder / user)]

    def knows(self, ref: Ref) -> bool:
        """Return whether anything of a package is stored, even if only its log."""
        return self._package(ref).is_dir()

    def current(self, ref: Ref) -> Current | None:
        """Return the last built or installed state, or None; if the pointer is corrupt, the log's last state."""
        path = self._package(ref) / "current"
        try:
            value = _read_json(path)
            return Current(**_known(Current, value, path)) if value else None
        except CorruptObject as error:
            newest = self._newest(ref)
            then = f"it is {newest.hash[:12]}… by the log" if newest else f"type: datapkg install {ref.package}"
            _warn(error, f"what {ref.package} is now is not known from it; {then}")
            return newest

    def _newest(self, ref: Ref) -> Current | None:
        """Return the state that was last built or installed according to the log; objects of it may be missing."""
        made = (each for each in self.log(ref) if each.event != "push")
        newest = next(made, None)
        return Current(newest.hash, newest.origin, partial=True) if newest else None

    def set_current(self, ref: Ref, current: Current) -> None:
        """Set the pointer; this is the last step of a build or install."""
        self._write(self._package(ref) / "current", vars(current))

    def tags(self, ref: Ref) -> dict[str, str]:
        """Return the registry's tags as last seen: name to hash."""
        return self._pointers(ref, "tags")

    def versions(self, ref: Ref) -> dict[str, str]:
        """Return the registry's versions as last seen: version to hash."""
        return self._pointers(ref, "versions")

    def kept(self, ref: Ref) -> set[str]:
        """Return the states that the user pinned: `gc` never deletes them."""
        return set(self._pointers(ref, "kept").values())

    def keep(self, ref: Ref, hash: str) -> None:
        """Pin a state, for `gc`."""
        self._write(self._package(ref) / "kept" / hash, {"hash": hash})

    def unkeep(self, ref: Ref, hash: str) -> None:
        """Remove the pin of a state; one without a pin is no error."""
        (self._package(ref) / "kept" / hash).unlink(missing_ok=True)

    def _pointers(self, ref: Ref, kind: str) -> dict[str, str]:
        folder = self._package(ref) / kind
        values = {each: _unless_damaged(folder / each) for each in _names(folder)}
        return {each: str(value["hash"]) for each, value in values.items() if value}

    def set_pointers(self, ref: Ref, kind: Literal["tags", "versions"], values: dict[str, str]) -> None:
        """Replace the cached tags or versions of the registry.

        Names become paths, so raise `InvalidName`, before anything is written, for an invalid name or hash.
        """
        check = check_tag if kind == "tags" else check_version
        for each, hash in values.items():
            check(each)
            if not is_hash(hash):
                raise InvalidName(f"{kind}: {hash!r} is not a hash")
        old = self._pointers(ref, kind)
        folder = self._package(ref) / kind
        for each in old.keys() - values.keys():
            (folder / each).unlink(missing_ok=True)
        for each, hash in values.items():
            if old.get(each) != hash:
                self._write(folder / each, {"hash": hash})

    def append_log(self, ref: Ref, event: LogEvent) -> None:
        """Write one event as a file of its own, named so that it is the newest; events are never changed."""
        from datetime import datetime, timedelta

        folder = self._package(ref) / "log"
        at = datetime.fromisoformat(event.at).replace(tzinfo=None)
        with contextlib.suppress(ValueError, IndexError):  # the clock may have been set back since the event before
            at = max(at, datetime.fromisoformat(_names(folder)[-1][:_LOG_DIGITS]) + timedelta(microseconds=1))
        file_name = f"{at.strftime(_LOG_TIME)}-{event.hash[:12]}-{os.urandom(4).hex()}.json"
        self._write(folder / file_name, vars(event))

    def log(self, ref: Ref, event: Event | None = None, hash: str = "") -> Iterator[LogEvent]:
        """Yield the events of a package, of one kind or of one state if these are given, newest first.

        Each is read when it is asked for: what takes the newest one does not depend on how long the log is.
        """
        folder = self._package(ref) / "log"
        for each in reversed(_names(folder)):
            found = _event(folder / each) if hash[:12] in each else None
            if found and event in (None, found.event) and hash in ("", found.hash):
                yield found

    def recorded(self, ref: Ref, hash: str, event: Event = "build") -> LogEvent | None:
        """Return the newest build of this state on this machine; None if there is none.

        With "install", return the event with the check results that came from a registry; those without are skipped.
        """
        events = self.log(ref, event, hash)
        return next((each for each in events if event == "build" or each.record), None)

    def newest_builds(self, ref: Ref, most: int) -> list[LogEvent]:
        """Return the builds among the newest `most` events of a package, the newest first."""
        folder = self._package(ref) / "log"
        events = [_event(folder / each) for each in _names(folder)[: -most - 1 : -1]]
        return [each for each in events if each and each.event == "build"]

    def damaged(self, ref: Ref) -> list[tuple[Path, str]]:
        """Return the corrupt files of a package, each with a message."""
        package = self._package(ref)
        pointers = [package / kind / each for kind in ("tags", "versions", "kept") for each in _names(package / kind)]
        events = [package / "log" / each for each in _names(package / "log")]
        found = []
        kinds: dict[Path, type[Current] | type[LogEvent] | None] = {package / "current": Current}
        kinds |= dict.fromkeys(pointers) | dict.fromkeys(events, LogEvent)
        for path, cls in kinds.items():
            try:
                value = _read_json(path)
                if value and cls:
                    _known(cls, value, path)
            except CorruptObject as error:
                found.append((path, error.message))
        return found

    def known_hashes(self, ref: Ref) -> set[str]:
        """Return every state of the package that is known on this machine."""
        known = {event.hash for event in self.log(ref)}
        known.update(self.tags(ref).values(), self.versions(ref).values(), self.kept(ref))
        if current := self.current(ref):
            known.add(current.hash)
        return known

    def record_objects(self, ref: Ref) -> set[str]:
        """Return the objects that have long lists of the records in the log of the package."""
        return {event.record_object for event in self.log(ref) if event.record_object}

    def remove(self, ref: Ref) -> bool:
        """Move a package, including its log, into the trash in one step; return False if it was not here.

        `gc` finds there what the package referred to.
        """
        target = temp_path(self.removed, "package") / ref.user / ref.name
        target.parent.mkdir(mode=0o700, parents=True)
        try:
            os.replace(self._package(ref), target)
        except FileNotFoundError:
            for each in (target.parent, target.parent.parent):
                each.rmdir()
            return False
        with contextlib.suppress(OSError):
            os.rmdir(self.folder / ref.user)
        return True

    def _write(self, path: Path, value: dict[str, Any]) -> None:
        # Keys keep their order, because that of kwargs in a build record matters.
        write_atomic(path, json.dumps(value, ensure_ascii=False).encode() + b"\n", self.tmp)


def _known(cls: type[Current] | type[LogEvent], value: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the known fields of a pointer, which a newer version may have written; raise if a type is wrong."""
    known = {name: value[name] for name in cls.__annotations__ if name in value}
    wrong = [name for name, kind in _TYPES[cls].items() if not isinstance(known.get(name, kind()), kind)]
    wrong += [name for name in _NEEDED[cls] if name not in known]
    if cls is LogEvent and known.get("event") not in ("build", "install", "push"):
        wrong.append("event")
    if (lists := known.get("record_object")) and not is_hash(lists):
        wrong.append("record_object")
    if wrong:
        raise _damaged(path, f"wrong or without: {', '.join(wrong)}")
    return known


_TYPES: dict[type, dict[str, type]] = {
    Current: {"hash": str, "origin": str, "partial": bool, "title": str, "bytes_logical": int},
    LogEvent: {**dict.fromkeys(("event", "hash", "at", "origin", "message", "record_object"), str), "record": dict},
}
_NEEDED = {Current: ("hash", "origin"), LogEvent: ("event", "hash", "at")}


def _damaged(path: Path, what: object) -> CorruptObject:
    return CorruptObject(f"{path} is damaged: {what}", hint="datapkg verify")


def _warn(error: CorruptObject, then: str) -> None:
    warnings.warn(f"{error.message}; {then}; datapkg verify sets it aside", DamagedFile, stacklevel=3)


def _unless_damaged(path: Path) -> dict[str, Any] | None:
    """Return the value of a pointer; None, with a warning, if it is corrupt."""
    try:
        return _read_json(path)
    except CorruptObject as error:
        _warn(error, "it was passed over")
        return None


def _event(path: Path) -> LogEvent | None:
    """Return an event of a log; None, with a warning, if it is corrupt."""
    try:
        value = _read_json(path)
        return LogEvent(**_known(LogEvent, value, path)) if value else None
    except CorruptObject as error:
        _warn(error, "the log goes on without it")
        return None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict) or not is_hash(value.get("hash")):
            raise ValueError("no hash in it")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError, OSError) as error:
        raise _damaged(path, error) from error
    return value
