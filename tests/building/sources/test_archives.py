"""Members are extracted from valid archives; malformed ones end soon, in little memory, with a clear error."""

from __future__ import annotations

import contextlib
import io
import struct
import tarfile
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.building.sources import archives
from datapkg.building.sources.archives import Member, members
from datapkg.building.sources.download_cache import DownloadCache, FetchedFile
from datapkg.building.sources.extract import extract_members
from datapkg.errors import BuildFailed
from datapkg.format.hashing import hash_bytes
from datapkg.store.index import Index
from tests.building.sources.archives import MAKERS, Entries, packed, tar_of, zip_of
from tests.examples import examples

FILES: Entries = {"a.csv": b"x\n1\n", "data/": None, "data/b.csv": b"x\n2\n", "data/deep/c.txt": b"c" * 100_000}


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(tmp_path / "shelf", Index(tmp_path / "index.db"))


def take(cache: DownloadCache, data: bytes, *patterns: str, limit_bytes: int = 1 << 30) -> dict[str, dict[str, bytes]]:
    """Return the members that each pattern matches, with their bytes."""
    path = cache.folder.parent / "archive"
    path.write_bytes(data)
    found = extract_members(FetchedFile(path, hash_bytes(data), "archive"), patterns, cache, limit_bytes)
    return {
        pattern: {"/".join(each.parts): each.path.read_bytes() for each in taken} for pattern, taken in found.items()
    }


def listed(data: bytes, path: Path) -> list[Member]:
    path.write_bytes(data)
    with path.open("rb", buffering=0) as stream:
        return [member for member, _ in members(stream, "archive")]


def refused(cache: DownloadCache, data: bytes, pattern: str = "**", **options: int) -> str:
    with pytest.raises(BuildFailed) as caught:
        take(cache, data, pattern, **options)
    kept = [path for path in cache.folder.rglob("*") if path.is_file()] if cache.folder.exists() else []
    assert not [path for path in kept if path.parent.name == "tmp"]
    return str(caught.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_members_are_extracted_unchanged(cache: DownloadCache, kind: str) -> None:
    data = MAKERS[kind](FILES)
    every = {name: body for name, body in FILES.items() if body is not None}
    found = take(cache, data, "**", "a.csv", "data/*", "data/deep/c.txt")
    assert found == {
        "**": every,
        "a.csv": {"a.csv": b"x\n1\n"},
        "data/*": {"data/b.csv": b"x\n2\n"},
        "data/deep/c.txt": {"data/deep/c.txt": b"c" * 100_000},
    }


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_extracted_members_are_cached(cache: DownloadCache, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = MAKERS[kind](FILES)
    first = take(cache, data, "**", "a.csv")
    with monkeypatch.context() as patch:
        patch.setattr("datapkg.building.sources.extract.members", None)
        assert take(cache, data, "**", "a.csv") == first
    (kept,) = cache.folder.rglob("b.csv")
    kept.chmod(0o644)
    kept.write_bytes(b"damaged")
    assert take(cache, data, "**", "a.csv") == first


def test_names_with_a_leading_dot_slash(cache: DownloadCache) -> None:
    data = tar_of({"./": None, "./a.csv": b"1", "./d/b.csv": b"2"}, "gz")
    assert take(cache, data, "a.csv", "./d/b.csv", "**/*.csv") == {
        "a.csv": {"a.csv": b"1"},
        "./d/b.csv": {"d/b.csv": b"2"},
        "**/*.csv": {"a.csv": b"1", "d/b.csv": b"2"},
    }


def test_glob_skips_hidden_files_and_folders(cache: DownloadCache) -> None:
    data = zip_of({"a.csv": b"1", ".hidden": b"", "__MACOSX/._a.csv": b"", "d/": None, ".git/x": b""})
    assert take(cache, data, "**") == {"**": {"a.csv": b"1"}}
    assert take(cache, data, ".hidden") == {".hidden": {".hidden": b""}}


def test_names_are_compared_after_normalisation(cache: DownloadCache) -> None:
    assert take(cache, zip_of({"cafe\u0301.txt": b"1"}), "caf\u00e9.txt") == {"caf\u00e9.txt": {"caf\u00e9.txt": b"1"}}


def test_missing_member(cache: DownloadCache) -> None:
    assert "no member 'a.cvs'; did you mean 'a.csv'?" in refused(cache, zip_of(FILES), "a.cvs")
    assert "no member '*.jpg'" in refused(cache, zip_of(FILES), "*.jpg")


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("../evil.csv", b"", "upwards"),
        ("a/../../evil.csv", b"", "upwards"),
        ("a/..", b"", "upwards"),
        ("/etc/passwd", b"", "absolute"),
        ("C:/evil.csv", b"", "absolute"),
        ("..\\evil.csv", b"", "backslashes"),
        ("a//b.csv", b"", "may not be empty"),
        ("a/./b.csv", b"", "may not be empty, '.' or '..'"),
        ("a\nb.csv", b"", "control characters"),
        ("x" * 300, b"", "longer than 255 bytes"),
        ("/".join("x" * 70), b"", "deeper than 64"),
        ("link.csv", "/etc/passwd", "link"),
        ("link.csv", "a.csv", "link"),
    ],
)
def test_unsupported_members_are_rejected(
    cache: DownloadCache, make: object, name: str, body: bytes | str, why: str
) -> None:
    data = make({"a.csv": b"1", name: body})  # type: ignore[operator]
    assert why in refused(cache, data)
    assert why in refused(cache, data, name) or "\\" in name
    assert take(cache, data, "a.csv") == {"a.csv": {"a.csv": b"1"}}
    assert not (cache.folder.parent / "evil.csv").exists()


