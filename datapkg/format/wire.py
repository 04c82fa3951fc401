"""The HTTP API as values: paths, request and reply types, and the framing of many small objects in one body.

The registry's router and the client both use this module; `push_wire` and `run_cache_wire` have the rest. The types are
msgspec structs, because pydantic takes long to load and every command that contacts a registry would pay for it; the
registry derives pydantic models from them. Bulk bodies are a sequence of frames: 32 bytes of sha256, 8 bytes of length
(little-endian), then the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from datapkg.format.names import check_package, check_tag, check_user, check_version

API = "/api/v1"
PACKAGES = API + "/packages"
PACKAGE = PACKAGES + "/{user}/{name}"
RESOLVE = PACKAGE + "/resolve"
MANIFEST = PACKAGE + "/manifests/{hash}"
MANIFEST_CHUNKS = MANIFEST + "/chunks"
OBJECT = PACKAGE + "/objects/{hash}"
OBJECT_CHUNKS = OBJECT + "/chunks"
OBJECTS_READ = PACKAGE + "/objects/read"
OBJECTS_URLS = PACKAGE + "/objects/urls"
LOG = PACKAGE + "/log"
CHECKS = PACKAGE + "/checks/{hash}"
TAGS = PACKAGE + "/tags"
TAG = TAGS + "/{tag}"
VERSIONS = PACKAGE + "/versions"
VERSION = VERSIONS + "/{version}"
YANK = VERSION + "/yank"
ACCESS = PACKAGE + "/access"
GRANT = ACCESS + "/{who}"
ME = API + "/me"
HEALTH = "/healthz"

FRAMES = "application/x-datapkg-frames"
MANIFEST_TYPE = "application/x-datapkg-manifest"
CHUNKS_TYPE = "application/x-datapkg-chunks"
SMALL_BYTES = 1 << 20
BATCH_BYTES = 16 << 20
MAX_HASHES = 100_000
MAX_REASON = 1_000
MAX_UNCHECKED = 100

# Patterns end with `\Z`, since `$` also matches before a final newline.
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Hashes = Annotated[list[Hash], Meta(max_length=MAX_HASHES)]
Unchecked = Annotated[list[str], Meta(max_length=MAX_UNCHECKED)] | None


class RequestMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message from a client: unknown fields are rejected, so that a misspelt one is noticed."""


class ReplyMessage(msgspec.Struct, frozen=True):
    """A message from a registry: unknown fields are ignored, so that replies of a newer registry can be read.

    An invalid tag or version raises `InvalidName` when the message is created, because names become file names.
    """


class SearchMatch(ReplyMessage, kw_only=True, frozen=True):
    """Where a search found a word; `text` is the matching text, or the part of it that contains the word.

    `where` is name, title, description, keywords, node, column or readme; `path` is the node, or that of the column.
    """

    word: str
    where: str
    text: str
    path: str = ""


class PackageSummary(ReplyMessage, kw_only=True, frozen=True):
    """One line of a list or search; `bytes_logical` is the size of all objects of its latest state.

    `matches` has one entry for each word of a search; it is empty in a list, or from a registry that does not report
    it.
    """

    package: str
    public: bool
    latest: str | None = None
    title: str = ""
    description: str = ""
    pushed_at: str | None = None
    bytes_logical: int = 0
    matches: list[SearchMatch] = []


class PackagePage(ReplyMessage, kw_only=True, frozen=True):
    """One page of a list of packages; `next` is the cursor of the next page, None on the last."""

    packages: list[PackageSummary]
    next: str | None = None


class VersionEntry(ReplyMessage, kw_only=True, frozen=True):
    """A version, its state, and when it was created; `yanked` is the reason of a yanked one ("" without), or None.

    `wheel` is the sha256 of its thin wheel, if that is known.
    """

    version: str
    hash: Hash
    created_at: str = ""
    yanked: str | None = None
    wheel: Hash | None = None

    def __post_init__(self) -> None:
        check_version(self.version)


class PackageInfo(ReplyMessage, kw_only=True, frozen=True):
    """A package as the actor sees it; `role` is owner, writer, reader, or public."""

    package: str
    public: bool
    role: Literal["owner", "writer", "reader", "public"]
    latest: Hash | None = None
    tags: dict[str, Hash] = {}
    versions: list[VersionEntry] = []
    created_at: str = ""

    def __post_init__(self) -> None:
        _check_names(self.tags)


