"""Build: files or values into a package in the local store."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datapkg.api.results import BuildResult
from datapkg.building.cache import BuildCache
from datapkg.building.fetching.fetched import Fetcher
from datapkg.building.fetching.opened import Options, opened
from datapkg.building.fetching.shelf import Shelf
from datapkg.building.package import Built
from datapkg.building.package import build_package as build_from
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
    allow_code: bool = False,
    update: bool = False,
    force: bool = False,
    message: str = "",
    progress: Progress = silent,
) -> BuildResult:
    """Builds a directory, build file, data file, repository or values into the package that `ref` names.

    Moves `current` last; of a build that fails nothing is visible. `update` takes the files at addresses as they are
    now, and writes their sums into the build file once they were built.
    """
    if ref.state is not None or ref.path or ref.registry is not None:
        raise InvalidInput(
            f"{ref} is not what a build makes: name a package alone", hint=f"datapkg build {ref.package}"
        )
    options = Options(build_file, allow_outside, allow_code, update)
    hint = f"datapkg build {ref.package} {source} --update" if isinstance(source, (str, Path)) else ""
    with opened(source, _fetcher(home, progress), options, environ=home.environ, hint=hint) as found:
        built, parent = _built(home, ref, found.spec, force, progress)
        is_written = found.write_sums()
    _keep(home, ref, built, message, parent)
    return BuildResult(
        ref.package,
        built.manifest.hash,
        built.built,
        built.reused,
        built.bytes_logical,
        list(built.warnings),
        list(built.skipped),
        [asdict(each) for each in found.sums if is_written and each.old != each.new],
    )


def _fetcher(home: Home, progress: Progress) -> Fetcher:
    limit_bytes, timeout_s = home.setting("max_source_bytes").value, home.setting("timeout_s").value
    return Fetcher(Shelf(home.cache / "sources", home.index), limit_bytes, timeout_s, progress)


def _built(home: Home, ref: Ref, spec: BuildSpec, force: bool, progress: Progress) -> tuple[Built, str | None]:
    """What was built, and the hash of the state before it at this name."""
    store = home.store
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
    return built, None if previous is None else previous.hash


def generate(directory: Path) -> list[Path]:
    """Writes a `build.yml` and a `README.md` to start from into a directory; gives the files that were written."""
    from datapkg.building.generate import generate as write_build_file

    return write_build_file(Path(directory))


def _keep(home: Home, ref: Ref, built: Built, message: str, parent: str | None) -> None:
    store, manifest = home.store, built.manifest
    store.save(manifest)
    record = {**built.record, **({"parent": parent} if parent and parent != manifest.hash else {})}
    at = datetime.now(UTC).isoformat()
    store.refs.append_log(ref.user, ref.name, LogEvent("build", manifest.hash, at, "local", message, record))
    title = str(manifest.meta.get("title", ""))
    current = Current(manifest.hash, "local", False, title, built.bytes_logical)
    store.refs.set_current(ref.user, ref.name, current)
