"""The layout of a registry without a server: its keys, and the files of JSON below them.

The log of a package is the truth: numbered entries, each created only if it is absent, each with the sha256 of the one
before and of the pointers after it. `heads.json` holds these pointers, so a reader needs it and the last entry only,
and can tell that they belong together. All files are canonical JSON and end with a newline.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, TypeVar

import msgspec

from datapkg.errors import UPGRADE_HINT, IntegrityError, InvalidName, NewerFormat
from datapkg.format import canonical
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref, check_package, check_tag, check_user, check_version

FORMAT = 1
YANKED_FORMAT = 2
"""That of pointers with yanked versions: a datapkg that does not know them would lose them with its next push."""
MARKER = "datapkg-registry.json"
SEARCH_INDEX = "index/packages.json"
TRASH = "trash/"
LATEST = "latest"
KINDS = frozenset({"push", "tag", "untag", "version", "yank", "unyank", "record", "delete"})
MAX_MARKER_BYTES = 4 << 10
MAX_CHANGE_BYTES = 16 << 20
MAX_HEADS_BYTES = 64 << 20
MAX_SUMMARY_BYTES = 64 << 10
MAX_INDEX_BYTES = 256 << 20
MAX_LOCATIONS_BYTES = 1 << 30

_HASH = r"[0-9a-f]{64}"
_SPLIT_HASH = r"[0-9a-f]{2}/[0-9a-f]{62}"
_STORED = re.compile(
    rf"(?:(?:objects|recipes|maps)/{_SPLIT_HASH}|packs/{_HASH}\.pack|previews/{_HASH}|wheels/{_HASH}/[^/]+"
    rf"|packages/[a-z0-9]+/[a-z0-9_]+/(?:states|begun)/{_HASH}\.loc)\Z"
)
_ENTRY = re.compile(r"packages/([^/]+)/([^/]+)/log/([0-9]{8,})\.json\Z")

T = TypeVar("T", bound=msgspec.Struct)


def package_key(ref: Ref) -> str:
    """Return the prefix of all that is kept of a package."""
    return f"packages/{ref.user}/{ref.name}"


def log_key(ref: Ref, number: int) -> str:
    """Return the key of an entry of a package's log; the first has number 1."""
    return f"{package_key(ref)}/log/{number:08}.json"


def heads_key(ref: Ref) -> str:
    """Return the key of a package's pointers."""
    return f"{package_key(ref)}/heads.json"


def locations_key(ref: Ref, state: str) -> str:
    """Return the key of the file with the locations of a state's objects (`format/locations.py`)."""
    return f"{package_key(ref)}/states/{state}.loc"


def begun_key(ref: Ref, state: str) -> str:
    """Return the key of the file that lists what an unfinished push of a state has stored."""
    return f"{package_key(ref)}/begun/{state}.loc"


def object_key(hash: str) -> str:
    """Return the key of an object that has a file of its own."""
    return f"objects/{hash[:2]}/{hash[2:]}"


def pack_key(hash: str) -> str:
    """Return the key of a pack of small objects (`objects/pack_file.py`)."""
    return f"packs/{hash}.pack"


def recipe_key(hash: str) -> str:
    """Return the key of an object that is kept as ranges of others (`objects/recipes.py`)."""
    return f"recipes/{hash[:2]}/{hash[2:]}"


def map_key(hash: str) -> str:
    """Return the key of an object's chunk map (`format/chunks.py`)."""
    return f"maps/{hash[:2]}/{hash[2:]}"


def previews_key(state: str) -> str:
    """Return the key of the previews that were pushed with a state."""
    return f"previews/{state}"


def wheel_key(ref: Ref, version: str, sha256: str) -> str:
    """Return the key of a thin wheel (`format/thin_wheel.py`), which ends in the file name that pip requires."""
    return f"wheels/{sha256}/datapkg_{ref.user}_{ref.name}-{version}-py3-none-any.whl"


def page_key(project: str, kind: str) -> str:
    """Return the key of the page of a project, or for "" of the list of all, as `html` or `json`."""
    return f"simple/{project}/index.{kind}" if project else f"simple/index.{kind}"


def trash_key(key: str) -> str:
    """Return the key to which a file that nothing needs moves before it is deleted."""
    return TRASH + key


def is_stored(key: str) -> bool:
    """Return whether a key is that of a file which states need, or could: all that may be collected."""
    return _STORED.match(key) is not None


def entry_of(key: str) -> tuple[Ref, int] | None:
    """Return of which package and number an entry of a log is, by its key; None for any other key."""
    found = _ENTRY.match(key)
    try:
        return (Ref(check_user(found[1]), check_package(found[2])), int(found[3])) if found else None
    except InvalidName:  # a folder that somebody made: no package can have this name
        return None


def summary_key(ref: Ref, number: int) -> str:
    """Return the key of what a search reads of a package, as it was after this entry of its log."""
    return f"index/{ref.user}/{ref.name}/{number:08}.json"


