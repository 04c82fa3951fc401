"""The pointers of a package: which state a ref means, and which changes of them are refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packaging.utils import canonicalize_version
from packaging.version import Version

from datapkg.errors import Conflict, ObjectNotFound, PackageNotFound, TagNotFound
from datapkg.format import push_wire, wire
from datapkg.format.names import Ref, State
from datapkg.format.static_registry import LATEST, Heads
from datapkg.format.texts import quoted
from datapkg.format.versions import find_version

_SHOWN_DIGITS = 12


def check_package(ref: Ref, heads: Heads, url: str) -> str:
    """Return the latest state of a package; raise `PackageNotFound` if there is none."""
    if heads.latest is None:
        raise PackageNotFound(
            f"package {ref.package} not found at {url}",
            hint=f"datapkg search {ref.name} --registry {url}",
            package=ref.package,
        )
    return heads.latest


def tagged(ref: Ref, heads: Heads, tag: str) -> str:
    """Return the state that a tag names; raise `TagNotFound`."""
    if tag not in heads.tags:
        raise TagNotFound(f"{ref.package} has no tag {quoted(tag)}", hint=f"datapkg tag ls {ref.package}", tag=tag)
    return heads.tags[tag].hash


def versioned(ref: Ref, heads: Heads, wanted: State) -> tuple[str, str]:
    """Return the version that a version or a range means, and its state; raise `VersionNotFound`."""
    version = find_version(ref.package, wanted, heads.versions, heads.yanked)
    return version, heads.versions[version].hash


def version_entries(heads: Heads) -> list[wire.VersionEntry]:
    """Return the versions in PEP 440 order."""
    return [
        wire.VersionEntry(
            version=each,
            hash=heads.versions[each].hash,
            created_at=heads.versions[each].at,
            yanked=heads.yanked.get(each),
        )
        for each in in_order(heads.versions)
    ]


def in_order(versions: Iterable[str]) -> list[str]:
    """Return versions in PEP 440 order."""
    return sorted(versions, key=Version)


def tag_list(heads: Heads) -> wire.TagList:
    """Return the tags, sorted by name."""
    tags = sorted(heads.tags.items())
    return wire.TagList(
        tags={tag: pointer.hash for tag, pointer in tags}, moved_at={tag: pointer.at for tag, pointer in tags}
    )


def is_new_version(ref: Ref, heads: Heads, version: str, hash: str) -> bool:
    """Return whether a version is free, False if this state has it; raise `Conflict` if another one has, or had it."""
    given = heads.retired | {name: pointer.hash for name, pointer in heads.versions.items()}
    for name, state in given.items():
        if canonicalize_version(name) != canonicalize_version(version):
            continue
        if state != hash:
            is_here = name in heads.versions
            what = f"version {name} of {ref.package} {'is' if is_here else 'was'} sha256:{state[:_SHOWN_DIGITS]}…"
            why = "and versions never move" if is_here else "before the package was deleted, and versions never move"
            hint = f"datapkg version ls {ref.package}" if is_here else "give another version"
            raise Conflict(f"{what}{', ' if is_here else ' '}{why}", hint=hint, expected=hash, actual=state)
        return name not in heads.versions
    return True


def check_parent(ref: Ref, heads: Heads, request: push_wire.Publish) -> None:
    """Raise `Conflict` if the latest state is not the one that a push follows."""
    latest = heads.latest
    if request.parent != latest and not request.force:
        look = f"look at it: datapkg log {ref.package} --changes; to build on it: "
        raise Conflict(
            f"somebody pushed to {ref.package} meanwhile: its latest state is {latest or 'none'}, "
            f"this push is based on {request.parent or 'none'}",
            hint=f"{look}datapkg push {ref.package} --onto sha256:{latest}"
            if latest
            else f"datapkg push {ref.package} --force",
            expected=request.parent,
            actual=latest,
        )


def no_state(ref: Ref, prefix: str) -> ObjectNotFound:
    """Return the error for a hash, or the beginning of one, that no state of the package has."""
    return ObjectNotFound(f"{ref.package} has no state sha256:{prefix}", hint=f"datapkg log {ref.package}", hash=prefix)


def states_named(heads: Heads) -> Iterator[str]:
    """Yield the states that have a name, the latest first, each once."""
    tags = [heads.tags[LATEST], *heads.tags.values()] if LATEST in heads.tags else list(heads.tags.values())
    yield from dict.fromkeys(pointer.hash for pointer in (*tags, *heads.versions.values()))
