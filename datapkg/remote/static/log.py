"""The log of one package: read with its pointers, verified entry by entry, and appended to by whoever is first."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from datapkg.errors import Conflict, DatapkgError, IntegrityError, NotFound, Notice, QuotaExceeded, Refused
from datapkg.format import static_registry as layout
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.format.static_registry import Heads, LogChange
from datapkg.objects.blobs.base import Blobs
from datapkg.objects.threads import ThreadPool
from datapkg.remote.static.seen import SeenLogs

READ_AT_ONCE = 8
MAX_TRIES = 1_000  # one fails only if somebody else has written an entry
MAX_ENTRIES = 1_000_000  # against a web server that has a file of every name

Decide = Callable[[Heads], dict[str, Any] | None]
"""Returns the fields of the next entry, after these pointers, or None if there is nothing to change; raises what
forbids it. It is asked again when somebody else was first."""


@contextmanager
def derived(url: str) -> Iterator[None]:
    """Inside, what fails costs time only: it writes what is derived from an entry that is in the log already."""
    try:
        yield
    except (DatapkgError, OSError) as error:
        message = f"the change is in the log at {url}; what readers start from could not be written: {error}"
        warnings.warn(message, Notice, stacklevel=3)


@dataclass(frozen=True)
class Position:
    """The pointers of a package, and the sha256 of the entry after which they hold; "" before the first."""

    heads: Heads
    entry: str


class RegistryLog:
    """The log of one package in one registry."""

    def __init__(self, blobs: Blobs, ref: Ref, seen: SeenLogs) -> None:
        self._blobs, self._ref, self._seen = blobs, Ref(ref.user, ref.name), seen
        self._position: Position | None = None

    def read(self) -> Position:
        """Return where the log ends now.

        Raise `IntegrityError` for an entry that does not follow from the one before, and for a log that is not the one
        that was seen here earlier.
        """
        start = self._position or self._checkpoint() or Position(layout.no_package(self._ref), "")
        position = start
        for data in self._following(start):
            position = self._after(position, data)
        # Without `heads.json`, an entry that was deleted would look like the end of the log.
        if position.heads.number and not start.heads.number:
            self._check_end(position.heads.number)
        self._check_seen(position)
        self._position = position
        return position

    def _checkpoint(self) -> Position | None:
        """Return the pointers that are written beside the log, if the entry they are of confirms them."""
        try:
            data = self._blobs.read(layout.heads_key(self._ref), layout.MAX_HEADS_BYTES)
            heads = layout.decode(data, Heads, "heads.json", self._blobs.url)
            entry = self.raw(heads.number)
            change = layout.decode(entry, LogChange, "entry") if entry else None
        except (NotFound, IntegrityError, QuotaExceeded):  # it was never written, or is not ours: the log has the same
            return None
        if entry is None or change is None or change.heads != hash_bytes(data) or heads.package != self._ref.package:
            return None
        return Position(heads, hash_bytes(entry))

    def _following(self, start: Position) -> Iterator[bytes]:
        """Yield the entries after a position: one at first, since there is mostly none; then several at once."""
        number = start.heads.number + 1
        data = self.raw(number)
        while data is not None:
            if number - start.heads.number > MAX_ENTRIES:
                raise IntegrityError(f"the log of {self._ref.package} at {self._blobs.url} has no end")
            yield data
            some = self._entries(range(number + 1, number + 1 + READ_AT_ONCE))
            for data in some:
                number += 1
                if data is None:
                    break
                yield data
            else:
                number += 1
                data = self.raw(number)

    def _entries(self, numbers: range) -> list[bytes | None]:
        if self._blobs.jobs == 1:
            return [self.raw(number) for number in numbers]
        with ThreadPool(READ_AT_ONCE) as pool:
            return list(pool.map(self.raw, numbers))

    def change(self, number: int) -> LogChange | None:
        """Return an entry by its number, None where it is absent; that it follows from those before is not verified."""
        data = self.raw(number)
        return layout.decode(data, LogChange, self._where(number), self._blobs.url) if data is not None else None

    def raw(self, number: int) -> bytes | None:
        """Return the bytes of an entry, None where it is absent."""
        if number < 1:
            return None
        try:
            return self._blobs.read(layout.log_key(self._ref, number), layout.MAX_CHANGE_BYTES)
        except NotFound:
            return None

    def _after(self, position: Position, data: bytes) -> Position:
        number = position.heads.number + 1
        where = self._where(number)
        change = layout.decode(data, LogChange, where, self._blobs.url)
        if (change.number, change.package) != (number, self._ref.package):
            raise IntegrityError(
                f"{where} has the contents of entry {change.number} of {change.package}",
                hint=layout.verify_line(self._blobs.url),
            )
        if (change.previous or "") != position.entry:
            raise IntegrityError(
                f"{where} follows another entry {number - 1} than the one that is there: one of them was changed",
                hint=layout.verify_line(self._blobs.url),
            )
        heads = layout.applied(position.heads, change)
        if (digest := layout.digest(heads)) != change.heads:
            raise IntegrityError(
                f"{where} does not match the pointers that it states: expected {change.heads}, got {digest}",
                hint=layout.verify_line(self._blobs.url),
            )
        return Position(heads, hash_bytes(data))

    def _check_seen(self, position: Position) -> None:
        number, entry = self._seen.last(self._ref)
        now = position.heads.number
        if now < number:
            raise self._seen.moved(self._ref, f"it had {number:,} entries and has {now:,}")
        if number and (position.entry if now == number else hash_bytes(self.raw(number) or b"")) != entry:
            raise self._seen.moved(self._ref, f"its entry {number:,} is another one")
        versions = _versions(position.heads)
        self._seen.check_versions(self._ref, versions)
        if now > number:
            self._seen.keep(self._ref, now, position.entry, versions)

    def append(self, decide: Decide, author: str = "") -> tuple[Position, LogChange | None]:
        """Add the entry that `decide` describes, after all that others add meanwhile; return where the log ends then.

        The pointers are written beside it last. Raise what `decide` raises, `Refused` where two could be first.
        """
        self._blobs.check_can_create()
        for _ in range(MAX_TRIES):
            position = self.read()
            fields = decide(position.heads)
            if fields is None:
                return position, None
            change = self._change(position, author, fields)
            self._check_free(change.number)
            if self._blobs.create(layout.log_key(self._ref, change.number), data := layout.encode(change)):
                self._position = Position(layout.applied(position.heads, change), hash_bytes(data))
                self._seen.keep(self._ref, change.number, self._position.entry, _versions(self._position.heads))
                self.write_checkpoint(self._position.heads)
                return self._position, change
        raise Conflict(f"{MAX_TRIES:,} others pushed to {self._ref.package} first; nothing was pushed")

    def _change(self, position: Position, author: str, fields: dict[str, Any]) -> LogChange:
        change = LogChange(
            format=layout.FORMAT,
            number=position.heads.number + 1,
            package=self._ref.package,
            previous=position.entry or None,
            heads="",
            # Without it, two pushers could write equal bytes, and `create` would take the other's entry for its own.
            nonce=os.urandom(8).hex(),
            **{"at": datetime.now(UTC).isoformat(), "author": author, **fields},
        )
        return replace(change, heads=layout.digest(layout.applied(position.heads, change)))

    def _check_free(self, number: int) -> None:
        """Raise `IntegrityError` if a later entry is there: this one was deleted, and must not be made anew."""
        if self._blobs.size(layout.log_key(self._ref, number + 1)) is not None and self.raw(number) is None:
            raise self._missing(number)

    def check_end(self) -> None:
        """Raise `IntegrityError` if entries are there behind the end of the log, since one before them was lost."""
        self._check_end(self.read().heads.number)

    def _check_end(self, number: int) -> None:
        last = self._last(number)
        for each in range(number + 1, last + 1):  # others may have been added since the end was found
            if self.raw(each) is None:
                raise self._missing(each)

    def _last(self, number: int) -> int:
        """Return the last number of all entries, or where keys cannot be listed, of the next few; else `number`."""
        try:
            keys = [each.key for each in self._blobs.list(f"{layout.package_key(self._ref)}/log/")]
        except Refused:
            next_ones = range(number + 1, number + 1 + READ_AT_ONCE)
            found = [each for each, data in zip(next_ones, self._entries(next_ones), strict=True) if data is not None]
        else:
            found = [entry[1] for key in keys if (entry := layout.entry_of(key))]
        return max(found, default=number)

    def _missing(self, number: int) -> IntegrityError:
        return IntegrityError(
            f"{self._where(number)} is missing, and later ones are there; restore it from a mirror or a backup",
            hint=layout.verify_line(self._blobs.url),
        )

    def _where(self, number: int) -> str:
        return f"entry {number} of the log of {self._ref.package} at {self._blobs.url}"

    def verified(self, number: int, digest: str) -> tuple[bytes, LogChange]:
        """Return an entry whose sha256 this has to be; raise `IntegrityError` for another one."""
        data = self.raw(number)
        if data is None:
            raise self._missing(number)
        if hash_bytes(data) != digest:
            raise IntegrityError(
                f"{self._where(number)} was changed while it was read", hint=layout.verify_line(self._blobs.url)
            )
        return data, layout.decode(data, LogChange, self._where(number), self._blobs.url)

    def digests(self, start: Position) -> list[str]:
        """Return the sha256 of each entry after a position of this log, in order.

        Raise `IntegrityError` unless each follows from the one before and leads to what was read as the end.
        """
        position, found = start, list[str]()
        end = self.read()
        while position.heads.number < end.heads.number:
            number = position.heads.number + 1
            data = self.raw(number)
            if data is None:
                raise self._missing(number)
            position = self._after(position, data)
            found.append(position.entry)
        if position.entry != end.entry:
            raise IntegrityError(
                f"{self._where(end.heads.number)} was changed while it was read",
                hint=layout.verify_line(self._blobs.url),
            )
        return found

    def write_checkpoint(self, heads: Heads) -> None:
        """Write the pointers beside the log."""
        with derived(self._blobs.url):
            self._blobs.put(layout.heads_key(self._ref), io.BytesIO(layout.encode(heads)))

    def entries(self) -> Iterator[LogChange]:
        """Yield the entries of the log from the last to the first; raise `IntegrityError` where they do not connect."""
        position = self.read()
        expected, number, at_once = position.entry, position.heads.number, 1
        while number:  # few at first, since many callers need only the last ones
            numbers = range(number, max(0, number - at_once), -1)
            at_once = min(2 * at_once, READ_AT_ONCE)
            for data in self._entries(numbers):
                where = self._where(number)
                if data is None or hash_bytes(data) != expected:
                    what = "is missing" if data is None else "was changed after the next one was written"
                    raise IntegrityError(f"{where} {what}", hint=layout.verify_line(self._blobs.url))
                change = layout.decode(data, LogChange, where, self._blobs.url)
                yield change
                expected, number = change.previous or "", number - 1


def _versions(heads: Heads) -> dict[str, str]:
    """Return all versions that were ever given: those of before a deletion never name another state either."""
    return heads.retired | {name: each.hash for name, each in heads.versions.items()}
