"""Copy: give a state of a package another name, by its manifest; data is not copied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from datapkg.api.drafts.carried_checks import known_checks
from datapkg.api.foreign_objects import bring_foreign
from datapkg.api.results import CopyResult
from datapkg.building.checks.definitions import packed
from datapkg.errors import InvalidInput
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.resolve import ResolvedState, find_or_fetch
from datapkg.store.refs import Current, LogEvent


def copy(
    home: Home, ref: Ref, into: Ref, *, message: str = "", registry: str | None = None, progress: Progress = silent
) -> CopyResult:
    """Make the state that a ref names the current one of the package `into`, as a build would.

    If the package is not here, only its manifest is fetched. A push of `into` sends no object that the registry has and
    the user may read. Earlier states of `into` stay in its log. Raise `PackageNotInstalled`, `NodeNotFound`, and the
    errors of a registry.
    """
    if ref.path:
        raise InvalidInput(f"{ref} names a node; cp takes a package", hint=f"datapkg merge {ref} -o {into.package}")
    if into.path or into.state or into.registry is not None:
        raise InvalidInput(f"{into} is not a name for a copy", hint=f"datapkg cp {ref} {into.package}")
    if ref.package == into.package:
        raise InvalidInput(f"{ref} and {into} are the same package", hint=f"datapkg cp {ref} {into.user}/OTHER")
    with home.store.writing():
        found = find_or_fetch(home, ref, registry)
        manifest = found.store.manifest(found.hash)
        sizes = manifest.objects()
        bring_foreign(home, ref, found, sizes, registry, progress)
        home.store.save(manifest)
        absent = home.store.absent(manifest)
        title = str(manifest.meta.get("title", ""))
        current = Current(manifest.hash, "local", bool(absent), title, sum(sizes.values()))
        _keep(home, into, current, message, _record(home, ref, found))
    return CopyResult(into.package, manifest.hash, ref.package, sum(sizes.values()), sum(absent.values()))


def _record(home: Home, ref: Ref, found: ResolvedState) -> dict[str, Any]:
    """Return the record of the copy: how its state was built, the results of its checks, and the original."""
    record = found.store.record(ref, found.hash) or {"sources": []}
    made = {name: value for name, value in record.items() if name not in ("parent", "origin")}
    asked = found.why if "://" in found.why else None  # None: ask the registry that the state came from
    checks = packed(known_checks(home, found.store, ref, found.hash, asked)[0])
    return {
        **made,
        **checks,
        "origin": "copy",
        "packages": [{"path": "", "package": ref.package, "hash": found.hash}],
    }


def _keep(home: Home, into: Ref, current: Current, message: str, record: dict[str, Any]) -> None:
    """Make the state current; write no log event if it already is."""
    refs = home.store.refs
    before = refs.current(into)
    newest = next(refs.log(into), None)
    if message or newest is None or (newest.event, newest.hash) != ("build", current.hash):
        parent = {"parent": before.hash} if before and before.hash != current.hash else {}
        at = datetime.now(UTC).isoformat()
        event = LogEvent("build", current.hash, at, "local", message, {**record, **parent})
        home.store.append_log(into, event)
    if before != current:
        refs.set_current(into, current)
