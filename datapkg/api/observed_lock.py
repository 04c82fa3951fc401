"""Pin what a program was seen to use: its packages and nodes become requirements, in the states that it used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shlex import quote

from packaging.version import Version

from datapkg.api.lock import keep_lock, readable_pins
from datapkg.api.lock_results import LockResult
from datapkg.api.pinning import changes, fits
from datapkg.errors import Conflict, NotAFolder
from datapkg.format.lockfile import LOCK, REQUIREMENTS, Lock, Pin
from datapkg.format.names import Ref
from datapkg.format.requirements import Requirement, parse_requirements
from datapkg.format.requirements_edit import with_requirement
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.objects.files import write_atomic
from datapkg.objects.folder_lock import changing
from datapkg.origins import origin_of
from datapkg.reading.seen_facts import Facts

# A script that reads more nodes of a package gets a requirement for the groups that they are in.
MAX_NODES = 20


def lock_seen(home: Home, seen: Facts, folder: Path, *, dry_run: bool = False) -> LockResult:
    """Write what was seen into the `datapkg.yml` and `datapkg.lock` of a folder, without asking a registry.

    A package gets a requirement for each node that was read, or one if none was. Requirements that are there stay, and
    so do pins of packages that were not seen. What cannot be pinned is a warning of the result. Raise `Conflict` where
    `datapkg.yml` asks for another state, `NotAFolder`.
    """
    if not folder.is_dir():
        raise NotAFolder(f"{quoted(folder)} is not a folder", hint=f"mkdir -p {quote(str(folder))}")
    with changing(folder):
        return _locked(home, seen, folder.absolute(), dry_run)


def _locked(home: Home, seen: Facts, folder: Path, dry_run: bool) -> LockResult:
    path, place = folder / REQUIREMENTS, folder / LOCK
    text = before = path.read_text("utf-8") if path.exists() else ""
    old, notes = readable_pins(place)
    states, warnings = _states(home, seen)
    pins = [pin for pin in (old.pins if old else ()) if pin.package not in states]
    for package, state in states.items():
        read = [each.path for each in seen.nodes if each == replace(state, path=each.path)]
        there = [each for each in _entries(text, path) if each.ref.package == package]
        pins += [_pin(home, state, wanted, path) for wanted in there]
        for node in reduced(read) if read or not there else ():
            if any(_covers(wanted.ref.path, node) for wanted in there):
                continue
            new = Ref(state.user, state.name, node)
            text = with_requirement(text, new, place=str(path))
            pins.append(_pin(home, state, Requirement(new), path))
    lock = Lock.of(pins)
    if states and not dry_run:
        if text != before:
            write_atomic(path, text.encode(), path.parent, mode=0o644)
        keep_lock(home, place, lock)
    return LockResult(place, list(lock.pins), [*notes, *warnings], changes(old, lock), dry_run)


def _states(home: Home, seen: Facts) -> tuple[dict[str, Ref], list[str]]:
    """Return the state to pin of each package that can be pinned, and why others cannot."""
    found: dict[str, list[Ref]] = {}
    for each in seen.packages:
        found.setdefault(each.package, []).append(each)
    states, warnings = {}, []
    for package, used in found.items():
        # A state that the program names itself needs no pin, and does not contradict one.
        unnamed = [each for each in used if not seen.is_named(each)] or used
        if len(unnamed) > 1:
            listed = ", ".join(str(each.state)[:19] for each in unnamed)
            warnings.append(f"{package} was used in {len(unnamed)} states, {listed}, so it is not pinned")
        elif not _registry(home, unnamed[0]):
            why = f"{package} was built here and never pushed, so it is not pinned"
            warnings.append(f"{why}; type: datapkg push {package}")
        else:
            states[package] = unnamed[0]
    return states, warnings


def reduced(nodes: Iterable[str]) -> list[str]:
    """Return these paths or, of too many, the groups that they are in; [""] for the whole package."""
    paths = set(nodes) or {""}
    while len(paths) > MAX_NODES:
        depth = max(path.count("/") for path in paths)
        paths = {path.rpartition("/")[0] if path.count("/") == depth else path for path in paths}
    return sorted(path for path in paths if not any(_covers(each, path) for each in paths - {path}))


def _covers(group: str, path: str) -> bool:
    return not group or path == group or path.startswith(f"{group}/")


def _entries(text: str, path: Path) -> tuple[Requirement, ...]:
    return parse_requirements(text.encode(), str(path)).entries if text.strip() else ()


def _registry(home: Home, state: Ref) -> str:
    """Return the address of the registry that a state came from, "" if it came from none."""
    assert state.state is not None
    hash = state.state.value
    shared = [store.refs.current(state) for store in home.stores[1:]]
    origins = (each.origin for each in shared if each and each.hash == hash and each.origin != "local")
    return origin_of(home, state, hash) or next(origins, "")


def _pin(home: Home, state: Ref, wanted: Requirement, place: Path) -> Pin:
    """Return the pin of a requirement to a state; raise `Conflict` if the requirement means another one."""
    assert state.state is not None
    hash = state.state.value
    store = next(store for store in home.stores if store.holds(hash))
    versions = [name for name, each in store.refs.versions(state).items() if each == hash]
    tags = [name for name, each in store.refs.tags(state).items() if each == hash]
    asked = wanted.ref.state
    pin = Pin(
        requirement=str(wanted.ref),
        package=state.package,
        registry=_registry(home, state),
        hash=hash,
        size=sum(store.manifest(hash).objects().values()),
        path=wanted.ref.path,
        version=max(versions, key=Version, default=None),
        tag=asked.value if asked and asked.kind == "tag" and asked.value in tags else None,
        group=wanted.group,
    )
    if not fits(pin, wanted.ref):
        what = f"{place} asks for {wanted}, and {state} was used; nothing was written"
        raise Conflict(what, hint=f"datapkg add {Ref(state.user, state.name, wanted.ref.path, state.state)}")
    return pin