def test_folders_devices_and_hard_links(cache: DownloadCache) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"k{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert "a regular file" in refused(cache, data.getvalue(), "k3")
    assert "a regular file" in refused(cache, data.getvalue(), "k4")
    assert "a regular file" in refused(cache, data.getvalue(), "k6")
    assert "link" in refused(cache, data.getvalue(), "k1")
    assert "it is a folder" in refused(cache, data.getvalue(), "k5")


def test_duplicate_names(cache: DownloadCache) -> None:
    assert "twice" in refused(cache, tar_of([("a.csv", b"1"), ("b.csv", b""), ("a.csv", b"2")]))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("a.csv", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.csv", b"2")
    assert "twice" in refused(cache, data.getvalue(), "a.csv")


def test_encrypted_members(cache: DownloadCache) -> None:
    data = bytearray(zip_of({"a.csv": b"1", "b.csv": b"2"}))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    assert "encrypted" in refused(cache, bytes(data), "a.csv")
    assert take(cache, bytes(data), "b.csv") == {"b.csv": {"b.csv": b"2"}}


def test_wrong_checksum(cache: DownloadCache) -> None:
    data = zip_of({"a.csv": b"hello hello"}, zipfile.ZIP_STORED).replace(b"hello hello", b"hello world")
    assert "Bad CRC-32" in refused(cache, data)


@pytest.mark.parametrize("kind", MAKERS)
def test_truncated_archives(cache: DownloadCache, kind: str) -> None:
    body = bytes(range(256)) * 2_000
    data = MAKERS[kind]({"a.bin": body, "b.bin": body})
    for share in (0.1, 0.5, 0.9):
        assert "archive" in refused(cache, data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data", [b"", b"no archive at all", b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06" + b"\xff" * 18, b"BZh9"]
)
def test_file_that_is_not_an_archive(cache: DownloadCache, data: bytes) -> None:
    assert "archive" in refused(cache, data)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", "zst"])