class PackageState(ReplyMessage, kw_only=True, frozen=True):
    """A state of another package; `package` is `user/name`."""

    package: str
    hash: Hash

    def __post_init__(self) -> None:
        user, _, name = self.package.partition("/")
        check_user(user), check_package(name)


class Resolved(ReplyMessage, kw_only=True, frozen=True):
    """The full hash that a state means now, with all tags and versions of the package for the client's cache.

    `unchecked` are paths of tables whose `content` the registry has not verified, at most `MAX_UNCHECKED`; None from a
    registry that does not report it, or for a state that it never examined. `yanked` are the yanked versions with their
    reasons. `packages` are the states whose nodes this one contains, if a client asks for them, and `hidden` is how
    many more there are that the actor may not see, or that are not at this registry.
    """

    package: str
    hash: Hash
    version: str | None = None
    tag: str | None = None
    manifest_size: int
    bytes_logical: int
    tags: dict[str, Hash] = {}
    versions: dict[str, Hash] = {}
    unchecked: Unchecked = None
    yanked: dict[str, str] = {}
    packages: list[PackageState] = []
    hidden: int = 0

    def __post_init__(self) -> None:
        _check_names(self.tags, [*self.versions, *self.yanked])


class HashList(RequestMessage, kw_only=True, frozen=True):
    """Hashes of objects that a client asks about."""

    hashes: Hashes


class ObjectUrls(ReplyMessage, kw_only=True, frozen=True):
    """URLs of objects that need no token, in the order asked for: relative to the registry, or in its storage."""

    urls: list[str]


class LogEntry(ReplyMessage, kw_only=True, frozen=True):
    """One push; logs list the newest first.

    `parent` is the state that was the latest before; `parents` are those that it was made from, which differ for a
    forced push, a merge, and one that was based on another state. `number` counts the states of the package, and
    `wheel` is the sha256 of the state's thin wheel without a version, if these are known.
    """

    hash: str
    author: str
    message: str = ""
    pushed_at: str
    parent: str | None = None
    parents: list[str] = []
    tags: list[str] = []
    versions: list[str] = []
    bytes_logical: int = 0
    number: int | None = None
    wheel: Hash | None = None


class LogPage(ReplyMessage, kw_only=True, frozen=True):
    """One page of a log; `next` is the cursor of the next page, None on the last."""

    entries: list[LogEntry]
    next: str | None = None


class StateChecks(ReplyMessage, kw_only=True, frozen=True):
    """The checks in the record of a state: `checks` has an entry for each check of each table.

    An entry refers to its definition by the position in `rules`.
    """

    checks: list[dict[str, Any]] = []
    rules: list[str] = []


class Pointed(RequestMessage, kw_only=True, frozen=True):
    """The state (full hash) that a tag or version shall name."""

    hash: Hash


class Yank(RequestMessage, kw_only=True, frozen=True):
    """The reason for which a version is yanked, shown to whoever still asks for it."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""


class TagList(ReplyMessage, kw_only=True, frozen=True):
    """The tags of a package, name to hash; `moved_at` is when each was last set, if the registry knows."""

    tags: dict[str, Hash]
    moved_at: dict[str, str] = {}

    def __post_init__(self) -> None:
        _check_names(self.tags)


class VersionList(ReplyMessage, kw_only=True, frozen=True):
    """The versions of a package."""

    versions: list[VersionEntry]


class Access(ReplyMessage, kw_only=True, frozen=True):
    """Who may read: `public` or named users; `writers` may also push, tag and version; the owner may do everything."""

    public: bool
    owner: str
    readers: list[str]
    writers: list[str] = []


class GrantRequest(RequestMessage, kw_only=True, frozen=True):
    """A grant of access; `confirm` confirms that earlier pushes become public, `write` also allows pushes."""

    confirm: bool = False
    write: bool = False


class Me(ReplyMessage, kw_only=True, frozen=True):
    """The logged-in user; None without a valid token."""

    user: str | None


class Deleted(ReplyMessage, kw_only=True, frozen=True):
    """The full name of the package that was deleted."""

    deleted: str


def _check_names(tags: Iterable[str], versions: Iterable[str] = ()) -> None:
    for tag in tags:
        check_tag(tag)
    for version in versions:
        check_version(version)
