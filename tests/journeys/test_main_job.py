"""The main job on real data (build, push, install elsewhere, import), and its failures."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

import datapkg
from datapkg.format import wire
from tests.conftest import Person
from tests.journeys.conftest import Machine, Publish, at, write
from tests.live_registry import ROOT, LiveRegistry

SAMPLES = sorted(path.parent for path in (ROOT / "sample_packages").glob("*/build.yml"))
TABLE = "a,b\n1,x\n2,y\n"


@pytest.fixture
def ada(new_person: Callable[[], Person]) -> Person:
    """Create a user who publishes."""
    return new_person()


@pytest.fixture
def bob(new_person: Callable[[], Person]) -> Person:
    """Create a user who reads."""
    return new_person()


def commanded(machine: Machine, *words: str) -> str:
    """Return the output of `datapkg` in a separate process."""
    with machine.start("-m", "datapkg", *words) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_published_package_is_imported_by_another_user(ada: Person, bob: Person) -> None:
    package, elsewhere = f"{ada.name}/iris", at(bob, "elsewhere")
    commanded(at(ada), "build", package, str(ROOT / "sample_packages/iris"))
    commanded(at(ada), "push", package, "--public")
    out = commanded(elsewhere, "install", package)
    assert f"from datapkg.data.{ada.name} import iris" in out
    out = elsewhere.python(
        f"from datapkg.data.{ada.name} import iris\n"
        "frame = iris.measurements()\n"
        "print(frame.shape, list(frame.columns), frame['sepal_length'].mean().round(3), iris.hash)\n"
        "print(iris['measurements']['class'].nunique(), iris().equals(frame), iris.README().name)\n"
    )
    hash = elsewhere.ask("show", package)["hash"]
    columns = ["sepal_length", "sepal_width", "petal_length", "petal_width", "class"]
    assert out.splitlines() == [f"(150, 5) {columns} 5.843 {hash}", "3 True README.md"]


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda path: path.name)
def test_sample_package_is_transferred_completely(ada: Person, bob: Person, folder: Path, tmp_path: Path) -> None:
    package = f"{ada.name}/{folder.name}"
    built = at(ada).ask("build", package, str(folder))
    pushed = at(ada).ask("push", package, "--public")
    other = at(bob)
    installed = other.ask("install", package)["installed"][0]
    assert built["hash"] == pushed["hash"] == installed["hash"]
    assert installed["bytes_logical"] == pushed["bytes_logical"] == built["bytes_logical"]
    with other.here():
        nodes = dict(datapkg.load(package).walk())
        for node in nodes.values():
            if datapkg.kind(node) == "table":
                assert len(node()) == node.rows > 0
                assert not node().isna().all(axis=None)
            elif datapkg.kind(node) == "file":
                assert hashlib.sha256(node.read_bytes()).hexdigest() == node.hash
    assert "README" in nodes
    assert other.ask("show", package)["meta"]["licence"]
    for path in (path for path, node in nodes.items() if datapkg.kind(node) != "group"):
        other.ask("export", f"{package}/{path}", f"out/{path}")
        assert (other.folder / "out" / path).stat().st_size > 0
    assert other.ask("verify")["damaged"] == []


@pytest.mark.parametrize("folder", SAMPLES, ids=lambda path: path.name)
def test_sample_package_has_one_hash_on_every_machine(here: Machine, folder: Path, tmp_path: Path) -> None:
    other = Machine({"DATAPKG_HOME": str(tmp_path / "other")}, tmp_path / "elsewhere")
    assert here.ask("build", "me/x", str(folder))["hash"] == other.ask("build", "you/y", str(folder))["hash"]


def test_reload_imports_the_rebuilt_package(here: Machine, tmp_path: Path) -> None:
    source = write(tmp_path / "source", {"t.csv": TABLE})
    out = here.python(
        "import importlib, pathlib, datapkg\n"
        f"source = pathlib.Path({str(source)!r})\n"
        "datapkg.build('me/p', source)\n"
        "from datapkg.data.me import p\n"
        "print(len(p.t()))\n"
        "(source / 't.csv').write_text('a,b\\n1,x\\n')\n"
        "(source / 'new.txt').write_text('new')\n"
        "datapkg.build('me/p', source)\n"
        "print(len(p.t()), list(p))\n"
        "importlib.reload(p)\n"
        "print(len(p.t()), list(p))\n"
    )
    assert out.splitlines() == ["2", "2 ['t']", "1 ['new.txt', 't']"]


def shown(machine: Machine, user: str) -> str:
    """Return the text that a fresh process imports."""
    return machine.python(f"from datapkg.data.{user} import p; print(p['a.txt'].read_text())").strip()


def test_project_is_locked_and_reproduced(ada: Person, publish: Publish) -> None:
    user, package = ada.name, f"{ada.name}/p"
    one = publish(ada, "p", {"a.txt": "one"}, "--version", "1.0")
    project = at(ada, "project")
    write(project.folder, {"datapkg.yml": f"packages: [{package}]\n"})
    assert project.fail("install", "--frozen")["code"] == "invalid"
    project.ask("lock")
    lock = (project.folder / "datapkg.lock").read_bytes()
    assert one in lock.decode()
    assert project.ask("install", "--frozen")["installed"][0]["hash"] == one
    assert shown(project, user) == "one"

    two = publish(ada, "p", {"a.txt": "two"})
    assert project.ask("install")["installed"][0]["hash"] == one
    assert project.ask("install", package)["installed"][0]["hash"] == two
    assert shown(project, user) == "one"
    deeper = Machine(project.environ, project.folder / "deeper/still")
    assert shown(deeper, user) == "one"
    assert shown(Machine(project.environ, project.folder.parent), user) == "two"
    assert (project.folder / "datapkg.lock").read_bytes() == lock

    colleague = at(ada, "colleague")
    write(colleague.folder, {name: (project.folder / name).read_bytes() for name in ("datapkg.yml", "datapkg.lock")})
    assert colleague.ask("install", "--frozen")["installed"][0]["hash"] == one
    project.ask("lock", "--update")
    assert project.ask("install")["installed"][0]["hash"] == two
    assert shown(project, user) == "two"


def test_lock_that_does_not_match_the_requirements(ada: Person, publish: Publish) -> None:
    package, project = f"{ada.name}/p", at(ada, "project")
    one = publish(ada, "p", {"a.txt": "one"}, "--version", "1.0")
    publish(ada, "p", {"a.txt": "two"})
    write(project.folder, {"datapkg.yml": f"packages: [{package}]\n"})
    project.ask("lock")
    lock = (project.folder / "datapkg.lock").read_bytes()
    write(project.folder, {"datapkg.yml": f"packages: ['{package}@sha256:{one}']\n"})
    ended = project.run("install", "--frozen", "--json")
    assert (ended.code, ended.error["hint"]) == (2, "datapkg lock")
    assert (project.folder / "datapkg.lock").read_bytes() == lock
    assert project.ask("install")["installed"][0]["hash"] == one
    assert project.ask("install", "--frozen")["installed"][0]["hash"] == one


def test_locked_state_not_installed_suggests_a_command(ada: Person, publish: Publish) -> None:
    publish(ada, "p", {"a.txt": "one"})
    project = at(ada, "project")
    write(project.folder, {"datapkg.yml": f"packages: [{ada.name}/p]\n"})
    project.ask("lock")
    with project.here(), pytest.raises(datapkg.PackageNotInstalled) as caught:
        datapkg.load(f"{ada.name}/p")
    assert caught.value.hint == "datapkg install"


def flip(folder: Path, body: bytes) -> list[Path]:
    """Change a byte in each file below a folder that contains these bytes, and return the files."""
    changed = []
    for path in folder.rglob("*"):
        if path.is_file() and body in (data := path.read_bytes()):
            at_byte = data.index(body) + len(body) // 2
            path.chmod(0o600)
            path.write_bytes(data[:at_byte] + bytes([data[at_byte] ^ 1]) + data[at_byte + 1 :])
            changed.append(path)
    return changed


BODIES = {"small": b"a small object, unlike any other: %s", "big": b"a big object, %s" + bytes(2 << 20)}


@pytest.mark.parametrize("size", BODIES)
def test_local_corruption_is_reported_and_repaired(ada: Person, publish: Publish, size: str) -> None:
    body = BODIES[size] % ada.name.encode()
    publish(ada, "p", {"a.bin": body, "b.txt": "whole", "t.csv": TABLE})
    other, package = at(ada, "other"), f"{ada.name}/p"
    other.ask("install", package)
    assert len(flip(other.home.store.folder, body)) == 1
    with other.here():
        opened: Any = datapkg.load(package)
        assert opened["b.txt"].read_text() == "whole"
        with pytest.raises((datapkg.IntegrityError, datapkg.NotFound)):
            opened["a.bin"].read_bytes()
    ended = other.run("verify", "--json")
    assert ended.code == 6
    damaged = json.loads(ended.out)["damaged"]
    assert [(each["package"], each["path"], each["hash"]) for each in damaged] == [
        (package, "a.bin", hashlib.sha256(body).hexdigest())
    ]
    assert other.ask("install", package)["installed"][0]["objects_received"] == 1
    assert other.ask("verify")["damaged"] == []
    with other.here():
        assert datapkg.load(package)["a.bin"].read_bytes() == body


def registry_verify(registry: LiveRegistry) -> Any:
    """Return the objects that `verify` of the registry reports as corrupt."""
    words = ["-m", "registry_server", "verify", "--data", str(registry.data), "--json"]
    done = subprocess.run([sys.executable, *words], capture_output=True, cwd=ROOT, check=False, timeout=60)
    return json.loads(done.stdout)


@pytest.mark.parametrize("size", BODIES)
def test_corruption_at_the_registry_is_never_installed(
    ada: Person, publish: Publish, registry: LiveRegistry, size: str
) -> None:
    body = BODIES[size] % ada.name.encode()
    hash = publish(ada, "p", {"a.bin": body})
    other, package = at(ada, "other"), f"{ada.name}/p"
    (changed,) = flip(registry.data, body)
    ended = other.run("install", package, "--json")
    assert ended.code in (3, 6)
    assert other.ask("ls") == {"packages": []}
    assert other.ask("verify")["damaged"] == []
    damaged = {each["hash"]: each["packages"] for each in registry_verify(registry)["damaged"]}
    assert damaged[hashlib.sha256(body).hexdigest()] == [package]
    assert changed.exists()
    assert at(ada).ask("push", package)["objects_sent"] == 1
    assert other.ask("install", package)["installed"][0]["hash"] == hash
    assert other.ask("verify")["damaged"] == []


@pytest.mark.parametrize("token", ["dpk_wrong", "dpk_" + "x" * 40])
def test_wrong_token_is_reported_and_grants_no_access(ada: Person, publish: Publish, token: str) -> None:
    publish(ada, "secret", {"a.txt": "secret"})
    publish(ada, "open", {"a.txt": "open"}, "--public")
    wrong = Machine({**at(ada, "wrong").environ, "DATAPKG_TOKEN": token}, at(ada, "wrong").folder)
    for words in (("install", f"{ada.name}/secret"), ("whoami",), ("push", f"{ada.name}/open@1.0")):
        ended = wrong.run(*words, "--json")
        assert ended.code in (3, 7)
        assert token not in ended.out + ended.err
    assert wrong.ask("ls") == {"packages": []}
    public = wrong.run("install", f"{ada.name}/open")
    assert public.code == 0
    assert f"note: {ada.url} rejected the token from DATAPKG_TOKEN; public packages are read without it" in public.err
    found = wrong.run("search", f"{ada.name}/")
    assert f"{ada.name}/secret" not in found.out
    assert token not in public.out + public.err + found.out + found.err


@pytest.mark.parametrize("token", ["ü", "two words", "a\nb", "x" * 20_000])
def test_malformed_token_is_reported_without_a_request(ada: Person, token: str) -> None:
    wrong = Machine({**at(ada).environ, "DATAPKG_TOKEN": token}, at(ada).folder)
    ended = wrong.run("whoami", "--json")
    assert ended.code in (2, 7)
    assert token not in ended.err


READS = [
    ("GET", wire.PACKAGE),
    ("GET", wire.RESOLVE),
    ("GET", wire.MANIFEST),
    ("GET", wire.OBJECT),
    ("HEAD", wire.OBJECT),
    ("POST", wire.OBJECTS_READ),
    ("POST", wire.OBJECTS_URLS),
    ("GET", wire.LOG),
    ("GET", wire.TAGS),
    ("GET", wire.VERSIONS),
    ("GET", wire.ACCESS),
    ("GET", "/{user}/{name}"),
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_private_package_is_not_found_for_others(
    ada: Person, bob: Person, publish: Publish, method: str, path: str
) -> None:
    publish(ada, "p", {"a.txt": f"secret of {ada.name}"}, "--version", "1.0")
    hash = at(ada).ask("show", f"{ada.name}/p")["hash"]
    object_ = hashlib.sha256(f"secret of {ada.name}".encode()).hexdigest()
    wanted = hash if path == wire.MANIFEST else object_
    body = {"hashes": [object_]} if method == "POST" else None

    def ask(token: str | None, name: str = "p") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = ada.url + path.format(user=ada.name, name=name, hash=wanted)
        return requests.request(method, url, headers=headers, json=body, timeout=30)

    assert path.startswith("/{user}") or ask(ada.token).status_code == 200
    for token in (bob.token, None):
        hidden, absent = ask(token), ask(token, "absent")
        assert hidden.status_code == absent.status_code == 404
        assert hidden.text.replace(f"{ada.name}/p", f"{ada.name}/absent") == absent.text


def test_access_is_granted_to_one_user_and_revoked(ada: Person, bob: Person, publish: Publish) -> None:
    package, reader = f"{ada.name}/p", at(bob)
    publish(ada, "p", {"a.txt": "one"})
    assert reader.fail("install", package)["code"] == "not_found"
    at(ada).ask("access", "add", package, bob.name)
    reader.ask("install", package)
    at(ada).ask("access", "rm", package, bob.name)
    publish(ada, "p", {"a.txt": "two"})
    assert reader.fail("install", package)["code"] == "not_found"
    assert shown(reader, ada.name) == "one"