def test_bombs_end_at_the_size_limit(cache: DownloadCache, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    data = tar_of({"a.csv": b"1", "bomb": bytes(64 << 20)}, kind)
    assert "unfolds to more than 200 times" in refused(cache, data, "bomb")
    assert "unfolds to more than 200 times" in refused(cache, data, "nothing")


def test_zip_bomb(cache: DownloadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    data = zip_of({f"{number}": bytes(8 << 20) for number in range(8)})
    assert "unfolds to more than 200 times" in refused(cache, data)
    assert take(cache, zip_of({"a": bytes(900_000)}), "a")["a"]["a"] == bytes(900_000)


def test_size_of_a_member_is_limited(cache: DownloadCache) -> None:
    assert "max_source_bytes" in refused(cache, zip_of({"a": bytes(2_000)}), limit_bytes=1_000)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_number_of_members_is_limited(cache: DownloadCache, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    assert "50 members" in refused(cache, MAKERS[kind]({f"{number}": b"" for number in range(51)}))
    assert len(take(cache, MAKERS[kind]({f"{number}": b"" for number in range(50)}), "*")["*"]) == 50


def test_size_of_a_zip_directory_is_limited(cache: DownloadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 1_000)
    assert "MiB of list" in refused(cache, zip_of({f"{number}": b"" for number in range(51)}))


def test_header_of_unlimited_length_is_not_read(cache: DownloadCache) -> None:
    """A GNU long name of 4 GiB: tarfile would read it into memory at once."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4 << 30
    data = packed(info.tobuf(tarfile.GNU_FORMAT) + bytes(8 << 20), "gz")
    tracemalloc.start()
    assert "header of" in refused(cache, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20


def test_chain_of_headers_is_limited(cache: DownloadCache) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 0
    assert "archive" in refused(cache, packed(info.tobuf() * 5_000, "gz"))


def test_sizes_that_are_negative_or_huge(cache: DownloadCache) -> None:
    block = bytearray(tarfile.TarInfo("a").tobuf())
    for size in (b"\xff" * 12, b"\x80" + b"\xff" * 11):
        block[124:136] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        assert "archive" in refused(cache, bytes(block) + bytes(2_048), "a")


def test_sparse_file_is_not_expanded(cache: DownloadCache) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "a",
        "GNU.sparse.realsize": str(1 << 50),
    }
    info.size = 512
    data = info.tobuf(tarfile.PAX_FORMAT) + b"1\n0\n1\n".ljust(512, b"\0") + bytes(1_024)
    assert "sparse" in refused(cache, data, "a")


def test_listing_a_plain_tar_skips_member_data(tmp_path: Path) -> None:
    path = tmp_path / "big.tar"
    with path.open("wb") as stream:
        info = tarfile.TarInfo("big")
        info.size = 10 << 30
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.seek(10 << 30, 1)
        stream.write(tarfile.TarInfo("small").tobuf() + bytes(1_024))
    start = time.monotonic()
    with path.open("rb", buffering=0) as stream:
        assert [member.name for member, _ in members(stream, "big.tar")] == ["big", "small"]
    assert time.monotonic() - start < 2


def test_zip_directory_with_a_false_offset_is_rejected(cache: DownloadCache) -> None:
    data = bytearray(zip_of({"a": b"1"}))
    at = data.rindex(b"PK\x05\x06")
    for values in ((0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (100, 5)):
        struct.pack_into("<II", data, at + 12, *values)
        assert "archive" in refused(cache, bytes(data))


NAMES = st.text(st.sampled_from("ab./\\:~\0é\n*"), min_size=1, max_size=12)


@settings(max_examples=examples(10, 25), deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=30), max_size=5), st.sampled_from(["zip", "tar", "tar.gz"]))
def test_no_name_escapes_the_cache_folder(tmp_path_factory: pytest.TempPathFactory, files: Entries, kind: str) -> None:
    tmp_path = tmp_path_factory.mktemp("names")
    cache = DownloadCache(tmp_path / "in" / "shelf", Index(tmp_path / "in" / "index.db"))
    cache.folder.mkdir(parents=True)
    names = [name for name in files if "\0" not in name]
    data = MAKERS[kind]({name: files[name] for name in names})
    for pattern in ["**", *names]:
        with contextlib.suppress(BuildFailed):
            for name in take(cache, data, pattern)[pattern]:
                assert not {"", ".", ".."} & set(name.split("/")), name
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(cache.folder)]
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in outside} <= {"archive", "index.db"}


def test_zip_whose_members_begin_before_the_file_is_rejected(tmp_path: Path) -> None:
    """Python's zipfile seeks there, and the system refuses it with EINVAL."""
    cache = DownloadCache(tmp_path / "shelf", Index(tmp_path / "index.db"))
    body = MAKERS["zip"]({"a.csv": b"x\n" * 50, "d/b": b"y" * 600, "l": "a.csv"})
    refused = 0
    for at in range(body.index(b"PK\x01\x02"), len(body)):
        try:
            take(cache, body[:at] + b"\x01" + body[at + 1 :], "**/*[!l]")
        except BuildFailed as error:
            refused += "Invalid argument" in error.message
    assert refused


@settings(max_examples=examples(20, 60), deadline=None)
@given(st.data(), st.sampled_from(["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"]))
def test_corrupt_archives_raise_datapkg_errors(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    tmp_path = tmp_path_factory.mktemp("damaged")
    cache = DownloadCache(tmp_path / "shelf", Index(tmp_path / "index.db"))
    body = bytearray(MAKERS[kind]({"a.csv": b"x\n" * 50, "d/b": b"y" * 600, "l": "a.csv"}))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BuildFailed):
        take(cache, bytes(body), "**/*[!l]")
