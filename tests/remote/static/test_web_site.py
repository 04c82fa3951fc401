"""The files of a registry are read behind any static web server, with ranges and without."""

from __future__ import annotations

import http.server
import io
import random
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.install import install_packages
from datapkg.api.public import open as open_package
from datapkg.api.push import push_package
from datapkg.api.search import search
from datapkg.api.verify import verify
from datapkg.errors import NotFound, Notice, QuotaExceeded, ReadOnly, Refused, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.blobs.folder import FolderBlobs
from datapkg.remote.session import RegistrySession
from datapkg.remote.static.web import WebBlobs
from tests.faulty_proxy import Fault, faulty_way
from tests.static_registry import Static
from tests.static_sites import nginx_server, python_server

REF = Ref("ada", "iris")
BODY = random.Random(0).randbytes(3 << 20)
WHOLE_ONLY = "ignore:.* sends whole files only"


@pytest.fixture(params=[python_server, pytest.param(nginx_server, marks=pytest.mark.needs("nginx"))])
def serve(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def site(static: Static, serve: Any, tmp_path: Path) -> Iterator[str]:
    static.folder.mkdir()
    with serve(static.folder, tmp_path / "run") as url:
        yield url


@pytest.mark.filterwarnings(WHOLE_ONLY)
def test_keys_are_read(static: Static, site: str) -> None:
    folder, web = FolderBlobs(static.folder), WebBlobs(RegistrySession(site))
    for key, body in {"a/body": BODY, "a/empty": b"", "a/b+c.json": b"{}"}.items():
        folder.put(key, io.BytesIO(body))
        assert (web.read(key, len(body)), web.size(key)) == (body, len(body))
        for start, stop in [(0, None), (0, 10), (5, 6), (100, 2_000_000), (len(BODY) - 3, None), (7, len(BODY) + 9)]:
            with web.open(key, start, stop) as stream:
                assert stream.read() == body[start:stop], (key, start, stop)
    for key in ("a/nothing", "nothing"):
        assert web.size(key) is None
        with pytest.raises(NotFound, match=key):
            web.read(key, 10)
        with pytest.raises(NotFound, match=key):
            web.open(key, 1, 2)
    with pytest.raises(QuotaExceeded, match="more than 1,000 bytes"):
        web.read("a/body", 1_000)


def test_nothing_is_changed(site: str) -> None:
    web = WebBlobs(RegistrySession(site))
    for change in (
        lambda: web.put("a", io.BytesIO(b"")),
        lambda: web.create("a", b""),
        lambda: web.delete("a"),
        lambda: web.copy("a", "b"),
        lambda: list(web.list()),
    ):
        with pytest.raises(ReadOnly, match="can only be read"):
            change()


def filled(static: Static, folder: Path) -> str:
    """Push small tables and a big file, twice; return the hash of the last state."""
    folder.mkdir()
    hash = ""
    for extra in (b"", b"changed"):
        (folder / "big.bin").write_bytes(BODY + extra)
        for number in range(30):
            (folder / f"t{number}.csv").write_text(f"n\n{number}\n")
        build_package(static.home(), REF, folder)
        hash = push_package(static.home(), REF, version="1.0" if not extra else None).hash
    return hash


@pytest.mark.filterwarnings(WHOLE_ONLY)
@pytest.mark.parametrize("path", ["", "/mirror/data"])
def test_install_and_search(static: Static, serve: Any, tmp_path: Path, path: str) -> None:
    static = Static(Path(f"{static.folder}{path}"), static.machines)
    static.folder.parent.mkdir(parents=True, exist_ok=True)
    hash = filled(static, tmp_path / "data")
    with serve(tmp_path / "registry", tmp_path / "run") as url:
        home = Home({"DATAPKG_HOME": str(tmp_path / "reader"), "DATAPKG_REGISTRY": url + path})
        first, last = install_packages(home, [Ref.parse("ada/iris@1.0"), REF])
        assert (first.error, last.error) == (None, None)
        assert last.installed
        assert last.installed.hash == hash
        assert last.installed.bytes_received < 1 << 20, "of a changed file, only what changed is fetched"
        assert verify(home).damaged == []
        assert [each["package"] for each in search(home, "iris")] == ["ada/iris"]
        with pytest.raises(Refused, match="can only be read"):
            push_package(home, Ref.parse(f"ada/iris@sha256:{hash}"))


def test_lazy_reads_say_that_they_fetch_whole_files(
    static: Static, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(static, tmp_path / "data")
    with serve(static.folder, tmp_path / "run") as url:
        monkeypatch.setenv("DATAPKG_REGISTRY", url)
        with pytest.warns(Notice, match="sends whole files only") if serve is python_server else nullcontext():
            package = open_package("ada/iris")
            assert package.t7()["n"].tolist() == [7]
        with package["big.bin"].open() as file:
            file.seek(1 << 20)
            assert file.read(10) == BODY[1 << 20 : (1 << 20) + 10]


def test_a_file_without_ranges_is_sent_once(static: Static, tmp_path: Path) -> None:
    static.folder.mkdir()
    FolderBlobs(static.folder).put("packs/a.pack", io.BytesIO(BODY))
    with python_server(static.folder, tmp_path) as url, faulty_way(url) as way:
        web = WebBlobs(RegistrySession(way.url))
        with pytest.warns(Notice, match="sends whole files only"):
            web.open("packs/a.pack", 0, 10).close()
        for start in range(0, len(BODY), 100_000):
            with web.open("packs/a.pack", start, start + 100_000) as stream:
                assert stream.read() == BODY[start : start + 100_000]
        assert len(way.seen) == 2, "one request shows that there are no ranges"


@pytest.mark.filterwarnings(WHOLE_ONLY)
def test_a_connection_that_breaks_goes_on(static: Static, site: str) -> None:
    FolderBlobs(static.folder).put("packs/a.pack", io.BytesIO(BODY))
    with faulty_way(site) as way:
        way.faults += [Fault("503", "/packs/", 1), Fault("cut", "/packs/", 2)]
        web = WebBlobs(RegistrySession(way.url))
        with web.open("packs/a.pack") as stream:
            assert stream.read() == BODY
        assert len(way.seen) > 1


class Misleading(http.server.BaseHTTPRequestHandler):
    """Answers each request for a part with bytes that it does not say to be of that part."""

    def do_GET(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *given: object) -> None:
        pass


def test_an_answer_with_another_part_is_one_error() -> None:
    """The error was its own cause once, and whoever looked for the first cause never ended."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misleading) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            blobs = WebBlobs(RegistrySession(f"http://127.0.0.1:{server.server_port}"))
            with pytest.raises(Unreachable, match="answered a request for a part with another one") as error:
                blobs.open("packs/a", 3, 5)
        finally:
            server.shutdown()
            thread.join()
    assert error.value not in (error.value.__cause__, error.value.__context__)


@pytest.mark.needs("nginx")
def test_a_page_in_place_of_a_file_is_no_file(static: Static, tmp_path: Path) -> None:
    """Sites of one page answer each address with it, and status 200."""
    static.push(REF, "1", version="1.0")
    (static.folder / "missing.html").write_text("\ufeff\n<!DOCTYPE html><title>Not found</title>")
    with nginx_server(static.folder, tmp_path / "run", "try_files $uri /missing.html;") as url:
        web = WebBlobs(RegistrySession(url))
        for key in ("objects/ab/cdef", "packages/ada/iris/log/00000009.json"):
            assert web.size(key) is None
            with pytest.raises(NotFound):
                web.read(key, 1000)
        assert web.size("missing.html")
        home = Home({"DATAPKG_HOME": str(tmp_path / "reader"), "DATAPKG_REGISTRY": url})
        (outcome,) = install_packages(home, [REF])
        assert outcome.error is None
        (static.folder / "packages/ada/iris/heads.json").unlink()
        for path in (static.folder / "packages/ada/iris/states").iterdir():
            path.unlink()
        other = Home({"DATAPKG_HOME": str(tmp_path / "other"), "DATAPKG_REGISTRY": url})
        (outcome,) = install_packages(other, [REF])
        assert isinstance(outcome.error, NotFound), "nothing says where the small objects are"


@pytest.mark.needs("nginx")
def test_a_head_that_a_cache_keeps_too_long_hides_nothing(static: Static, tmp_path: Path) -> None:
    """What changes is asked for anew; where the cache answers all the same, the log goes on after the checkpoint."""
    static.push(REF, "1")
    old = (static.folder / "packages/ada/iris/heads.json").read_bytes()
    hash = static.push(REF, "2").hash
    (static.folder / "stale.json").write_bytes(old)
    asked_anew = "location ~ json$ { if ($http_cache_control != no-cache) { return 500; } }"
    with nginx_server(static.folder, tmp_path / "strict", asked_anew) as url:
        client = Home({"DATAPKG_HOME": str(tmp_path / "first"), "DATAPKG_REGISTRY": url}).client()
        assert client.resolve(REF).hash == hash
    stale = "rewrite heads.json$ /stale.json break;"
    with nginx_server(static.folder, tmp_path / "run", stale) as url:
        client = Home({"DATAPKG_HOME": str(tmp_path / "reader"), "DATAPKG_REGISTRY": url}).client()
        assert client.resolve(REF).hash == hash
