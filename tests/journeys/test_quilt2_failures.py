"""Cases in which Quilt 2 fails and datapkg must not, except kills (test_kills.py)."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.format import canonical
from datapkg.format.frames import encode_frames
from datapkg.format.names import Ref
from datapkg.format.push_wire import Publish as Request
from datapkg.store.refs import Current
from tests import http_server
from tests.conftest import Person
from tests.journeys.conftest import Build, Files, Machine, Publish, at, write

TABLE = "a,b\n1,x\n2,y\n"
NewFolder = Callable[[Files], Path]


def many_files() -> Files:
    """Return small files, tables and a big file."""
    files: dict[str, str | bytes] = {f"d{n % 3}/{n}.txt": f"text {n}" for n in range(100)}
    return {**files, "t.csv": TABLE, "u.tsv": "a\tb\n1\tx\n", "big.bin": bytes(range(256)) * 8000}


def test_six_concurrent_builds_of_the_same_files(here: Machine, new_folder: NewFolder) -> None:
    folder = str(new_folder(many_files()))
    names = ["p", "p", "p", "q", "q", "r"]
    running = [here.start("-m", "datapkg", "build", f"me/{name}", folder, "--json") for name in names]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert [(code, err) for _, err, code in ended] == [(0, "")] * 6
    packages = here.ask("ls")["packages"]
    assert [each["package"] for each in packages] == ["me/p", "me/q", "me/r"]
    assert len({each["hash"] for each in packages}) == 1
    assert here.ask("verify")["damaged"] == []
    assert list(here.home.store.tmp.iterdir()) == []


def test_concurrent_builds_of_different_files_to_one_name(here: Machine, new_folder: NewFolder) -> None:
    folders = [str(new_folder({**many_files(), "own.txt": str(number)})) for number in range(4)]
    running = [here.start("-m", "datapkg", "build", "me/p", folder, "--json") for folder in folders]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in running]
    assert [code for _, _, code in ended] == [0] * 4
    with here.here():
        assert datapkg.load("me/p")["own.txt"].read_text() in "0123"
    assert len(here.ask("log", "me/p")["log"]) == 4
    assert here.ask("verify")["damaged"] == []


def all_at_once(*commands: tuple[Machine, tuple[str, ...]]) -> list[int]:
    """Return the exit codes of processes that run concurrently."""
    running = [machine.start("-m", "datapkg", *words, "--json") for machine, words in commands]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err
    return [process.returncode for process in running]


def test_six_concurrent_installs_of_one_package(person: Person, publish: Publish) -> None:
    hash, package, other = publish(person, "p", many_files()), f"{person.name}/p", at(person, "other")
    assert all_at_once(*[(other, ("install", package))] * 6) == [0] * 6
    assert [each["hash"] for each in other.ask("ls")["packages"]] == [hash]
    assert other.ask("verify")["damaged"] == []


def test_concurrent_pushes_have_one_winner(person: Person, new_folder: NewFolder) -> None:
    package, machines = f"{person.name}/p", [at(person, f"m{number}") for number in range(3)]
    hashes = [
        machine.ask("build", package, str(new_folder({"a.txt": str(number)})))["hash"]
        for number, machine in enumerate(machines)
    ]
    codes = all_at_once(*((machine, ("push", package)) for machine in machines))
    assert sorted(codes) == [0, 4, 4]
    assert machines[0].ask("log", package, "--remote")["log"][0]["hash"] == hashes[codes.index(0)]
    assert len(machines[0].ask("log", package, "--remote")["log"]) == 1


def test_two_concurrent_equal_pushes_both_succeed(person: Person, new_folder: NewFolder) -> None:
    package, machine = f"{person.name}/p", at(person)
    machine.ask("build", package, str(new_folder(many_files())))
    assert all_at_once(*[(machine, ("push", package))] * 3) == [0] * 3
    assert len(machine.ask("log", package, "--remote")["log"]) == 1


def test_null_texts_stay_null(build: Build, tmp_path: Path) -> None:
    frame = pd.DataFrame({"t": ["nan", None, "", "None"], "o": pd.array([1, None, 3, None], dtype="Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    text = "contents: {a: {file: a.csv, kwargs: {keep_default_na: false, na_values: ['?']}}, t: {file: t.parquet}}"
    package = build(
        {"build.yml": text, "a.csv": "t\nnan\n?\nNone\n", "t.parquet": (tmp_path / "t.parquet").read_bytes()}
    )
    assert package.a()["t"].isna().tolist() == [False, True, False]
    assert package.a()["t"].dropna().tolist() == ["nan", "None"]
    for each in (package.t(), datapkg.build("me/q", frame)()):
        assert each["t"].isna().tolist() == [False, True, False, False]
        assert each["o"].isna().tolist() == [False, True, False, True]


EVIL_PATHS = [
    "../evil",
    "a/../../evil",
    "/evil",
    "..",
    ".",
    "",
    "a//evil",
    "a\\..\\evil",
    "a\x00evil",
    "./evil",
    "~/../evil",
]
EVIL_NAMES = ["../evil", "/tmp/evil", "a/evil", "..", ".", "a\\evil", "evil\x00", "../../../../../../tmp/evil"]
BODY = b"evil"
OBJECT = hashlib.sha256(BODY).hexdigest()


def evil_manifest(path: str, file_name: str) -> bytes:
    """Return a manifest that no builder writes, of one file with the bytes `BODY`."""
    line = {"file_name": file_name, "hash": OBJECT, "kind": "file", "path": path, "size": len(BODY)}
    return b'{"datapkg":1}\n' + canonical.encode(line) + b"\n"


EVIL = [*((path, "evil") for path in EVIL_PATHS), *(("evil", name) for name in EVIL_NAMES)]


def test_valid_manifest_made_like_the_evil_ones_is_accepted(here: Machine, tmp_path: Path) -> None:
    put_by_hand(here, evil_manifest("fine", "fine.txt"))
    here.ask("export", "me/evil", str(tmp_path / "out"))
    assert (tmp_path / "out/fine.txt").read_bytes() == BODY


def put_by_hand(here: Machine, data: bytes) -> str:
    """Put a manifest into the store, bypassing all checks, as the current state of me/evil."""
    store = here.home.store
    store.prepare()
    store.objects.put(io.BytesIO(BODY), OBJECT)
    hash = hashlib.sha256(data).hexdigest()
    store.objects.put(io.BytesIO(data), hash)
    store.refs.set_current(Ref("me", "evil"), Current(hash, "local"))
    return hash


@pytest.mark.parametrize(("path", "file_name"), EVIL)
def test_local_evil_manifest_writes_nothing_outside_the_target(
    here: Machine, tmp_path: Path, path: str, file_name: str
) -> None:
    put_by_hand(here, evil_manifest(path, file_name))
    target = tmp_path / "deep" / "target"
    target.parent.mkdir()
    before = sorted(tmp_path.rglob("*"))
    for words in (("export", "me/evil", str(target)), ("show", "me/evil"), ("cat", "me/evil/evil")):
        error = here.run(*words, "--json").error
        assert error["code"] == "invalid", words
    with here.here(), pytest.raises(datapkg.DatapkgError):
        list(datapkg.load("me/evil").walk())
    assert [each for each in sorted(tmp_path.rglob("*")) if each != here.folder] == before
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(("path", "file_name"), EVIL)
def test_registry_rejects_evil_manifests(person: Person, path: str, file_name: str) -> None:
    data = evil_manifest(path, file_name)
    hash, ref = hashlib.sha256(data).hexdigest(), person.ref("evil")
    client = person.home().client()
    started = client.start_push(ref, hash, [hash, OBJECT])
    client.objects(ref, started.push).put_many([data, BODY])
    with pytest.raises(datapkg.InvalidInput):
        client.publish(ref, started.push, Request(manifest=hash))
    with pytest.raises(datapkg.NotFound):
        client.package(ref)


@contextmanager
def malicious_registry(manifest: bytes) -> Iterator[str]:
    """Serve this manifest, with its true hash, as every package of a registry, and return the URL."""
    hash = hashlib.sha256(manifest).hexdigest()
    resolved = {"package": "me/evil", "hash": hash, "manifest_size": len(manifest), "bytes_logical": len(BODY)}

    class Handler(http_server.Handler):
        def do_GET(self) -> None:  # noqa: N802 - the names of http.server
            if "/resolve" in self.path:
                body = json.dumps(resolved).encode()
            else:
                body = manifest if "/manifests/" in self.path else BODY
            self.answer(200, body)

        def do_POST(self) -> None:  # noqa: N802 - the names of http.server
            body = b"".join(encode_frames([(OBJECT, BODY)]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(200, body)

    with http_server.serving(Handler) as url:
        yield url


def test_valid_manifest_of_the_malicious_registry_is_installed(here: Machine) -> None:
    with malicious_registry(evil_manifest("fine", "fine.txt")) as url:
        assert here.ask("install", "me/evil", "--registry", url)["installed"][0]["objects_received"] == 1


@pytest.mark.parametrize(("path", "file_name"), EVIL)
def test_evil_manifest_is_not_installed(here: Machine, path: str, file_name: str) -> None:
    with malicious_registry(evil_manifest(path, file_name)) as url:
        assert here.fail("install", "me/evil", "--registry", url)["code"] == "invalid"
    assert here.ask("ls") == {"packages": []}
    assert list(here.home.store.objects) == []


def test_names_in_all_scripts_are_transferred(person: Person, publish: Publish) -> None:
    files = {"class.csv": TABLE, "日本.txt": "日本", "2024 sales.csv": TABLE, "a.txt": "t", "a.csv": TABLE, "{}": "{}"}
    publish(person, "odd", files)
    other = at(person, "other")
    other.ask("install", f"{person.name}/odd")
    with other.here():
        package = datapkg.load(f"{person.name}/odd")
        assert list(package) == ["2024 sales", "a", "a.txt", "class", "{}", "日本.txt"]
        assert len(package.class_()) == 2
        assert datapkg.load(f"{person.name}/odd/日本.txt").read_text() == "日本"
    other.ask("export", f"{person.name}/odd", "out")
    assert sorted(path.name for path in (other.folder / "out").iterdir()) == sorted(files)


def test_same_bytes_as_another_kind_are_another_package(build: Build, tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    np.save(tmp_path / "y.npy", np.arange(3))
    files = {name: (tmp_path / name).read_bytes() for name in ("x.parquet", "y.npy")}
    for name in files:
        parsed = build({**files, "build.yml": f"contents: {{n: {{file: {name}}}}}"})
        kept = build({**files, "build.yml": f"contents: {{n: {{file: {name}, transform: id}}}}"})
        assert parsed.hash != kept.hash
        assert parsed.n.path.read_bytes() == kept.n.path.read_bytes() == files[name]


def test_package_of_a_shared_store_is_read_there(
    build: Build, here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build({"t.csv": TABLE, "b.bin": bytes(3 << 20)}, "me/there")
    shutil.move(here.home.store.folder, tmp_path / "shared")
    monkeypatch.setenv("DATAPKG_PATH", str(tmp_path / "shared"))
    build({"build.yml": "contents: {all: {package: me/there}}"}, "me/mine")
    mine = datapkg.load("me/mine")
    assert (len(mine["all"].t()), mine["all/b.bin"].size) == (2, 3 << 20)
    monkeypatch.delenv("DATAPKG_PATH")
    shutil.rmtree(tmp_path / "shared")
    with pytest.raises(datapkg.NotFound, match="is not on this machine"):
        datapkg.load("me/mine")["all"].t()


def test_missing_object_affects_only_its_node(person: Person, publish: Publish) -> None:
    publish(person, "p", {"t.csv": TABLE, "one.bin": b"1" * (2 << 20), "two.bin": b"2" * (2 << 20)})
    other, package = at(person, "other"), f"{person.name}/p"
    other.ask("install", package)
    hash = hashlib.sha256(b"1" * (2 << 20)).hexdigest()
    (other.home.store.folder / "objects" / hash[:2] / hash[2:]).unlink()
    with other.here():
        opened: Any = datapkg.load(package)
        assert (len(opened.t()), opened["two.bin"].read_bytes()[:1]) == (2, b"2")
        with pytest.raises(datapkg.NotFound) as caught:
            opened["one.bin"].read_bytes()
    assert caught.value.hint.startswith(f"datapkg fetch {package}")
    error = other.fail("export", package, "out")
    assert error["code"] == "not_found"
    assert not (other.folder / "out").exists()
    ended = other.run("verify", "--json")
    assert ended.code == 6
    again = other.ask("install", package)["installed"][0]
    assert again["objects_received"] == 1
    assert other.ask("verify")["damaged"] == []


def test_package_of_ten_thousand_files(here: Machine, tmp_path: Path) -> None:
    write(tmp_path / "many", {f"{n % 100}/{n}.txt": str(n) for n in range(10_000)} | {"t.csv": TABLE})
    assert here.ask("build", "me/many", str(tmp_path / "many"))["nodes"] == {"built": 10_001, "reused": 0}
    with here.here():
        assert datapkg.load("me/many")["42/9942.txt"].read_text() == "9942"
