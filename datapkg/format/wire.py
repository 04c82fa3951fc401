"""The HTTP API as values: paths, request and reply types, and the framing of many small objects in one body.

The registry's router and the client both use this module. The types are msgspec structs, because pydantic takes long to
load and every command that contacts a registry would pay for it; the registry derives pydantic models from them. Bulk
bodies are a sequence of frames: 32 bytes of sha256, 8 bytes of length (little-endian), then the bytes.
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
PUSHES = PACKAGE + "/pushes"
PUSH = PUSHES + "/{push}"
PUSH_MISSING = PUSH + "/missing"
PUSH_OBJECT = PUSH + "/objects/{hash}"
PUSH_DELTA = PUSH_OBJECT + "/delta"
PUSH_DIRECT = PUSH_OBJECT + "/direct"
PUSH_OBJECTS = PUSH + "/objects"
PUBLISH = PUSH + "/publish"
PUBLISH_CHECK = PUSH + "/publish/check"
PUSH_STAGES = PUSH + "/stages"
STAGES_FIND = PACKAGE + "/stages/find"
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
DELTA_TYPE = "application/x-datapkg-delta"
SMALL_BYTES = 1 << 20
BATCH_BYTES = 16 << 20
MAX_HASHES = 100_000
MAX_MESSAGE = 10_000
MAX_REASON = 1_000
MAX_UNCHECKED = 100
MAX_STAGE_KEYS = 1_000
MAX_STAGE_CODE = 1_000
MAX_STAGE_VARIANTS = 20
"""The run cache has at most so many results of one key, which differ in the code that the runs imported."""
MAX_STAGE_MANIFEST_BYTES = 16 << 20
"""The manifests of all results in one request have at most so many bytes."""

# Patterns end with `\Z`, since `$` also matches before a final newline.
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", max_length=64)]
Hashes = Annotated[list[Hash], Meta(max_length=MAX_HASHES)]
Unchecked = Annotated[list[str], Meta(max_length=MAX_UNCHECKED)] | None
StageCode = Annotated[dict[Annotated[str, Meta(max_length=1_000)], Hash], Meta(max_length=MAX_STAGE_CODE)]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message from a client: unknown fields are rejected, so that a misspelt one is noticed."""


class _Reply(msgspec.Struct, frozen=True):
    """A message from a registry: unknown fields are ignored, so that replies of a newer registry can be read.

    An invalid tag or version raises `InvalidName` when the message is created, because names become file names.
    """


class SearchMatch(_Reply, kw_only=True, frozen=True):
    """Where a search found a word; `text` is the matching text, or the part of it that contains the word.

    `where` is name, title, description, keywords, node, column or readme; `path` is the node, or that of the column.
    """

    word: str
    where: str
    text: str
    path: str = ""


class PackageSummary(_Reply, kw_only=True, frozen=True):
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


class PackagePage(_Reply, kw_only=True, frozen=True):
    """One page of a list of packages; `next` is the cursor of the next page, None on the last."""

    packages: list[PackageSummary]
    next: str | None = None


class VersionEntry(_Reply, kw_only=True, frozen=True):
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


class PackageInfo(_Reply, kw_only=True, frozen=True):
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


class PackageState(_Reply, kw_only=True, frozen=True):
    """A state of another package; `package` is `user/name`."""

    package: str
    hash: Hash

    def __post_init__(self) -> None:
        user, _, name = self.package.partition("/")
        check_user(user), check_package(name)


class Resolved(_Reply, kw_only=True, frozen=True):
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


class HashList(_Request, kw_only=True, frozen=True):
    """Hashes of objects that a client asks about."""

    hashes: Hashes


class PushStart(_Request, kw_only=True, frozen=True):
    """Start a push of the state with this manifest hash; `hashes` are the first objects asked about."""

    manifest: Hash
    hashes: Hashes


class PushStarted(_Reply, kw_only=True, frozen=True):
    """A started push: `push` identifies it in later requests; the objects in `missing` must be sent.

    `missing` may include the manifest. `damaged` are objects of the package that are damaged at the registry, asked
    about or not, so that a client need not ask about objects of `latest`. A registry that omits it must be asked about
    all objects, and accepts no deltas. Objects of `direct_bytes` or more (0: none) can be sent past the registry.
    """

    push: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,200}\Z")]
    missing: list[Hash]
    damaged: list[Hash] | None = None
    latest: Hash | None = None
    public: bool = False
    exists: bool = False
    record_objects: bool = False
    direct_bytes: int = 0


class Missing(_Reply, kw_only=True, frozen=True):
    """Those of the requested objects that the registry lacks."""

    missing: list[Hash]


class ObjectUrls(_Reply, kw_only=True, frozen=True):
    """URLs of objects that need no token, in the order asked for: relative to the registry, or in its storage."""

    urls: list[str]


class Received(_Reply, kw_only=True, frozen=True):
    """How many bytes of an object came in an upload that broke off; the next one may go on from there (`?offset=`)."""

    size_bytes: int


class DirectPart(_Reply, kw_only=True, frozen=True):
    """The bytes of an object from `start` up to `stop` are to be sent by a PUT to `url`, which is signed."""

    start: int
    stop: int
    url: str


class DirectUpload(_Reply, kw_only=True, frozen=True):
    """The next parts of an object to be sent; none when all have arrived."""

    parts: list[DirectPart]


