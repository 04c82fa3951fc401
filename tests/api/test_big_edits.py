"""Edits of a package with very many nodes transfer only what is new, whatever fails during the transfer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from datapkg.api.drafts.policy import CommitOptions
from datapkg.api.edit import Draft
from datapkg.api.install import install_packages
from datapkg.api.push import push_package
from datapkg.errors import Conflict, CorruptObject
from datapkg.format.chunks import Chunk, decode_chunks, encode_chunks
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.packs import PackedObjects
from datapkg.objects.progress import silent
from datapkg.remote.session import RegistrySession
from datapkg.store.refs import Current, LogEvent
from tests.conftest import Person
from tests.examples import first
from tests.faulty_proxy import Fault, faulty_way
from tests.live_registry import LiveRegistry

COUNT = 10_000
LITTLE = 200_000
"""Bytes: a few chunks, a chunk map, some JSON."""


@dataclass
class Traffic:
    """The bytes that all sessions sent and received since the last call."""

    sessions: list[RegistrySession] = field(default_factory=list)

    def __call__(self) -> tuple[int, int]:
        moved = sum(each.sent_bytes for each in self.sessions), sum(each.received_bytes for each in self.sessions)
        self.sessions.clear()
        return moved


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    counted = Traffic()
    begin = RegistrySession.__init__

    def noted(self: RegistrySession, *values: object, **options: object) -> None:
        begin(self, *values, **options)  # type: ignore[arg-type]
        counted.sessions.append(self)

    monkeypatch.setattr(RegistrySession, "__init__", noted)
    return counted


@pytest.fixture
def ref(person: Person) -> Iterator[Ref]:
    """Push a package of many files from the machine `one`."""
    home, ref = person.home("one"), person.ref("many")
    home.store.prepare()
    bodies = [b"%d" % (number % 50) for number in range(COUNT)]
    hashes = home.store.objects.put_many(bodies)
    nodes = [
        FileNode(path=f"g{at % 100:02}/{at}.txt", hash=hash, size=len(body), file_name=f"{at}.txt")
        for at, (hash, body) in enumerate(zip(hashes, bodies, strict=True))
    ]
    manifest = Manifest.make(nodes, {"title": "Many"})
    assert manifest.size_bytes > 1 << 20
    home.store.save(manifest)
    home.store.refs.append_log(ref, LogEvent("build", manifest.hash, "2026-01-01T00:00:00+00:00"))
    home.store.refs.set_current(ref, Current(manifest.hash, "local"))
    push_package(home, ref)
    yield ref


def edit(home: Home, ref: Ref) -> Draft:
    return Draft(home, ref, CommitOptions(progress=silent))


def state(home: Home, ref: Ref) -> Manifest:
    current = home.store.refs.current(ref)
    assert current is not None
    return home.store.manifest(current.hash)


def add(home: Home, ref: Ref, name: str, folder: Path) -> Draft:
    """Add ten files in ten groups."""
    with edit(home, ref) as draft:
        for number in range(10):
            path = folder / f"{name}{number}.txt"
            path.write_text(f"{name} {number}")
            draft[f"g{number * 7:02}/{path.name}"] = path
    return draft


def whole(home: Home, hash: str) -> Manifest:
    """Return the manifest after parsing every line of it."""
    return Manifest.parse(home.store.objects.read(hash), expected=hash)


def test_ten_files_transfer_ten_objects_and_a_manifest_delta(
    person: Person, ref: Ref, traffic: Traffic, tmp_path: Path
) -> None:
    one, two = person.home("one"), person.home("two")
    before = state(one, ref)
    traffic()
    first = add(one, ref, "new", tmp_path)
    sent, received = traffic()
    assert sent < 10_000
    assert received < 10_000
    assert whole(one, first.hash) == Manifest.make(
        [*before.nodes, *(node for node in state(one, ref).nodes if "new" in node.path)], before.meta
    )
    add(two, ref, "other", tmp_path)
    sent, received = traffic()
    assert sent < 10_000
    assert before.size_bytes < received < before.size_bytes + LITTLE  # whole, since there is no older one
    last = add(one, ref, "last", tmp_path)
    sent, received = traffic()
    assert sent < 10_000
    assert received < before.size_bytes  # ten of more than twenty chunks
    assert len(whole(one, last.hash).nodes) == COUNT + 30
    with edit(two, ref) as draft:
        draft.meta["title"] = "Very many"
    assert traffic()[0] < 10_000
    (outcome,) = install_packages(one, [ref])
    assert outcome.error is None
    assert traffic()[1] < LITTLE
    assert state(one, ref).hash == draft.hash
    assert state(one, ref).meta["title"] == "Very many"
    assert isinstance(state(one, ref), MappedManifest)


def test_groups_are_moved_removed_and_created(person: Person, ref: Ref, traffic: Traffic, tmp_path: Path) -> None:
    home = person.home("one")
    nodes = {node.path: node for node in state(home, ref).nodes}
    traffic()
    with edit(home, ref) as draft:
        del draft["g07"]
        draft.move("g08", "deep/er")
        draft.set_meta("g09", {"note": "kept"})
        del draft["g10/10.txt"]
        assert "g07" not in draft
        assert "deep/er/8.txt" in draft
        assert "g08" not in draft
        assert "" not in draft
    assert traffic()[0] < LITTLE
    kept = [node for path, node in nodes.items() if not path.startswith(("g07/", "g08/")) and path != "g10/10.txt"]
    moved = [(f"deep/er/{path[4:]}", node) for path, node in nodes.items() if path.startswith("g08/")]
    after = whole(home, draft.hash)
    assert [each.path for each in after.nodes if each.kind == "group"] == ["g09"]
    files = {each.path: each for each in after.nodes if each.kind == "file"}
    assert files.keys() == {*(each.path for each in kept), *(path for path, _ in moved)}
    with edit(home, ref) as draft:
        for path in ("deep", "g09"):
            del draft[path]
    assert whole(home, draft.hash).kind("deep") == ""


def test_concurrent_pushes_to_other_paths_are_kept(person: Person, ref: Ref, tmp_path: Path) -> None:
    one, two = person.home("one"), person.home("two")
    with edit(one, ref) as draft:
        del draft["g00"]
        add(two, ref, "new", tmp_path)
    after = whole(one, draft.hash)
    assert person.home("asking").client(person.url).resolve(ref).hash == draft.hash
    assert len(after.nodes) == COUNT - 100 + 10
    assert [node.path for node in after.below("g00")] == ["g00/new0.txt"]
    with pytest.raises(Conflict, match="at the same places") as caught, edit(one, ref) as draft:
        del draft["g01/1.txt"]
        with edit(two, ref) as other:
            other.set_meta("g01/1.txt", {"x": 1})
    assert caught.value.detail["paths"] == ["g01/1.txt"]


@pytest.mark.parametrize(
    "fault",
    first(
        3,
        [
            Fault("flip", "/chunks"),
            Fault("half", "/manifests/", 3),
            Fault("500", "/delta"),
            Fault("garbage", "/chunks"),
            Fault("half", "/chunks", 1),
            Fault("500", "/chunks"),
            Fault("flip", "/manifests/", 1),
            Fault("whole", "/manifests/"),
            Fault("drop", "/delta", 1),
        ],
    ),
    ids=lambda fault: f"{fault.kind} {fault.where}",
)
def test_transfer_faults_cost_only_bytes(person: Person, ref: Ref, tmp_path: Path, fault: Fault) -> None:
    add(person.home("two"), ref, "new", tmp_path)
    with faulty_way(person.url) as way:
        way.faults.append(fault)
        home = person.home("one", way.url)
        home.store.refs.set_current(ref, Current(state(home, ref).hash, way.url))
        draft = add(home, ref, "mine", tmp_path)
    assert fault.times < 1_000_000
    assert person.home("asking").client(person.url).resolve(ref).hash == draft.hash
    assert len(whole(home, draft.hash).nodes) == COUNT + 20


def test_chunk_map_of_another_manifest_costs_only_bytes(
    person: Person, ref: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traffic: Traffic
) -> None:
    one, asked = person.home("one"), []
    add(person.home("two"), ref, "new", tmp_path)
    old = state(one, ref)
    assert isinstance(old, MappedManifest)
    own = encode_chunks(old.chunks)

    def wrong_chunks(data: bytes) -> list[Chunk]:
        asked.append(data)
        return decode_chunks(own)

    monkeypatch.setattr("datapkg.remote.manifests.decode_chunks", wrong_chunks)
    traffic()
    with edit(one, ref) as draft:
        assert "g00/new0.txt" in draft
    assert len(asked) == 1
    assert traffic()[1] > old.size_bytes
    assert whole(one, draft.hash).get("g00/new0.txt")


def test_push_of_an_existing_object_repairs_a_corrupt_one(
    person: Person, ref: Ref, registry: LiveRegistry, tmp_path: Path
) -> None:
    home = person.home("one")
    node = state(home, ref).get("g07/7.txt")
    assert isinstance(node, FileNode)
    place = PackedObjects(registry.data).locate(node.hash)
    place.path.chmod(0o600)
    with place.path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"\0" * node.size)
    theirs = home.client(person.url).objects(ref)
    with pytest.raises(CorruptObject):
        theirs.read(node.hash)
    add(home, ref, "new", tmp_path)
    assert theirs.read(node.hash) == b"7"
