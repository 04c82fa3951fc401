"""Addresses of the objects of a node, for programs that read Parquet themselves, on this machine or on others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapkg.errors import Refused, WrongType
from datapkg.format.manifest.parsed import GroupNode
from datapkg.home import Home
from datapkg.origins import registry_of
from datapkg.remote.objects import RegistryObjects

if TYPE_CHECKING:
    from datapkg.reading.nodes.base import Node

SIGNED_S = 24 * 3600  # in a bucket without a server; a server decides itself


def urls(node: Node, *, registry: bool = False, signed: bool = True) -> list[str]:
    """Return the URLs of the objects of a table, file or array, in the order of the rows; those of a table are Parquet.

    They begin with `file://` if all objects are on this machine, unless `registry` asks for those at the registry,
    which other machines can read. Of a private package they are signed: whoever has one can read that object without a
    token, for 12 hours or as long as the operator of the registry decides. With `signed=False` they are those that take
    the token in the header `Authorization: Bearer TOKEN`. Raise `WrongType` for a group, `NotFound` for a state that
    the registry does not have, `Refused` if there are no signed ones for all objects.
    """
    source, path = node.__source__, node.__at__
    entry = source.entry(path)
    if entry is None or isinstance(entry, GroupNode):
        raise WrongType(f"{source.ref_of(path)} is a {node.__kind__}: only its tables, files and arrays have URLs")
    hashes = [hash for hash, _ in entry.objects()]
    if not registry and not source.store.objects.missing(hashes):
        place = source.path(entry)
        return [each.as_uri() for each in (sorted(place.iterdir()) if place.is_dir() else [place])]
    source.note_read(path)
    home = source.home or Home()
    remote = source.remote
    client = home.client(registry_of(home, source.ref, remote.registry if remote else None))
    client.resolve(source.ref)
    objects = client.objects(source.ref)
    if not signed and isinstance(objects, RegistryObjects):
        return [objects.address(hash) for hash in hashes]
    found = objects.signed_urls(hashes, SIGNED_S)
    if len(found) < len(hashes):  # those in packs of a registry in a bucket
        raise Refused(
            f"{client.url} has no address that anybody can read for {len(hashes) - len(found)} of the {len(hashes)} "
            f"objects of {source.ref_of(path)}",
            hint=f"datapkg export {source.ref_of(path)} FOLDER",
        )
    return found
