"""A push that fails at any of its writes leaves the registry in the state before or after it, and can be made again."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.mirror import mirror
from datapkg.api.push import push_package
from datapkg.api.verify import verify_registry
from datapkg.errors import DatapkgError, PackageNotFound, Refused, Unreachable
from datapkg.format.hashing import hash_bytes
from datapkg.format.locations import decode_locations
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref, State
from datapkg.format.static_registry import locations_key
from datapkg.objects.blobs.folder import FolderBlobs
from tests.static_registry import Static

REF = Ref("ada", "iris")
BIG = random.Random(0).randbytes(3 << 20)


class Credentials:
    """Credentials of a folder that expire after some changes; while they last, `left` counts them down."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1_000_000
        for name in ("put", "create", "delete"):
            monkeypatch.setattr(FolderBlobs, name, self._counted(getattr(FolderBlobs, name)))

    def _counted(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def counted(blobs: FolderBlobs, key: str, *given: BinaryIO | bytes) -> Any:
            self.left -= 1
            if self.left < 0:
                raise Refused("the credentials have expired")
            return change(blobs, key, *given)

        return counted


def check(static: Static, allowed: set[str | None]) -> str | None:
    """Assert that each state that the log names is whole; return the latest, which is one of those allowed."""
    client = static.client("reader")
    try:
        latest = client.resolve(REF).hash
    except (Unreachable, PackageNotFound):
        assert None in allowed
        return None
    for entry in client.log(REF):
        manifest = read_manifest(client.manifest(REF, entry.hash), entry.hash)
        for hash, data in client.objects(REF).read_many(manifest.objects()):
            assert hash_bytes(data) == hash
    assert latest in allowed
    return latest


def test_credentials_that_expire_in_the_middle(static: Static, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, home, hashes = tmp_path / "data", static.home(), list[str | None]([None])
    folder.mkdir()
    for number in range(2):
        (folder / "big.bin").write_bytes(BIG + b"!" * number)
        for small in range(5):
            (folder / f"{small}.csv").write_text(f"n\n{number}\n")
        hashes.append(build_package(home, REF, folder).hash)
    credentials = Credentials(monkeypatch)
    for number in (1, 2):
        exact = REF.at(State("hash", str(hashes[number])))
        failed = 0
        for left in range(100):
            credentials.left = left
            try:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("warnings.warn", lambda *given, **options: None)
                    push_package(static.home(), exact)
                break
            except DatapkgError as error:
                failed += "expired" in error.message
            credentials.left = 1_000_000
            check(static, set(hashes[number - 1 : number + 1]))
        assert failed >= 4
        credentials.left = 1_000_000
        assert check(static, {hashes[number]})


def test_two_push_the_same_state_at_once(static: Static, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the slower one has begun must not hide what the faster one has ended."""
    from datapkg.remote.static import objects

    monkeypatch.setattr(objects, "SMALL_BYTES", 1)  # each pack notes what was begun
    (tmp_path / "a.csv").write_text("n\n1\n")
    (tmp_path / "b.csv").write_text("n\n2\n")
    homes = [static.home(name) for name in ("slow", "fast")]
    for home in homes:
        build_package(home, REF, tmp_path / "a.csv")
    finish = objects.StaticObjects._finish

    def overtaken(self: objects.StaticObjects) -> None:
        monkeypatch.setattr(objects.StaticObjects, "_finish", finish)
        push_package(homes[1], REF)
        finish(self)

    monkeypatch.setattr(objects.StaticObjects, "_finish", overtaken)
    slow = push_package(homes[0], REF)
    assert not slow.changed
    assert check(static, {slow.hash})
    begun = static.folder / "packages/ada/iris/begun"
    assert not begun.exists() or len(list(begun.iterdir())) <= 1


def test_an_earlier_state_that_is_pushed_again_stays_whole(static: Static) -> None:
    """The places of its objects are not left to a file that leaves them to this one."""
    first = static.push(REF, "1").hash
    second = static.push(REF, "2").hash
    push_package(static.home(), REF.at(State("hash", first)), force=True)
    assert check(static, {first})
    push_package(static.home(), REF.at(State("hash", second)), force=True)
    assert check(static, {second})


def test_a_pack_that_was_lost_is_sent_again(static: Static) -> None:
    first = static.push(REF, "1").hash
    static.push(REF, "2")
    for path in (static.folder / "packs").iterdir():
        path.unlink()
    (static.folder / f"packages/ada/iris/states/{first}.loc").unlink()
    push_package(static.home(), REF.at(State("hash", first)), force=True)
    manifest = static.client("reader").manifest(REF, first)
    objects = static.client("reader").objects(REF)
    assert all(hash_bytes(objects.read(hash)) == hash for hash in read_manifest(manifest, first).objects())


@pytest.mark.parametrize("again", ["the same state", "another state", "another package first"])
def test_a_lost_pack_is_healed_by_the_next_push(static: Static, tmp_path: Path, again: str) -> None:
    """What `verify` names is sent again, also for older states, and can be mirrored."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(3):
        (source / f"part{number}.csv").write_text(f"n\n{number}\n")
        build_package(static.home(), REF, source)
        push_package(static.home(), REF)
    latest = static.client().resolve(REF).hash
    base = decode_locations(static.files()[locations_key(REF, latest)]).bases[-1]
    (pack,) = decode_locations(static.files()[locations_key(REF, base)]).packs
    (static.folder / f"packs/{pack}.pack").unlink()
    assert {each.package for each in verify_registry(static.home(), static.url).damaged} == {"ada/iris"}
    if again == "another package first":
        static.push(Ref("ada", "other"), "1")
    if again == "another state":
        (source / "part9.csv").write_text("n\n9\n")
        build_package(static.home(), REF, source)
    push_package(static.home(), REF)
    assert verify_registry(static.home("reader"), static.url).damaged == []
    assert not mirror(static.home("reader"), static.url, str(tmp_path / "mirror")).failed
    (outcome,) = install_packages(static.home("reader"), [REF])
    assert outcome.error is None
