"""Stubs: write type stubs of each package that can be imported here, for type checkers and editors.

They are partial stubs (PEP 561) beside the libraries, in `datapkg-stubs`, because mypy, pyright and PyCharm all find
them there without a setting. Only pyright knows a folder `typings`; with `mypy_path`, mypy expects a layout that
pyright takes for code without source. `--into` is for other folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from datapkg.api.results import StubsResult
from datapkg.errors import Conflict, DatapkgError, InvalidInput, InvalidLock, InvalidName
from datapkg.format.lockfile import LOCK
from datapkg.format.names import Ref, check_package, check_user
from datapkg.format.stubs import MARK, USERS_STUB, PackageStub, classes_module, package_stub, user_stub
from datapkg.home import Home
from datapkg.lock_search import deciding_lock
from datapkg.objects.folders import OpenFolder
from datapkg.resolve import find_installed

# PEP 561: type checkers search this folder before datapkg itself, and datapkg for what is not in it.
FOLDER = "datapkg-stubs"
MARKER, PARTIAL = "py.typed", "partial\n"


def write_stubs(
    home: Home, start: Path, into: Path | None = None, *, locked: bool = False, dry_run: bool = False
) -> StubsResult:
    """Update the stubs below `into`, by default this Python's library folder, for all importable packages.

    These are the packages of this machine, each in the state of the nearest lock or else its current one; with
    `locked`, only the requirements that this lock pins, so that every machine has the same stubs. Stubs of other
    packages are removed; a package that cannot be read is listed with its error, and has none. Raise `Conflict` if a
    foreign file is in the way, `InvalidInput` if nothing can be written, `InvalidLock` if `locked` and there is none.
    """
    folder = (into or library_folder()) / FOLDER
    packages, failed = _packages(home, start, _locked_names(home, start) if locked else _names(home, start))
    wanted = _files({package: stub for package, (_, stub) in packages.items()})
    present = {path: text for path in _present(folder) if (text := _ours(folder / path)) is not None}
    written = [path for path, text in wanted.items() if present.get(path) != text]
    removed = sorted(present.keys() - wanted.keys())
    # All of them before anything is written, so that a conflict leaves the old stubs whole.
    strange = [str(folder / path) for path in written if path not in present and os.path.lexists(folder / path)]
    if strange:
        raise Conflict(f"{strange[0]} was not made by datapkg stubs, and is left alone", hint=f"move it: {strange[0]}")
    if not dry_run and (written or removed):
        _change(folder, {path: wanted[path] for path in written}, removed)
    states = {package: hash for package, (hash, _) in packages.items()}
    return StubsResult(folder, states, written, removed, failed)


def library_folder() -> Path:
    """Return this Python's library folder or that of its user; raise `InvalidInput` if neither can be written."""
    import site
    import sysconfig

    folder = Path(sysconfig.get_path("purelib"))
    if os.access(folder, os.W_OK):
        return folder
    # False in a virtual environment, which does not see the user's library folder.
    if site.ENABLE_USER_SITE:
        return Path(site.getusersitepackages())
    raise InvalidInput(f"{folder}, where this Python has its libraries, cannot be written", hint="add: --into typings")


def _packages(
    home: Home, start: Path, names: Iterable[str]
) -> tuple[dict[str, tuple[str, PackageStub]], dict[str, DatapkgError]]:
    """Return hash and stub of each of these packages, and the errors of those that cannot be read."""
    found: dict[str, tuple[str, PackageStub]] = {}
    failed: dict[str, DatapkgError] = {}
    for package in sorted(names):
        user, _, name = package.partition("/")
        try:
            state = find_installed(home, Ref(user, name), start)
            found[package] = state.hash, package_stub(package, state.store.manifest(state.hash))
        except DatapkgError as error:
            failed[package] = error
    return found, failed


def _locked_names(home: Home, start: Path) -> set[str]:
    lock = deciding_lock(home, start)
    if lock is None:
        raise InvalidLock(f"there is no {LOCK} in {start.absolute()} or above it", hint="datapkg lock")
    return {pin.package for pin in lock[1].direct}


def _names(home: Home, start: Path) -> Iterator[str]:
    """Return the packages on this machine and those of the nearest lock."""
    lock = deciding_lock(home, start)
    packages = {f"{user}/{name}" for user in home.users() for name in home.packages(user)}
    for package in packages | {pin.package for pin in (lock[1].pins if lock else ())}:
        user, _, name = package.partition("/")
        try:
            yield f"{check_user(user)}/{check_package(name)}"
        except InvalidName:  # a foreign folder in the store
            continue


def _files(packages: dict[str, PackageStub]) -> dict[str, str]:
    """Return the text of each file by its path in the folder."""
    files = {MARKER: PARTIAL, "data/__init__.pyi": USERS_STUB} if packages else {}
    users: dict[str, dict[str, PackageStub]] = {}
    for package, stub in packages.items():
        user, _, name = package.partition("/")
        users.setdefault(user, {})[name] = stub
        files[f"data/{user}/{classes_module(name)}.pyi"] = stub.classes
        files[f"data/{user}/{name}/__init__.pyi"] = stub.module
    return files | {f"data/{user}/__init__.pyi": user_stub(user, stubs) for user, stubs in users.items()}


def _present(folder: Path) -> list[str]:
    """Return the files that may have been written by `write_stubs`."""
    files = [MARKER] if (folder / MARKER).is_file() else []
    return files + sorted(str(path.relative_to(folder)) for path in folder.glob("data/**/*.pyi"))


def _ours(path: Path) -> str | None:
    """Return the text of a file that `write_stubs` wrote; None for other files."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text == PARTIAL or text.startswith(MARK) else None


def _change(folder: Path, written: dict[str, str], removed: list[str]) -> None:
    """Write and remove these files, and folders that become empty, without following links below `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with OpenFolder.at(folder.parent) as above, above.folder(folder.name) as top:
            for path, text in written.items():
                *parts, name = path.split("/")
                with top.below(parts, make=True) as into:
                    into.write(name, text.encode(), 0o644)
            for path in removed:
                *parts, name = path.split("/")
                with top.below(parts) as into:
                    into.remove_file(name)
                for length in range(len(parts), 0, -1):
                    with top.below(parts[: length - 1]) as into:
                        into.remove_folder(parts[length - 1])
            if not top.names():
                above.remove_folder(folder.name)
    except OSError as error:
        reason = f"{error.filename or folder} cannot be written: {error.strerror}"
        raise InvalidInput(reason, hint="name a folder of yours: datapkg stubs --into typings") from error
