"""Move a lock to another address of its registry: full hashes make every host that has them as good as the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from datapkg.api.lock import keep_lock, read_lock, requirements_path
from datapkg.api.lock_results import LockResult
from datapkg.errors import DatapkgError, InvalidInput, NotFound
from datapkg.format.lockfile import LOCK, Lock, Pin
from datapkg.format.names import Ref
from datapkg.format.requirements import parse_requirements
from datapkg.format.requirements_edit import with_requirement
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.objects.files import write_atomic
from datapkg.objects.folder_lock import changing


@dataclass(frozen=True)
class Move:
    """The old and the new address of a registry; `name` is what a requirement says for the new one."""

    old: str
    new: str
    name: str

    @classmethod
    def parse(cls, home: Home, text: str) -> Move:
        """Parse OLD=NEW, of addresses or of names in the settings."""
        old, _, new = text.partition("=")
        if not old or not new or "=" in new:
            raise InvalidInput(
                f"{quoted(text)} is not OLD=NEW, two addresses of a registry",
                hint="datapkg lock --registry https://old.example.org=https://new.example.org",
            )
        return cls(home.registry_url(old), home.registry_url(new), new.rstrip("/"))

    def pin(self, pin: Pin) -> Pin:
        """Return a pin at the new address, if it was at the old one; its hash stays."""
        return replace(pin, registry=self.new) if pin.registry == self.old else pin

    def ref(self, home: Home, ref: Ref) -> Ref:
        """Return a requirement at the new address, if it names the old one; raise `InvalidInput` if it cannot."""
        # A name in the settings is left alone: the settings of each user say where it leads.
        if ref.registry is None or "://" not in ref.registry or home.registry_url(ref.registry) != self.old:
            return ref
        moved = Ref(ref.user, ref.name, ref.path, ref.state, self.name)
        try:
            is_written_so = Ref.parse(str(moved)) == moved
        except DatapkgError:
            is_written_so = False
        if not is_written_so:
            raise InvalidInput(
                f"{ref} names the registry by its address, and {self.new} cannot be written so; give it a name",
                hint=f"datapkg config registries.work {self.new}",
            )
        return moved


def move_registry(home: Home, start: Path, text: str, *, dry_run: bool = False) -> LockResult:
    """Change a registry's address in the nearest lock, and in requirements that name it: OLD=NEW; no hash changes.

    No registry is asked. Requirements that name it by a name in the settings stay. Raise `NotFound` if nothing in the
    lock came from OLD.
    """
    move = Move.parse(home, text)
    path = requirements_path(start)
    with changing(path.parent):
        return _moved(home, move, path, dry_run)


def _moved(home: Home, move: Move, path: Path, dry_run: bool) -> LockResult:
    place = path.parent / LOCK
    lock, before = read_lock(place), path.read_bytes().decode()
    if lock is None or all(pin.registry != move.old for pin in lock.pins):
        known = sorted({pin.registry for pin in (lock.pins if lock else ())})
        others = [each for each in known if each != move.new]
        raise NotFound(
            f"nothing in {place} came from {move.old}; its registries: {', '.join(known) or 'none'}",
            hint=f"datapkg lock --registry {quote(f'{others[0]}={move.new}')}" if others else "",
        )
    wanted, yml, texts = parse_requirements(before.encode(), str(path)), before, {}
    for entry in wanted.entries:
        moved = move.ref(home, entry.ref)
        if moved != entry.ref:
            texts[entry.key] = str(moved)
            yml = with_requirement(yml, moved, entry.group, str(path))
    pins = [move.pin(pin) for pin in lock.pins]
    pins = [replace(pin, requirement=texts.get((pin.requirement, pin.group), pin.requirement)) for pin in pins]
    if not dry_run:
        if yml != before:
            write_atomic(path, yml.encode(), path.parent, mode=0o644)
        keep_lock(home, place, Lock.of(pins))
    count = sum(pin.registry == move.old for pin in lock.pins)
    note = f"{count:,} of {len(pins):,} pins {'would move' if dry_run else 'moved'} from {move.old} to {move.new}"
    return LockResult(place, pins, [note], [], dry_run)
