"""The client that a registry serves: a wheel of this datapkg, which pip installs by the command on the pages."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import re
import shlex
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import requests

from datapkg import __version__
from datapkg.errors import NotFound
from registry_server.services import client_wheel as module
from registry_server.services.client_wheel import ClientWheel, client_wheel
from tests.live_registry import ROOT, LiveRegistry
from tests.registry_server.asgi import Client, House

INFO = f"datapkg-{__version__}.dist-info"


def the_wheel() -> ClientWheel:
    found = client_wheel()
    assert found
    return found


@pytest.fixture
def archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(BytesIO(the_wheel().data))


def test_wheel_contains_only_the_client(archive: zipfile.ZipFile) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "datapkg").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE", "RECORD")
    assert set(archive.namelist()) == ours | {f"{INFO}/{name}" for name in names}
    assert archive.namelist()[-1] == f"{INFO}/RECORD"
    metadata = archive.read(f"{INFO}/METADATA").decode()
    assert f"\nName: datapkg\nVersion: {__version__}\n" in metadata
    assert "Requires-Dist: pandas" in metadata
    for word in ("fastapi", "pytest", "server", "test"):
        assert word not in metadata
    points = archive.read(f"{INFO}/entry_points.txt").decode()
    assert "datapkg = datapkg.__main__:main" in points
    assert "[fsspec.specs]" in points
    assert "registry" not in points
    assert "Apache License" in archive.read(f"{INFO}/licenses/LICENSE").decode()


def test_record_lists_every_member_with_its_hash(archive: zipfile.ZipFile) -> None:
    rows = list(csv.reader(archive.read(f"{INFO}/RECORD").decode().splitlines()))
    assert [name for name, _, _ in rows] == archive.namelist()
    assert rows.pop() == [f"{INFO}/RECORD", "", ""]
    for name, digest, size in rows:
        data = archive.read(name)
        expected = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(data)))


def test_equal_files_give_equal_bytes() -> None:
    first = the_wheel()
    client_wheel.cache_clear()
    assert the_wheel() == first
    assert first.sha256 == hashlib.sha256(first.data).hexdigest()


def test_foreign_files_are_not_in_the_wheel(tmp_path: Path) -> None:
    for name in ("a.py", "b.pyi", "py.typed", "notes.txt", ".a.py", "a.py~", "data/__init__.py", "data/u/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("no_package/a.py", "room/__init__.py", "room/__pycache__/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in module._files_of_ours(tmp_path)}
    assert found == {"a.py", "b.pyi", "py.typed", "data/__init__.py", "room/__init__.py"}


def test_registry_serves_the_wheel(house: House) -> None:
    wheel = the_wheel()
    line = f"pip install 'datapkg @ https://data.example.org/client/{wheel.name}#sha256={wheel.sha256}'"
    for path in ("/client/", "/client"):
        answer = house.nobody.get(path)
        assert answer.status == 200
        assert line in html.unescape(answer.text)
    answer = house.nobody.get("/client/requirements.txt")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert f"pip install '{answer.text.rstrip()}'" == line
    answer = house.nobody.get(f"/client/{wheel.name}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
    assert answer.body == wheel.data
    again = house.nobody.get(f"/client/{wheel.name}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    other = house.nobody.get("/client/datapkg-0.0.1-py3-none-any.whl")
    assert other.status == 404
    assert wheel.name in other.text


def test_setup_pages_show_the_install_command(house: House, ada: Client) -> None:
    line = the_wheel().install_line("https://data.example.org")
    assert line in html.unescape(house.nobody.get("/").text)  # empty: how to publish the first package
    ada.publish("ada/iris", {"a": b"1"}, public=True)
    assert line in html.unescape(house.nobody.get("/ada/iris").text)
    assert 'href="/client/"' in house.nobody.get("/").text


def test_pages_work_without_package_metadata(house: House, ada: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ada.publish("ada/iris", {"a": b"1"}, public=True)
    monkeypatch.setattr(module.metadata, "distributions", lambda **_: iter(()))
    client_wheel.cache_clear()
    try:
        answer = house.nobody.get("/ada/iris")
        assert answer.status == 200
        assert "datapkg config registry https://data.example.org" in answer.text
        assert "pip install" not in answer.text
        assert house.nobody.get("/client/").status == NotFound.status
    finally:
        client_wheel.cache_clear()


def test_pip_installs_the_wheel_by_the_command_on_the_page(registry: LiveRegistry, tmp_path: Path) -> None:
    page = html.unescape(requests.get(f"{registry.url}/client/", timeout=30).text)
    found = re.search(r"pip install '[^']+'", page)
    assert found
    program, *words = shlex.split(found[0])
    assert program == "pip"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, *words, "--no-deps", "--no-index", "--no-cache-dir"], check=True)
    wanted = ["install", "--dry-run", "--no-deps", "--no-index", "-r", f"{registry.url}/client/requirements.txt"]
    subprocess.run([*pip, *wanted, "--no-cache-dir"], check=True)
    packages = next((tmp_path / "env").glob("lib/python*/site-packages"))
    libraries = [path for path in sys.path if path.endswith("site-packages")]  # in place of the dependencies
    (packages / "libraries.pth").write_text("\n".join(libraries))
    done = subprocess.run([tmp_path / "env/bin/datapkg", "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout
    code = "import datapkg, importlib.util as u; print(datapkg.__file__, u.find_spec('registry_server'))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(packages / "datapkg/__init__.py"), "None"]