class Marker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes a folder, bucket or web site a registry; `url` is its address in thin wheels, if that is another."""

    format: int
    url: str = ""


class LogChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a log.

    `previous` is the sha256 of the entry before (None for the first), `heads` that of the pointers after this one, and
    `nonce` is random, so that no two pushers write the same bytes. The kinds and what they use: push (`hash`, `parent`,
    `parents`, `message`, sizes, record, and the `tag` and `version` that it sets besides `latest`), tag (`tag`,
    `hash`), untag (`tag`), version (`version`, `hash`), yank (`version`, with the reason as `message`), unyank
    (`version`), record (a new record of the state `hash`), delete. `wheels` has the sha256 of each thin wheel that a
    push or version added, by its version.
    """

    format: int
    kind: str
    number: int
    package: str
    at: str
    previous: str | None
    heads: str
    nonce: str
    author: str = ""
    hash: str = ""
    parent: str | None = None
    parents: list[str] = []
    message: str = ""
    manifest_size: int = 0
    bytes_logical: int = 0
    tag: str | None = None
    version: str | None = None
    record: dict[str, Any] = {}
    record_object: str | None = None
    wheels: dict[str, str] = {}


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """A state that a tag or version names, and since when."""

    hash: str
    at: str


class Heads(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The pointers of a package after entry `number` of its log; without the tag `latest` there is no package.

    `records` has the number of the entry with the last record of a state, where that is not the one of its push.
    `first` is the entry with which the package began, the first one or the one after it was deleted. `retired` are the
    versions of before that: they never name other states. `yanked` has the reasons of yanked versions.
    """

    format: int
    package: str
    number: int
    first: int = 0
    created_at: str = ""
    tags: dict[str, Pointer] = {}
    versions: dict[str, Pointer] = {}
    records: dict[str, int] = {}
    retired: dict[str, str] = {}
    yanked: dict[str, str] = {}

    def __post_init__(self) -> None:
        # Names become keys, and names of files.
        for tag in self.tags:
            check_tag(tag)
        for version in (*self.versions, *self.retired, *self.yanked):
            check_version(version)

    @property
    def latest(self) -> str | None:
        """The hash of the latest state; None where there is no package."""
        return self.tags[LATEST].hash if LATEST in self.tags else None


class Summary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a search reads of a package, as it was after entry `number` of its log."""

    package: str
    number: int
    latest: str | None = None
    title: str = ""
    description: str = ""
    keywords: list[str] = []
    pushed_at: str = ""
    bytes_logical: int = 0


class SearchIndex(msgspec.Struct, frozen=True, kw_only=True):
    """The summaries of packages, by package."""

    format: int
    packages: dict[str, Summary]


def encode(value: msgspec.Struct) -> bytes:
    """Return the canonical bytes of one of these files."""
    return canonical.encode(canonical.prepare(msgspec.to_builtins(value), "entry")) + b"\n"


def decode(data: bytes, model: type[T], where: str, registry: str = "ADDRESS") -> T:
    """Return the file of a registry with these bytes; raise `IntegrityError`, or `NewerFormat`."""
    try:
        value = msgspec.json.decode(data)
        if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > YANKED_FORMAT:
            raise NewerFormat(
                f"{where} has format {value['format']}, which this datapkg cannot read", hint=UPGRADE_HINT
            )
        return msgspec.convert(value, model)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        if isinstance(error, NewerFormat):
            raise
        raise IntegrityError(f"{where} is damaged: {error}", hint=verify_line(registry)) from error


def verify_line(registry: str) -> str:
    """Return the line that lists what is damaged in a registry."""
    return f"datapkg verify --registry {shlex.quote(registry)}"


def no_package(ref: Ref) -> Heads:
    """Return the pointers of a package that was never pushed."""
    return Heads(format=FORMAT, package=ref.package, number=0)


def applied(heads: Heads, change: LogChange) -> Heads:
    """Return the pointers after a change; raise `NewerFormat` for a kind that only a newer datapkg knows."""
    if change.kind not in KINDS:
        raise NewerFormat(f"the log of {heads.package} has an entry of kind {change.kind!r}", hint=UPGRADE_HINT)
    tags, versions, retired = dict(heads.tags), dict(heads.versions), dict(heads.retired)
    yanked = dict(heads.yanked)
    first, created_at = (heads.first, heads.created_at) if heads.first else (change.number, change.at)
    here = Pointer(hash=change.hash, at=change.at)
    if change.kind == "push":
        tags[LATEST] = here
    if change.kind in ("push", "tag") and change.tag:
        tags[change.tag] = here
    if change.kind in ("push", "version") and change.version:
        # A version never moves, whatever an entry states.
        versions.setdefault(change.version, here)
    if change.kind == "untag" and change.tag:
        tags.pop(change.tag, None)
    if change.kind == "yank" and change.version in versions:
        yanked[change.version] = change.message
    if change.kind == "unyank" and change.version:
        yanked.pop(change.version, None)
    records = {**heads.records, change.hash: change.number} if change.kind == "record" else dict(heads.records)
    if change.kind == "delete":
        retired |= {version: pointer.hash for version, pointer in versions.items()}
        tags, versions, yanked, records, first, created_at = {}, {}, {}, {}, 0, ""
    return Heads(
        format=YANKED_FORMAT if yanked else FORMAT,
        package=heads.package,
        number=change.number,
        first=first,
        created_at=created_at,
        tags=tags,
        versions=versions,
        records=records,
        retired=retired,
        yanked=yanked,
    )


def digest(value: msgspec.Struct) -> str:
    """Return the sha256 of one of these files."""
    return hash_bytes(encode(value))
