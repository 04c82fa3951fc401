"""A push over HTTP: the paths and messages by which objects are sent and a state is published."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from datapkg.format import wire
from datapkg.format.wire import Hash, Hashes, ReplyMessage, RequestMessage, Unchecked

PUSHES = wire.PACKAGE + "/pushes"
PUSH = PUSHES + "/{push}"
PUSH_MISSING = PUSH + "/missing"
PUSH_OBJECT = PUSH + "/objects/{hash}"
PUSH_DELTA = PUSH_OBJECT + "/delta"
PUSH_DIRECT = PUSH_OBJECT + "/direct"
PUSH_OBJECTS = PUSH + "/objects"
PUBLISH = PUSH + "/publish"
PUBLISH_CHECK = PUSH + "/publish/check"

DELTA_TYPE = "application/x-datapkg-delta"
MINIMAL = "return=minimal"
"""The value of the header `Prefer` (RFC 7240) by which an answer lists no hashes, all of which the client has sent."""
MAX_MESSAGE = 10_000


class PushStart(RequestMessage, kw_only=True, frozen=True):
    """Start a push of the state with this manifest hash; `hashes` are the first objects asked about."""

    manifest: Hash
    hashes: Hashes


class PushStarted(ReplyMessage, kw_only=True, frozen=True):
    """A started push: `push` identifies it in later requests; the objects in `missing` must be sent.

    `missing` may include the manifest. `damaged` are objects of the package that are damaged at the registry, asked
    about or not, so that a client need not ask about objects of `latest`. A registry that omits it must be asked about
    all objects, and accepts no deltas. Objects of `direct_bytes` or more (0: none) can be sent to the registry's bucket
    directly.
    """

    push: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,200}\Z")]
    missing: list[Hash]
    damaged: list[Hash] | None = None
    latest: Hash | None = None
    public: bool = False
    exists: bool = False
    record_objects: bool = False
    direct_bytes: int = 0


class Missing(ReplyMessage, kw_only=True, frozen=True):
    """Those of the requested objects that the registry lacks."""

    missing: list[Hash]


class Received(ReplyMessage, kw_only=True, frozen=True):
    """How many bytes of an object came in an upload that broke off; the next one may go on from there (`?offset=`)."""

    size_bytes: int


class DirectPart(ReplyMessage, kw_only=True, frozen=True):
    """The bytes of an object from `start` up to `stop` are to be sent by a PUT to `url`, which is signed."""

    start: int
    stop: int
    url: str


class DirectUpload(ReplyMessage, kw_only=True, frozen=True):
    """The next parts of an object to be sent; none when all have arrived."""

    parts: list[DirectPart]


class Stored(ReplyMessage, kw_only=True, frozen=True):
    """The hashes of the objects that were stored."""

    hashes: list[str]


class Publish(RequestMessage, kw_only=True, frozen=True, omit_defaults=True):
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
    record: dict[str, Any] = field(default_factory=dict)
    record_object: Hash | None = None
    previews: dict[str, Any] = field(default_factory=dict)


class PublishCheck(RequestMessage, kw_only=True, frozen=True, omit_defaults=True):
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


class PublishChecked(ReplyMessage, kw_only=True, frozen=True):
    """The push may be published as requested; `changed` tells whether that makes a new state."""

    changed: bool


class Published(ReplyMessage, kw_only=True, frozen=True):
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
