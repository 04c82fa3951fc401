"""A malicious registry: the client stops at the first excess byte with a datapkg error and stores nothing.

Each row of `FALSE_ANSWERS` is one attack; `endless` ones are sent until the client hangs up, to count the bytes that it
accepts.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from datapkg.api.install import install_packages
from datapkg.api.public import open as open_package
from datapkg.api.search import search
from datapkg.errors import DatapkgError, IntegrityError, Unreachable
from datapkg.format.frames import encode_frames
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.mapped import MappedManifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote import http_client as client_module
from datapkg.remote.download import download
from datapkg.remote.http_client import HttpClient
from datapkg.remote.manifests import fetch_by_chunks
from datapkg.remote.session import MAX_JSON_BYTES, RegistrySession
from tests.remote.malicious_registry import BIG, OTHER, PIECE, SMALL, MaliciousRegistry, answer, package, server

# urllib3 leaves the socket of a response with two lengths to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

REF = Ref("alice", "iris")
# Bytes in transit when a client hangs up are in the buffers of the two sockets.
BUFFERS = 24 << 20
OVERHEAD = 64 << 10


def bomb(byte: bytes, mib: int) -> bytes:
    """Return as many MiB of one byte, compressed by gzip: one block again and again, since all would take seconds."""
    pressed = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = pressed.compress(byte * (1 << 20)) + pressed.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mib):
        checksum = zlib.crc32(byte * (1 << 20), checksum)
    header, last = b"\x1f\x8b\x08" + bytes(6) + b"\xff", b"\x03\x00"
    return header + block * mib + last + struct.pack("<II", checksum, mib << 20)


BOMB = gzip.compress(bomb(b" ", 256))
ZEROS = bomb(b"\0", 200)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + PIECE + b"\r\n"
OPEN_END = answer(b"", length=b"")


def redirect(location: bytes, length: bytes = b"0") -> bytes:
    return answer(b"", "302 Found", b"Location: " + location, length=length)


def frames(*pairs: tuple[bytes, bytes]) -> bytes:
    return answer(b"".join(encode_frames((hash_bytes(named), data) for named, data in pairs)))


def failure(**error: object) -> bytes:
    return answer(json.dumps({"error": error}).encode(), "400 Bad Request")


# The replaced answers (`MaliciousRegistry.replaced`), and what follows without end.
FALSE_ANSWERS: dict[str, tuple[dict[str, bytes], bytes]] = {
    # Any answer
    "no HTTP": ({"all": b"SSH-2.0-OpenSSH\r\n"}, b""),
    "nothing": ({"all": b""}, b""),
    "a status that is not a number": ({"all": b"HTTP/1.1 OK OK\r\n\r\n"}, b""),
    "a status of many digits": ({"all": b"HTTP/1.1 " + b"2" * 5000 + b" OK\r\n\r\n"}, b""),
    "a status that no HTTP has": ({"all": answer(b"", "999 Yes")}, b""),
    "bytes that are not text in headers": ({"all": answer(b"", "503 No", b"X: \xff\xfe", b"Retry-After: \xb2")}, b""),
    "Retry-After in digits of another kind": ({"all": answer(b"", "503 No", "Retry-After: ²".encode())}, b""),
    "Retry-After of many digits": ({"all": answer(b"", "503 No", b"Retry-After: " + b"9" * 5000)}, b""),
    "a length in digits of another kind": ({"all": answer(b"{}", length="²".encode())}, b""),
    "a length below zero": ({"all": answer(b"{}", length=b"-1")}, b""),
    "a length of many digits": ({"all": answer(b"{}", length=b"9" * 5000)}, b""),
    "two lengths": ({"all": answer(b"{}", "200 OK", b"Content-Length: 1")}, b""),
    "headers without an end": ({"all": b"HTTP/1.1 200 OK\r\n"}, b"X-A: b\r\n" * 1000),
    "one header without an end": ({"all": b"HTTP/1.1 200 OK\r\nX-A: "}, PIECE.replace(b"\0", b"x")),
    "chunks of no length": ({"all": CHUNKED + b"x\r\n\r\n"}, b""),
    "chunks of a length below zero": ({"all": CHUNKED + b"-5\r\n" + b"x" * 99}, b""),
    "chunks of a length of many digits": ({"all": CHUNKED + b"f" * 5000 + b"\r\n"}, b""),
    # Redirects
    "a redirect to half a host": ({"all": redirect(b"http://[::1")}, b""),
    "a redirect to no text": ({"all": redirect(b"/\xff\xfe\x80")}, b""),
    "a redirect to a file": ({"all": redirect(b"file:///etc/passwd")}, b""),
    "a redirect to nowhere": ({"all": redirect(b"")}, b""),
    "a redirect to a port of many digits": ({"all": redirect(b"http://a:" + b"9" * 5000)}, b""),
    "a redirect in a circle": ({"all": redirect(b"/api/v1/me")}, b""),
    "a redirect with an endless body": ({"all": redirect(b"/api/v1/me", b"")}, PIECE),
    "a redirect with a bomb": ({"all": answer(BOMB, "302 No", b"Location: /a", b"Content-Encoding: gzip")}, b""),
    # Errors
    "an error without an end": ({"all": answer(b"", "400 No", length=b"")}, PIECE),
    "an error that is a bomb": ({"all": answer(ZEROS, "400 No", b"Content-Encoding: gzip")}, b""),
    "a deep error": ({"all": answer(b'{"error":' + b"[" * 100_000, "400 No")}, b""),
    "an error of wrong types": ({"all": failure(code=[], message=1, hint={}, detail=[])}, b""),
    "an error that asks to be asked again": ({"all": failure(code="x", message="m", detail={"again": True})}, b""),
    # JSON
    "JSON without an end": ({"resolve": OPEN_END}, b" " * 65536),
    "JSON in endless chunks": ({"resolve": CHUNKED}, CHUNK),
    "deep JSON": ({"resolve": answer(b"[" * 1_000_000)}, b""),
    "a number of many digits": ({"resolve": answer(b'{"manifest_size":' + b"9" * 100_000 + b"}")}, b""),
    "a bomb": ({"resolve": answer(ZEROS, "200 OK", b"Content-Encoding: gzip")}, b""),
    "a bomb in a bomb": ({"resolve": answer(BOMB, "200 OK", b"Content-Encoding: gzip, gzip")}, b""),
    "another compression": ({"resolve": answer(b"x", "200 OK", b"Content-Encoding: zstd")}, b""),
    "a compression that is none": ({"resolve": answer(b"{}", "200 OK", b"Content-Encoding: gzip")}, b""),
    "a compression cut short": ({"resolve": answer(gzip.compress(b"{}")[:-3], "200", b"Content-Encoding: gzip")}, b""),
    "more behind a compression": (
        {"resolve": answer(gzip.compress(b"{}") + b"x", "200", b"Content-Encoding: gzip")},
        b"",
    ),
    "another state": ({"resolve": answer(json.dumps(MaliciousRegistry().resolved(hash="a" * 63)).encode())}, b""),
    "a manifest of a size below zero": (
        {"resolve": answer(json.dumps(MaliciousRegistry().resolved(manifest_size=-1)).encode())},
        b"",
    ),
    "a manifest with a stated size that is too small": (
        {"resolve": answer(json.dumps(MaliciousRegistry().resolved(manifest_size=9)).encode())},
        b"",
    ),
    # Manifests
    "a manifest without an end": ({"manifest": OPEN_END}, PIECE),
    "a manifest of a length without an end": ({"manifest": answer(b"", length=b"3000000000")}, PIECE),
    "another manifest": ({"manifest": answer(package(small=1).data)}, b""),
    "a manifest cut short": ({"manifest": answer(MaliciousRegistry().manifest.data[:-9])}, b""),
    "a manifest that is a bomb": ({"manifest": answer(ZEROS, "200 OK", b"Content-Encoding: gzip")}, b""),
    # Batches
    "frames without an end": ({"batch": OPEN_END + frames((SMALL, SMALL)).split(b"\r\n\r\n")[1]}, PIECE),
    "one frame again and again": ({"batch": OPEN_END}, frames((SMALL, SMALL)).split(b"\r\n\r\n", 1)[1]),
    "frames that nobody asked for": ({"batch": OPEN_END}, frames((b"else", b"else")).split(b"\r\n\r\n", 1)[1]),
    "a frame twice": ({"batch": frames((SMALL, SMALL), (SMALL, SMALL), (OTHER, OTHER))}, b""),
    "a frame of other bytes": ({"batch": frames((SMALL, OTHER), (OTHER, OTHER))}, b""),
    "a frame of a size without measure": ({"batch": OPEN_END + bytes(32) + b"\xff" * 8}, PIECE),
    "a frame too few": ({"batch": frames((SMALL, SMALL)), "object": answer(b"", "404 No")}, b""),
    "a batch cut short": ({"batch": answer(frames((SMALL, SMALL)).split(b"\r\n\r\n", 1)[1][:-9])}, b""),
    "a batch that is compressed": ({"batch": answer(ZEROS, "200 OK", b"Content-Encoding: gzip")}, b""),
    # Objects
    "an object without an end": ({"object": OPEN_END + BIG}, PIECE),
    "an object in endless chunks": ({"object": CHUNKED}, CHUNK),
    "an object of a length without an end": ({"object": answer(BIG, length=b"9000000000000")}, PIECE),
    "an object cut short": ({"object": answer(BIG[:-1])}, b""),
    "other bytes": ({"object": answer(BIG[::-1])}, b""),
    "an object that is a bomb": ({"object": answer(ZEROS, "200 OK", b"Content-Encoding: gzip")}, b""),
    "a part where the whole was asked for": ({"object": answer(b"x", "206 No", b"Content-Range: bytes 5-5/9")}, b""),
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.session.pause_s", lambda number, retry_after: 0.0)


@pytest.fixture
def measured() -> Iterator[None]:
    """Fail the test if Python's peak memory exceeds what any false answer may cause."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20, f"{peak:,} bytes"


