"""The results of installs: of one package, and of each of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from datapkg.errors import DatapkgError

if TYPE_CHECKING:
    from datapkg.objects.deltas import PlannedTransfer


@dataclass(frozen=True)
class InstallResult:
    """The result of an install: the state, what was downloaded (bodies, in bytes), and a `note` or "".

    `bytes_logical` counts the objects that were asked for, `bytes_left` other objects of the state that are not here.
    `overruled_by` is the lock file that pins another state, which imports here use. A dry run has `transfer`, its plan.
    """

    package: str
    hash: str
    objects_received: int
    bytes_received: int
    bytes_logical: int
    note: str = ""
    bytes_left: int = 0
    overruled_by: str = ""
    transfer: PlannedTransfer | None = None


@dataclass(frozen=True)
class PackageOutcome:
    """The outcome of one of several installs: the result, or the error."""

    ref: str
    installed: InstallResult | None = None
    error: DatapkgError | None = None
