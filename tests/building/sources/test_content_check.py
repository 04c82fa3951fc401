"""Compare file contents with file names: git pointers are rejected, other mismatches cause a warning."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from datapkg.building.sources.content_check import check_content
from datapkg.building.spec.model import FileSource
from datapkg.errors import BuildFailed, TransformFailed
from tests.building.builds import Bench, kinds, write

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>\n"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.parquet", "a.png", "model.bin", "README"])
def test_git_lfs_pointer_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=f"'{name}' is a pointer of Git LFS, not the data") as caught:
        Bench().build(write(tmp_path, {name: LFS}))
    assert caught.value.hint == "git lfs pull"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_content_below_a_compression_or_a_byte_order_mark(pack: Callable[[bytes], bytes]) -> None:
    name = {gzip.compress: "a.csv.gz", bz2.compress: "a.csv.bz2"}.get(pack, "a.json.xz")
    source = FileSource(Path(name), name)
    [warning] = check_content(source, io.BytesIO(pack(PAGE)))
    assert "it is an HTML page" in warning
    assert check_content(source, io.BytesIO(pack(b"[1]"))) == check_content(source, io.BytesIO(pack(b"")[:5])) == []
    for data in (pack(LFS), b"\xef\xbb\xbf" + LFS):
        with pytest.raises(BuildFailed, match="pointer of Git LFS"):
            check_content(source, io.BytesIO(data))


def test_git_annex_pointer_is_rejected(tmp_path: Path) -> None:
    key = b"/annex/objects/SHA256E-s5--" + b"ab" * 32 + b".csv\n"
    with pytest.raises(BuildFailed, match="pointer of git-annex") as caught:
        Bench().build(write(tmp_path, {"a.csv": key}))
    assert caught.value.hint == "git annex get ."


def test_downloaded_pointer_is_rejected() -> None:
    source = FileSource(Path("a.csv"), "a.csv", record={"url": "https://example.com/a.csv"})
    with pytest.raises(BuildFailed) as caught:
        check_content(source, io.BytesIO(LFS))
    assert "address" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "body", "kind", "message"),
    [
        ("a.csv", PAGE, "table", "it is an HTML page, though its name ends in .csv"),
        ("a.csv", DENIED, "table", "it is an XML document"),
        ("a.csv", b'{"error": "no such file"}\n', "table", "begins as JSON"),
        ("a.json", PAGE, "file", "an HTML page"),
        ("a.json", b'{"a": [1, 2', "file", "may be cut short"),
        ("a.json", b"[[1], [2],", "file", "may be cut short"),
        ("a.json", b" \n", "file", "it is empty"),
        ("a.json.gz", PAGE, "file", "an HTML page"),
        ("a.png", PAGE, "file", "an HTML page"),
        ("a.zip", DENIED, "file", "an XML document"),
        ("a.csv.dvc", b"outs:\n- md5: abc\n  path: a.csv\n", "file", "dvc pull"),
    ],
)
def test_content_mismatch_causes_a_warning(name: str, body: bytes, kind: str, message: str, tmp_path: Path) -> None:
    built = Bench().build(write(tmp_path, {name: body}))
    assert list(kinds(built).values()) == [kind]
    (warning,) = [each for each in built.warnings if message in each]
    assert warning.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("a.parquet", PAGE, "it is an HTML page"),
        ("a.xls", PAGE, "it is an HTML page"),
        ("a.npy", DENIED, "it is an XML document"),
        ("a.csv", b"PK\x03\x04\xff\xfe\x00\x81", "a zip archive or a workbook"),
        ("a.jsonl", PAGE, "it is an HTML page"),
    ],
)
def test_failure_names_the_actual_content(name: str, body: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(TransformFailed, match=message):
        Bench().build(write(tmp_path, {name: body}))


def test_matching_content_causes_no_warning(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "page.html": PAGE,
        "feed.xml": DENIED,
        "notes.txt": PAGE,
        "README.md": "version https://git-lfs.github.com/spec/v1 is how a pointer begins",
        "a.json": b'\xef\xbb\xbf {"a": 1}\n\n',
        "b.json": "3",
        "c.csv": 'a,"<html>"\n1,2\n',
        "d.jsonl": '{"a": 1}\n',
    }
    built = Bench().build(write(tmp_path, files))
    assert not [each for each in built.warnings if each.partition(":")[0] in files]