def home_at(tmp_path: Path, url: str) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home"), "DATAPKG_REGISTRY": url, "DATAPKG_TIMEOUT_S": "5"})


def kept_bytes(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts)


@pytest.mark.parametrize("name", FALSE_ANSWERS)
def test_false_answer_ends_the_transfer(tmp_path: Path, measured: None, name: str) -> None:
    replaced, endless = FALSE_ANSWERS[name]
    malicious = MaliciousRegistry(replaced=replaced, endless=endless)
    with malicious.serving() as url:
        (outcome,) = install_packages(home_at(tmp_path, url), [REF])
    assert isinstance(outcome.error, DatapkgError)
    assert outcome.error.exit_code in ((1, 8) if "error" in name else (3, 6, 8)), outcome
    assert malicious.sent < BUFFERS + (MAX_JSON_BYTES if "JSON" in name else 0)
    assert kept_bytes(tmp_path) <= len(SMALL + OTHER + BIG + malicious.manifest.data) + OVERHEAD


def test_package_installs_with_correct_answers(tmp_path: Path) -> None:
    with MaliciousRegistry().serving() as url:
        (outcome,) = install_packages(home_at(tmp_path, url), [REF])
    assert outcome.installed is not None


@pytest.mark.parametrize(
    ("sizes", "how"),
    [
        ({"small": 0}, "longer"),
        ({"small": 10_000}, "shorter"),
        ({"big": 1 << 20}, "longer"),
        ({"big": len(BIG) + 1}, "shorter"),
        ({"big": len(BIG) - 1}, "longer"),
    ],
)
def test_manifest_with_wrong_sizes(tmp_path: Path, sizes: dict[str, int], how: str) -> None:
    malicious = MaliciousRegistry(package(**sizes))
    with malicious.serving() as url:
        (outcome,) = install_packages(home_at(tmp_path, url), [REF])
    assert isinstance(outcome.error, IntegrityError)
    assert f"is {how} than the" in outcome.error.message
    (wrong,) = sizes
    hash = hash_bytes({"small": SMALL, "big": BIG}[wrong])
    assert home_at(tmp_path, url).store.objects.missing([hash]) == {hash}


