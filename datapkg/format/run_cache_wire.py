"""The run cache of a package over HTTP: the paths, messages and limits of results of stages."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from datapkg.format import push_wire, wire
from datapkg.format.wire import Hash, ReplyMessage, RequestMessage

PUSH_STAGES = push_wire.PUSH + "/stages"
STAGES_FIND = wire.PACKAGE + "/stages/find"

MAX_STAGE_KEYS = 1_000
MAX_STAGE_CODE = 1_000
MAX_STAGE_VARIANTS = 20
"""The run cache has at most so many results of one key, which differ in the code that the runs imported."""
MAX_STAGE_MANIFEST_BYTES = 16 << 20
"""The manifests of all results in one request have at most so many bytes."""

StageCode = Annotated[dict[Annotated[str, Meta(max_length=1_000)], Hash], Meta(max_length=MAX_STAGE_CODE)]


class StageKeys(RequestMessage, kw_only=True, frozen=True):
    """The keys of stages (`datapkg/store/stage_results.py`) whose results a client asks for."""

    stages: Annotated[list[Hash], Meta(max_length=MAX_STAGE_KEYS)]


class StageHit(ReplyMessage, kw_only=True, frozen=True):
    """A result in the run cache of a package, which it is only where the files of `code` have these hashes.

    `manifest` lists its files, which are read like other objects of the package; `by` added it, at `filled_at`.
    """

    key: Hash
    code: StageCode = field(default_factory=dict)
    manifest: Hash
    manifest_size: int
    by: str
    filled_at: str


class StageHits(ReplyMessage, kw_only=True, frozen=True):
    """All results for the requested keys, the last used first."""

    hits: list[StageHit]


class StageEntry(RequestMessage, kw_only=True, frozen=True):
    """A result to add to the run cache: its manifest, and the code that the run imported, path to hash."""

    key: Hash
    code: StageCode = field(default_factory=dict)
    manifest: Hash


class StageEntries(RequestMessage, kw_only=True, frozen=True):
    """Results to add to the run cache, all or none; their objects were sent in the push."""

    entries: Annotated[list[StageEntry], Meta(max_length=MAX_STAGE_KEYS)]


class StagesKept(ReplyMessage, kw_only=True, frozen=True):
    """How many results were added or replaced; others were in the cache already."""

    added: int
