"""Add, remove and update the requirements of a project, and see which of them are outdated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from datapkg.api.install import InstallOptions
from datapkg.api.lock import (
    fetch_needed,
    install_pins,
    keep_lock,
    lock_requirements,
    misfits,
    read_lock,
    readable_pins,
    requirements_path,
    unfitting,
)
from datapkg.api.lock_results import LockResult, NamedState, OutdatedPin
from datapkg.api.needed_packages import closure
from datapkg.api.pinning import Pinner, changes, ref_of
from datapkg.errors import DatapkgError, InvalidLock, NotFound
from datapkg.format.lockfile import LOCK, REQUIREMENTS, Lock, Pin
from datapkg.format.names import Ref
from datapkg.format.requirements import Requirements, check_group, parse_requirements
from datapkg.format.requirements_edit import with_requirement, without_package
from datapkg.format.suggestions import advice, close_names
from datapkg.home import Home
from datapkg.objects.files import write_atomic
from datapkg.objects.folder_lock import changing
from datapkg.objects.progress import Progress, silent
from datapkg.project import nearest_requirements

_NEW = """# The data packages of this project. Commit this file and datapkg.lock.
packages: []
"""


@dataclass(frozen=True)
class AddOptions:
    """The group, the registry to ask, whether data is installed, and whether anything is written."""

    group: str = ""
    registry: str | None = None
    install: bool = True
    dry_run: bool = False


def add_requirements(
    home: Home, start: Path, refs: Sequence[Ref], options: AddOptions = AddOptions(), progress: Progress = silent
) -> LockResult:
    """Write requirements into the nearest `datapkg.yml`, lock and install them; nothing is written if one fails.

    A requirement of the same package and node is replaced; the file is created in `start` where there is none.
    """
    if options.group:
        check_group(options.group)
    path = nearest_requirements(start) or start.absolute() / REQUIREMENTS
    with changing(path.parent):
        done, new = _added(home, path, refs, options, progress)
    if options.dry_run:
        return done
    return _installed(home, done, new if options.install else [], options.registry, progress)


def _added(
    home: Home, path: Path, refs: Sequence[Ref], options: AddOptions, progress: Progress
) -> tuple[LockResult, list[Pin]]:
    """Write requirements and their lock; return it, and the pins of these requirements."""
    before = _text(path) if path.exists() else _NEW
    text, placed = before, [_placed(home, ref, options.registry) for ref in refs]
    for ref in placed:
        text = with_requirement(text, ref, options.group, str(path))
    wanted = parse_requirements(text.encode(), str(path))
    # A dry run, so that neither file is written unless everything can be resolved.
    done = lock_requirements(home, path, wanted, registry=options.registry, dry_run=True, progress=progress)
    if not options.dry_run:
        if text != before or not path.exists():
            write_atomic(path, text.encode(), path.parent, mode=0o644)
        keep_lock(home, done.path, Lock(tuple(done.pins)))
    keys = {(str(ref), options.group) for ref in placed}
    return done, [pin for pin in done.pins if (pin.requirement, pin.group) in keys]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except ValueError:
        name = quote(str(path))
        hint = f"iconv -f latin1 -t utf-8 {name} > {name}.utf8 && mv {name}.utf8 {name}"
        raise InvalidLock(f"{path} is not UTF-8", hint=hint) from None


def _placed(home: Home, ref: Ref, registry: str | None) -> Ref:
    """Return the ref with the registry that the user named for it, where that is not the one of the settings.

    A folder cannot be named in a requirement; it is asked, and remembered in the lock alone.
    """
    if registry is None or ref.registry is not None:
        return ref
    url, usual = home.registry_url(registry), home.settings.get("registry").value
    if usual and home.registry_url(usual) == url:
        return ref
    placed = Ref(ref.user, ref.name, ref.path, ref.state, registry.rstrip("/"))
    try:
        is_name = Ref.parse(str(placed)) == placed
    except DatapkgError:
        is_name = False
    return placed if is_name else ref


def remove_requirements(
    home: Home, start: Path, packages: Sequence[Ref], group: str | None = None, *, dry_run: bool = False
) -> LockResult:
    """Take packages out of the nearest `datapkg.yml` (or one group in it) and its lock, without asking a registry.

    Nothing is uninstalled. Raise `NotFound` for one that is not in it.
    """
    path = requirements_path(start)
    with changing(path.parent):
        return _removed(home, path, packages, group, dry_run)


def _removed(home: Home, path: Path, packages: Sequence[Ref], group: str | None, dry_run: bool) -> LockResult:
    before = text = _text(path)
    for package in packages:
        shorter = without_package(text, package, group, str(path))
        if shorter == text:
            raise _not_required(path, parse_requirements(before.encode(), str(path)), package, group)
        text = shorter
    wanted = parse_requirements(text.encode(), str(path))
    old, notes = readable_pins(path.parent / LOCK)
    keys = {entry.key for entry in wanted.entries}
    kept = [pin for pin in (old.direct if old else ()) if (pin.requirement, pin.group) in keys]
    lock = Lock.of([*kept, *(closure(old, kept) if old else [])])
    if not dry_run:
        write_atomic(path, text.encode(), path.parent, mode=0o644)
        if old is not None:
            keep_lock(home, path.parent / LOCK, lock)
    return LockResult(path.parent / LOCK, list(lock.pins), notes, changes(old, lock), dry_run)


def _not_required(path: Path, wanted: Requirements, package: Ref, group: str | None) -> NotFound:
    known = list(dict.fromkeys(each.ref.package for each in wanted.entries))
    where = f"the group {group} of {path}" if group else str(path)
    near = [package.package] if package.package in known else close_names(package.package, known, 1)
    hint = f"datapkg remove {near[0]}" if near else f"datapkg add {package}"
    return NotFound(f"{package} is not in {where}{advice(package.package, known)}", hint=hint)


def update_requirements(
    home: Home,
    start: Path,
    packages: Sequence[Ref] = (),
    options: AddOptions = AddOptions(),
    progress: Progress = silent,
) -> LockResult:
    """Resolve requirements again, all or those of these packages, write the lock and install what changed.

    Packages that were never installed here are left to `install`. Raise `NotFound` for one that is not required.
    """
    path = requirements_path(start)
    with changing(path.parent):
        wanted = parse_requirements(path.read_bytes(), str(path))
        known = {entry.ref.package for entry in wanted.entries}
        for package in packages:
            if package.package not in known:
                raise _not_required(path, wanted, package, None)
        done = lock_requirements(
            home,
            path,
            wanted,
            renew={each.package for each in packages} if packages else None,
            registry=options.registry,
            dry_run=options.dry_run,
            progress=progress,
        )
    if options.dry_run or not options.install:
        return done
    changed = {each.package for each in done.changes if each.new and each.old}
    here = [pin for pin in done.pins if pin.package in changed and home.store.refs.current(ref_of(pin))]
    return _installed(home, done, here, options.registry, progress)


def _installed(home: Home, done: LockResult, pins: list[Pin], registry: str | None, progress: Progress) -> LockResult:
    direct = [pin for pin in pins if not pin.needed_by]
    installed = install_pins(home, direct, InstallOptions(registry=registry), progress) if direct else []
    fetch_needed(home, closure(Lock(tuple(done.pins)), direct), registry)
    return LockResult(done.path, done.pins, done.warnings, done.changes, False, installed)


def outdated_requirements(
    home: Home, start: Path, *, registry: str | None = None, progress: Progress = silent
) -> list[OutdatedPin]:
    """Return every pin of the nearest lock whose registry has a newer state, allowed by its requirement or not.

    Raise `InvalidLock` if the lock does not fit `datapkg.yml`.
    """
    path = requirements_path(start)
    wanted = parse_requirements(path.read_bytes(), str(path))
    lock = read_lock(path.parent / LOCK)
    problems = misfits(wanted, lock)
    if lock is None or problems:
        raise unfitting(path, problems)
    pinner = Pinner(home, registry, progress, with_needed=False)
    allowed = pinner.pin(wanted, None)
    newest = pinner.newest(wanted)
    found = []
    for pin in lock.direct:
        now, latest = allowed.pin_of(pin.requirement, pin.group), newest[pin.package]
        assert now is not None
        names = {hash: version for version, hash in latest.versions.items()}
        states = [(pin.hash, pin.version), (now.hash, now.version), (latest.hash, None)]
        named = [NamedState(hash, version or names.get(hash)) for hash, version in states]
        found.append(OutdatedPin(pin.requirement, pin.group, pin.package, *named))
    return [each for each in found if each.is_outdated]


def check_lock(home: Home, start: Path, *, registry: str | None = None) -> LockResult:
    """Raise `InvalidLock` that names every requirement that the lock does not fit; return the lock if it does.

    Nodes that requirements name have to be in the pinned states, whose manifests are fetched where they are not here.
    """
    path = requirements_path(start)
    wanted = parse_requirements(path.read_bytes(), str(path))
    lock = read_lock(path.parent / LOCK)
    problems = misfits(wanted, lock)
    pinner = Pinner(home, registry)
    for entry in wanted.entries:
        pin = lock.pin_of(*entry.key) if lock else None
        if pin is not None and (what := pinner.misfit(entry, pin)):
            problems.append((str(entry.ref), what))
    if lock is None or problems:
        raise unfitting(path, problems)
    return LockResult(path.parent / LOCK, list(lock.pins), list(wanted.warnings))
