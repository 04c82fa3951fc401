"""A registry without a server as a Python package index: its wheels, its pages, and the real pip behind web servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from datapkg.api.build import build_package
from datapkg.api.mirror import mirror
from datapkg.api.push import push_package
from datapkg.errors import Notice
from datapkg.format import static_registry as layout
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.format.simple_index import METADATA_SUFFIX
from datapkg.format.thin_wheel import wheel_version
from datapkg.remote.http_client import HttpClient
from datapkg.remote.static.collection import collect
from datapkg.remote.static.verification import verify_registry
from tests.conftest import Person
from tests.static_registry import Static
from tests.static_sites import Serve, nginx_server, python_server

REF = Ref("me", "sample_data")
PROJECT = "datapkg-me-sample-data"
PAGE = f"simple/{PROJECT}/index.json"


def page(static: Static) -> dict[str, dict[str, Any]]:
    """Return the files of the page by version, after they were compared with the wheels that the log names."""
    found = json.loads(static.files()[PAGE])["files"]
    html = static.files()[PAGE.replace(".json", ".html")].decode()
    for each in found:
        assert f'href="{each["url"]}#sha256={each["hashes"]["sha256"]}"' in html
        key = each["url"].removeprefix("../../").replace("%2B", "+")
        data = static.files()[key]
        assert (hash_bytes(data), len(data)) == (each["hashes"]["sha256"], each["size"])
        assert key == f"wheels/{each['hashes']['sha256']}/{each['filename']}"
        assert hash_bytes(static.files()[key + METADATA_SUFFIX]) == each["core-metadata"]["sha256"]
    return {each["filename"].split("-")[1]: each for each in found}


def logged(static: Static) -> dict[str, str]:
    """Return the sha256 of all wheels that the log names."""
    found: dict[str, str] = {}
    for change in list(static.client().package_of(REF).log.entries())[::-1]:
        found |= change.wheels
    return found


def projects(static: Static) -> list[str]:
    return [each["name"] for each in json.loads(static.files()["simple/index.json"])["projects"]]


def test_pages_show_the_wheels_of_the_log(static: Static) -> None:
    one = static.push(REF, "1", version="1.0").hash
    two = static.push(REF, "2").hash
    client = static.client()
    client.add_version(REF, "2.0", two)
    assert static.push(REF, "1").hash == one
    found = page(static)
    wanted = [(None, 1, one), ("1.0", 0, one), (None, 2, two), ("2.0", 0, two)]
    assert found.keys() == logged(static).keys() == {wheel_version(*each) for each in wanted}
    assert {version: each["hashes"]["sha256"] for version, each in found.items()} == logged(static)
    assert [(each.version, each.wheel) for each in client.versions(REF)] == [
        (version, logged(static)[wheel_version(version, 0, hash)]) for version, hash in (("1.0", one), ("2.0", two))
    ]
    client.set_yanked(REF, "2.0", "wrong <units>")
    assert {version for version, each in page(static).items() if each["yanked"] == "wrong <units>"} == {
        wheel_version(*each) for each in wanted[2:]
    }
    client.set_yanked(REF, "2.0", None)
    assert not any(each["yanked"] for each in page(static).values())
    static.push(Ref("me", "other"), "3")
    assert projects(static) == ["datapkg-me-other", PROJECT]
    assert [(entry.number, entry.wheel) for entry in client.log(REF)] == [
        (number, logged(static)[wheel_version(None, number, hash)]) for number, hash in ((1, one), (2, two), (1, one))
    ]


def test_page_that_is_lost_or_wrong_is_written_anew(static: Static) -> None:
    static.push(REF, "1", version="1.0")
    for data in (None, b"{", b'{"meta":{"_datapkg-entry":99},"files":[]}', b'{"meta":{},"files":3}'):
        path = static.folder / PAGE
        path.unlink() if data is None else path.write_bytes(data)
        static.push(REF, str(data))
        assert page(static).keys() == logged(static).keys()


def test_two_who_change_a_package_at_once_leave_all_on_its_page(
    static: Static, monkeypatch: pytest.MonkeyPatch
) -> None:
    static.push(REF, "1")
    client = static.client()
    wheels = client.package_of(REF).wheels
    write = wheels._write
    second = []

    def written(position: Any) -> None:
        if not second:
            second.append(static.push(REF, "2").hash)
        write(position)

    monkeypatch.setattr(wheels, "_write", written)
    client.add_version(REF, "1.0", str(client.resolve(REF).hash))
    assert page(static).keys() == logged(static).keys()
    assert len(page(static)) == 3


def test_version_of_a_deleted_package_has_its_wheel_again(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    one = static.push(REF, "1", version="1.0").hash
    before, client = logged(static), static.client()
    client.delete(REF)
    assert (projects(static), PAGE in static.files()) == ([], False)
    monkeypatch.setattr("datapkg.format.thin_wheel.REQUIRES_PYTHON", ">=3.99")  # as a later version of the program
    collect(client, datetime.now(UTC) + timedelta(days=9), grace=timedelta(0))
    assert static.push(REF, "1", version="1.0", force=True).hash == one
    version = wheel_version("1.0", 0, one)
    assert page(static)[version]["hashes"]["sha256"] == before[version]
    assert page(static).keys() == {version, wheel_version(None, 3, one)}
    assert projects(static) == [PROJECT]


def test_wheels_are_verified_and_kept(static: Static) -> None:
    static.push(REF, "1", version="1.0")
    client = static.client()
    stray = static.folder / "wheels" / ("0" * 64) / "stray.whl"
    stray.parent.mkdir()
    stray.write_bytes(b"x")
    done = collect(client, datetime.now(UTC) + timedelta(days=9), grace=timedelta(0))
    assert [each.key for each in done.deleted] == ["trash/wheels/" + "0" * 64 + "/stray.whl"]
    assert verify_registry(client, [REF], lambda *_: None).damaged == []
    damaged = static.folder / next(key for key in static.files() if key.endswith(".whl"))
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    ((hash, package, _, problem),) = verify_registry(client, [REF], lambda *_: None).damaged
    assert (hash, package) == (damaged.parent.name, REF.package)
    assert "wheel" in problem


def test_mirrored_wheels_are_those_of_the_source(static: Static, person: Person, tmp_path: Path) -> None:
    one = static.push(REF, "1", version="1.0").hash
    copy = Static(tmp_path / "copy", tmp_path / "copies")
    for text in ("2", "3"):
        mirror(static.home(), static.url, copy.url)
        assert page(copy) == page(static)
        assert projects(copy) == [PROJECT]
        static.push(REF, text)
    assert wheel_version("1.0", 0, one) in page(copy)


def test_wheels_of_a_server_are_mirrored_as_they_are(
    person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, ref = person.home(), person.ref("iris")
    for text in ("1", "2"):
        (tmp_path / "data.csv").write_text(f"n\n{text}\n")
        build_package(home, ref, tmp_path / "data.csv")
        push_package(home, ref, version=text)
    wheels = {each.wheel for each in [*home.client().log(ref), *home.client().versions(ref)]}
    lost = home.client().versions(ref)[0].wheel
    read = HttpClient.wheel

    def wheel(client: HttpClient, ref: Ref, version: str, sha256: str) -> bytes:
        return read(client, ref, version, "0" * 64 if sha256 == lost else sha256)

    for name, expected in (("whole", wheels), ("lost", wheels - {lost})):
        copy = Static(tmp_path / name, tmp_path / "copies")
        if name == "lost":
            monkeypatch.setattr(HttpClient, "wheel", wheel)
            with pytest.warns(Notice, match="the wheel was left out"):
                mirror(home, person.url, copy.url, [ref])
        else:
            mirror(home, person.url, copy.url, [ref])
        assert hashes_of(copy, f"datapkg-{person.name}-iris") == expected
    assert None not in wheels


def hashes_of(static: Static, project: str) -> set[str]:
    found = json.loads(static.files()[f"simple/{project}/index.json"])["files"]
    return {each["hashes"]["sha256"] for each in found}


@pytest.mark.parametrize(
    "serve",
    [
        pytest.param(python_server, id="python"),
        pytest.param(nginx_server, id="nginx", marks=[pytest.mark.needs("nginx"), pytest.mark.big]),
    ],
)
def test_pip_installs_from_a_web_site(static: Static, tmp_path: Path, serve: Serve) -> None:
    hash = static.push(REF, "1", version="1.0").hash
    static.client().set_yanked(REF, "1.0", "wrong units")
    marker = static.folder / layout.MARKER
    marker.write_text('{"format":1,"url":"https://data.example.org/data"}\n')
    static.push(REF, "2", version="0.9")
    files = page(static)
    requirements = tmp_path / "requirements.txt"
    lines = [f"{PROJECT}==1.0 --hash=sha256:{files[wheel_version('1.0', 0, hash)]['hashes']['sha256']}"]
    requirements.write_text("\n".join(lines))
    with serve(static.folder, tmp_path / "run") as url:
        index = ["--index-url", f"{url}/simple/"]
        pip(*index, "--require-hashes", "-r", str(requirements), "--target", str(tmp_path / "one"))
        pip(*index, PROJECT, "--target", str(tmp_path / "two"))
    (one,), (two,) = ((tmp_path / name).rglob("*.pin.json") for name in ("one", "two"))
    assert json.loads(one.read_bytes())["registry"] == static.url
    pin = json.loads(two.read_bytes())
    assert (pin["package"], pin["registry"]) == (REF.package, "https://data.example.org/data")
    assert pin["hash"] != hash


def pip(*words: str) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run([*command, *words], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("machine", ["own", "another"])
def test_a_page_that_somebody_edited_is_not_trusted_by_the_next_push(static: Static, machine: str) -> None:
    static.push(REF, "1", version="1.0")
    before = page(static)
    for key in (PAGE, PAGE.replace(".json", ".html")):
        path = static.folder / key
        data = path.read_text().replace("../../wheels/", "https://evil.example/wheels/")
        for each in before.values():
            data = data.replace(each["hashes"]["sha256"], "e" * 64)
        path.unlink()
        path.write_text(data)
    static.push(REF, "2", machine, parent=static.client().resolve(REF).hash)
    assert {version: each for version, each in page(static).items() if version in before} == before
    assert page(static).keys() == logged(static).keys()
    html = (static.folder / PAGE.replace(".json", ".html")).read_text()
    assert "evil" not in html
    assert "e" * 64 not in html


def test_a_page_goes_on_after_the_memory_of_a_replaced_log_was_removed(static: Static) -> None:
    static.push(REF, "1", version="1.0")
    shutil.rmtree(static.folder)
    static.push(REF, "1", "another")
    seen = static.client().seen
    seen.path(REF).unlink()
    static.push(REF, "3", force=True)
    assert page(static).keys() == logged(static).keys()
    assert len(page(static)) == 2
