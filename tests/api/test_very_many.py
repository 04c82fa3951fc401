"""Packages of so many objects that plans are kept in compact form: pushed, installed, resumed and refused as others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datapkg.api import build
from datapkg.api.build import build_package
from datapkg.api.install import InstallOptions, install_one
from datapkg.api.push import push_package
from datapkg.api.verify import verify
from datapkg.building import pipeline, scheduler
from datapkg.errors import InvalidInput, InvalidManifest, ObjectNotFound
from datapkg.format import object_sets, object_sizes
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest import validate
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.manifest.parsed import FileNode, GroupNode, Manifest
from datapkg.format.manifest.patch import make_long, read_manifest
from datapkg.format.names import Ref
from datapkg.format.object_sizes import ObjectSizes
from datapkg.home import Home
from datapkg.store.refs import Current, LogEvent
from tests.conftest import Person

COUNT = 8_000
BODIES = [b"%d" % (number % 3_000) for number in range(COUNT)]


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (object_sets, object_sizes, validate):
        monkeypatch.setattr(module, "MANY", 1_000)
    monkeypatch.setattr(object_sizes, "AT_ONCE", 700)


def nodes() -> list[FileNode]:
    return [
        FileNode(path=f"g{at % 100:02}/{at}.txt", hash=hash_bytes(body), size=len(body), file_name=f"{at}.txt")
        for at, body in enumerate(BODIES)
    ]


def kept(home: Home, ref: Ref, manifest: Manifest) -> Manifest:
    home.store.save(manifest)
    home.store.refs.append_log(ref, LogEvent("build", manifest.hash, "2026-01-01T00:00:00+00:00"))
    home.store.refs.set_current(ref, Current(manifest.hash, "local"))
    return manifest


def test_it_is_pushed_and_installed(person: Person) -> None:
    one, two, ref = person.home("one"), person.home("two"), person.ref("many")
    one.store.prepare()
    one.store.objects.put_many(BODIES)
    manifest = kept(one, ref, Manifest.make(nodes(), {"title": "Many"}))
    assert isinstance(person.home("one").store.manifest(manifest.hash).objects(), ObjectSizes)
    planned = push_package(one, ref, dry_run=True).transfer
    pushed = push_package(one, ref)
    assert planned is not None
    assert planned.objects == pushed.objects_sent == 3_001
    assert push_package(one, ref).objects_sent == 0
    installed = install_one(two, ref, InstallOptions())
    assert (installed.objects_received, installed.bytes_logical) == (3_000, manifest.size())
    assert verify(two, ref).damaged == []
    changed = [*nodes()[:-1], replace_body(nodes()[-1], b"new")]
    one.store.objects.put_many([b"new"])
    kept(one, ref, Manifest.make(changed, {"title": "Many"}))
    assert push_package(one, ref).objects_sent == 2
    assert install_one(two, ref, InstallOptions()).objects_received == 1


def replace_body(node: FileNode, body: bytes) -> FileNode:
    return FileNode(path=node.path, hash=hash_bytes(body), size=len(body), file_name=node.file_name)


def test_it_is_built_as_with_few_nodes(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1_100):
        path = tmp_path / "source" / f"group {number % 3}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % (number % 50))
    (tmp_path / "source" / "group 1" / "t.csv").write_text("a,b\n1,2\n")
    home, ref = person.home("one"), person.ref("many")
    few = build_package(home, Ref("me", "few"), tmp_path / "source")
    assert len(few.why) == 1_101
    for module in (pipeline, build, scheduler):
        monkeypatch.setattr(module, "MANY", 1_000)
    many = build_package(home, ref, tmp_path / "source")
    assert (many.hash, many.bytes_logical, many.why) == (few.hash, few.bytes_logical, {})
    assert home.store.record(ref, many.hash) == home.store.record(Ref("me", "few"), few.hash)
    (tmp_path / "source" / "group 0" / "3.bin").touch()
    assert build_package(home, ref, tmp_path / "source").hash == many.hash
    assert len(list(home.store.refs.log(ref))) == 1
    (tmp_path / "source" / "group 0" / "0.bin").write_bytes(b"other")
    again = build_package(home, ref, tmp_path / "source", explained=True)
    assert (again.built, again.reused) == (1, 1_100)
    assert again.why["group 0/0.bin"] == "read: the file changed"
    assert again.why["group 0/3.bin"].startswith("unchanged")


def test_nodes_in_any_order_make_the_same_manifest() -> None:
    made = nodes()
    groups = [GroupNode(path="g01"), GroupNode(path="g02", meta={"a": 1.0}), GroupNode(path="z")]
    expected = Manifest.make([*made, *groups], {"title": "Many"})
    assert make_long([*groups, *made], {"title": "Many"}).data == expected.data
    assert make_long(reversed([*made, *groups]), {"title": "Many"}).hash == expected.hash
    with pytest.raises(InvalidManifest, match="duplicate path"):
        make_long([*made, made[0]], {})
    with pytest.raises(InvalidInput, match="meta"):
        make_long([GroupNode(path="z", meta={"a": {1, 2}})], {})


def test_objects_that_are_nowhere_are_named(person: Person) -> None:
    home, ref = person.home("one"), person.ref("many")
    home.store.prepare()
    home.store.objects.put_many(BODIES[1:])
    manifest = kept(home, ref, Manifest.make(nodes(), {}))
    lost = hash_bytes(BODIES[0])
    home.store.objects.delete(lost)
    home.store.refs.set_current(ref, replace(Current(manifest.hash, "local"), partial=True))
    with pytest.raises(ObjectNotFound, match=f"1 objects of .* the first is {lost}"):
        push_package(home, ref.at(None) if ref.state else Ref.parse(f"{ref.package}@sha256:{manifest.hash}"))


def test_an_object_with_two_sizes_is_refused() -> None:
    wrong = nodes()
    wrong[-1] = FileNode(path=wrong[-1].path, hash=wrong[0].hash, size=9, file_name="x")
    with pytest.raises(Exception, match="two different sizes"):
        Manifest.make(wrong, {})
    lines = Manifest.make(nodes()[:-1], {}).data + Manifest.make([wrong[-1]], {}).data.split(b"\n", 1)[1]
    head, *rest = lines.splitlines(keepends=True)
    data = head + b"".join(sorted(rest, key=lambda line: line.split(b'"path":"')[1].split(b'"')[0].split(b"/")))
    assert not validate.is_right(MappedManifest(data, hash_bytes(data)))
    with pytest.raises(Exception, match=r"line \d+: object .* has two different sizes"):
        read_manifest(data, hash_bytes(data))
