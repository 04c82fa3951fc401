"""The registry fulfils the same contract as every other home of objects, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from datapkg.errors import InvalidInput
from datapkg.format import push_wire
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import FileNode, Manifest
from datapkg.objects.base import Readable, Writable
from datapkg.remote.client import Client
from tests.conftest import Person
from tests.contracts import BODIES, PutContract, ReadableContract


@pytest.fixture
def client(person: Person) -> Client:
    return person.home().client()


class TestPush(PutContract):
    @pytest.fixture
    def target(self, person: Person, client: Client) -> Iterator[Writable]:
        ref = person.ref("things")
        started = client.start_push(ref, "0" * 64, [])
        yield client.objects(ref, started.push)

    def test_put_needs_a_push(self, person: Person, client: Client) -> None:
        with pytest.raises(InvalidInput, match="within a push"):
            client.objects(person.ref("things")).put_bytes(b"x", hash_bytes(b"x"))


class TestInstall(ReadableContract):
    @pytest.fixture
    def filled(self, person: Person, client: Client) -> Iterator[Readable]:
        ref = person.ref("things")
        nodes = [FileNode(path=f"f{i}", hash=hash_bytes(body), size=len(body)) for i, body in enumerate(BODIES)]
        manifest = Manifest.make(nodes)
        push = client.start_push(ref, manifest.hash, []).push
        client.objects(ref, push).put_many([manifest.data, *BODIES[:3]])
        for body in BODIES[3:]:
            client.objects(ref, push).put_bytes(body, hash_bytes(body))
        client.publish(ref, push, push_wire.Publish(manifest=manifest.hash))
        yield client.objects(ref)
