"""Commands work with the files of a registry as with a server."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from datapkg.api.accounts import login, whoami
from datapkg.api.build import build_package
from datapkg.api.history import add_version, remove_tag, set_tag, tags, versions
from datapkg.api.install import install_packages
from datapkg.api.lock import install_locked, start_project, write_lock
from datapkg.api.maintenance import delete
from datapkg.api.public import open as open_package
from datapkg.api.push import push_package
from datapkg.api.search import search
from datapkg.api.sharing import access, grant
from datapkg.api.verify import verify
from datapkg.errors import (
    Conflict,
    IntegrityError,
    InvalidInput,
    PackageNotFound,
    Refused,
    TagNotFound,
    Unreachable,
    VersionNotFound,
)
from datapkg.format.chunks import LONG_BYTES
from datapkg.format.manifest.patch import read_manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.remote.client import Client
from tests.conftest import Person
from tests.static_registry import Static

REF = Ref("ada", "iris")


def installed(home: Home, ref: Ref, **options: Any) -> str:
    """Install a ref, verify all that is here, and return its hash."""
    (outcome,) = install_packages(home, [ref], **options)
    if outcome.error:
        raise outcome.error
    assert outcome.installed
    assert verify(home).damaged == []
    return outcome.installed.hash


def test_push_and_install(static: Static) -> None:
    first = static.push(REF, "1", version="1.0", tag="stable", message="the first")
    second = static.push(REF, "2")
    assert (first.changed, second.changed, second.public) == (True, True, True)
    other = static.home("other")
    assert installed(other, REF) == second.hash
    assert installed(other, Ref.parse("ada/iris@1.0")) == first.hash
    assert installed(other, Ref.parse("ada/iris@stable")) == first.hash
    assert installed(other, Ref.parse(f"ada/iris@sha256:{first.hash[:12]}")) == first.hash
    assert installed(static.home("third"), Ref.parse(f"ada/iris@sha256:{first.hash}")) == first.hash
    assert [each.message for each in other.client().log(REF)] == ["", "the first"]


def test_what_is_as_public_as_its_host_is_said_once(static: Static) -> None:
    assert any("has no private packages" in each for each in static.push(REF, "1").warnings)
    assert static.push(REF, "2").warnings == []
    assert static.push(Ref("ada", "other"), "2").warnings == []


def test_pushing_again_changes_nothing(static: Static) -> None:
    pushed = static.push(REF, "1")
    before = static.files()
    again = push_package(static.home(), REF)
    assert (again.changed, again.objects_sent, again.hash) == (False, 0, pushed.hash)
    assert static.files() == before


def test_somebody_else_pushed_meanwhile(static: Static) -> None:
    static.push(REF, "1", "one")
    installed(static.home("two"), REF)
    static.push(REF, "2", "one")
    with pytest.raises(Conflict, match="somebody pushed to ada/iris meanwhile"):
        static.push(REF, "3", "two")
    with pytest.raises(Conflict, match="which this machine has never seen"):
        static.push(REF, "4", "three")
    forced = push_package(static.home("two"), REF, force=True)
    assert installed(static.home("four"), REF) == forced.hash


def test_tags_and_versions(static: Static) -> None:
    home = static.home()
    first, second = static.push(REF, "1").hash, static.push(REF, "2").hash
    set_tag(home, Ref.parse(f"ada/iris@sha256:{first}"), "old")
    add_version(home, Ref.parse("ada/iris@old"), "1.0")
    assert {each["name"]: each["hash"] for each in tags(home, REF)} == {"latest": second, "old": first}
    assert [(each["name"], each["hash"]) for each in versions(home, REF)] == [("1.0", first)]
    with pytest.raises(Conflict, match="versions never move"):
        add_version(home, Ref.parse(f"ada/iris@sha256:{second}"), "1.0.0")
    with pytest.raises(Conflict, match="versions never move"):
        static.push(REF, "3", version="1.0")
    remove_tag(home, REF, "old")
    with pytest.raises(TagNotFound):
        installed(static.home("other"), Ref.parse("ada/iris@old"))
    with pytest.raises(VersionNotFound):
        installed(static.home("other"), Ref.parse("ada/iris@>=2"))
    assert installed(static.home("other"), Ref.parse("ada/iris@>=1")) == first


def test_a_tag_and_a_version_of_the_same_state(static: Static) -> None:
    static.push(REF, "1")
    again = push_package(static.home(), REF, tag="stable", version="1.0")
    assert not again.changed
    assert {each["name"] for each in tags(static.home(), REF)} == {"latest", "stable"}
    assert [each["name"] for each in versions(static.home(), REF)] == ["1.0"]


def test_search(static: Static, tmp_path: Path) -> None:
    for name, title in {"iris": "Flowers of Anderson", "penguins": "Birds of Palmer"}.items():
        (tmp_path / "build.yml").write_text(f"meta: {{title: {title}}}\ncontents: {{a: {{file: a.csv}}}}\n")
        (tmp_path / "a.csv").write_text("n\n1\n")
        build_package(static.home(), Ref("ada", name), tmp_path / "build.yml")
        push_package(static.home(), Ref("ada", name))
    home = static.home("other")
    assert [each["package"] for each in search(home, "")] == ["ada/iris", "ada/penguins"]
    assert [each["package"] for each in search(home, "OF birds")] == ["ada/penguins"]
    assert [each["matches"][0]["where"] for each in search(home, "iris")] == ["name"]
    (static.folder / "index/packages.json").unlink()
    assert [each["package"] for each in search(home, "")] == ["ada/iris", "ada/penguins"]
    delete(home, Ref("ada", "iris"))
    assert [each["package"] for each in search(home, "")] == ["ada/penguins"]


def test_a_lock_pins_a_folder(static: Static, tmp_path: Path) -> None:
    pushed = static.push(REF, "1").hash
    start_project(tmp_path)
    (tmp_path / "datapkg.yml").write_text("packages: [ada/iris]\n")
    write_lock(static.home("one"), tmp_path)
    static.push(REF, "2")
    (outcome,) = install_locked(static.home("two"), tmp_path, frozen=True)
    assert outcome.installed
    assert outcome.installed.hash == pushed


def test_read_without_installing(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    static.push(REF, "42")
    for name, value in static.home("lazy").settings.environ.items():
        monkeypatch.setenv(name, value)
    assert open_package("ada/iris").data()["n"].tolist() == [42]


def test_a_change_of_a_big_file_costs_what_changed(static: Static, tmp_path: Path) -> None:
    home, other, data = static.home(), static.home("other"), random.Random(0).randbytes(6 << 20)
    (tmp_path / "big.bin").write_bytes(data)
    build_package(home, REF, tmp_path / "big.bin")
    assert push_package(home, REF).bytes_sent > len(data)
    installed(other, REF)
    (tmp_path / "big.bin").write_bytes(data[: 3 << 20] + b"inserted" + data[3 << 20 :])
    build_package(home, REF, tmp_path / "big.bin")
    assert push_package(home, REF).bytes_sent < 1 << 20
    (outcome,) = install_packages(other, [REF])
    assert outcome.installed
    assert outcome.installed.bytes_received < 1 << 20
    assert installed(static.home("new"), REF) == outcome.installed.hash


def test_a_deleted_package_is_gone_and_its_versions_stay_taken(static: Static) -> None:
    static.push(REF, "1", version="1.0")
    delete(static.home(), REF)
    with pytest.raises(PackageNotFound):
        installed(static.home("other"), REF)
    with pytest.raises(Conflict, match="versions never move"):
        static.push(REF, "2", version="1.0")
    pushed = static.push(REF, "2", version="1.1").hash
    assert installed(static.home("other"), REF) == pushed


def test_a_version_that_moved_is_noticed(static: Static) -> None:
    static.push(REF, "1", version="1.0")
    installed(static.home("reader"), REF)
    shutil.rmtree(static.folder)
    static.push(REF, "2", "other", version="1.0")
    static.push(REF, "3", "other")
    with pytest.raises(IntegrityError, match="changed after it was read here"):
        installed(static.home("reader"), REF)


def test_there_are_no_accounts(static: Static) -> None:
    home = static.home()
    static.push(REF, "1")
    for call in (
        lambda: login(home, "dpk_x"),
        lambda: whoami(home),
        lambda: access(home, REF),
        lambda: grant(home, REF, "bob"),
    ):
        with pytest.raises(InvalidInput, match="a registry without a server: it has no accounts"):
            call()


def test_a_folder_that_is_no_registry(static: Static) -> None:
    with pytest.raises(Unreachable, match="there is no registry at file:"):
        installed(static.home(), REF)
    static.folder.mkdir()
    (static.folder / "thesis.txt").write_text("mine")
    with pytest.raises(Refused, match=r"is not a registry and is not empty: thesis\.txt is there"):
        static.push(REF, "1")
    assert [each.name for each in static.folder.iterdir()] == ["thesis.txt"]


def test_a_push_that_ended_before_the_log_is_resumed(static: Static, monkeypatch: pytest.MonkeyPatch) -> None:
    from datapkg.remote.static import publish

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "_check_sent", killed)
    with pytest.raises(KeyboardInterrupt):
        static.push(REF, "1")
    monkeypatch.undo()
    with pytest.raises(Unreachable):
        installed(static.home("other"), REF)
    pushed = static.push(REF, "1").hash
    assert installed(static.home("other"), REF) == pushed


def test_a_dry_run_sends_nothing(static: Static) -> None:
    static.push(REF, "1")
    before = static.files()
    dry = static.push(REF, "2", dry_run=True)
    assert (dry.changed, dry.objects_sent) == (True, 2)
    assert static.files() == before


def test_a_server_and_a_folder_have_the_same(person: Person, static: Static, tmp_path: Path) -> None:
    """Every byte, and all that is told of a package, but for times, who pushed, and wheels, which name the registry."""
    folder, ref = tmp_path / "data", person.ref("p")
    checks = "checks: {all: {columns: [n], not_null: true}}\n"
    folder.mkdir()
    homes = [person.home("server"), static.home("static")]
    for number in range(3):
        (folder / "big.bin").write_bytes(random.Random(0).randbytes(3 << 20) + b"!" * number)
        (folder / "t.csv").write_text(f"n\n{number}\n")
        (folder / "build.yml").write_text(
            checks + "contents: {t: {file: t.csv, checks: [all]}, big: {file: big.bin, transform: id}}\n"
        )
        for home in homes:
            build_package(home, ref, folder, message=f"number {number}")
            push_package(home, ref, tag=f"t{number}", version=f"1.{number}")
    server, files = (home.client() for home in homes)
    assert [told(server, ref, number) for number in range(3)] == [told(files, ref, number) for number in range(3)]


def told(client: Client, ref: Ref, number: int) -> list[Any]:
    """Return what a registry tells of a version, and all its bytes."""
    resolved = client.resolve(Ref.parse(f"{ref}@1.{number}"))
    manifest = client.manifest(ref, resolved.hash)
    sizes = read_manifest(manifest, resolved.hash).objects()
    objects = client.objects(ref)
    return [
        msgspec.structs.replace(resolved, unchecked=None),
        manifest,
        {hash: objects.read(hash) for hash in sizes},
        {hash: objects.chunks(hash, size) for hash, size in sizes.items() if size >= LONG_BYTES},
        {hash: objects.size(hash) for hash in sizes},
        client.checks(ref, resolved.hash),
        [msgspec.structs.replace(each, author="", pushed_at="", wheel=None) for each in client.log(ref)],
        client.tag_list(ref).tags,
        [(each.version, each.hash) for each in client.versions(ref)],
        client.package(ref).latest,
        [each.hash for each in client.log(ref)] == [client.resolve(Ref.parse(f"{ref}@t{n}")).hash for n in (2, 1, 0)],
    ]


def test_one_package_in_two_registries(static: Static, tmp_path: Path) -> None:
    """What the other registry has is no parent here, whichever was pushed to last."""
    home, other = static.home(), (tmp_path / "second").as_uri()
    for number in range(3):
        pushed = static.push(REF, str(number))
        assert push_package(home, REF, registry=other).hash == pushed.hash
    assert [len(list(home.client(url).log(REF))) for url in (static.url, other)] == [3, 3]
