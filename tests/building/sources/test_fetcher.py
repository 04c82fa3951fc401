"""URLs and archives of a build file are downloaded and extracted once, and verified against their checksums."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.build_result import BuildResult
from datapkg.building.sources.download_cache import DownloadCache
from datapkg.building.sources.fetcher import Fetcher
from datapkg.building.sources.prepare import PreparedBuild, prepared
from datapkg.building.spec.model import FileSource
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import (
    BuildFailed,
    Conflict,
    DatapkgError,
    HashMismatch,
    InvalidBuildFile,
    InvalidInput,
    Unreachable,
)
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.index import Index
from tests import http_server
from tests.building.builds import write
from tests.building.sources.archives import tar_of, zip_of
from tests.web_server import Web, web_server

RECORDS = b'[{"a": 1}]'
CSV = b"x\n1\n"


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datapkg.remote.download.pause_s", lambda number, retry_after: 0.0)


def fetcher(folder: Path) -> Fetcher:
    return Fetcher(DownloadCache(folder / "shelf", Index(folder / "index.db")), 1 << 30, 5.0)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fetch(folder: Path, text: str, **options: Any) -> PreparedBuild:
    write(folder, {"package/build.yml": text})
    with prepared(folder / "package", fetcher(folder), BuildOptions(**options), environ={}, hint="the line") as found:
        return found


def files(found: PreparedBuild) -> dict[str, tuple[str, str, bytes]]:
    """Return transform, file name and bytes of each path."""
    assert all(isinstance(node.source, FileSource) for node in found.spec.nodes)
    return {
        node.path: (node.transform, node.source.name, node.source.path.read_bytes())
        for node in found.spec.nodes
        if isinstance(node.source, FileSource)
    }


def test_url_is_downloaded_once(web: Web, tmp_path: Path) -> None:
    url = web.put("/data/prices.csv", b"x\n1\n")
    text = f"contents:\n  a: {{url: '{url}?key=hidden', sha256: {sha256(CSV).upper()}}}\n"
    found = fetch(tmp_path, text)
    assert files(found) == {"a": ("csv", "prices.csv", b"x\n1\n")}
    (node,) = found.spec.nodes
    assert isinstance(node.source, FileSource)
    assert (node.source.shown, node.source.record) == (url, {"url": url})
    assert fetch(tmp_path, text).spec.nodes[0].source == node.source
    assert len(web.seen) == 1
    web.pages.clear()
    assert files(fetch(tmp_path, text.replace("  a:", "  b:"))) == {"b": ("csv", "prices.csv", b"x\n1\n")}


def test_force_downloads_again_and_verifies_the_checksum(web: Web, tmp_path: Path) -> None:
    url = web.put("/a.csv", b"x\n1\n")
    text = f"contents:\n  a: {{url: {url}, sha256: {sha256(CSV)}}}\n"
    fetch(tmp_path, text)
    assert files(fetch(tmp_path, text, force=True))["a"][2] == b"x\n1\n"
    assert len(web.seen) == 2
    web.put("/a.csv", b"x\n2\n")
    with pytest.raises(HashMismatch):
        fetch(tmp_path, text, force=True)
    assert files(fetch(tmp_path, text))["a"][2] == b"x\n1\n"


def test_corrupt_cached_file_is_downloaded_again(web: Web, tmp_path: Path) -> None:
    url = web.put("/a.csv", b"x\n1\n")
    text = f"contents:\n  a: {{url: {url}, sha256: {sha256(CSV)}}}\n"
    (kept,) = [node.source.path for node in fetch(tmp_path, text).spec.nodes if isinstance(node.source, FileSource)]
    kept.chmod(0o600)
    kept.write_bytes(b"wrong")
    assert files(fetch(tmp_path, text))["a"][2] == b"x\n1\n"
    kept.unlink()
    kept.symlink_to("/etc/passwd")
    assert files(fetch(tmp_path, text))["a"][2] == b"x\n1\n"


@pytest.mark.parametrize("name", ["..%2F..", "", "download?id=1", "a%2Fb.csv", "%00", "x" * 300])
def test_file_names_from_urls_are_safe(web: Web, tmp_path: Path, name: str) -> None:
    web.put("/" + name.partition("?")[0], b"1")
    text = f"contents:\n  node: {{url: '{web.url}/{name}', sha256: {sha256(b'1')}}}\n"
    ((_, file_name, body),) = files(fetch(tmp_path, text)).values()
    assert body == b"1"
    assert file_name == ("download" if name.startswith("download") else "node")
    assert not (tmp_path / "a").exists()


def test_all_changed_urls_are_reported_together(web: Web, tmp_path: Path) -> None:
    web.put("/a.csv", b"new a")
    web.put("/b.csv", b"new b")
    old, new_a, new_b = sha256(b"old"), sha256(b"new a"), sha256(b"new b")
    text = f"contents:\n  a: {{url: '{web.url}/a.csv?key=hidden', sha256: {old}}}\n"
    text += f"  b:\n    url: {web.url}/b.csv\n    sha256: {old}\n"
    with pytest.raises(HashMismatch) as caught:
        fetch(tmp_path, text)
    start = tmp_path / "package" / "build.yml"
    assert str(caught.value).splitlines() == [
        f"{start}:2: contents.a: {web.url}/a.csv has changed: expected {old}, got {new_a}",
        f"{start}:3: contents.b: {web.url}/b.csv has changed: expected {old}, got {new_b}",
    ]
    assert caught.value.hint == "the line"
    assert caught.value.detail["expected"] == old
    assert "hidden" not in json.dumps(caught.value.to_wire())


def test_resumed_download_of_another_file_is_detected(web: Web, tmp_path: Path) -> None:
    """With one ETag for both, the first piece of one file and the rest of another do not make a valid file."""
    body = bytes(range(256)) * 100
    web.put("/a.bin", b"old" * 5_000, etag='"1"', cuts=[1_000] * 20)
    text = f"contents:\n  a: {{url: {web.url}/a.bin, sha256: {sha256(body)}}}\n"
    with pytest.raises(Unreachable):
        fetch(tmp_path, text)
    web.put("/a.bin", body, etag='"1"')
    assert files(fetch(tmp_path, text))["a"][2] == body


def test_error_names_the_node(web: Web, tmp_path: Path) -> None:
    text = f"contents:\n\n  a: {{url: '{web.url}/nothing.csv?key=hidden', sha256: {sha256(b'')}}}\n"
    with pytest.raises(DatapkgError, match=r"build.yml:3: contents.a: http://127.0.0.1:\d+/nothing.csv is not there"):
        fetch(tmp_path, text)


def test_checksum_is_required(tmp_path: Path) -> None:
    with pytest.raises(InvalidBuildFile, match=r"contents.a.url: an address needs the sum .* --update"):
        fetch(tmp_path, "contents:\n  a: {url: https://a.example/x.csv}\n")


def test_downloaded_json_is_inspected_for_its_transform(web: Web, tmp_path: Path) -> None:
    record = b'{"a": 1}'
    table, other = web.put("/table.json", RECORDS), web.put("/other.json", record)
    text = (
        f"contents:\n  t: {{url: {table}, sha256: {sha256(RECORDS)}, checks: [{{row_count: 1}}]}}\n"
        f"  o: {{url: {other}, sha256: {sha256(record)}}}\n"
    )
    found = fetch(tmp_path, text)
    assert {path: transform for path, (transform, _, _) in files(found).items()} == {"t": "json", "o": "id"}
    assert [len(node.checks) for node in found.spec.nodes] == [1, 0]
    with pytest.raises(InvalidInput, match=r"contents.o: unknown kwarg 'orient'|contents.o: 'orient' is not supported"):
        fetch(tmp_path, text.replace("o: {", "o: {kwargs: {orient: records}, "))


def test_members_of_an_archive(web: Web, tmp_path: Path) -> None:
    body = tar_of({"data/a.csv": b"x\n1\n", "data/deep/b.tsv": b"x\n2\n", "data/c.txt": b"c", "d.json": RECORDS}, "xz")
    url = web.put("/all.tar.xz", body)
    write(tmp_path, {"package/own.zip": zip_of({"one.csv": b"x\n3\n"})})
    start = f"url: '{url}', sha256: {sha256(body)}"
    text = f"""\
