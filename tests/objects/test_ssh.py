"""A folder behind a real SSH server as a home of bytes under keys: the contract, and what only SSH does."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from datapkg.errors import InvalidInput, NotFound, Refused, Unreachable
from datapkg.objects.blobs.ssh import SshBlobs
from datapkg.objects.blobs.ssh_session import SshSession
from tests.blob_contract import BODY, BlobsContract
from tests.ssh_server import SshServer, ssh_server

pytestmark = pytest.mark.needs("sshd")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def home(server: SshServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(server.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return server.home


class TestSsh(BlobsContract):
    @pytest.fixture
    def blobs(self, server: SshServer, home: Path, tmp_path: Path) -> SshBlobs:  # type: ignore[override]
        return SshBlobs(server.url(tmp_path / "data"))


def test_lost_connection_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ssh_server(tmp_path) as server:
        monkeypatch.setenv("HOME", str(server.home))
        blobs = SshBlobs(server.url(tmp_path / "data"))
        blobs.put("a", io.BytesIO(BODY))
        server.restart()
        assert blobs.read("a", len(BODY)) == BODY
        server.restart()
        assert blobs.create("b", b"1")
        server.stop()
        with pytest.raises(Unreachable, match="cannot be reached by ssh"):
            blobs.size("a")


def test_rename_whose_answer_was_lost_is_done(
    server: SshServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs, run, is_lost = SshBlobs(server.url(tmp_path / "data")), SshSession.run, [True]

    def losing(session: SshSession, action: Any) -> Any:
        found = run(session, action)
        if is_lost.pop():
            raise asyncssh.ConnectionLost("lost")
        return found

    blobs.put("a", io.BytesIO(BODY))
    with monkeypatch.context() as patched:
        is_lost.insert(0, False)
        patched.setattr(SshSession, "run", losing)
        blobs.rename("a", "b")
    assert (blobs.size("a"), blobs.read("b", len(BODY))) == (None, BODY)
    with pytest.raises(NotFound):
        blobs.rename("a", "b")


def test_unknown_host_key_is_refused(
    server: SshServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "home"
    (other / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(other))
    (other / ".ssh" / "known_hosts").write_text("")
    with pytest.raises(Refused, match=r"the key of host .* is not known here") as caught:
        SshBlobs(server.url(tmp_path)).size("a")
    assert caught.value.hint.startswith("connect once by hand")
    (other / ".ssh" / "known_hosts").write_bytes((home / ".ssh" / "known_hosts").read_bytes())
    with pytest.raises(Refused, match="does not let you in"):
        SshBlobs(server.url(tmp_path)).size("a")


def test_folder_of_the_home(server: SshServer, home: Path) -> None:
    assert SshBlobs(server.url(Path("/~/nothing-here"))).size("a") is None
    assert list(SshBlobs(server.url(Path("/~/nothing-here"))).list()) == []


def test_folder_that_may_not_be_written(server: SshServer, home: Path) -> None:
    with pytest.raises((Refused, Unreachable), match="/proc"):
        SshBlobs(server.url(Path("/proc/nothing"))).put("a", io.BytesIO(b"1"))


@pytest.mark.parametrize(
    "url", ["ssh:///path", "sftp://host/a", "ssh://user:secret@host/a", "ssh://-oProxyCommand=x/a"]
)
def test_what_is_not_an_address(url: str) -> None:
    with pytest.raises(InvalidInput, match="not the address of a folder over SSH"):
        SshBlobs(url)


def test_folder_that_another_process_removed_is_made_again(server: SshServer, home: Path, tmp_path: Path) -> None:
    blobs, folder = SshBlobs(server.url(tmp_path / "data")), tmp_path / "data"

    def removed() -> SshBlobs:
        for path in folder.iterdir():
            if path.name != "kept":
                shutil.rmtree(path)
        return blobs

    blobs.put("kept", io.BytesIO(BODY))
    blobs.put("a/b", io.BytesIO(BODY))
    removed().put("a/b", io.BytesIO(BODY))
    assert removed().create("a/c", BODY)
    removed().copy("kept", "a/d")
    assert blobs.read("a/d", len(BODY)) == BODY
    removed().rename("kept", "a/e")
    assert blobs.read("a/e", len(BODY)) == BODY
    with pytest.raises(NotFound):
        blobs.copy("kept", "a/f")
