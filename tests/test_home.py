"""Settings say where they come from, and a ref means the state that the design says."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

import pytest

from datapkg.errors import (
    Conflict,
    InvalidInput,
    InvalidLock,
    PackageNotInstalled,
    Refused,
    TagNotFound,
    VersionNotFound,
)
from datapkg.format.lockfile import Lock, Pin
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects import folder_lock
from datapkg.objects.files import private_folder
from datapkg.objects.folder_lock import changing
from datapkg.project import nearest_lock
from datapkg.remote.credentials import Credentials
from datapkg.resolve import find_installed
from datapkg.store.refs import Current, LogEvent

ONE, TWO = Manifest.make([], {"n": 1}), Manifest.make([], {"n": 2})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home({"DATAPKG_HOME": str(tmp_path / "home")})
    for manifest in (ONE, TWO):
        home.store.save(manifest)
        home.store.refs.append_log(Ref("u", "p"), LogEvent("build", manifest.hash, "2026-11-21T10:00:00+00:00"))
    home.store.refs.set_current(Ref("u", "p"), Current(TWO.hash, "local"))
    home.store.refs.set_pointers(Ref("u", "p"), "tags", {"stable": ONE.hash})
    home.store.refs.set_pointers(Ref("u", "p"), "versions", {"1.0": ONE.hash, "1.10": TWO.hash, "2.0rc1": ONE.hash})
    return home


def write_lock(folder: Path, hash: str) -> Path:
    (folder / "datapkg.lock").write_bytes(Lock((Pin("u/p", "u/p", "https://data.example.org", hash, 1),)).to_bytes())
    return folder / "datapkg.lock"


@pytest.mark.parametrize(
    ("text", "hash"),
    [
        ("u/p", TWO.hash),
        ("u/p@stable", ONE.hash),
        ("u/p@1.0", ONE.hash),
        ("u/p@1.0.0", ONE.hash),
        ("u/p@2.0.0rc1", ONE.hash),
        ("u/p@3.0", None),
        (f"u/p@sha256:{ONE.hash[:8]}", ONE.hash),
        (f"u/p@sha256:{ONE.hash}", ONE.hash),
        ("u/p@>=1,<2", TWO.hash),
    ],
)
def test_which_state_is_meant(home: Home, tmp_path: Path, text: str, hash: str | None) -> None:
    if hash is None:
        with pytest.raises(VersionNotFound):
            find_installed(home, Ref.parse(text), tmp_path)
    else:
        assert find_installed(home, Ref.parse(text), tmp_path).hash == hash


def test_what_is_not_here_says_what_to_type(home: Home, tmp_path: Path) -> None:
    cases = {"u/q": PackageNotInstalled, "u/p@9.9": VersionNotFound, "u/p@nope": TagNotFound}
    cases |= {"u/p@sha256:000000": PackageNotInstalled, "u/q@1.0": PackageNotInstalled}
    for text, error in cases.items():
        with pytest.raises(error) as caught:
            find_installed(home, Ref.parse(text), tmp_path)
        assert caught.value.hint == f"datapkg install {text}"


def test_hash_that_is_written_like_a_tag_is_recognized(home: Home) -> None:
    digits = "d0123456789a" * 2
    with pytest.raises(TagNotFound) as raised:
        find_installed(home, Ref.parse(f"u/p@{digits}"))
    assert raised.value.hint == f"datapkg install u/p@sha256:{digits}"


def test_the_nearest_lock_decides(home: Home, tmp_path: Path) -> None:
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    path = write_lock(tmp_path / "project", ONE.hash)
    found = find_installed(home, Ref.parse("u/p"), inner)
    assert (found.hash, found.why) == (ONE.hash, str(path))
    write_lock(inner, TWO.hash)
    assert find_installed(home, Ref.parse("u/p"), inner).hash == TWO.hash
    assert find_installed(home, Ref.parse("u/p@stable"), inner).hash == ONE.hash, "a ref's own state comes first"


def test_a_lock_above_the_repository_is_not_meant(home: Home, tmp_path: Path) -> None:
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    write_lock(tmp_path, ONE.hash)
    (tmp_path / "project" / ".git").mkdir()
    assert nearest_lock(inner) is None


def test_a_lock_of_somebody_else_is_passed_over(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lock(tmp_path, ONE.hash)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    if uid != 0:
        assert nearest_lock(path.parent) is None
    path.parent.chmod(0o777)
    with pytest.warns(UserWarning, match="belongs to somebody else"):
        assert nearest_lock(path.parent) is None


def test_a_lock_that_is_no_file_is_said(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "datapkg.lock")
    with pytest.raises(InvalidLock, match="not a regular file"):
        nearest_lock(tmp_path)


def test_a_pinned_state_that_is_absent_says_so(home: Home, tmp_path: Path) -> None:
    write_lock(tmp_path, "0" * 64)
    with pytest.raises(PackageNotInstalled, match="pinned to sha256:000000000000") as caught:
        find_installed(home, Ref.parse("u/p"), tmp_path)
    assert caught.value.hint == "datapkg install"


def test_a_damaged_lock_is_said_and_not_passed_over(home: Home, tmp_path: Path) -> None:
    (tmp_path / "datapkg.lock").write_text("{")
    with pytest.raises(InvalidLock, match="cannot be read"):
        find_installed(home, Ref.parse("u/p"), tmp_path)


def test_other_stores_are_looked_in_after_the_own(home: Home, tmp_path: Path) -> None:
    own = tmp_path / "own"
    other = Home({"DATAPKG_HOME": str(own), "DATAPKG_PATH": str(home.store.folder)})
    assert find_installed(other, Ref.parse("u/p"), tmp_path).hash == TWO.hash
    assert other.users() == ["u"]
    other.store.save(ONE)
    other.store.refs.set_current(Ref("u", "p"), Current(ONE.hash, "local"))
    assert find_installed(other, Ref.parse("u/p"), tmp_path).hash == ONE.hash
    assert Home({"DATAPKG_HOME": str(own)}).users() == ["u"]


def test_settings_say_where_they_come_from(tmp_path: Path) -> None:
    folder = {"DATAPKG_HOME": str(tmp_path)}
    home = Home(folder)
    assert (home.settings.get("registry").value, home.settings.get("registry").source) == (None, "default")
    home.settings.set("registry", "https://Data.example.org:443/")
    home.settings.set("registries.work", "http://127.0.0.1:8000")
    assert home.registry_url() == "https://data.example.org"
    assert home.registry_url("work") == "http://127.0.0.1:8000"
    assert home.settings.get("registry").source == str(tmp_path / "settings.json")
    with_env = Home({**folder, "DATAPKG_REGISTRY": "http://localhost:1"})
    assert with_env.registry_url() == "http://localhost:1"
    assert with_env.settings.get("registry").source == "DATAPKG_REGISTRY"
    home.settings.set("registry", None)
    with pytest.raises(InvalidInput, match="no registry is set") as caught:
        home.registry_url()
    assert "datapkg config registry" in caught.value.hint
    with pytest.raises(InvalidInput, match="no registry named 'home'"):
        home.registry_url("home")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data.example.org",
        "ftp://x",
        "https://",
        "https://u:p@x",
        "https://x?y",
        "s3://",
        "file://host/path",
        "ssh://me:secret@host/path",
        "https://x/path?q",
        "https://x:99999",
        "a b",
        "\x00",
    ],
)
def test_bad_addresses(tmp_path: Path, url: str) -> None:
    with pytest.raises(InvalidInput):
        Home({"DATAPKG_HOME": str(tmp_path)}).settings.set("registry", url)


def test_a_token_is_for_one_registry(tmp_path: Path) -> None:
    environ = {"DATAPKG_HOME": str(tmp_path), "DATAPKG_TOKEN": "dpk_env", "DATAPKG_REGISTRY": "https://a.example.org"}
    home = Home(environ)
    home.credentials.keep("https://b.example.org", "dpk_kept", "me")
    assert home.credential("https://a.example.org").token == "dpk_env"
    assert home.credential("https://b.example.org").token == "dpk_kept"
    assert home.credential("https://c.example.org").token is None
    assert (
        Home({"DATAPKG_HOME": str(tmp_path), "DATAPKG_TOKEN": "dpk_env"}).credential("https://a.example.org").token
        is None
    )
    assert os.stat(home.credentials.path).st_mode & 0o777 == 0o600


def test_of_two_logins_at_once_neither_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = [Home({"DATAPKG_HOME": str(tmp_path)}) for _ in range(2)]
    read, threads = Credentials._read, []

    def slow(credentials: Credentials) -> dict[str, object]:
        entries = read(credentials)
        if not threads:
            other = partial(homes[1].credentials.keep, "https://b.example.org", "dpk_b", "me")
            threads.append(threading.Thread(target=other))
            threads[0].start()
            threads[0].join(0.3)
        return entries

    monkeypatch.setattr(Credentials, "_read", slow)
    homes[0].credentials.keep("https://a.example.org", "dpk_a", "me")
    threads[0].join()
    known = [homes[0].credentials.token(f"https://{each}.example.org") for each in "ab"]
    assert known == ["dpk_a", "dpk_b"]
    assert homes[0].credentials.forget("https://a.example.org")
    assert homes[0].credentials.token("https://b.example.org") == "dpk_b"


def test_settings_of_another_process_are_not_lost(tmp_path: Path) -> None:
    old, other = Home({"DATAPKG_HOME": str(tmp_path)}), Home({"DATAPKG_HOME": str(tmp_path)})
    assert old.settings.get("registry").value is None  # read, and remembered
    other.settings.set("registry", "https://data.example.org")
    old.settings.set("registries.work", "https://work.example.org")
    assert Home({"DATAPKG_HOME": str(tmp_path)}).registry_url() == "https://data.example.org"
    with changing(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_lock, "WAIT_S", 0.1)
        with pytest.raises(Conflict, match="another command is changing files"):
            old.settings.set("timeout_s", "5")


@pytest.mark.parametrize("text", ["{", "[]", '{"registry": 3}', '{"timeout_s": "x"}'])
def test_a_damaged_settings_file_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InvalidInput):
        Home({"DATAPKG_HOME": str(tmp_path)}).settings.all()


def test_settings_of_a_wrong_type_are_not_written_on(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"registries": 5}')
    with pytest.raises(InvalidInput, match="registries"):
        Home({"DATAPKG_HOME": str(tmp_path)}).settings.set("registries.work", "https://data.example.org")


@pytest.mark.parametrize("entry", ['{"token": 5}', '{"token": null}', "5", "{}"])
def test_a_damaged_token_is_none(tmp_path: Path, entry: str) -> None:
    (tmp_path / "credentials.json").write_text('{"https://a.example.org": ' + entry + "}")
    assert Home({"DATAPKG_HOME": str(tmp_path)}).credential("https://a.example.org").token is None


def test_folders_above_the_own_ones_are_private_too(tmp_path: Path) -> None:
    """Their names are those of users and packages, such as of private ones."""
    private_folder(tmp_path / "a" / "b" / "c")
    assert [(tmp_path / each).stat().st_mode & 0o777 for each in ("a", "a/b", "a/b/c")] == [0o700] * 3
    private_folder(tmp_path / "a" / "b" / "c")
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="a file is there"):
        private_folder(tmp_path / "file" / "c")


def test_a_damaged_token_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"https://a.example.org": {"token": "dpk_SECRET\\nX: y"}}')
    with pytest.raises(InvalidInput) as caught:
        Home({"DATAPKG_HOME": str(tmp_path)}).credential("https://a.example.org")
    assert "SECRET" not in str(caught.value)


def test_files_of_a_read_only_store_are_linked_elsewhere(home: Home, tmp_path: Path) -> None:
    from datapkg.format.manifest.parsed import FileNode

    (hash,) = home.store.objects.put_many([b"text"])
    node = FileNode(path="a", hash=hash, size=4, file_name="a.txt")
    manifest = Manifest.make([node])
    home.store.save(manifest)
    home.store.refs.set_current(Ref("u", "p"), Current(manifest.hash, "local"))
    other = Home({"DATAPKG_HOME": str(tmp_path / "own"), "DATAPKG_PATH": str(home.store.folder)})
    found = find_installed(other, Ref.parse("u/p"), tmp_path)
    path = found.store.links.path(found.hash, node)
    assert path.read_text() == "text"
    assert path.is_relative_to(tmp_path / "own")
    assert not (home.store.folder / "links").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATAPKG_LAZY", "perhaps"),
        ("DATAPKG_TIMEOUT_S", "soon"),
        ("DATAPKG_MAX_SOURCE_BYTES", "-1"),
        ("DATAPKG_REGISTRY", "nonsense"),
    ],
)
def test_a_variable_with_a_wrong_value_is_named(variable: str, value: str) -> None:
    home = Home({"DATAPKG_HOME": "/nowhere", variable: value})
    with pytest.raises(InvalidInput, match=f"^{variable}: ") as caught:
        home.settings.all()
    assert value in caught.value.message
    assert caught.value.hint == f"unset {variable}"


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=f"DATAPKG_HOME is {tmp_path}/file, which is not a folder"):
        Home({"DATAPKG_HOME": str(tmp_path / "file")})


def test_store_on_read_only_media_has_its_links_in_the_cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.store.links_folder == home.data / "store" / "links"
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK and "store" in str(path)))
    again = Home({"DATAPKG_HOME": str(home.data)})
    assert again.store.links_folder == again.cache / "links"
    assert Home({"DATAPKG_HOME": str(home.data / "new")}).store.links_folder == home.data / "new" / "store" / "links"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Data.example.org:443/", "https://data.example.org"),
        ("https://data.example.org//some/folder/", "https://data.example.org/some/folder"),
        ("/mnt/share/../data/", "file:///mnt/data"),
        ("file:///mnt/some%20data", "file:///mnt/some%20data"),
        ("file://localhost/mnt/data", "file:///mnt/data"),
        ("s3://bucket/", "s3://bucket"),
        ("gs://bucket/some//prefix/", "gs://bucket/some/prefix"),
        ("ssh://me@host:2222/data/", "ssh://me@host:2222/data"),
    ],
)
def test_addresses_have_a_normal_form(tmp_path: Path, text: str, url: str) -> None:
    home = Home({"DATAPKG_HOME": str(tmp_path)})
    assert home.registry_url(text) == url
    home.settings.set("registries.work", text)
    assert home.registry_url("work") == url
    assert home.is_known(url)


def test_a_folder_is_named_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = Home({"DATAPKG_HOME": str(tmp_path / "home")})
    assert home.registry_url("./registry") == (tmp_path / "registry").as_uri()
    assert home.registry_url("~/registry") == (Path.home() / "registry").as_uri()