contents:
  one: {{{start}, extract: data/a.csv, meta: {{m: 1}}}}
  many: {{{start}, extract: "data/**", meta: {{title: T}}, columns: {{x: a number}}, checks: [{{column: x, min: 0}}]}}
  tables: {{{start}, extract: "data/*.csv", transform: csv, kwargs: {{nrows: 1}}}}
  records: {{{start}, extract: "*.json"}}
  own: {{file: own.zip, extract: one.csv}}
  whole: {{{start}}}
"""
    found = fetch(tmp_path, text)
    assert files(found) == {
        "one": ("csv", "a.csv", b"x\n1\n"),
        "many/a": ("csv", "a.csv", b"x\n1\n"),
        "many/c.txt": ("id", "c.txt", b"c"),
        "many/deep/b": ("tsv", "b.tsv", b"x\n2\n"),
        "tables/a": ("csv", "a.csv", b"x\n1\n"),
        "records/d": ("json", "d.json", RECORDS),
        "own": ("csv", "one.csv", b"x\n3\n"),
        "whole": ("id", "all.tar.xz", body),
    }
    nodes = {node.path: node for node in found.spec.nodes}
    assert found.spec.groups == {"many": {"title": "T"}}
    assert (nodes["one"].meta, nodes["tables/a"].kwargs) == ({"m": 1}, {"nrows": 1})
    assert nodes["many/a"].meta == {"columns": {"x": {"description": "a number"}}}
    assert {path: len(node.checks) for path, node in nodes.items() if path.startswith("many")} == {
        "many/a": 1,
        "many/c.txt": 0,
        "many/deep/b": 1,
    }
    source = nodes["many/a"].source
    assert isinstance(source, FileSource)
    assert source.record == {"archive": {"url": url, "hash": sha256(body)}, "member": "data/a.csv"}
    assert source.shown == f"{url}: data/a.csv"
    assert len(web.seen) == 1


def test_archive_mistakes(web: Web, tmp_path: Path) -> None:
    write(tmp_path, {"package/a.zip": zip_of({"a.csv": b"", "a.tsv": b"", "../x.csv": b""}), "package/b.zip": b"PK"})
    for text, expected in [
        ("extract: b.csv", "contents.n: 'a.zip' has no member 'b.csv'; did you mean 'a.csv'"),
        ("extract: '*.?sv'", "'a.tsv' would be node 'n/a': so does 'a.csv'"),
        ("extract: '**'", "member '../x.csv' cannot be extracted"),
        ("extract: a.csv, sheet: 1", "`sheet` is for Excel files, and transform csv has none"),
        ("extract: '*.csv', kwargs: {widths: [1]}", "unknown kwarg 'widths'"),
        ("extract: '*.tsv', kwargs: {orient: records}", "unknown kwarg 'orient' of pandas.read_csv"),
    ]:
        with pytest.raises(DatapkgError) as caught:
            fetch(tmp_path, f"contents:\n  n: {{file: a.zip, {text}}}\n")
        assert expected in str(caught.value)
        assert "build.yml:2: contents.n" in str(caught.value)
    with pytest.raises(BuildFailed, match="cannot be read as an archive"):
        fetch(tmp_path, "contents:\n  n: {file: b.zip, extract: a.csv}\n")


def test_changed_archive_is_read_again(tmp_path: Path) -> None:
    write(tmp_path, {"package/a.zip": zip_of({"a.csv": b"1"})})
    text = "contents:\n  n: {file: a.zip, extract: a.csv}\n"
    assert files(fetch(tmp_path, text))["n"][2] == b"1"
    path = tmp_path / "package" / "a.zip"
    before = path.stat()
    path.write_bytes(zip_of({"a.csv": b"2"}))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files(fetch(tmp_path, text))["n"][2] == b"2"


def test_concurrent_builds_download_once(web: Web, tmp_path: Path) -> None:
    body = bytes(200)
    url = web.put("/a.bin", body, drip_s=0.001)
    text = f"contents:\n  a: {{url: {url}, sha256: {sha256(body)}}}\n"
    write(tmp_path, {"package/build.yml": text})
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with prepared(tmp_path / "package", fetcher(tmp_path), BuildOptions(), environ={}):
                pass
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(web.seen) == 1


def built(home: Home, source: Path | str, **options: Any) -> BuildResult:
    return build_package(home, Ref.parse("me/x"), source, BuildOptions(**options))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home({"DATAPKG_HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]})


def test_update_writes_the_current_checksum(web: Web, tmp_path: Path, home: Home) -> None:
    url = web.put("/a.txt", b"one")
    text = f"# mine\ncontents:\n  a:\n    url: {url}?key=hidden   # the source\n    meta: {{m: 1}}\n"
    path = write(tmp_path, {"package/build.yml": text}) / "package" / "build.yml"
    path.chmod(0o640)
    first = built(home, path, update=True)
    line = f"    sha256: {sha256(b'one')}\n"
    assert path.read_text() == text.replace("   # the source\n", f"   # the source\n{line}")
    assert path.stat().st_mode & 0o777 == 0o640
    assert first.updated == [{"url": url, "old": "", "new": sha256(b"one")}]
    web.put("/a.txt", b"two")
    assert built(home, path).hash == first.hash
    second = built(home, path, update=True)
    assert second.hash != first.hash
    assert second.updated == [{"url": url, "old": sha256(b"one"), "new": sha256(b"two")}]
    before = path.stat().st_mtime_ns
    assert built(home, path, update=True).updated == []
    assert path.stat().st_mtime_ns == before
    record = "".join(each.read_text() for each in (tmp_path / "home" / "store" / "packages").rglob("*.json"))
    assert url in record
    assert "hidden" not in record


def test_failed_build_writes_no_checksum(web: Web, tmp_path: Path, home: Home) -> None:
    text = f"contents:\n  a: {{url: {web.put('/a.npy', b'no array')}}}\n"
    path = write(tmp_path, {"package/build.yml": text}) / "package" / "build.yml"
    with pytest.raises(DatapkgError):
        built(home, path, update=True)
    assert path.read_text() == text


def test_concurrently_changed_build_file_is_left_unchanged(web: Web, tmp_path: Path) -> None:
    text = f"contents:\n  a: {{url: {web.put('/a.txt', b'one')}}}\n"
    path = write(tmp_path, {"package/build.yml": text}) / "package" / "build.yml"
    with prepared(path, fetcher(tmp_path), BuildOptions(update=True), environ={}) as found:
        path.write_text("# another line\n" + text)
        with pytest.raises(Conflict, match="has changed, or") as caught:
            found.write_sums()
    assert sha256(b"one") in caught.value.hint
    assert path.read_text() == "# another line\n" + text


def test_size_limit_is_a_setting(web: Web, tmp_path: Path) -> None:
    url = web.put("/a.txt", b"x" * 1_000)
    path = (
        write(tmp_path, {"build.yml": f"contents:\n  a: {{url: {url}, sha256: {sha256(b'x' * 1_000)}}}\n"})
        / "build.yml"
    )
    small = Home({"DATAPKG_HOME": str(tmp_path / "home"), "DATAPKG_MAX_SOURCE_BYTES": "999"})
    with pytest.raises(BuildFailed, match="999 bytes, the limit set by max_source_bytes"):
        built(small, path)
    assert built(Home({"DATAPKG_HOME": str(tmp_path / "home")}), path).built == 1


def test_building_a_folder_does_not_load_the_http_library(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "1", "build.yml": "contents: {a: {file: a.txt}}\n"})
    code = (
        "import sys, pathlib\nfrom datapkg.building.sources import download_cache, fetcher, prepare\n"
        "from datapkg.building.spec.options import BuildOptions\n"
        "from datapkg.store.index import Index\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "tools = fetcher.Fetcher(download_cache.DownloadCache(folder / 's', Index(folder / 'i')), 1, 1)\n"
        "with prepare.prepared(folder, tools, BuildOptions(), environ={}) as found: assert found.spec.nodes\n"
        "assert not {'requests', 'urllib3', 'filelock', 'tarfile', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_urls_are_downloaded_side_by_side_with_one_progress(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=10)
    bodies = {"/a.bin": b"a" * 300_000, "/b.bin": b"b" * 200_000}

    class Handler(http_server.Handler):
        def do_GET(self) -> None:  # noqa: N802 - the name of http.server
            both.wait()
            self.answer(200, bodies[self.path])

    seen: list[tuple[str, int, int]] = []
    with http_server.serving(Handler) as url:
        lines = [f"  {path[1]}: {{url: '{url}{path}', sha256: {sha256(body)}}}\n" for path, body in bodies.items()]
        write(tmp_path, {"package/build.yml": "contents:\n" + "".join(lines)})
        side_by_side = replace(fetcher(tmp_path), jobs=2, progress=lambda *report: seen.append(report))
        with prepared(tmp_path / "package", side_by_side, BuildOptions(), environ={}) as found:
            assert {path: body for path, (_, _, body) in files(found).items()} == {
                "a": b"a" * 300_000,
                "b": b"b" * 200_000,
            }
    assert seen[-1] == ("downloading", 500_000, 500_000)