@pytest.mark.parametrize("stated", [0, 1 << 10])
def test_big_object_is_not_accepted_as_a_small_one(tmp_path: Path, stated: int) -> None:
    replaced = {"batch": frames((SMALL, SMALL), (OTHER, OTHER), (BIG, BIG))}
    with MaliciousRegistry(package(big=stated), replaced).serving() as url:
        (outcome,) = install_packages(home_at(tmp_path, url), [REF])
    assert isinstance(outcome.error, Unreachable)
    assert kept_bytes(tmp_path) < len(BIG)


def part(start: int, stop: int, data: bytes, length: bytes | None = None) -> bytes:
    content_range = f"Content-Range: bytes {start}-{stop - 1}/{len(BIG)}".encode()
    return answer(data, "206 Partial Content", content_range, length=length)


FALSE_RANGES: dict[str, tuple[dict[str, bytes], bytes]] = {
    "a chunk map without an end": ({"chunks": OPEN_END}, b"\1" * 65536),
    "a chunk map of too many": ({"chunks": answer((bytes(32) + b"\1\0\0\0") * len(BIG))}, b""),
    "a chunk map of another length": ({"chunks": answer(bytes(32) + b"\1\0\0\0")}, b""),
    "a chunk map of empty chunks": ({"chunks": answer(bytes(36))}, b""),
    "a chunk map of wrong hashes": (
        {"chunks": answer(bytes(32) + len(BIG).to_bytes(4, "little")), "object": part(0, len(BIG), BIG)},
        b"",
    ),
    "the whole for a part": ({"object": answer(BIG)}, b""),
    "another part": ({"object": part(7, 70_000, BIG[7:70_000])}, b""),
    "a part without an end": ({"object": part(0, len(BIG), b"", length=b"")}, PIECE),
    "a part of other bytes": ({"object": part(0, len(BIG), BIG[::-1])}, b""),
}


