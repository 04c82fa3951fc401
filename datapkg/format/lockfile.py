"""Requirements (`datapkg.yml`, the wanted packages) and the lock (`datapkg.lock`, their exact hashes), as values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property

from datapkg.errors import UPGRADE_HINT, InvalidLock, InvalidName, NewerFormat
from datapkg.format.frozen import dataclass
from datapkg.format.names import SAFE_PREFIX, Ref, check_node_path, check_package, check_user, is_hash
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REQUIREMENTS = "datapkg.yml"
LOCK = "datapkg.lock"
FORMAT = 1
MAX_BYTES = 16 << 20
_QUILT = re.compile(r"(?P<ref>[^:@]+(?::[^:@]+/[^:@]+)?):(?P<kind>[htv]|hash|tag|version):(?P<value>[^:]+)\Z")


@dataclass(frozen=True)
class Pin:
    """A resolved requirement: the state (`hash`) that it meant at this registry, and its version or tag."""

    requirement: str
    package: str
    registry: str
    hash: str
    size: int
    path: str = ""
    version: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Lock:
    """The pins of a project, in the order of its requirements."""

    pins: tuple[Pin, ...]

    def hash_of(self, package: str) -> str | None:
        """Return the pinned state of a package (`user/name`), or None."""
        pin = self.pin_for(package)
        return pin.hash if pin else None

    @cached_property
    def _by_package(self) -> dict[str, Pin]:
        return {pin.package: pin for pin in reversed(self.pins)}

    @cached_property
    def _by_requirement(self) -> dict[str, Pin]:
        return {pin.requirement: pin for pin in reversed(self.pins)}

    def pin_for(self, package: str) -> Pin | None:
        """Return the first pin of a package (`user/name`), or None."""
        return self._by_package.get(package)

    def pin_of(self, requirement: str) -> Pin | None:
        """Return the pin made from this requirement, or None."""
        return self._by_requirement.get(requirement)

    def to_bytes(self) -> bytes:
        """Return the lock file as JSON with one value per line, so that it reads well in a diff."""
        pins = [{key: value for key, value in vars(pin).items() if value not in (None, "")} for pin in self.pins]
        return json.dumps({"datapkg": FORMAT, "packages": pins}, indent=2, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def parse(cls, data: bytes, place: str = LOCK) -> Lock:
        """Parse a lock file; raise `InvalidLock` with the place of the mistake."""
        try:
            if len(data) > MAX_BYTES:
                raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long")
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _bad_lock(place, f"it is not JSON ({error})") from error
        version = value.get("datapkg") if isinstance(value, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise NewerFormat(f"{place}: format {version} is newer than what this datapkg reads", hint=UPGRADE_HINT)
        if version != FORMAT or not isinstance(value.get("packages"), list):
            raise _bad_lock(place, "it has no format version ('datapkg') or no 'packages'")
        pins = tuple(_pin(item, f"{place}: packages[{i}]") for i, item in enumerate(value["packages"]))
        states: dict[str, str] = {}
        for pin in pins:
            if states.setdefault(pin.package, pin.hash) != pin.hash:
                raise _bad_lock(place, f"{pin.package} is pinned to two different states")
        return cls(pins)


def _bad_lock(place: str, what: str) -> InvalidLock:
    return InvalidLock(f"{place} cannot be read: {what}", hint="write it again with: datapkg lock")


_NEEDED = frozenset({"requirement", "package", "registry", "hash", "size"})
_KEYS = _NEEDED | {"path", "version", "tag"}
_TEXTS = _KEYS - {"size"}


def _pin(item: Any, place: str) -> Pin:
    if not isinstance(item, dict) or any(type(each) is not str for key, each in item.items() if key in _TEXTS):
        raise _bad_lock(place, "it is not a mapping of texts")
    if not _NEEDED <= item.keys() <= _KEYS:
        unknown, lacking = sorted(item.keys() - _KEYS), sorted(_NEEDED - item.keys())
        raise _bad_lock(place, f"unknown keys {unknown}, lacking keys {lacking}")
    user, _, name = item["package"].partition("/")
    try:
        check_user(user), check_package(name)
        if item.get("path"):
            check_node_path(item["path"])
    except InvalidName as error:
        raise _bad_lock(place, str(error)) from error
    size = item["size"]
    if not is_hash(item["hash"]) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _bad_lock(place, "its hash or size is not one")
    return Pin(**item)


@dataclass(frozen=True)
class Requirements:
    """The refs of a `datapkg.yml`, in order, and warnings."""

    refs: tuple[Ref, ...]
    warnings: tuple[str, ...] = ()


def parse_requirement(text: str) -> Ref:
    """Return the ref of a requirement, which may also have Quilt's form (`u/p:h:…`, `:t:`, `:v:`)."""
    if match := _QUILT.match(text.strip()):
        state = match["value"]
        text = f"{match['ref']}@{'sha256:' if match['kind'][0] == 'h' else ''}{state}"
    return Ref.parse(text.strip())


def parse_requirements(data: bytes, place: str = REQUIREMENTS) -> Requirements:
    """Parse `datapkg.yml`; raise `InvalidLock` that lists every mistake."""
    import yaml

    try:
        if len(data) > MAX_BYTES:
            raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long")
        value = yaml.load(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidLock(f"{place} is not YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(value, dict) or "packages" not in value:
        near = close_names("packages", [str(each) for each in value] if isinstance(value, dict) else [])[:1]
        found = f", but {quoted(near[0])}" if near else ""
        hint = "begin it with a line: packages: [user/name@1.0]"
        raise InvalidLock(f"{place} has no 'packages'{found}", hint=hint)
    problems = [(f"{place}: {key}", "unknown key; only 'packages' is known") for key in value if key != "packages"]
    items = value["packages"] or []
    if not isinstance(items, list):
        problems.append((f"{place}: packages", f"expected a list such as [uciml/iris@1.2.0], got {quoted(items)}"))
        items = []
    refs, warnings = _refs(items, place, problems)
    if problems:
        lines = "\n".join(f"  {where}: {what}" for where, what in problems)
        what = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise InvalidLock(f"{place} has {what}:\n{lines}", problems=problems)
    return Requirements(tuple(refs), tuple(warnings))


def _refs(items: Iterable[Any], place: str, problems: list[tuple[str, str]]) -> tuple[list[Ref], list[str]]:
    refs: list[Ref] = []
    warnings: list[str] = []
    states: dict[str, Ref] = {}
    for number, item in enumerate(items):
        where = f"{place}: packages[{number}]"
        try:
            if not isinstance(item, str):
                raise InvalidName("it is a reference such as uciml/iris@1.2.0")
            ref = parse_requirement(item)
        except InvalidName as error:
            problems.append((where, str(error)))
            continue
        first = states.setdefault(ref.package, ref)
        if (first.state, first.registry) != (ref.state, ref.registry):
            problems.append((where, f"{ref.package} is asked for in two different states; one package has one"))
        if ref.state and ref.state.kind == "hash" and len(ref.state.value) < SAFE_PREFIX:
            warnings.append(f"{where}: {item}: a hash of under {SAFE_PREFIX} digits can be forged; write the whole one")
        refs.append(ref)
    return refs, warnings
