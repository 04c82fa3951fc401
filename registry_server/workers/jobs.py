"""What is asked of a worker, and what it answers: JSON over a socket of its own."""

from __future__ import annotations

import msgspec

from datapkg.format.manifest.parsed import TableNode


class WorkerLimits(msgspec.Struct, frozen=True):
    """What one worker may use: address space beyond its start, CPU seconds, and seconds by the clock."""

    memory_bytes: int
    cpu_s: int
    wall_s: float


class Location(msgspec.Struct, frozen=True):
    """The bytes of an object: `size` bytes from `offset` of a file."""

    path: str
    offset: int
    size: int


class CheckTask(msgspec.Struct, frozen=True):
    """A table as its manifest states it, and where its objects are, in order."""

    table: TableNode
    objects: list[Location]


class Job(msgspec.Struct, frozen=True):
    """Tables to check one after the other."""

    limits: WorkerLimits
    tasks: list[CheckTask]


class Verdict(msgspec.Struct, frozen=True):
    """The result for one table, in the order of the tasks: `reason` says why it is not right.

    `is_false` says that the objects hold other values than the manifest states; otherwise a table that is not right
    could not be checked.
    """

    is_right: bool
    is_false: bool = False
    reason: str = ""
