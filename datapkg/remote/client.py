"""The registry's HTTP API, one method an endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from datapkg.format import wire
from datapkg.format.hashing import check_bytes, check_hash
from datapkg.format.names import Ref
from datapkg.remote.objects import IDENTITY, RegistryObjects
from datapkg.remote.session import Session

MAX_MANIFEST_BYTES = 2 << 30


class Client:
    """A registry, through one session; raises our errors."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def url(self) -> str:
        return self.session.url

    def me(self) -> wire.Me:
        """Who the token stands for; `user` is None without one."""
        return wire.Me.model_validate(self.session.json("GET", wire.ME))

    def packages(self, query: str = "") -> Iterator[wire.PackageSummary]:
        """All packages that the actor may see and that hold every word of the query, page by page."""
        cursor: str | None = None
        while True:
            params = {"q": query, **({"cursor": cursor} if cursor else {})}
            page = wire.PackagePage.model_validate(self.session.json("GET", wire.PACKAGES, params=params))
            yield from page.packages
            cursor = page.next
            if not cursor:
                return

    def package(self, ref: Ref) -> wire.PackageInfo:
        """A package as the actor sees it; raises `PackageNotFound`."""
        return wire.PackageInfo.model_validate(self.session.json("GET", _path(wire.PACKAGE, ref)))

    def delete(self, ref: Ref) -> None:
        """Deletes a package with all its states."""
        self.session.json("DELETE", _path(wire.PACKAGE, ref))

    def resolve(self, ref: Ref) -> wire.Resolved:
        """The full hash that the ref's state means now; `latest` where it has none."""
        params = {"state": str(ref.state)} if ref.state else {}
        reply = wire.Resolved.model_validate(self.session.json("GET", _path(wire.RESOLVE, ref), params=params))
        check_hash(reply.hash)
        return reply

    def manifest(self, ref: Ref, hash: str) -> bytes:
        """The bytes of a state's manifest, checked against its hash."""
        path = _path(wire.MANIFEST, ref, hash=check_hash(hash))

        def attempt() -> bytes:
            with self.session.request("GET", path, headers=IDENTITY) as response:
                return self.session.body(response, MAX_MANIFEST_BYTES)

        data = self.session.retried(attempt)
        check_bytes(data, hash, "manifest")
        return data

    def objects(self, ref: Ref, push: str | None = None) -> RegistryObjects:
        """The objects of a package; writable within a push."""
        return RegistryObjects(self.session, ref.user, ref.name, push)

    def start_push(self, ref: Ref, manifest: str, hashes: Iterable[str]) -> wire.PushStarted:
        """Begins a push of the state with this manifest hash; says which of the first hashes are missing."""
        body = {"manifest": manifest, "hashes": list(hashes)}
        return wire.PushStarted.model_validate(self.session.json("POST", _path(wire.PUSHES, ref), body))

    def publish(self, ref: Ref, push: str, request: wire.Publish) -> wire.Published:
        """Ends a push: the manifest becomes a state of the package."""
        body = request.model_dump(mode="json")
        return wire.Published.model_validate(self.session.json("POST", _path(wire.PUBLISH, ref, push=push), body))

    def log(self, ref: Ref) -> Iterator[wire.LogEntry]:
        """The pushes of a package, newest first."""
        cursor: str | None = None
        while True:
            params = {"cursor": cursor} if cursor else {}
            page = wire.LogPage.model_validate(self.session.json("GET", _path(wire.LOG, ref), params=params))
            yield from page.entries
            cursor = page.next
            if not cursor:
                return

    def tags(self, ref: Ref) -> dict[str, str]:
        """Tag to hash."""
        return wire.TagList.model_validate(self.session.json("GET", _path(wire.TAGS, ref))).tags

    def set_tag(self, ref: Ref, tag: str, hash: str) -> None:
        """Makes a tag name this state, whatever it named before."""
        self.session.json("PUT", _path(wire.TAG, ref, tag=tag), {"hash": hash})

    def remove_tag(self, ref: Ref, tag: str) -> None:
        """Removes a tag; the state stays."""
        self.session.json("DELETE", _path(wire.TAG, ref, tag=tag))

    def versions(self, ref: Ref) -> list[wire.VersionEntry]:
        """The versions in the order of PEP 440."""
        return wire.VersionList.model_validate(self.session.json("GET", _path(wire.VERSIONS, ref))).versions

    def add_version(self, ref: Ref, version: str, hash: str) -> None:
        """Gives a state a version, for good."""
        self.session.json("PUT", _path(wire.VERSION, ref, version=version), {"hash": hash})

    def access(self, ref: Ref) -> wire.Access:
        """Who may read the package."""
        return wire.Access.model_validate(self.session.json("GET", _path(wire.ACCESS, ref)))

    def grant(self, ref: Ref, who: str, confirm: bool = False) -> wire.Access:
        """Lets a user, or `public`, read the package."""
        reply = self.session.json("PUT", _path(wire.GRANT, ref, who=who), {"confirm": confirm})
        return wire.Access.model_validate(reply)

    def revoke(self, ref: Ref, who: str) -> wire.Access:
        """Takes the right to read from a user, or `public`."""
        return wire.Access.model_validate(self.session.json("DELETE", _path(wire.GRANT, ref, who=who)))


def _path(template: str, ref: Ref, **names: Any) -> str:
    return template.format(user=ref.user, name=ref.name, **{key: quote(value, safe="") for key, value in names.items()})
