"""Ask whether remote sources changed since a build, without building: files at URLs and git repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from datapkg.building.sources.fetcher import Fetcher
from datapkg.building.spec.git_address import is_in_repository, parse_address, repository_of
from datapkg.errors import DatapkgError
from datapkg.format.urls import without_credentials

Outcome = Literal["unchanged", "changed", "unknown"]
_SHOWN_DIGITS = 12


@dataclass(frozen=True)
class UpstreamSource:
    """A source elsewhere: the path of its node, its kind, its address without credentials, and what was found out.

    `state` is unchanged, changed or unknown (which a build or a person has to find out); `why` tells how that is known.
    """

    path: str
    kind: str
    source: str
    state: Outcome
    why: str


def built_hashes(record: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the downloads of a build by the path of their node: address without credentials, and hash.

    Of an archive the path is that of each extracted member.
    """
    found = {}
    for each in record.get("sources", ()):
        whole = each["archive"] if isinstance(each.get("archive"), dict) else each
        if "url" in whole and "path" in each:
            found[str(each["path"])] = (str(whole["url"]), str(whole.get("hash", "")))
    return found


def check_url_source(path: str, url: str, hash: str, fetcher: Fetcher) -> UpstreamSource:
    """Return whether the file at a URL still has this hash.

    A server that confirms the ETag or Last-Modified of the last download settles it; otherwise the file is read and
    hashed. Of a repository, the commit is compared. Errors make it unknown.
    """
    from datapkg.remote.probe import probe

    shown, downloads = without_credentials(url), fetcher.downloads
    if is_in_repository(url):
        return _check_commit(path, url, downloads.validator_of(url, hash), fetcher)
    try:
        found = probe(
            url,
            downloads.validator_of(url, hash),
            limit_bytes=fetcher.limit_bytes,
            timeout_s=fetcher.timeout_s,
            environ=fetcher.environ,
        )
    except DatapkgError as error:
        return UpstreamSource(path, "url", shown, "unknown", error.message)
    if found.hash is None:
        return UpstreamSource(path, "url", shown, "unchanged", "its server confirms the ETag or Last-Modified")
    if found.hash == hash:
        downloads.keep_validator(url, hash, found.validator)
        return UpstreamSource(path, "url", shown, "unchanged", "read again; it has the same sha256")
    return UpstreamSource(path, "url", shown, "changed", f"its sha256 is {found.hash[:_SHOWN_DIGITS]}… now")


def _check_commit(path: str, url: str, commit: str, fetcher: Fetcher) -> UpstreamSource:
    from datapkg.building.sources.git_repository import remote_commit

    found = partial(UpstreamSource, path, "url", without_credentials(url))
    if not commit:
        return found("unknown", "this machine has not fetched it")
    try:
        now = remote_commit(repository_of(url), fetcher.downloads.folder / "tmp", fetcher.environ)
    except DatapkgError as error:
        return found("unknown", error.message)
    if now == commit:
        return found("unchanged", f"at commit {commit[:_SHOWN_DIGITS]}")
    return found("changed", f"commit {commit[:_SHOWN_DIGITS]} → {now[:_SHOWN_DIGITS]}")


def check_repository(address: str, commit: str, fetcher: Fetcher) -> UpstreamSource:
    """Return whether the branch, tag or default branch of a repository's address still is at this commit."""
    from datapkg.building.sources.git_repository import remote_commit

    try:
        parsed = parse_address(address)
        now = remote_commit(parsed, fetcher.downloads.folder / "tmp", fetcher.environ)
    except DatapkgError as error:
        return UpstreamSource("", "git", without_credentials(address), "unknown", error.message)
    shown = parsed.shown + (f"@{parsed.rev}" if parsed.rev else "")
    if now == commit:
        return UpstreamSource("", "git", shown, "unchanged", f"at commit {commit[:_SHOWN_DIGITS]}")
    moved = f"commit {commit[:_SHOWN_DIGITS]} → {now[:_SHOWN_DIGITS]}"
    return UpstreamSource("", "git", shown, "changed", moved)


def archives_of(path: str, built: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield address and hash of what was downloaded for a node, or for the members that it extracts."""
    for each, found in built.items():
        if each == path or each.startswith(f"{path}/"):
            yield found
