"""Find the packages whose nodes pinned states contain, and those that these contain in turn."""

from __future__ import annotations

from collections.abc import Iterable

from datapkg.errors import DatapkgError, Unreachable
from datapkg.format import wire
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref, State
from datapkg.format.texts import count_text
from datapkg.objects.threads import ThreadPool
from datapkg.remote.client import Client

MAX_PINS = 10_000

Answer = tuple[Client, wire.Resolved]
"""What a registry said of a state, and its client."""


class NeededPackages:
    """The pins of what states contain, by the records that registries give; `notes` say what cannot be seen."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._seen: set[tuple[str, str]] = set()
        self._pins: dict[tuple[str, str, str], Pin] = {}
        self.notes: list[str] = []

    def of(self, answers: Iterable[Answer]) -> list[Pin]:
        """Return the pins of what these states contain, and so on; of too many the rest is left out, with a note."""
        level = list(answers)
        # Packages may contain each other's nodes, so each state is asked for once.
        self._seen.update((resolved.package, resolved.hash) for _, resolved in level)
        with ThreadPool(self._jobs) as pool:
            while level:
                asked = [(pin, client) for client, resolved in level for pin in self._noted(client, resolved)]
                calls = [(pin, client, pool.submit(_ask, client, pin)) for pin, client in asked]
                level = []
                for pin, client, call in calls:
                    try:
                        level.append((client, call.result()))
                    except Unreachable:
                        raise
                    except DatapkgError as error:
                        where = f"{pin.package}, of which {pin.needed_by} contains nodes, cannot be seen"
                        self.notes.append(f"{where}: {error.message}")
        return list(self._pins.values())

    def _noted(self, client: Client, resolved: wire.Resolved) -> list[Pin]:
        """Keep pins of what a state contains; return those of states that were not met before."""
        if resolved.hidden:
            count = count_text(resolved.hidden, "package")
            self.notes.append(
                f"{resolved.package} contains nodes of {count} that you may not see, or not at {client.url}"
            )
        new = []
        for each in resolved.packages:
            if each.package == resolved.package:  # nodes of its own earlier states need no other package
                continue
            if len(self._pins) >= MAX_PINS:
                self.notes.append(
                    f"{resolved.package} contains nodes of more packages than a lock lists ({MAX_PINS:,})"
                )
                break
            requirement = f"{each.package}@sha256:{each.hash}"
            pin = Pin(requirement, each.package, client.url, each.hash, 0, needed_by=resolved.package)
            self._pins[pin.package, pin.hash, pin.needed_by] = pin
            if (each.package, each.hash) not in self._seen:
                self._seen.add((each.package, each.hash))
                new.append(pin)
        return new


def _ask(client: Client, pin: Pin) -> wire.Resolved:
    user, _, name = pin.package.partition("/")
    return client.resolve(Ref(user, name, state=State("hash", pin.hash)), with_packages=True)


def closure(old: Lock, pins: Iterable[Pin]) -> list[Pin]:
    """Return what a lock lists as needed by these pins' packages, by what these need, and so on."""
    by_package: dict[str, list[Pin]] = {}
    for pin in old.pins:
        if pin.needed_by:
            by_package.setdefault(pin.needed_by, []).append(pin)
    found: list[Pin] = []
    todo = [pin.package for pin in pins]
    while todo:
        needed = by_package.pop(todo.pop(), [])
        found += needed
        todo += [pin.package for pin in needed]
    return found


def overruled(lock: Lock) -> list[str]:
    """Return a note for each package that others need in another state than imports take, or in several."""
    notes = []
    needed: dict[str, list[Pin]] = {}
    for pin in lock.pins:
        if pin.needed_by:
            needed.setdefault(pin.package, []).append(pin)
    for package, pins in needed.items():
        chosen = lock.pin_for(package)
        others = [pin for pin in pins if chosen is None or pin.hash != chosen.hash]
        if chosen is None:
            who = ", ".join(sorted({pin.needed_by for pin in pins}))
            notes.append(
                f"{package} is contained in several states (in {who}), so that the lock pins none for imports; to pin "
                f"one: datapkg add {pins[0].requirement}"
            )
        elif others:
            who = ", ".join(sorted({pin.needed_by for pin in others}))
            notes.append(f"{who} contains nodes of {package} in another state than the one required, which imports use")
    return notes
