"""The log of a package: one immutable file an event; the newest in `log/`, older ones in `log-archive/`.

A log is asked for its newest events, or for those of one state. For a package with 10,000 states, either reads as few
names and files as for one with ten: `log/` is short, and `log-archive/` has a folder for each first two digits of the
states' hashes. Names state time, hash and kind of an event, so that only the files of wanted events are read. (Names
of logs that older versions wrote have twelve digits of the hash and no kind; such logs are one folder of any length.)
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from datapkg.errors import CorruptObject
from datapkg.format.frozen import dataclass
from datapkg.format.names import is_hash
from datapkg.objects.files import write_atomic
from datapkg.store.small_files import damaged, known_fields, names, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Literal

    Event = Literal["build", "install", "push"]

_TIME, _TIME_DIGITS = "%Y%m%dT%H%M%S.%fZ", 22
RECENT = 256
"""How many events stay in `log/`; it is shortened to these when it has twice as many."""


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


class PackageLog:
    """The log in the folder of one package."""

    def __init__(self, package: Path, tmp: Path) -> None:
        self._recent = package / "log"
        self._archive = package / "log-archive"
        self._tmp = tmp

    def append(self, event: LogEvent) -> None:
        """Write one event as a file of its own, named so that it is the newest; events are never changed."""
        from datetime import datetime, timedelta

        recent = names(self._recent)
        at = datetime.fromisoformat(event.at).replace(tzinfo=None)
        with contextlib.suppress(ValueError, IndexError):  # the clock may have been set back since the event before
            at = max(at, datetime.fromisoformat(recent[-1][:_TIME_DIGITS]) + timedelta(microseconds=1))
        name = f"{at.strftime(_TIME)}-{event.hash}-{event.event}-{os.urandom(4).hex()}.json"
        # Keys keep their order, because that of kwargs in a build record matters.
        write_atomic(self._recent / name, json.dumps(vars(event), ensure_ascii=False).encode() + b"\n", self._tmp)
        if len(recent) >= 2 * RECENT:
            self._move_to_archive(recent[: -RECENT + 1])

    def _move_to_archive(self, older: list[str]) -> None:
        """Move events to the archive; a reader that listed them before looks for them there."""
        for name in older:
            if digits := _hash_in(name):
                folder = self._archive / digits[:2]
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # another process moves them too
                    os.replace(self._recent / name, folder / name)

    def events(self, *kinds: Event, hash: str = "") -> Iterator[LogEvent]:
        """Yield the events of a package, of some kinds or of one state if these are given, newest first.

        Each is read when it is asked for: what takes the newest one does not depend on how long the log is.
        """
        for name in self._names(hash):
            found = self._read(name) if not kinds or _kind_in(name) in ("", *kinds) else None
            if found and (not kinds or found.event in kinds) and hash in ("", found.hash):
                yield found

    def states(self, beginning: str = "") -> Iterator[tuple[str, str]]:
        """Yield the hash and time (UTC in ISO format) of each event whose hash begins so, newest first.

        They are in the names of events, which are not read, except those of old logs.
        """
        for name in self._names(beginning):
            digits, at = _hash_in(name), name.partition("-")[0]
            if not is_hash(digits):
                found = self._read(name)
                digits = found.hash if found else ""
            if digits and digits.startswith(beginning):
                yield digits, f"{at[:4]}-{at[4:6]}-{at[6:11]}:{at[11:13]}:{at[13:-1]}+00:00"

    def newest(self) -> Iterator[str]:
        """Yield the hash of each event that is not in the archive yet, newest first; those of old logs are left out."""
        yield from filter(is_hash, map(_hash_in, reversed(names(self._recent))))

    def _names(self, beginning: str = "") -> Iterator[str]:
        """Yield the names of events, newest first; of those of one state if two or more digits of its hash are given.

        The archive is listed after `log/`, so that an event that is being moved is seen; events that were written since
        are not.
        """
        recent = names(self._recent)
        is_wanted = _begins_like(beginning)
        yield from filter(is_wanted, reversed(recent))
        folders = [self._archive / beginning[:2]] if len(beginning) > 1 else self._archived()
        older = {name for folder in folders for name in names(folder) if not recent or name < recent[-1]}
        yield from filter(is_wanted, sorted(older.difference(recent), reverse=True))

    def _archived(self) -> list[Path]:
        return [self._archive / each for each in names(self._archive)]

    def _read(self, name: str) -> LogEvent | None:
        return _event(self._recent / name) or _event(self._archive / _hash_in(name)[:2] / name)

    def paths(self) -> list[Path]:
        """Return the files of all events."""
        return [folder / name for folder in (self._recent, *self._archived()) for name in names(folder)]


def _hash_in(name: str) -> str:
    """Return the hash in the name of an event, or the digits of it that are there; "" for another name."""
    parts = name.split("-")
    return parts[1] if len(parts) > 2 else ""


def _kind_in(name: str) -> str:
    parts = name.split("-")
    return parts[2] if len(parts) > 3 else ""


def _begins_like(beginning: str) -> Callable[[str], bool]:
    def is_wanted(name: str) -> bool:
        digits = _hash_in(name)
        return digits.startswith(beginning) or beginning.startswith(digits)

    return is_wanted


def check_event(path: Path) -> dict[str, Any] | None:
    """Return the fields of an event, None if there is no such file; raise `CorruptObject`."""
    value = known_fields(path, _TYPES, ("event", "hash", "at"))
    if value and value["event"] not in ("build", "install", "push"):
        raise damaged(path, "wrong or without: event")
    if value and (lists := value.get("record_object")) and not is_hash(lists):
        raise damaged(path, "wrong or without: record_object")
    return value


_TYPES = {**dict.fromkeys(("event", "hash", "at", "origin", "message", "record_object"), str), "record": dict}


def _event(path: Path) -> LogEvent | None:
    """Return an event of a log; None, with a warning, if it is corrupt."""
    try:
        value = check_event(path)
        return LogEvent(**value) if value else None
    except CorruptObject as error:
        warn(error, "the log goes on without it")
        return None
