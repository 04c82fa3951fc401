"""Ask whether the sources of a package that are elsewhere changed since its last build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from datapkg.api.build_tools import fetcher
from datapkg.building.sources.upstream import (
    UpstreamSource,
    archives_of,
    built_hashes,
    check_repository,
    check_url_source,
)
from datapkg.building.spec.model import (
    FileSource,
    FilesSource,
    PackageSource,
    ResultsSource,
    StageSource,
    UrlSource,
    ValueSource,
)
from datapkg.errors import DatapkgError
from datapkg.format.urls import without_credentials
from datapkg.objects.progress import silent
from datapkg.objects.threads import ThreadPool
from datapkg.origins import allowed_registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from datapkg.building.spec.model import BuildSpec, NodeSpec
    from datapkg.format.names import Ref
    from datapkg.home import Home

    Check = Callable[[], UpstreamSource]

_LOCAL = (FileSource, FilesSource, StageSource, ResultsSource, ValueSource)
_SHOWN_DIGITS = 12


def upstream_of(home: Home, spec: BuildSpec, record: Mapping[str, Any]) -> list[UpstreamSource]:
    """Return the sources of a package that are not files of this machine, in order, each with what was found out."""
    return _run(home, list(_checks(home, spec, record)))


def upstream_of_repository(home: Home, address: str, record: Mapping[str, Any]) -> list[UpstreamSource]:
    """Return the repository that a package was built from, and the downloads in its record."""
    fetch = fetcher(home, silent)
    checks: list[Check] = [partial(check_repository, address, str(record["git"]["commit"]), fetch)]
    for path, (url, hash) in built_hashes(record).items():
        checks.append(partial(check_url_source, path, url, hash, fetch))
    return _run(home, checks)


def _run(home: Home, checks: list[Check]) -> list[UpstreamSource]:
    with ThreadPool(max(1, int(home.settings.get("jobs").value))) as pool:
        return list(pool.map(lambda check: check(), checks))


def _checks(home: Home, spec: BuildSpec, record: Mapping[str, Any]) -> Iterator[Check]:
    fetch, built = fetcher(home, silent), built_hashes(record)
    pins = {str(each.get("path")): str(each.get("hash")) for each in record.get("packages", ())}
    for node in spec.nodes:
        source = node.source
        if isinstance(source, UrlSource):
            # An archive beside the build file is a local file.
            if source.inside is None:
                yield _url_check(node, source, built, fetch)
        elif isinstance(source, PackageSource):
            yield partial(_check_package, home, node.path, source.ref, pins.get(node.path, ""))
        elif not isinstance(source, _LOCAL):
            yield partial(_unknown, node, type(source).__name__.removesuffix("Source").lower(), "only a build can tell")


def _url_check(node: NodeSpec, source: UrlSource, built: Mapping[str, tuple[str, str]], fetch: Any) -> Check:
    shown = without_credentials(source.url)
    hash = next((hash for url, hash in archives_of(node.path, built) if url == shown), "")
    if not hash:
        return partial(UpstreamSource, node.path, "url", shown, "unknown", "it was not built yet")
    return partial(check_url_source, node.path, source.url, hash, fetch)


def _unknown(node: NodeSpec, kind: str, why: str) -> UpstreamSource:
    return UpstreamSource(node.path, kind, node.place, "unknown", why)


def _check_package(home: Home, path: str, ref: Ref, hash: str) -> UpstreamSource:
    """Return whether the registry still means the state that was built from by a reference to a package."""
    found = partial(UpstreamSource, path, "package", str(ref))
    if not hash:
        return found("unknown", "it was not built yet")
    if ref.state and ref.state.is_full_hash:
        return found("unchanged" if ref.state.value == hash else "changed", "the build file names its hash")
    try:
        now = home.client(allowed_registry(home, ref, None)).resolve(ref).hash
    except DatapkgError as error:
        return found("unknown", error.message)
    if now == hash:
        return found("unchanged", f"its registry has sha256:{hash[:_SHOWN_DIGITS]}")
    return found("changed", f"sha256:{hash[:_SHOWN_DIGITS]} → sha256:{now[:_SHOWN_DIGITS]}")
