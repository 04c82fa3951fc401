"""Lock: pin a project's requirements to exact states, and install these.

As in uv and poetry, pins that still satisfy `datapkg.yml` are kept; `--update` resolves all of them again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace as with_fields
from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.api.install import InstallOptions, install_one, install_packages
from datapkg.api.install_result import PackageOutcome
from datapkg.api.lock_results import LockResult
from datapkg.api.needed_packages import closure
from datapkg.api.pinning import Pinner, changes, ref_of
from datapkg.errors import Conflict, DatapkgError, InvalidLock, NewerFormat, NotAFolder, Unreachable
from datapkg.format.lockfile import LOCK, REQUIREMENTS, Lock, Pin, agreed_pins
from datapkg.format.names import Ref, State
from datapkg.format.requirements import Requirements, chosen_groups, parse_requirement, parse_requirements
from datapkg.format.texts import count_text, quoted
from datapkg.home import Home
from datapkg.objects.files import no_such_path, write_atomic
from datapkg.objects.folder_lock import changing
from datapkg.objects.progress import Progress, silent
from datapkg.project import nearest_lock, nearest_requirements

_EMPTY = """# The data packages of this project, a line each, such as `- user/name@1.2.0`.
# `datapkg lock` writes their exact hashes into datapkg.lock; `datapkg install` gets them. Commit both files.
packages: []
"""


def start_project(folder: Path) -> Path:
    """Write a `datapkg.yml` without packages into a folder and return its path.

    Raise `Conflict` if it exists, `NotAFolder` if the folder does not.
    """
    path = folder / REQUIREMENTS
    if not folder.is_dir():
        raise NotAFolder(f"{quoted(folder)} is not a folder", hint=f"mkdir -p {quote(str(folder))}")
    if path.exists() or path.is_symlink():
        raise Conflict(f"{path} exists and was left as it is", hint="datapkg lock")
    write_atomic(path, _EMPTY.encode(), folder, mode=0o644)
    return path


def write_lock(
    home: Home,
    start: Path,
    *,
    renew: Collection[str] | None = (),
    registry: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> LockResult:
    """Write `datapkg.lock` beside the nearest `datapkg.yml`.

    Pins of unchanged requirements are kept, but for the packages in `renew` (None is all); only the others are
    resolved. A `dry_run` writes nothing.
    """
    path = requirements_path(start)
    how: dict[str, Any] = {"renew": renew, "registry": registry, "dry_run": dry_run, "progress": progress}
    with changing(path.parent):
        return lock_requirements(home, path, parse_requirements(path.read_bytes(), str(path)), **how)


def lock_requirements(
    home: Home,
    path: Path,
    wanted: Requirements,
    *,
    renew: Collection[str] | None = (),
    registry: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> LockResult:
    """Write the lock of these requirements beside the `datapkg.yml` at `path` (see `write_lock`).

    The caller holds the lock of that folder (`changing`).
    """
    place = path.parent / LOCK
    old, notes = readable_pins(place)
    pinner = Pinner(home, registry, progress)
    lock = pinner.pin(wanted, old, renew)
    if not dry_run:
        keep_lock(home, place, lock)
    return LockResult(place, list(lock.pins), [*wanted.warnings, *notes, *pinner.notes], changes(old, lock), dry_run)


def keep_lock(home: Home, place: Path, lock: Lock) -> None:
    """Write a lock file, whose pins `gc` keeps from now on."""
    write_atomic(place, lock.to_bytes(), place.parent, mode=0o644)
    home.store.known_locks.note(place)


def readable_pins(place: Path) -> tuple[Lock | None, list[str]]:
    """Return the pins of a lock file, also of one that has conflicts or is damaged, and a note of that."""
    try:
        return read_lock(place), []
    except NewerFormat:
        raise
    except InvalidLock:
        old = agreed_pins(place.read_bytes(), str(place))
        kept = count_text(len(old.direct), "pin")
        return old, [f"{place} could not be read as it was; {kept} in it could, and stayed where they still fit"]


def install_locked(
    home: Home,
    start: Path,
    *,
    frozen: bool = False,
    requirements: Path | None = None,
    groups: Collection[str] = (),
    no_groups: Collection[str] = (),
    registry: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Install the packages of the nearest `datapkg.yml` as its lock pins them; rewrite an outdated lock.

    With `frozen`, or in a `dry_run`, an outdated lock is not rewritten, but `InvalidLock`. Those of `groups` are
    installed too, and of the group `dev`, but not those of `no_groups`. A requirements file of another name is
    installed in its order, without a lock.
    """
    if requirements is not None and requirements.name != REQUIREMENTS:
        wanted = parse_requirements(_read(requirements), str(requirements))
        refs = wanted.of_groups(chosen_groups(wanted.groups, groups, no_groups))
        how: dict[str, Any] = {"registry": registry, "replace": replace, "dry_run": dry_run}
        return install_packages(home, refs, progress=progress, **how)
    path, is_fixed = requirements or nearest_requirements(start), frozen or dry_run
    lock, known = _fitting_lock(home, path, start, is_fixed, registry, progress)
    chosen = chosen_groups(known, groups, no_groups)
    options = InstallOptions(registry=registry, replace=replace, dry_run=dry_run)
    pins = [pin for pin in lock.direct if not pin.group or pin.group in chosen]
    outcomes = install_pins(home, pins, options, progress)
    if not dry_run:
        fetch_needed(home, closure(lock, pins), registry)
    return outcomes


