"""The state of a package at the registry."""

from __future__ import annotations

from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from tests.conftest import Person


def latest(person: Person, ref: Ref) -> Manifest:
    client = person.home("asking").client(person.url)
    hash = client.resolve(ref).hash
    return Manifest.parse(client.manifest(ref, hash), expected=hash)


def paths(manifest: Manifest) -> list[str]:
    return [node.path for node in manifest.nodes]
