"""Build: files or values into a package in the local store."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datapkg.api.results import BuildResult
from datapkg.building.cache import BuildCache
from datapkg.building.package import Built
from datapkg.building.package import build_package as build_from
from datapkg.building.sources import spec_for
from datapkg.building.spec import BuildSpec
from datapkg.errors import InvalidInput
from datapkg.format.manifest import Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.base import Readable
from datapkg.objects.progress import Progress, silent
from datapkg.store.refs import Current, LogEvent


def build_package(
    home: Home,
    ref: Ref,
    source: Any,
    *,
    build_file: bool = True,
    allow_outside: bool = False,
    force: bool = False,
    message: str = "",
    progress: Progress = silent,
) -> BuildResult:
    """Builds a directory, build file, data file or values into the package that `ref` names; moves `current` last.

    Of a build that fails nothing is visible.
    """
    if ref.state is not None or ref.path or ref.registry is not None:
        raise InvalidInput(
            f"{ref} is not what a build makes: name a package alone", hint=f"datapkg build {ref.package}"
        )
    store = home.store
    spec = _spec(source, build_file=build_file, allow_outside=allow_outside)
    store.prepare()
    before = store.refs.current(ref.user, ref.name)
    previous = store.manifest(before.hash) if before and store.has(before.hash) else None

    def find_package(wanted: Ref) -> tuple[Manifest, Readable]:
        found = home.find(wanted)
        return found.store.manifest(found.hash), found.store.objects

    built = build_from(
        spec,
        store.objects,
        previous=previous,
        find_package=find_package,
        cache=BuildCache(home.index, ref.package, forced=force),
        secret=home.secret,
        progress=progress,
    )
    _keep(home, ref, built, message, None if previous is None else previous.hash)
    return BuildResult(
        ref.package,
        built.manifest.hash,
        built.built,
        built.reused,
        built.bytes_logical,
        list(built.warnings),
        list(built.skipped),
    )


def generate(directory: Path) -> list[Path]:
    """Writes a `build.yml` and a `README.md` to start from into a directory; gives the files that were written."""
    from datapkg.building.generate import generate as write_build_file

    return write_build_file(Path(directory))


def _spec(source: Any, *, build_file: bool, allow_outside: bool) -> BuildSpec:
    if isinstance(source, (str, Path)):
        return spec_for(Path(source), build_file=build_file, allow_outside=allow_outside)
    from datapkg.building.sources import spec_from_values

    return spec_from_values(source)


def _keep(home: Home, ref: Ref, built: Built, message: str, parent: str | None) -> None:
    store, manifest = home.store, built.manifest
    store.save(manifest)
    record = {**built.record, **({"parent": parent} if parent and parent != manifest.hash else {})}
    at = datetime.now(UTC).isoformat()
    store.refs.append_log(ref.user, ref.name, LogEvent("build", manifest.hash, at, "local", message, record))
    title = str(manifest.meta.get("title", ""))
    current = Current(manifest.hash, "local", False, title, built.bytes_logical)
    store.refs.set_current(ref.user, ref.name, current)
