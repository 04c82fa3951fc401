"""The lock (`datapkg.lock`): the exact hashes that a project's requirements mean, as a value.

The file is JSON with one pin a line, sorted, so that git merges it. The list ends with `{}`, so that every pin ends
with a comma, and pins are apart by an empty line, because git merges changes only with an unchanged line between them.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from shlex import quote

from datapkg.errors import UPGRADE_HINT, InvalidLock, InvalidName, NewerFormat
from datapkg.format.frozen import dataclass
from datapkg.format.names import check_node_path, check_package, check_user, is_hash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

REQUIREMENTS = "datapkg.yml"
LOCK = "datapkg.lock"
# The group that is installed by default, as in uv.
DEFAULT_GROUP = "dev"
FORMAT = 2
MAX_BYTES = 16 << 20
_MARKERS = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})(?:[ \r]|$)", re.MULTILINE)


@dataclass(frozen=True)
class Pin:
    """A resolved requirement: the state (`hash`) that it meant at this registry, and its version or tag.

    `group` is the group of `datapkg.yml` that has it, "" for its `packages`. With `needed_by`, nobody asked for it:
    that package contains nodes of it; its size (in bytes) is then unknown, 0.
    """

    requirement: str
    package: str
    registry: str
    hash: str
    size: int
    path: str = ""
    version: str | None = None
    tag: str | None = None
    group: str = ""
    needed_by: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Return what no other pin of a lock has, in whose order the pins are written."""
        return self.package, self.needed_by, self.group, self.requirement

    def to_json(self) -> str:
        """Return the pin as one line of JSON."""
        value = {key: each for key, each in vars(self).items() if each not in (None, "")}
        if self.needed_by:
            del value["size"]
        return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Lock:
    """The pins of a project, sorted."""

    pins: tuple[Pin, ...]

    @classmethod
    def of(cls, pins: Iterable[Pin]) -> Lock:
        """Return a lock of these pins, each of them once."""
        return cls(tuple(sorted(dict.fromkeys(pins), key=lambda pin: pin.key)))

    def hash_of(self, package: str) -> str | None:
        """Return the pinned state of a package (`user/name`), or None."""
        pin = self.pin_for(package)
        return pin.hash if pin else None

    @property
    def direct(self) -> tuple[Pin, ...]:
        """Return the pins of requirements, without those that other packages need."""
        return tuple(pin for pin in self.pins if not pin.needed_by)

    @cached_property
    def _by_package(self) -> dict[str, Pin]:
        needed: dict[str, dict[str, Pin]] = {}
        for pin in self.pins:
            if pin.needed_by:
                needed.setdefault(pin.package, {})[pin.hash] = pin
        agreed = {package: next(iter(found.values())) for package, found in needed.items() if len(found) == 1}
        # Reversed, so that the first pin of a package wins.
        return agreed | {pin.package: pin for pin in reversed(self.direct)}

    @cached_property
    def _by_requirement(self) -> dict[tuple[str, str], Pin]:
        return {(pin.requirement, pin.group): pin for pin in self.direct}

    def pin_for(self, package: str) -> Pin | None:
        """Return the first pin of a package (`user/name`), or None.

        A requirement counts more than what other packages need; where these need two states, there is none.
        """
        return self._by_package.get(package)

    def pin_of(self, requirement: str, group: str = "") -> Pin | None:
        """Return the pin made from this requirement of a group, or None."""
        return self._by_requirement.get((requirement, group))

    def to_bytes(self) -> bytes:
        """Return the lock file."""
        lines = "".join(f"{pin.to_json()},\n\n" for pin in Lock.of(self.pins).pins)
        return f'{{"datapkg": {FORMAT}, "packages": [\n\n{lines}{{}}]}}\n'.encode()

    @classmethod
    def parse(cls, data: bytes, place: str = LOCK) -> Lock:
        """Parse a lock file of this format or an older one; raise `InvalidLock` with the place of the mistake."""
        try:
            if len(data) > MAX_BYTES:
                what = f"{place} is over {MAX_BYTES:,} bytes long"
                raise InvalidLock(what, hint=f"rm {quote(place)} && datapkg lock")
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            if has_conflict(data):
                what = "it has conflict markers of a merge; pins that both sides share stay"
            else:
                what = f"it is not JSON ({error})"
            raise _bad_lock(place, what) from error
        version = value.get("datapkg") if isinstance(value, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise NewerFormat(f"{place}: format {version} is newer than what this datapkg reads", hint=UPGRADE_HINT)
        if type(version) is not int or version < 1 or not isinstance(value.get("packages"), list):
            raise _bad_lock(place, "it has no format version ('datapkg') or no 'packages'")
        items = value["packages"][: -1 if version > 1 and value["packages"][-1:] == [{}] else None]
        lock = cls.of([_pin(item, f"{place}: packages[{i}]") for i, item in enumerate(items)])
        states: dict[str, str] = {}
        for pin in lock.direct:
            if states.setdefault(pin.package, pin.hash) != pin.hash:
                raise _bad_lock(place, f"{pin.package} is pinned to two different states")
        return lock


def has_conflict(data: bytes) -> bool:
    """Return whether a file has lines with which git marks a conflict."""
    return _MARKERS.search(data) is not None


def _bad_lock(place: str, what: str) -> InvalidLock:
    return InvalidLock(f"{place} cannot be read: {what}", hint="write it again with: datapkg lock")


_NEEDED = frozenset({"requirement", "package", "registry", "hash", "size"})
_KEYS = _NEEDED | {"path", "version", "tag", "group", "needed_by"}
_TEXTS = _KEYS - {"size"}


def _pin(item: Any, place: str) -> Pin:
    if not isinstance(item, dict) or any(type(each) is not str for key, each in item.items() if key in _TEXTS):
        raise _bad_lock(place, "it is not a mapping of texts")
    item = {"size": 0, **item} if item.get("needed_by") else item
    if not _NEEDED <= item.keys() <= _KEYS:
        unknown, lacking = sorted(item.keys() - _KEYS), sorted(_NEEDED - item.keys())
        raise _bad_lock(place, f"unknown keys {unknown}, lacking keys {lacking}")
    try:
        for package in (item["package"], item.get("needed_by") or item["package"]):
            user, _, name = package.partition("/")
            check_user(user), check_package(name)
        if item.get("path"):
            check_node_path(item["path"])
    except InvalidName as error:
        raise _bad_lock(place, str(error)) from error
    if not item["registry"]:
        raise _bad_lock(place, "its registry is empty")
    size = item["size"]
    if not is_hash(item["hash"]) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _bad_lock(place, "its hash or size is not one")
    return Pin(**item)


def agreed_pins(data: bytes, place: str = LOCK) -> Lock:
    """Return what remains of a lock that cannot be read: pins of whole lines, where both sides of a merge agree.

    A pin that only one side has stays; packages that the sides pin to two states are left out. Raise `NewerFormat`.
    """
    pins = [pin for side in _sides(data) for pin in _pins_of(side, place)]
    states: dict[str, set[str]] = {}
    for pin in pins:
        if not pin.needed_by:
            states.setdefault(pin.package, set()).add(pin.hash)
    kept = {pin.key: pin for pin in pins if pin.needed_by or len(states[pin.package]) == 1}
    return Lock.of(kept.values())


def _sides(data: bytes) -> list[bytes]:
    """Return what a file is on each side of its conflicts; without any, the file itself."""
    if not has_conflict(data):
        return [data]
    sides: list[list[bytes]] = [[], []]
    # Into which sides a line goes: both, ours, the common ancestor's (none), theirs.
    by_marker = {b"<<<<<<<": [0], b"|||||||": [], b"=======": [1], b">>>>>>>": [0, 1]}
    into = [0, 1]
    for line in data.splitlines(keepends=True):
        if _MARKERS.match(line):
            into = by_marker[line[:7]]
        else:
            for side in into:
                sides[side].append(line)
    return [b"".join(side) for side in sides]


def _pins_of(side: bytes, place: str) -> Iterable[Pin]:
    try:
        return Lock.parse(side, place).pins
    except NewerFormat:
        raise
    except InvalidLock:
        return [pin for line in side.splitlines() if (pin := _pin_of_line(line, place))]


def _pin_of_line(line: bytes, place: str) -> Pin | None:
    try:
        return _pin(json.loads(line.strip().rstrip(b",")), place)
    except (ValueError, RecursionError, InvalidLock):
        return None
