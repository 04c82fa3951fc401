"""What the verbs of requirements and locks return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from datapkg.api.install_result import PackageOutcome
from datapkg.format.lockfile import Pin


@dataclass(frozen=True)
class PinChange:
    """What a package was pinned to, and is now; None where it was or is not pinned."""

    package: str
    old: Pin | None
    new: Pin | None


@dataclass(frozen=True)
class LockResult:
    """A lock file that was written (or would be, in a `dry_run`): its path, its pins, what changed, and warnings.

    `installed` has what was installed after it.
    """

    path: Path
    pins: list[Pin]
    warnings: list[str] = field(default_factory=list)
    changes: list[PinChange] = field(default_factory=list)
    dry_run: bool = False
    installed: list[PackageOutcome] = field(default_factory=list)


@dataclass(frozen=True)
class NamedState:
    """A state and its version, None where it has none."""

    hash: str
    version: str | None


@dataclass(frozen=True)
class OutdatedPin:
    """A pinned requirement, the state that it means at its registry now, and the latest one there."""

    requirement: str
    group: str
    package: str
    pinned: NamedState
    allowed: NamedState
    latest: NamedState

    @property
    def is_outdated(self) -> bool:
        """Return whether the registry has a newer state, be it allowed or not."""
        return not self.pinned.hash == self.allowed.hash == self.latest.hash
