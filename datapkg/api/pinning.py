"""Resolve the requirements of a project to pins: many at once, several of one package to one state."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from shlex import quote

from datapkg.api.lock_results import PinChange
from datapkg.api.needed_packages import Answer, NeededPackages, closure, overruled
from datapkg.api.states import yanked_text_of
from datapkg.errors import Conflict, DatapkgError, NodeNotFound, Unreachable
from datapkg.format import wire
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref, State
from datapkg.format.requirements import Requirement, Requirements
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent
from datapkg.objects.threads import PendingCall, ThreadPool
from datapkg.origins import allowed_registry
from datapkg.remote.client import Client
from datapkg.resolve import fetch_manifest, save


@dataclass
class Pinner:
    """Asks registries what requirements mean; `registry` is the one that the user named for this call.

    `with_needed` pins the packages too whose nodes the states contain; `notes` say what is to be known of them.
    """

    home: Home
    registry: str | None = None
    progress: Progress = silent
    with_needed: bool = True
    notes: list[str] = field(default_factory=list)
    _answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    _clients: dict[str, Client] = field(default_factory=dict)

    def pin(self, wanted: Requirements, old: Lock | None, renew: Collection[str] | None = ()) -> Lock:
        """Return the lock of these requirements: pins of `old` that still fit, and the others resolved.

        The packages in `renew` are resolved again, all for None. The error names every requirement that fails.
        """
        by_package: dict[str, list[Requirement]] = {}
        for entry in {each.key: each for each in wanted.entries}.values():
            by_package.setdefault(entry.ref.package, []).append(entry)
        pins: list[Pin] = []
        unchecked: list[Pin] = []
        open_ones: dict[str, list[Requirement]] = {}
        for package, entries in by_package.items():
            is_renewed = old is None or renew is None or package in renew
            kept, new = ([], []) if is_renewed or old is None else _kept(entries, old)
            pins += [*kept, *new]
            unchecked += new
            if not kept:
                open_ones[package] = entries
        # Registries are not asked about pins that are kept, nor about what these need.
        pins += closure(old, pins) if old else []
        pins += self._resolved(open_ones, unchecked)
        if self.with_needed:
            needed = NeededPackages(self.home.settings.get("jobs").value)
            pins += needed.of(self._answers.values())
            self.notes += needed.notes
        lock = Lock.of(pins)
        self.notes += overruled(lock)
        return lock

    def newest(self, wanted: Requirements) -> dict[str, wire.Resolved]:
        """Return what the tag `latest` of each required package names, as an install without a state takes it."""
        refs = {entry.ref.package: entry.ref for entry in wanted.entries}
        with ThreadPool(self.home.settings.get("jobs").value) as pool:
            calls = {package: pool.submit(self.client(ref).resolve, ref.at(None)) for package, ref in refs.items()}
            return {package: call.result() for package, call in calls.items()}

    def misfit(self, entry: Requirement, pin: Pin) -> str:
        """Return why a pin is not one of its requirement, or ""."""
        if pin.package != entry.ref.package or pin.path != entry.ref.path or not fits(pin, entry.ref):
            return f"{entry} is pinned to {pin.package} {_state_text(pin)}, which is not what it means"
        if entry.ref.registry and self.home.registry_url(entry.ref.registry) != pin.registry:
            return f"{entry} is pinned at {pin.registry}, which is not the registry that it names"
        try:
            if pin.path:
                self.check_node(pin)
        except NodeNotFound as error:
            return f"{entry}: {error.message}"
        return ""

    def client(self, ref: Ref) -> Client:
        """Return the client of the registry of a ref."""
        given = self.registry
        if given is not None and ref.registry is not None:
            # A project may name several registries; the one that the user names is for the others.
            given = given if self.home.registry_url(ref.registry) == self.home.registry_url(given) else None
        url = allowed_registry(self.home, ref, given)
        if url not in self._clients:
            self._clients[url] = self.home.client(url)
        return self._clients[url]

    def _resolved(self, by_package: dict[str, list[Requirement]], unchecked: list[Pin]) -> list[Pin]:
        """Return the pins of packages that have to be asked for, over one pool of threads.

        Their nodes are checked, and those of the `unchecked` pins.
        """
        pins: list[Pin] = []
        failed: list[tuple[Requirement, DatapkgError]] = []
        with ThreadPool(self.home.settings.get("jobs").value) as pool:
            calls = []
            for entries in by_package.values():
                try:
                    question = _Question(self.client(entries[0].ref), entries, self.with_needed)
                    calls.append((entries, question.ask(pool)))
                except DatapkgError as error:
                    failed += [(entry, error) for entry in entries]
            for number, (entries, question) in enumerate(calls):
                self.progress("requirements", number, len(calls))
                for entry, answer in zip(entries, question.answers(), strict=True):
                    if isinstance(answer, DatapkgError):
                        failed.append((entry, answer))
                    else:
                        pins.append(answer)
                        self._answers[answer.package, answer.hash] = found = question.answer()
                        self._note_yank(entry.ref, found[1])
        failed += self._without_nodes([*unchecked, *pins])
        if failed:
            raise unresolved(failed)
        return pins

    def _note_yank(self, ref: Ref, resolved: wire.Resolved) -> None:
        note = yanked_text_of(ref, resolved.hash, resolved.versions, resolved.yanked)
        if note and note not in self.notes:
            self.notes.append(note)

    def _without_nodes(self, pins: list[Pin]) -> list[tuple[Requirement, DatapkgError]]:
        """Return the pins whose state does not have their node, with errors."""
        found: list[tuple[Requirement, DatapkgError]] = []
        for pin in pins:
            if pin.path:
                try:
                    self.check_node(pin)
                except DatapkgError as error:
                    found.append((Requirement(ref_of(pin), pin.group), _about(error, pin.requirement)))
        return found

    def fetch_manifest(self, pin: Pin) -> Manifest:
        """Return the manifest of a pinned state, from here or from its registry; it is kept here."""
        if self.home.store.has(pin.hash):
            return self.home.store.manifest(pin.hash)
        ref = ref_of(pin)
        client = self.client(ref)
        resolved = client.resolve(ref)
        manifest = fetch_manifest(self.home, client, ref, resolved)
        with self.home.store.writing():
            save(self.home, manifest, resolved.unchecked)
        return manifest

    def check_node(self, pin: Pin) -> None:
        """Raise `NodeNotFound` if the pinned state does not have the node; its manifest is kept."""
        manifest = self.fetch_manifest(pin)
        try:
            manifest.below(pin.path)
        except NodeNotFound as error:
            error.explain("", f"datapkg show {pin.package}@sha256:{pin.hash}")
            raise


class _Question:
    """What the requirements of one package mean at a registry; their states may differ, and must agree."""

    def __init__(self, client: Client, entries: list[Requirement], with_needed: bool) -> None:
        self._client, self._entries, self._with_needed = client, entries, with_needed
        self._calls: dict[State | None, PendingCall[wire.Resolved]] = {}
        self._common = _common_state([each.ref.state for each in entries])

    def ask(self, pool: ThreadPool) -> _Question:
        ref = self._entries[0].ref
        for state in {self._state_of(each) for each in self._entries}:
            self._calls[state] = pool.submit(self._client.resolve, ref.at(state), with_packages=self._with_needed)
        return self

    def _state_of(self, entry: Requirement) -> State | None:
        state = entry.ref.state
        if state is None or state.kind in ("version", "range"):
            return self._common
        return state

    def answer(self) -> Answer:
        """Return one of the answers, once there are some."""
        resolved = next(call.result() for call in self._calls.values())
        return self._client, resolved

    def answers(self) -> list[Pin | DatapkgError]:
        """Return a pin or an error for each requirement; raise `Unreachable`, since others would wait as long."""
        found: list[Pin | DatapkgError] = []
        for entry in self._entries:
            try:
                found.append(self._pin(entry, self._calls[self._state_of(entry)].result()))
            except Unreachable:
                raise
            except DatapkgError as error:
                found.append(_about(error, self._asked_of(entry)))
        first = next((each for each in found if isinstance(each, Pin)), None)
        for number, each in enumerate(found):
            if first is not None and isinstance(each, Pin) and each.hash != first.hash:
                found[number] = self._disagreement(self._entries[number], each, first)
        return found

    def _asked_of(self, entry: Requirement) -> str:
        """Return what was asked for, with all requirements that were asked as one."""
        state = self._state_of(entry)
        same = [each for each in self._entries if self._state_of(each) == state]
        if len({each.ref.state for each in same} - {None}) < 2:
            return str(entry)
        return " and ".join(f"{each} in line {each.line}" for each in same)

    def _pin(self, entry: Requirement, resolved: wire.Resolved) -> Pin:
        ref = entry.ref
        return Pin(
            requirement=str(ref),
            package=ref.package,
            registry=self._client.url,
            hash=resolved.hash,
            size=resolved.bytes_logical,
            path=ref.path,
            version=resolved.version,
            tag=resolved.tag,
            group=entry.group,
        )

    def _disagreement(self, entry: Requirement, pin: Pin, first: Pin) -> Conflict:
        other = next(each for each in self._entries if each.key == (first.requirement, first.group))
        wanted_ref = quote(str(entry.ref.at(other.ref.state)))
        return Conflict(
            f"line {entry.line}: {entry} is {_state_text(pin)}, but line {other.line}: {other} is "
            f"{_state_text(first)}; a project has one state of {pin.package}",
            hint=f"datapkg add {wanted_ref} --group {entry.group}" if entry.group else f"datapkg add {wanted_ref}",
        )


def _common_state(states: list[State | None]) -> State | None:
    """Return the state that satisfies all versions and ranges, else any of the others; None if nobody wants one."""
    given = [state for state in dict.fromkeys(states) if state is not None]
    limits = [state for state in given if state.kind in ("version", "range")]
    if len(limits) > 1:
        texts = [each.value if each.kind == "range" else f"=={each.value}" for each in limits]
        return State("range", ",".join(texts))
    return next(iter(limits or given), None)


def _kept(entries: list[Requirement], old: Lock) -> tuple[list[Pin], list[Pin]]:
    """Return the pins of a package that still fit its requirements, and those of new ones that these fit too.

    Both are empty if the package has to be resolved again.
    """
    pins = {entry.key: pin for entry in entries if (pin := old.pin_of(*entry.key))}
    base = next(iter(pins.values()), None)
    if base is None or len({pin.hash for pin in pins.values()}) > 1:
        return [], []
    new = [entry for entry in entries if entry.key not in pins]
    if not all(fits(base, entry.ref) for entry in new):
        return [], []
    added = [
        replace(base, requirement=str(each.ref), path=each.ref.path, group=each.group, needed_by="") for each in new
    ]
    return list(pins.values()), added


def fits(pin: Pin, ref: Ref) -> bool:
    """Return whether a pinned state is one that a ref may mean, as far as the pin alone tells."""
    state = ref.state
    if state is None:
        return True
    if state.kind == "hash":
        return pin.hash.startswith(state.value)
    if state.kind == "tag":
        return pin.tag == state.value
    if state.kind not in ("version", "range"):
        return pin.requirement == str(ref)  # a date: a pin does not say when its state was pushed
    if pin.version is None:
        return False
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(state.value if state.kind == "range" else f"=={state.value}").contains(pin.version, True)


def ref_of(pin: Pin) -> Ref:
    """Return the exact ref of a pin."""
    user, _, name = pin.package.partition("/")
    return Ref(user, name, pin.path, State("hash", pin.hash), pin.registry)


def changes(old: Lock | None, new: Lock) -> list[PinChange]:
    """Return the packages whose requirements have another state, or none, in one of two locks."""
    before = {pin.package: pin for pin in (old.direct if old else ())}
    after = {pin.package: pin for pin in new.direct}
    packages = sorted(before.keys() | after.keys())
    pairs = [PinChange(package, before.get(package), after.get(package)) for package in packages]
    return [each for each in pairs if (each.old and each.old.hash) != (each.new and each.new.hash)]


def _about(error: DatapkgError, what: str) -> DatapkgError:
    if not error.message.startswith(f"{what}: "):
        error.message = f"{what}: {error.message}"
    return error


def unresolved(failed: list[tuple[Requirement, DatapkgError]]) -> DatapkgError:
    """Return the only error, or one that lists all errors, of the class of the first."""
    first = failed[0][1]
    if len(failed) == 1:
        return first
    listed = "\n".join(dict.fromkeys(f"  {error.message}" for _, error in failed))
    problems = [(str(each), error.message) for each, error in failed]
    message = f"{len(failed)} of the requirements could not be resolved; nothing was written:\n{listed}"
    return type(first)(message, hint=first.hint, **(first.detail | {"problems": problems}))


def _state_text(pin: Pin) -> str:
    return pin.version or f"sha256:{pin.hash[:12]}"
