"""Search in a registry without a server: a summary of each package, and all of them in one file.

Both are derived, and written after the log. Two who write the common file at once may lose the other's line, so where
keys can be listed, the summaries that are newer than their line are read too; a web server has the common file only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from datapkg.errors import DatapkgError, IntegrityError, InvalidInput, NotFound, QuotaExceeded, ReadOnly
from datapkg.format import static_registry as layout
from datapkg.format import wire
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.format.static_registry import Heads, SearchIndex, Summary
from datapkg.format.texts import quoted
from datapkg.objects.blobs.base import Blobs
from datapkg.remote.static.log import derived

MAX_TITLE, MAX_DESCRIPTION, MAX_KEYWORDS = 300, 2_000, 100
MAX_QUERY, MAX_WORDS = 200, 10
_NUMBER = re.compile(r"[0-9]{8,}\Z")


def summary_of(ref: Ref, heads: Heads, manifest: Manifest | None) -> Summary:
    """Return what a search is to find of a package; without a manifest it was deleted."""
    if manifest is None or heads.latest is None:
        return Summary(package=ref.package, number=heads.number)
    keywords = manifest.meta.get("keywords")
    return Summary(
        package=ref.package,
        number=heads.number,
        latest=manifest.hash,
        title=_text(manifest, "title", MAX_TITLE),
        description=_text(manifest, "description", MAX_DESCRIPTION),
        keywords=[str(each)[:MAX_TITLE] for each in keywords[:MAX_KEYWORDS]] if isinstance(keywords, list) else [],
        pushed_at=heads.tags[layout.LATEST].at,
        bytes_logical=manifest.size(),
    )


def _text(manifest: Manifest, key: str, limit: int) -> str:
    value = manifest.meta.get(key)
    return value[:limit] if isinstance(value, str) else ""


def keep(blobs: Blobs, ref: Ref, summary: Summary) -> None:
    """Write the summary of a package, and its line in the common file; older summaries are deleted."""
    with derived(blobs.url):
        _keep(blobs, ref, summary)


def _keep(blobs: Blobs, ref: Ref, summary: Summary) -> None:
    blobs.put(layout.summary_key(ref, summary.number), io.BytesIO(layout.encode(summary)))
    for each in list(blobs.list(f"index/{ref.user}/{ref.name}/")):
        if each.key < layout.summary_key(ref, summary.number):
            blobs.delete(each.key)
    index = common(blobs)
    known = index.packages.get(ref.package)
    if known is None or known.number < summary.number:
        # A common file that was lost or damaged is made anew from the summaries.
        packages = {**(index.packages or _summaries(blobs)), ref.package: summary}
        data = layout.encode(SearchIndex(format=layout.FORMAT, packages=packages))
        blobs.put(layout.SEARCH_INDEX, io.BytesIO(data))


def common(blobs: Blobs) -> SearchIndex:
    """Return the common file; empty where it is absent or damaged."""
    try:
        data = blobs.read(layout.SEARCH_INDEX, layout.MAX_INDEX_BYTES)
        return layout.decode(data, SearchIndex, layout.SEARCH_INDEX, blobs.url)
    except (NotFound, IntegrityError, QuotaExceeded):  # it is derived: a damaged one is written anew
        return SearchIndex(format=layout.FORMAT, packages={})


def find(blobs: Blobs, query: str) -> Iterator[wire.PackageSummary]:
    """Yield the packages in which every word of a query is found: those by name first, then by name in order."""
    words = query.casefold().split()
    if len(query) > MAX_QUERY or len(words) > MAX_WORDS:
        raise InvalidInput(f"a search has at most {MAX_WORDS} words and {MAX_QUERY} characters; got {quoted(query)}")
    found = []
    for summary in _summaries(blobs).values():
        matches = [match for word in words if (match := _match(word, summary))]
        if summary.latest and len(matches) == len(words):
            found.append((any(match.where != "name" for match in matches), summary.package, summary, matches))
    for *_, summary, matches in sorted(found, key=lambda each: each[:2]):
        yield wire.PackageSummary(
            package=summary.package,
            public=True,
            latest=summary.latest,
            title=summary.title,
            description=summary.description,
            pushed_at=summary.pushed_at,
            bytes_logical=summary.bytes_logical,
            matches=matches,
        )


def _summaries(blobs: Blobs) -> dict[str, Summary]:
    found = dict(common(blobs).packages)
    try:
        keys = sorted(each.key for each in blobs.list("index/"))
    except ReadOnly:
        return found
    for key in keys:
        _, *names, file = key.split("/")
        package, number = "/".join(names), file.removesuffix(".json")
        if len(names) == 2 and _NUMBER.match(number) and (package not in found or found[package].number < int(number)):
            try:
                found[package] = layout.decode(blobs.read(key, layout.MAX_SUMMARY_BYTES), Summary, key, blobs.url)
            except DatapkgError:  # deleted meanwhile for a newer one, or damaged
                continue
    return found


def _match(word: str, summary: Summary) -> wire.SearchMatch | None:
    keywords = [("keywords", each) for each in summary.keywords]
    texts = [("name", summary.package), ("title", summary.title), ("description", summary.description), *keywords]
    return next(
        (wire.SearchMatch(word=word, where=where, text=text) for where, text in texts if word in text.casefold()), None
    )
