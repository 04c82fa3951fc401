"""Lock: pin a project's requirements to exact states, and install these.

As in uv and poetry, pins that still satisfy `datapkg.yml` are kept; `--update` resolves all of them again.
"""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from datapkg.api.install import InstallOptions, install_one, install_packages
from datapkg.api.results import InstallResult, PackageOutcome
from datapkg.errors import Conflict, DatapkgError, InvalidLock, NewerFormat, NotAFolder, Unreachable
from datapkg.format.lockfile import LOCK, REQUIREMENTS, Lock, Pin, agreed_pins
from datapkg.format.names import Ref, State
from datapkg.format.requirements import Requirements, parse_requirements
from datapkg.format.texts import count_text, quoted
from datapkg.home import Home
from datapkg.objects.files import no_such_path, write_atomic
from datapkg.objects.progress import Progress, silent
from datapkg.origins import allowed_registry
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
    home: Home, start: Path, *, update: bool = False, registry: str | None = None, progress: Progress = silent
) -> tuple[Path, Lock, list[str]]:
    """Write `datapkg.lock` beside the nearest `datapkg.yml`; return its path, the lock and warnings.

    Pins of unchanged requirements are kept, unless `update`; only the others are resolved.
    """
    path = _requirements_path(start)
    wanted = parse_requirements(path.read_bytes(), str(path))
    old, notes = (None, []) if update else _readable_pins(path.parent / LOCK)
    lock = _resolve(home, wanted, old, registry, progress)
    write_atomic(path.parent / LOCK, lock.to_bytes(), path.parent, mode=0o644)
    home.store.known_locks.note(path.parent / LOCK)
    return path.parent / LOCK, lock, [*wanted.warnings, *notes]


def _readable_pins(path: Path) -> tuple[Lock | None, list[str]]:
    """Return the pins of a lock file, also of one that has conflicts or is damaged, and a note of that."""
    try:
        return _read_lock(path), []
    except NewerFormat:
        raise
    except InvalidLock:
        old = agreed_pins(path.read_bytes(), str(path))
        return old, [f"{path} could not be read as it was; {count_text(len(old.pins), 'pin')} in it could, and stayed"]


def install_locked(
    home: Home,
    start: Path,
    *,
    frozen: bool = False,
    requirements: Path | None = None,
    registry: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[PackageOutcome]:
    """Install the packages of the nearest `datapkg.yml` as its lock pins them; rewrite an outdated lock.

    With `frozen`, or in a `dry_run`, an outdated lock is not rewritten, but `InvalidLock`. A requirements file of
    another name is installed in its order, without a lock.
    """
    if requirements is not None and requirements.name != REQUIREMENTS:
        wanted = parse_requirements(_read(requirements), str(requirements))
        how: dict[str, Any] = {"registry": registry, "replace": replace, "dry_run": dry_run}
        return install_packages(home, wanted.refs, progress=progress, **how)
    path, is_fixed = requirements or nearest_requirements(start), frozen or dry_run
    lock = _fitting_lock(home, path, start, is_fixed, registry, progress)
    options = InstallOptions(registry=registry, replace=replace, dry_run=dry_run)
    with home.store.writing():  # once for all of them
        return [_install_pin(home, pin, options, progress) for pin in lock.pins]


def _fitting_lock(
    home: Home, path: Path | None, start: Path, frozen: bool, registry: str | None, progress: Progress
) -> Lock:
    if path is None:
        nearest = nearest_lock(start)
        if nearest is None:
            _requirements_path(start)
            raise AssertionError("unreachable")
        home.store.known_locks.note(nearest[0])
        return nearest[1]
    wanted = parse_requirements(_read(path), str(path))
    lock = _read_lock(path.parent / LOCK)
    problems = _misfits(wanted, lock)
    if lock is not None and not problems:
        home.store.known_locks.note(path.parent / LOCK)
        return lock
    if frozen:
        listed = "\n".join(f"  {what}" for _, what in problems)
        raise InvalidLock(
            f"{path.parent / LOCK} does not fit {path}:\n{listed}", hint="datapkg lock", problems=problems
        )
    return write_lock(home, path.parent, registry=registry, progress=progress)[1]


def _misfits(wanted: Requirements, lock: Lock | None) -> list[tuple[str, str]]:
    if lock is None:
        return [(LOCK, "there is no lock")]
    asked = [str(ref) for ref in wanted.refs]
    lacking = [(ref, f"{ref} is asked for and not locked") for ref in asked if lock.pin_of(ref) is None]
    known = set(asked)
    extra = [pin.requirement for pin in lock.pins if pin.requirement not in known]
    return lacking + [(ref, f"{ref} is locked and not asked for") for ref in extra]


def _resolve(home: Home, wanted: Requirements, old: Lock | None, registry: str | None, progress: Progress) -> Lock:
    pins: list[Pin] = []
    failed: list[tuple[Ref, DatapkgError]] = []
    for number, ref in enumerate(wanted.refs):
        progress("requirements", number, len(wanted.refs))
        kept = old.pin_of(str(ref)) if old else None
        try:
            pins.append(kept or _pin(home, ref, registry))
        except Unreachable:  # the others would wait as long
            raise
        except DatapkgError as error:
            failed.append((ref, error))
    if failed:
        raise _unresolved(failed)
    return Lock.of(pins)


def _unresolved(failed: list[tuple[Ref, DatapkgError]]) -> DatapkgError:
    """Return the only error, or one that lists all errors, of the class of the first."""
    first = failed[0][1]
    if len(failed) == 1:
        return first
    listed = "\n".join(f"  {error.message}" for _, error in failed)
    problems = [(str(ref), error.message) for ref, error in failed]
    message = f"{len(failed)} of the requirements could not be resolved; nothing was written:\n{listed}"
    return type(first)(message, hint=first.hint, **(first.detail | {"problems": problems}))


def _pin(home: Home, ref: Ref, registry: str | None) -> Pin:
    client = home.client(allowed_registry(home, ref, registry))
    try:
        resolved = client.resolve(ref)
    except DatapkgError as error:
        error.message = f"{ref}: {error.message}"
        raise
    return Pin(
        requirement=str(ref),
        package=ref.package,
        registry=client.url,
        hash=resolved.hash,
        size=resolved.bytes_logical,
        path=ref.path,
        version=resolved.version,
        tag=resolved.tag,
    )


def _install_pin(home: Home, pin: Pin, options: InstallOptions, progress: Progress) -> PackageOutcome:
    user, _, name = pin.package.partition("/")
    known = home.is_known(pin.registry)
    ref = Ref(user, name, pin.path, State("hash", pin.hash), pin.registry)
    if known or options.registry is not None:
        options = InstallOptions(registry=pin.registry if known else options.registry, replace=options.replace)
    try:
        installed: InstallResult = install_one(home, ref, options, progress)
        return PackageOutcome(pin.requirement, installed=installed)
    except DatapkgError as error:
        return PackageOutcome(pin.requirement, error=error)


def _requirements_path(start: Path) -> Path:
    path = nearest_requirements(start)
    if path is None:
        raise InvalidLock(
            f"there is no {REQUIREMENTS} in {start} or above it",
            hint="datapkg init",
        )
    return path


def _read_lock(path: Path) -> Lock | None:
    try:
        return Lock.parse(path.read_bytes(), str(path))
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
        raise InvalidLock(f"{path} cannot be read: {error.strerror}") from error