def install_project(home: Home, start: Path, **options: Any) -> list[Ref]:
    """Install the packages of a project (see `install_locked`), and update its checkout folders.

    Return the exact refs, or raise the first error.
    """
    from datapkg.api.checkout import checkout_folders  # commands that only lock need not load what exports

    outcomes = install_locked(home, start, **options)
    failed = [(each.ref, each.error) for each in outcomes if each.error is not None]
    if failed:
        error = failed[0][1]
        if len(failed) > 1:
            error.explain(
                f"and {count_text(len(failed) - 1, 'more package')} failed: {', '.join(ref for ref, _ in failed[1:])}"
            )
        raise error
    for folder in checkout_folders(home, start):
        if folder.error is not None:
            raise folder.error
    refs = [(parse_requirement(each.ref), each.installed) for each in outcomes]
    return [Ref(ref.user, ref.name, ref.path, State("hash", done.hash)) for ref, done in refs if done]


def fetch_needed(home: Home, pins: list[Pin], registry: str | None) -> None:
    """Fetch the manifests of packages that others contain, so that imports of these find the pinned states.

    Their data stay at the registry, and what cannot be seen is left out: the packages that were asked for hold what
    they contain.
    """
    pinner = Pinner(home, registry)
    if registry is not None:
        pins = [with_fields(pin, registry=home.registry_url(registry)) for pin in pins]
    for pin in pins:
        if not home.store.holds(pin.hash):
            try:
                pinner.fetch_manifest(pin)
            except Unreachable:  # the others would wait as long
                return
            except DatapkgError:
                continue


def _fitting_lock(
    home: Home, path: Path | None, start: Path, frozen: bool, registry: str | None, progress: Progress
) -> tuple[Lock, tuple[str, ...]]:
    """Return the lock that fits a project's requirements, and the names of its groups."""
    if path is None:
        nearest = nearest_lock(start)
        if nearest is None:
            requirements_path(start)
            raise AssertionError("unreachable")
        home.store.known_locks.note(nearest[0])
        return nearest[1], tuple({pin.group: None for pin in nearest[1].direct if pin.group})
    wanted = parse_requirements(_read(path), str(path))
    lock = read_lock(path.parent / LOCK)
    problems = misfits(wanted, lock)
    if lock is not None and not problems:
        home.store.known_locks.note(path.parent / LOCK)
        return lock, wanted.groups
    if frozen:
        raise unfitting(path, problems)
    done = write_lock(home, path.parent, registry=registry, progress=progress)
    return Lock(tuple(done.pins)), wanted.groups


def unfitting(path: Path, problems: list[tuple[str, str]]) -> InvalidLock:
    """Return the error for a lock that does not fit the `datapkg.yml` at `path`."""
    listed = "\n".join(f"  {what}" for _, what in problems)
    return InvalidLock(f"{path.parent / LOCK} does not fit {path}:\n{listed}", hint="datapkg lock", problems=problems)


def misfits(wanted: Requirements, lock: Lock | None) -> list[tuple[str, str]]:
    """Return the requirements that a lock has no pin for, and the pins that nobody requires, each with the reason."""
    if lock is None:
        return [(LOCK, "there is no lock")]
    asked = {entry.key: str(entry) for entry in wanted.entries}
    lacking = [(key[0], f"{what} is asked for and not locked") for key, what in asked.items() if not lock.pin_of(*key)]
    extra = [pin for pin in lock.direct if (pin.requirement, pin.group) not in asked]
    return lacking + [(pin.requirement, f"{_with_group(pin)} is locked and not asked for") for pin in extra]


def _with_group(pin: Pin) -> str:
    return f"{pin.requirement} (group {pin.group})" if pin.group else pin.requirement


def install_pins(home: Home, pins: list[Pin], options: InstallOptions, progress: Progress) -> list[PackageOutcome]:
    """Install pinned states, each once, continuing after failures."""
    # Reversed twice: the first pin of a node counts, and packages are installed in the order of the pins.
    by_node = {(pin.package, pin.path): pin for pin in reversed(pins)}
    with home.store.writing():  # once for all of them
        return [_install_pin(home, pin, options, progress) for pin in reversed(by_node.values())]


def _install_pin(home: Home, pin: Pin, options: InstallOptions, progress: Progress) -> PackageOutcome:
    """Install a pinned state from the registry that the user names, else from its own.

    A full hash means the same everywhere, so that it does not matter which registry the package came from before.
    """
    try:
        if options.registry is not None:
            pin = with_fields(pin, registry=home.registry_url(options.registry))
        is_allowed = options.registry is not None or home.is_known(pin.registry)
        how = InstallOptions(registry=pin.registry if is_allowed else None, replace=True, dry_run=options.dry_run)
        return PackageOutcome(pin.requirement, installed=install_one(home, ref_of(pin), how, progress))
    except DatapkgError as error:
        return PackageOutcome(pin.requirement, error=error)


def requirements_path(start: Path) -> Path:
    """Return the nearest `datapkg.yml`; raise `InvalidLock` where there is none."""
    path = nearest_requirements(start)
    if path is None:
        raise InvalidLock(f"there is no {REQUIREMENTS} in {start} or above it", hint="datapkg init")
    return path


def read_lock(place: Path) -> Lock | None:
    """Return the lock in a file, None where there is none."""
    try:
        return Lock.parse(place.read_bytes(), str(place))
    except FileNotFoundError:
        return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near, absent = nearest_requirements(path.absolute().parent), no_such_path(path, "file")
        hint = f"datapkg install -r {quote(str(near))}" if near else absent.hint
        raise InvalidLock(f"{absent.message}; no requirements were read", hint=hint) from None
    except OSError as error:
        raise InvalidLock(f"{path} cannot be read: {error.strerror}", hint=f"ls -ld {quote(str(path))}") from error
