"""The public Python functions that list, name, share, pin, configure and remove packages; they print nothing."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datapkg.api.notebook_progress import shown
from datapkg.api.results import GcResult, PackageListing, RemoveResult
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress

if TYPE_CHECKING:
    from datapkg.api.lock_results import LockResult
    from datapkg.api.status import PackageStatus


def ls() -> list[PackageListing]:
    """Return the packages on this machine, in order, each with its current state."""
    from datapkg.api.listing import list_packages

    return list_packages(Home())


def log(
    ref: str, *, remote: bool | None = None, changes: bool = False, registry: str | None = None
) -> list[dict[str, Any]]:
    """Return the history of a package, newest first: the pushes at its registry, or the events on this machine.

    With `remote` None, it is the registry's if one is configured and has the package, else this machine's. With
    `changes`, each state lists what it changed for users of the package. Raise `PackageNotFound`,
    `PackageNotInstalled`, `Unreachable`.
    """
    from datapkg.api.log import log as read

    return read(Home(), Ref.parse(ref), remote=remote, registry=registry, changes=changes)


def tag(
    ref: str, name: str | None = None, *, state: str | None = None, remove: bool = False, registry: str | None = None
) -> list[dict[str, Any]]:
    """Return the tags of a package at its registry; with `name`, after setting this tag to the state of `ref`.

    Without a state in `ref`, the tag is set to `latest`; raise `Conflict` if this machine has a newer state that was
    not pushed, unless `state` is the hash of the intended pushed state. With `remove`, the tag `name` is removed; its
    state is kept. Raise `TagNotFound`, `Refused`, `Unreachable`.
    """
    from datapkg.api import history
    from datapkg.api.states import in_state

    home, wanted = Home(), Ref.parse(ref)
    if name is None:
        _needs_name(remove or state is not None, "tag")
    elif remove:
        if state is not None:
            raise InvalidInput("a tag is removed by its name alone; state does not go with remove")
        history.remove_tag(home, wanted, name, registry)
    else:
        history.set_tag(home, in_state(wanted, state), name, registry)
    return history.tags(home, wanted.at(None), registry)


def version(
    ref: str,
    name: str | None = None,
    *,
    state: str | None = None,
    yank: str | bool | None = None,
    registry: str | None = None,
) -> list[dict[str, Any]]:
    """Return the versions of a package at its registry; with `name`, after giving this version to the state of `ref`.

    Without a state in `ref`, it is given to `latest`; `state` as in `tag`. A version never moves: raise `Conflict` if
    another state has it. `yank` (True or the reason) withdraws the version of `ref`, so that ranges no longer mean it;
    False undoes that.
    """
    from datapkg.api import history
    from datapkg.api.states import in_state

    home, wanted = Home(), Ref.parse(ref)
    if yank is not None:
        if name is not None or state is not None:
            raise InvalidInput("yank is about the version in the ref; name and state do not go with it")
        history.set_yanked(home, wanted, {True: "", False: None}[yank] if isinstance(yank, bool) else yank, registry)
    elif name is None:
        _needs_name(state is not None, "version")
    else:
        history.add_version(home, in_state(wanted, state), name, registry)
    return history.versions(home, wanted.at(None), registry)


def access(
    package: str,
    who: str | None = None,
    *,
    write: bool = False,
    remove: bool = False,
    confirm: bool = False,
    registry: str | None = None,
) -> dict[str, Any]:
    """Return who has access to a package; with `who` (a user or `public`), after granting or, by `remove`, revoking.

    Access means reading; with `write` also pushing, tags and versions. `confirm` confirms that `public` makes all
    earlier pushes of a private package public. Raise `PackageNotFound`, `Refused`.
    """
    from datapkg.api import sharing

    home, wanted = Home(), Ref.parse(package)
    if who is None:
        _needs_name(remove, "user")
        return sharing.access(home, wanted, registry)
    if remove:
        return sharing.revoke(home, wanted, who, registry)
    return sharing.grant(home, wanted, who, confirm, registry, write=write)


def lock(
    folder: str | PathLike[str] = ".",
    *,
    update: bool = False,
    check: bool = False,
    dry_run: bool = False,
    registry: str | None = None,
    progress: Progress | None = None,
) -> LockResult:
    """Write the `datapkg.lock` of the project that contains a folder; return its pins and what changed.

    Pins that still satisfy `datapkg.yml` are kept unless `update`. A `dry_run` writes nothing, and `check` neither: it
    raises `InvalidLock` with everything in which the lock does not fit. Raise errors that list all requirements that
    could not be resolved.
    """
    from datapkg.api.lock import write_lock
    from datapkg.api.requirements import check_lock

    home, renew = Home(), None if update else ()
    with shown(progress) as report_progress:
        if check:
            return check_lock(home, Path(folder), registry=registry)
        return write_lock(home, Path(folder), renew=renew, registry=registry, dry_run=dry_run, progress=report_progress)


def config(name: str | None = None, value: str | None = None, *, unset: bool = False) -> Any:
    """Return the value of a setting, or all settings by name; with `value`, write it into the settings file first.

    `unset` removes it from the file. An environment variable overrides the file, so the returned value may differ from
    the written one.
    """
    home = Home()
    if name is None:
        _needs_name(unset or value is not None, "setting")
        return {each.name: each.value for each in home.settings.all()}
    if unset and value is not None:
        raise InvalidInput("unset takes a setting out of the file; it does not go with a value")
    if unset or value is not None:
        home.settings.set(name, value)
    head, _, key = name.partition(".")
    return home.settings.get(head).value.get(key) if head == "registries" and key else home.settings.get(name).value


def status(
    package: str | None = None, path: str | PathLike[str] | None = None, *, upstream: bool = False
) -> list[PackageStatus]:
    """Compare working files with the last build: of one package, or of all packages built from this folder.

    `path` is by default the path of the last build. With `upstream`, sources elsewhere are asked whether they changed:
    `url`, repositories, packages. Raise `NotFound` if nothing was built.
    """
    from datapkg.api.status import statuses

    ref = Ref.parse(package) if package is not None else None
    return statuses(Home(), ref, Path(path) if path is not None else None, upstream=upstream)


def rm(package: str | None = None, *, now: bool = False, dry_run: bool = False) -> RemoveResult:
    """Remove a package from this machine, and return the freed space; what its registry has stays.

    Objects that another process may use stay for up to an hour, unless `now` asserts that no process is running; with
    `now` and no package, space left by earlier removals is freed. A `dry_run` removes nothing and returns what would be
    freed. Raise `PackageNotInstalled` if it is not installed.
    """
    from datapkg.api.maintenance import free_left, remove

    if package is not None:
        return remove(Home(), Ref.parse(package), now=now, dry_run=dry_run)
    _needs_name(dry_run or not now, "package", "removed")
    return free_left(Home())


def gc(
    *,
    keep: int | None = None,
    older_than_s: float | None = None,
    max_bytes: int | None = None,
    now: bool = False,
    store: str | Path | None = None,
    dry_run: bool = False,
) -> GcResult:
    """Free space on this machine: data that no package needs, leftovers, and older states if asked.

    Without `keep` (how many of the newest states of a package stay), `older_than_s` and `max_bytes`, all states stay.
    `now` asserts that no other process is running. A `dry_run` removes nothing and returns what would be removed. Raise
    `CorruptObject`, before anything is removed, if a pointer or manifest cannot be read.

    With `store`, the folder of a shared store, free space there: what none of its users has installed, and the states
    that the policy gives up by when they were last installed or fetched.
    """
    from datapkg.api.gc import free_shared, free_space
    from datapkg.store.gc import Policy

    if store is not None:
        return free_shared(Home(), Path(store), Policy(keep, older_than_s, max_bytes, now), dry_run=dry_run)
    return free_space(Home(), Policy(keep, older_than_s, max_bytes, now), dry_run=dry_run)


def _needs_name(is_change: bool, what: str, done: str = "changed") -> None:
    if is_change:
        raise InvalidInput(f"name the {what} that is to be {done}")
