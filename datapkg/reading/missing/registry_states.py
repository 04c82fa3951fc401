"""The newest states of a package at its registry, for an error message: a few small ones, within a time limit.

Nothing is raised and nothing is stored on disk. Results are cached for a while, failures included, so that of many
errors only one waits.
"""

from __future__ import annotations

import contextlib
import time
from itertools import chain, islice

from datapkg.errors import DatapkgError
from datapkg.format.names import Ref
from datapkg.objects.threads import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from datapkg.format.manifest.parsed import Manifest
    from datapkg.home import Home
    from datapkg.remote.client import Client
    from datapkg.store.store import Store

    States = list[tuple[str, Manifest]]

WAIT_S = 2.0
"""The time limit of all requests together."""
VERSIONS, PUSHES = 5, 3
MAX_MANIFEST_BYTES = 4 << 20  # a longer one takes too long for the text of an error
REMEMBERED_S = 300.0
_SHOWN_DIGITS = 12

_known: dict[tuple[str, str], tuple[float, States]] = {}


def earlier_states(store: Store, ref: Ref, home: Home | None = None, registry: str = "") -> States:
    """Return the last `VERSIONS` versions and `PUSHES` pushes of a package at its registry, each with its manifest.

    Each is named as after the `@` of a ref. Empty for a package that neither came from a registry nor was pushed to
    one. If the registry does not answer within `WAIT_S`, return what arrived by then.
    """
    url = registry or _registry(store, ref)
    if not url:
        return []
    at, found = _known.get((url, ref.package), (0.0, []))
    if not at or time.monotonic() - at > REMEMBERED_S:
        found = _asked(url, ref, home)
        _known[url, ref.package] = time.monotonic(), found
    return list(found)


def _registry(store: Store, ref: Ref) -> str:
    """Return the registry that the newest state came from or was pushed to; "" if there is none."""
    current = store.refs.current(ref)
    own = [current.origin] if current else []
    origins = chain(own, (event.origin for event in store.refs.log(ref, "push", "install")))
    return next((each for each in origins if "://" in each), "")


def _asked(url: str, ref: Ref, home: Home | None) -> States:
    """Return what a thread finds in time, so that neither DNS nor a hanging connection delays the error."""
    found: States = []
    start(_collect, url, ref, home, found).wait(WAIT_S)
    return list(found)


def _collect(url: str, ref: Ref, home: Home | None, found: States) -> None:
    from datapkg.format.manifest.patch import read_manifest

    try:
        client = _client(url, home)
        until = time.monotonic() + WAIT_S
        for hash, name in _names(client, Ref(ref.user, ref.name)):
            if time.monotonic() > until:
                return
            with contextlib.suppress(DatapkgError):  # such as a manifest that is too long
                data = client.manifest(ref, hash, size=MAX_MANIFEST_BYTES)
                found.append((name, read_manifest(data, hash)))
    except Exception:  # noqa: BLE001 (whatever it is, the error that is explained matters more)
        return


def _client(url: str, home: Home | None) -> Client:
    """Return a client that does not retry and has a short timeout."""
    from datapkg.home import Home

    return (home or Home()).client(url, wait_s=WAIT_S)


def _names(client: Client, ref: Ref) -> Iterator[tuple[str, str]]:
    """Yield the hash of each state, and its name: the newest versions, then the newest pushes; no state twice."""
    versions = {each.hash: each.version for each in client.versions(ref)}
    seen = set()
    for hash in list(versions)[: -VERSIONS - 1 : -1]:
        seen.add(hash)
        yield hash, versions[hash]
    for entry in islice(client.log(ref), VERSIONS + PUSHES):
        if entry.hash not in seen and len(seen) < VERSIONS + PUSHES:
            seen.add(entry.hash)
            yield entry.hash, versions.get(entry.hash) or f"sha256:{entry.hash[:_SHOWN_DIGITS]}"