@pytest.mark.parametrize("name", FALSE_RANGES)
def test_false_answer_for_a_range(tmp_path: Path, measured: None, name: str) -> None:
    replaced, endless = FALSE_RANGES[name]
    malicious = MaliciousRegistry(replaced=replaced, endless=endless)
    with malicious.serving() as url:
        home = home_at(tmp_path, url)
        through = home.store.through(lambda: home.client().objects(REF), url)
        home.store.prepare()
        with (
            pytest.raises((Unreachable, IntegrityError)),
            through.stream(hash_bytes(BIG), len(BIG)) as stream,
        ):
            stream.read()
    assert malicious.sent < BUFFERS
    is_here = not home.store.objects.missing([hash_bytes(BIG)])
    assert is_here == (name == "a chunk map of wrong hashes")  # the bytes themselves were correct


def test_manifest_of_short_chunks_that_are_long_here_is_not_assembled() -> None:
    """Each entry of the map would stand for a megabyte that is here, and the sum of the sizes is small."""
    line = b"x" * ((1 << 20) - 1) + b"\n"
    older = MappedManifest(line, hash_bytes(line))
    (chunk,) = older.chunks
    stated, file = (chunk.digest + (1).to_bytes(4, "little")) * 200, io.BytesIO()
    with MaliciousRegistry(replaced={"chunks": answer(stated)}).serving() as url, pytest.raises(Unreachable):
        fetch_by_chunks(RegistrySession(url, tries=1), "/manifests/0", "/chunks", "0" * 64, older, 1 << 20, file)
    assert not file.getvalue()


