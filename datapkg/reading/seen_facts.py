"""What a program was seen to import, load and read with datapkg, as a set of facts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from datapkg.format.names import Ref

OPENED, NAMED, READ = "opened", "named", "read"


class Facts:
    """What was imported, loaded and read; it may be asked while the program still runs, from any thread.

    It only adds to sets, which is atomic, so that no fork inherits a held lock.
    """

    def __init__(self, report: Callable[[str, Ref], None] | None = None) -> None:
        """`report` is called with each new fact: "opened", "named" or "read", and the exact reference."""
        self._facts: set[tuple[str, Ref]] = set()
        self._report = report

    def note(self, kind: str, ref: Ref) -> None:
        """Note a fact, which may be known."""
        if (kind, ref) not in self._facts:
            self._facts.add((kind, ref))
            if self._report:
                self._report(kind, ref)

    def opened(self, ref: Ref, is_named: bool) -> None:
        """Note a state that was opened, as `Observer.opened`."""
        self.note(NAMED if is_named else OPENED, _state(ref))

    def read(self, ref: Ref) -> None:
        """Note a node that is read, as `Observer.read`; its package may have been opened before."""
        self.note(READ, ref)

    @property
    def packages(self) -> list[Ref]:
        """The exact states of packages that were opened, or of which a node was read, in order."""
        return sorted({_state(ref) for _, ref in self._facts.copy()}, key=_order)

    @property
    def nodes(self) -> list[Ref]:
        """The exact references of the nodes that were read, in order."""
        return sorted((ref for kind, ref in self._facts.copy() if kind == READ), key=_order)

    def is_named(self, state: Ref) -> bool:
        """Return whether the code always named this state itself, such as `datapkg.load("u/p@1.0")`."""
        return (NAMED, state) in self._facts and (OPENED, state) not in self._facts


def _order(ref: Ref) -> tuple[str, str, str]:
    return ref.package, ref.path, str(ref.state)


def _state(ref: Ref) -> Ref:
    return Ref(ref.user, ref.name, state=ref.state)


def reporting_to(path: str) -> Facts:
    """Return facts of this process that append each new one to a file, as a line of JSON.

    Several processes may append to it. One that outlives whoever wanted the facts, and so the file, reports nothing.
    """

    def report(kind: str, ref: Ref) -> None:
        try:
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return
        try:
            # In one write, which is appended as a whole, whatever other processes append.
            os.write(file, json.dumps([kind, str(ref)]).encode() + b"\n")
        finally:
            os.close(file)

    return Facts(report)


def reported(lines: bytes) -> Facts:
    """Return the facts in a file that processes reported to."""
    seen = Facts()
    for line in lines.splitlines():
        kind, ref = json.loads(line)
        seen.note(kind, Ref.parse(ref))
    return seen