class Stored(_Reply, kw_only=True, frozen=True):
    """The hashes of the objects that were stored."""

    hashes: list[str]


class Publish(_Request, kw_only=True, frozen=True, omit_defaults=True):
    """Make the pushed manifest a state of the package and move `latest` (and `tag`) to it, in one step.

    `parent` is the `latest` that the pusher saw; another one at the registry is a Conflict unless `force`.
    `record_object` was sent like other objects and has the long lists of the record (`format/record_lists.py`).
    """

    manifest: Hash
    parent: Hash | None = None
    force: bool = False
    public: bool = False
    confirm_public: bool = False
    message: Annotated[str, Meta(max_length=MAX_MESSAGE)] = ""
    tag: Annotated[str, Meta(max_length=64)] | None = None
    version: Annotated[str, Meta(max_length=64)] | None = None
    record: dict[str, Any] = {}
    record_object: Hash | None = None
    previews: dict[str, Any] = {}


class PublishCheck(_Request, kw_only=True, frozen=True, omit_defaults=True):
    """Check whether a push could be published, before anything is sent.

    The sizes are those of the manifest, of the record's object, of all objects of the state, and of the largest and of
    all objects to be sent.
    """

    publish: Publish
    manifest_size: int
    record_size: int = 0
    bytes_logical: int
    largest_to_send: int = 0
    bytes_to_send: int = 0


class PublishChecked(_Reply, kw_only=True, frozen=True):
    """The push may be published as requested; `changed` tells whether that makes a new state."""

    changed: bool


class Published(_Reply, kw_only=True, frozen=True):
    """A published state; `changed` is false if the registry already was in this state; `url` is the package's page.

    `unchecked` is that of `Resolved`; `role` is the pusher's: a writer cannot share the package.
    """

    package: str
    hash: str
    url: str
    changed: bool
    public: bool
    unchecked: Unchecked = None
    role: Literal["owner", "writer"] = "owner"


class StageKeys(_Request, kw_only=True, frozen=True):
    """The keys of stages (`datapkg/store/stage_results.py`) whose results a client asks for."""

    stages: Annotated[list[Hash], Meta(max_length=MAX_STAGE_KEYS)]


class StageHit(_Reply, kw_only=True, frozen=True):
    """A result in the run cache of a package, which it is only where the files of `code` have these hashes.

    `manifest` lists its files, which are read like other objects of the package; `by` added it, at `filled_at`.
    """

    key: Hash
    code: StageCode = {}
    manifest: Hash
    manifest_size: int
    by: str
    filled_at: str


class StageHits(_Reply, kw_only=True, frozen=True):
    """All results for the requested keys, the last used first."""

    hits: list[StageHit]


class StageEntry(_Request, kw_only=True, frozen=True):
    """A result to add to the run cache: its manifest, and the code that the run imported, path to hash."""

    key: Hash
    code: StageCode = {}
    manifest: Hash


class StageEntries(_Request, kw_only=True, frozen=True):
    """Results to add to the run cache, all or none; their objects were sent in the push."""

    entries: Annotated[list[StageEntry], Meta(max_length=MAX_STAGE_KEYS)]


class StagesKept(_Reply, kw_only=True, frozen=True):
    """How many results were added or replaced; others were in the cache already."""

    added: int


class LogEntry(_Reply, kw_only=True, frozen=True):
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


class LogPage(_Reply, kw_only=True, frozen=True):
    """One page of a log; `next` is the cursor of the next page, None on the last."""

    entries: list[LogEntry]
    next: str | None = None


class StateChecks(_Reply, kw_only=True, frozen=True):
    """The checks in the record of a state: `checks` has an entry for each check of each table.

    An entry refers to its definition by the position in `rules`.
    """

    checks: list[dict[str, Any]] = []
    rules: list[str] = []


class Pointed(_Request, kw_only=True, frozen=True):
    """The state (full hash) that a tag or version shall name."""

    hash: Hash


class Yank(_Request, kw_only=True, frozen=True):
    """The reason for which a version is yanked, shown to whoever still asks for it."""

    reason: Annotated[str, Meta(max_length=MAX_REASON)] = ""


class TagList(_Reply, kw_only=True, frozen=True):
    """The tags of a package, name to hash; `moved_at` is when each was last set, if the registry knows."""

    tags: dict[str, Hash]
    moved_at: dict[str, str] = {}

    def __post_init__(self) -> None:
        _check_names(self.tags)


class VersionList(_Reply, kw_only=True, frozen=True):
    """The versions of a package."""

    versions: list[VersionEntry]


class Access(_Reply, kw_only=True, frozen=True):
    """Who may read: `public` or named users; `writers` may also push, tag and version; the owner may do everything."""

    public: bool
    owner: str
    readers: list[str]
    writers: list[str] = []


class GrantRequest(_Request, kw_only=True, frozen=True):
    """A grant of access; `confirm` confirms that earlier pushes become public, `write` also allows pushes."""

    confirm: bool = False
    write: bool = False


class Me(_Reply, kw_only=True, frozen=True):
    """The logged-in user; None without a valid token."""

    user: str | None


class Deleted(_Reply, kw_only=True, frozen=True):
    """The full name of the package that was deleted."""

    deleted: str


def _check_names(tags: Iterable[str], versions: Iterable[str] = ()) -> None:
    for tag in tags:
        check_tag(tag)
    for version in versions:
        check_version(version)
