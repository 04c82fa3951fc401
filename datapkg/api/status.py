"""Status: show what a build would change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datapkg.api.build import last_result
from datapkg.api.states import unpushed_build
from datapkg.api.upstream import upstream_of, upstream_of_repository
from datapkg.building.cache import BuildCache
from datapkg.building.sources.upstream import UpstreamSource
from datapkg.building.spec.from_value import spec_for
from datapkg.building.spec.options import BuildOptions
from datapkg.building.status import Changes, compare
from datapkg.errors import NotFound
from datapkg.format.names import Ref
from datapkg.home import Home


@dataclass(frozen=True)
class PackageStatus:
    """The status of a package: the state that was last built, its source path, and what has changed there since.

    `is_pushed` tells whether this machine pushed the state, or got it from a registry. `upstream` are the sources
    elsewhere, None if they were not asked for.
    """

    package: str
    hash: str
    source: str
    changes: Changes
    is_pushed: bool = False
    upstream: list[UpstreamSource] | None = None


def statuses(
    home: Home, ref: Ref | None = None, source: Path | None = None, *, upstream: bool = False
) -> list[PackageStatus]:
    """Return the status of one package, or of all that were built from the working directory or below.

    With `upstream`, servers, repositories and registries are asked whether sources there changed. Raise `NotFound` if
    nothing was built, `InvalidInput` for a build file or folder that cannot be built.
    """
    if ref is not None:
        return [_status(home, ref, source, upstream)]
    here = Path.cwd().resolve()
    found = [_status(home, each, None, upstream) for each in _built_here(home, here)]
    if not found:
        raise NotFound("no package was built from this folder", hint="datapkg status USER/NAME PATH")
    return found


def _built_here(home: Home, here: Path) -> list[Ref]:
    found = []
    for ref in home.store.refs.packages():
        place = BuildCache(home.index, ref.package).place()
        if place and place[0].exists() and here in (place[0].resolve(), *place[0].resolve().parents):
            found.append(ref)
    return found


def _status(home: Home, ref: Ref, source: Path | None, upstream: bool) -> PackageStatus:
    current = home.store.refs.current(ref)
    record = home.store.record(ref, current.hash) if current else None  # its sources are read when they are compared
    if current is None or record is None:
        raise NotFound(
            f"{ref.package} was not built on this machine, so there is nothing to compare with",
            hint=f"datapkg build {ref.package} {source or 'PATH'}",
        )
    cache = BuildCache(home.index, ref.package)
    is_pushed = unpushed_build(home, ref) is None
    if upstream and not source and (repository := record.get("git", {}).get("remote")):
        found = upstream_of_repository(home, cache.repository() or repository, record)
        return PackageStatus(ref.package, current.hash, repository, Changes(), is_pushed, found)
    place = (source, BuildOptions()) if source else cache.place()
    if place is None or not place[0].exists():
        raise NotFound(f"where {ref.package} was built from is not known", hint=f"datapkg status {ref.package} PATH")
    path, how = place
    ways = {"build_file": how.build_file, "allow_outside": how.allow_outside, "gitignore": how.gitignore}
    is_same = last_result(home, ref, path, how, current) is not None
    spec = spec_for(path, **ways) if upstream or not is_same else None
    changes = Changes() if spec is None or is_same else compare(spec, record, cache)
    elsewhere = upstream_of(home, spec, record) if spec and upstream else None
    return PackageStatus(ref.package, current.hash, str(path), changes, is_pushed, elsewhere)