@pytest.mark.parametrize("length", [b"", "²".encode(), b"-1", b"1_0"])
def test_invalid_object_size_is_rejected(tmp_path: Path, length: bytes) -> None:
    with (
        MaliciousRegistry(replaced={"object": answer(b"", length=length)}).serving() as url,
        pytest.raises(Unreachable),
    ):
        HttpClient(RegistrySession(url, tries=1)).objects(REF).size(hash_bytes(BIG))


def test_error_messages_contain_only_printable_characters(tmp_path: Path) -> None:
    evil = "\x1b]0;a\x07\x1b[2J\u202egnp.\u200b\ud800"
    body = json.dumps(
        {"error": {"code": "invalid", "message": evil, "hint": "do " + evil, "detail": {"problems": [[evil, evil]]}}}
    )
    whole = answer(body.encode(), "400 Bad Request")
    with MaliciousRegistry(replaced={"all": whole}).serving() as url, pytest.raises(DatapkgError) as caught:
        HttpClient(RegistrySession(url)).me()
    texts = [str(caught.value), caught.value.hint, *caught.value.__notes__, str(caught.value.detail)]
    assert not [text for text in texts if set(text) & set("\x1b\x07\u202e\u200b\ud800")]


def test_endless_list_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_LIST_BYTES", 100_000)
    pages = iter(range(1_000_000))

    def serve(connection: object) -> None:
        page = {"packages": [{"package": "a/b", "public": True, "title": "x" * 5_000}], "next": str(next(pages))}
        connection.sendall(answer(json.dumps(page).encode()))  # type: ignore[attr-defined]

    with server(serve) as url, pytest.raises(Unreachable, match="more than 100,000 bytes"):
        search(home_at(tmp_path, url), "x")
    assert next(pages) < 40


DOWNLOADS: dict[str, tuple[bytes, bytes]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n", b""),
    "Retry-After in digits of another kind": (answer(b"", "503 No", "Retry-After: ²".encode()), b""),
    "a redirect to half a host": (redirect(b"http://[::1"), b""),
    "a redirect to no text": (redirect(b"/\xff\xfe"), b""),
    "a redirect with an endless body": (redirect(b"/a", b""), PIECE),
    "a length in digits of another kind": (answer(b"", length="²".encode()), PIECE),
    "a file without an end": (OPEN_END, PIECE),
    "endless chunks": (CHUNKED, CHUNK),
    "another part": (answer(b"x", "206 No", b"Content-Range: bytes 5-5/" + b"9" * 5000), b""),
    "an error without an end": (answer(b"", "404 No", length=b""), PIECE),
}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_false_answer_for_a_download(tmp_path: Path, name: str) -> None:
    whole, endless = DOWNLOADS[name]
    malicious = MaliciousRegistry(replaced={"all": whole}, endless=endless)
    with malicious.serving() as url, pytest.raises(DatapkgError) as caught:
        download(f"{url}/a", tmp_path / "a", limit_bytes=1 << 20, timeout_s=5, tries=1)
    assert "bug" not in caught.value.message
    assert malicious.sent < BUFFERS
    assert kept_bytes(tmp_path) <= 1 << 20


def test_false_answers_for_a_lazy_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with MaliciousRegistry(replaced={"object": answer(BIG[::-1]), "batch": frames((SMALL, OTHER))}).serving() as url:
        monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("DATAPKG_REGISTRY", url)
        package = open_package("alice/iris")
        with pytest.raises((Unreachable, IntegrityError)):
            package["small"].read_bytes()
        with pytest.raises((Unreachable, IntegrityError)):
            package["big"].read_bytes()
