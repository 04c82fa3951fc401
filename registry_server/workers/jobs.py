"""The messages of a worker: a job and its verdicts, as JSON over a socket for each job."""

from __future__ import annotations

import msgspec

from datapkg.format.manifest.parsed import TableNode


class WorkerLimits(msgspec.Struct, frozen=True):
    """The limits of a worker: memory beyond what it starts with, CPU time, and wall time."""

    memory_bytes: int
    cpu_s: int
    wall_s: float


class Location(msgspec.Struct, frozen=True):
    """A range of a file: `size` bytes from `offset`."""

    path: str
    offset: int
    size: int


class CheckTask(msgspec.Struct, frozen=True):
    """A table as its manifest states it, and where the ranges of its objects are, in order."""

    table: TableNode
    objects: list[list[Location]]


class Job(msgspec.Struct, frozen=True):
    """Tables to check one after the other."""

    limits: WorkerLimits
    tasks: list[CheckTask]


class Verdict(msgspec.Struct, frozen=True):
    """The result for one table, in the order of the tasks, with the reason if it is not right.

    With `is_false` the objects hold other values than the manifest states; otherwise a table that is not right could
    not be checked.
    """

    is_right: bool
    is_false: bool = False
    reason: str = ""
