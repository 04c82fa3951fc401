"""The result of a push, which most commands that talk to a registry need alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datapkg.objects.deltas import PlannedTransfer


@dataclass(frozen=True)
class PushResult:
    """The result of a push: what was sent (bodies, in bytes), and its page; `changed` is false if nothing was new.

    `record` is sent with the state and describes how it was built; `warnings` have one line each. `role` is owner or
    writer: a writer cannot share the package. A dry run has `transfer`, its plan, and in `changes` the differences from
    the registry's latest state (see `format.manifest.review`).
    """

    package: str
    hash: str
    objects_sent: int
    bytes_sent: int
    bytes_logical: int
    url: str
    changed: bool = True
    public: bool = False
    role: str = "owner"
    record: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    transfer: PlannedTransfer | None = None
