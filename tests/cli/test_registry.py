"""The commands that need a registry, run for real: push, install, lock, tag, version, access, search, login, delete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Person, changed
from tests.cli.test_process import at_terminal
from tests.live_registry import LiveRegistry


def test_pushing_a_public_package_without_a_licence_gives_a_note(ada: Person, tmp_path: Path) -> None:
    package, folder = f"{ada.name}/notes", tmp_path / "notes"
    folder.mkdir()
    (folder / "notes.txt").write_text(f"of {ada.name}")  # unique bytes: public objects are not sent again
    ada("build", package, str(folder))
    assert ada("push", package, "--dry-run").err == ""
    assert "note: no licence is named" in ada("push", package, "--public", "--dry-run").err
    assert ada("push", package, "--public", "-q").err == ""
    (folder / "LICENSE").write_text("SPDX-License-Identifier: CC0-1.0\n")
    ada("build", package, str(folder))
    message = "note: 'LICENSE' names CC0-1.0; name it in build.yml too: meta: {licence: CC0-1.0}\n"
    assert ada("push", package, "--public").err == message
    (folder / "build.yml").write_text("meta: {licence: CC0-1.0}\ncontents: {notes: {file: notes.txt}}\n")
    ada("build", package, str(folder))
    assert ada("push", package, "--public", "--json").json["warnings"] == []


def test_push_json_output(ada: Person, iris: Path, registry: LiveRegistry) -> None:
    package = f"{ada.name}/flowers"
    for file in iris.iterdir():  # unique bytes: public objects of other tests are not sent again
        file.write_bytes(file.read_bytes() + f"1,{ada.name}\n".encode())
    hash = ada("build", package, str(iris), "--json").json["hash"]
    dry = ada("push", package, "--dry-run", "--json").json
    assert dry["dry_run"]
    assert dry["objects_sent"] == 4
    assert ada("log", package, "--remote").code == 3
    assert "nothing was sent" in ada("push", package, "--dry-run").out
    pushed = ada("push", package, "--json").json
    assert {key: pushed[key] for key in ("package", "hash", "objects_sent", "url")} == {
        "package": package,
        "hash": hash,
        "objects_sent": 4,
        "url": f"{registry.url}/{package}",
    }
    assert pushed["bytes_sent"] > pushed["bytes_logical"] > 256
    again = ada("push", package, "--json").json
    assert (again["changed"], again["objects_sent"]) == (False, 0)
    assert "already" in ada("push", package).out
    assert ada("push", package, "-q").out == f"{package}@sha256:{hash}\n"


def test_push_prints_the_next_command(ada: Person, iris: Path, registry: LiveRegistry) -> None:
    package = f"{ada.name}/flowers"
    ada("build", package, str(iris))
    out = ada("push", package).out
    for text in (f"{registry.url}/{package}\n", f"datapkg install {package}\n", f"datapkg access add {package} USER"):
        assert text in out
    unconfirmed = ada("push", package, "--public")
    assert (unconfirmed.code != 0, "--yes" in unconfirmed.err) == (True, True)
    assert "access add" not in ada("push", package, "--public", "--yes").out


def test_install_json_output(ada: Person, bob: Person, flowers: str) -> None:
    assert bob("install", flowers).code == 3
    ended = ada("access", "add", flowers, bob.name, "--json")
    assert ended.json == {"package": flowers, "public": False, "owner": ada.name, "readers": [bob.name], "writers": []}
    (installed,) = bob("install", flowers, "--json").json["installed"]
    assert installed["package"] == flowers
    assert installed["hash"] == ada("show", flowers, "--json").json["hash"]
    assert installed["objects_received"] == 3
    assert installed["bytes_received"] > 0
    assert installed["bytes_logical"] > 256
    assert "its data was here" in bob("install", flowers).out
    assert f"from datapkg.data.{ada.name} import flowers" in bob("install", flowers).out
    assert bob("install", flowers, "-q").out == f"{flowers}@sha256:{installed['hash']}\n"
    assert bob("cat", f"{flowers}/README.md").out == "# Flowers\n"
    assert ada("access", "rm", flowers, bob.name).out.endswith("nobody else\n")
    assert bob("install", flowers).code == 3


def test_writer_gets_no_hint_that_only_the_owner_can_follow(ada: Person, bob: Person, flowers: str, iris: Path) -> None:
    message = f"{flowers} belongs to {ada.name}; it can be written by {bob.name}; it can be read by nobody else\n"
    assert ada("access", "add", flowers, bob.name, "--write").out == message
    assert ada("access", "ls", flowers, "--json").json["writers"] == [bob.name]
    assert bob("install", flowers).code == 0
    (iris / "more.txt").write_text("more")
    assert bob("build", flowers, str(iris)).code == 0
    pushed = bob("push", flowers, "--tag", "his")
    assert pushed.code == 0
    assert "share it" not in pushed.out
    assert bob("delete", flowers, "--yes").code == bob("access", "add", flowers, "cyd").code == 7
    assert ada("access", "rm", flowers, bob.name).code == 0
    refused = bob("push", flowers, "--json").error
    assert refused["hint"] == f"datapkg cp {flowers} {bob.name}/flowers"


def test_install_one_state(ada: Person, flowers: str, iris: Path, bob: Person) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    second = changed(ada, flowers, iris)
    ada("access", "add", flowers, bob.name)
    for words in (("-v", "1.0"), ("-t", "stable"), ("-x", first), ("-x", first[:10])):
        assert bob("install", flowers, *words, "--json").json["installed"][0]["hash"] == first
    assert bob("install", f"{flowers}@latest", "--json").json["installed"][0]["hash"] == second
    assert bob("install", flowers, "-v", "3.0").code == 3
    for words in ((flowers, flowers, "-t", "stable"), (f"{flowers}@1.0", "-t", "stable"), ("-t", "stable")):
        assert bob("install", *words).code == 2
    assert bob("install", flowers, "-v", "1.0", "-t", "stable").code == 2


def test_install_continues_after_a_failure(ada: Person, flowers: str) -> None:
    nowhere = f"{ada.name}/nowhere"
    ended = ada("install", nowhere, flowers, f"{flowers}@9.9", "--json")
    assert ended.code == 3
    assert [each["package"] for each in ended.json["installed"]] == [flowers]
    assert [each["ref"] for each in ended.error["detail"]["failed"]] == [nowhere, f"{flowers}@9.9"]
    ended = ada("install", nowhere, flowers, f"{flowers}@9.9")
    assert ended.code == 3
    assert ended.out.startswith(f"installed {flowers}@sha256:")
    assert ended.err.count("error: ") == 2
    assert ended.err.index("nowhere") < ended.err.index("9.9")


def test_meta_only(ada: Person, bob: Person, flowers: str) -> None:
    ada("access", "add", flowers, bob.name)
    installed = bob("install", flowers, "--meta-only", "--json").json["installed"][0]
    assert installed["objects_received"] == 0
    assert re.search(r"\n  metadata only; [\d.]+ k?B not downloaded\n", bob("install", flowers, "--meta-only").out)
    assert bob("install", flowers, "--meta-only", "--include", "x").code == 2
    shown = bob("show", flowers, "--json").json
    assert shown["nodes"]
    assert shown["bytes_absent"] > 0
    assert f"get them  datapkg fetch {flowers}" in bob("show", flowers).out
    assert "partly here" in bob("ls").out
    assert bob("cat", f"{flowers}/README.md").code == 3
    assert bob("verify", "--json").json["absent"] > 0
    assert bob("fetch", flowers, "--json").json["fetched"][0]["objects_received"] > 0
    assert "partly here" not in bob("ls").out
    assert bob("show", flowers, "--json").json["bytes_absent"] == 0


def test_unknown_registry_must_be_named(
    ada: Person, stranger: Person, flowers: str, registry: LiveRegistry, tmp_path: Path
) -> None:
    ada("access", "add", flowers, "public", "--yes")
    del stranger.environment["DATAPKG_REGISTRY"]
    ended = stranger("install", flowers)
    assert (ended.code, "no registry is set" in ended.err) == (2, True)
    address = f"{registry.url}/{flowers}"
    ended = stranger("install", address)
    assert (ended.code, f"--registry {registry.url}" in ended.err) == (7, True)
    assert stranger("install", address, "--registry", registry.url).code == 0


def test_unknown_registry_prompts_at_a_terminal(
    ada: Person, registry: LiveRegistry, flowers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada("access", "add", flowers, "public", "--yes")
    for name in ("DATAPKG_REGISTRY", "DATAPKG_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "empty"))
    address = f"{registry.url}/{flowers}"
    question = f"{registry.url} is not in your settings".encode()
    code, screen = at_terminal(b"n\r", "install", address, wait_for=question)
    assert (code, "error: " in screen) == (7, True)
    code, screen = at_terminal(b"y\r", "install", address, wait_for=question)
    assert (code, f"installed {flowers}@sha256:" in screen) == (0, True)


def test_tags_and_versions(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    second = changed(ada, flowers, iris)
    tags = ada("tag", "ls", flowers, "--json").json["tags"]
    assert [(each["name"], each["hash"]) for each in tags] == [("latest", second), ("stable", first)]
    assert all(each["created_at"] for each in tags)
    assert ada("tag", "add", flowers, "stable", "--json").json["hash"] == second
    named = ada("tag", "add", f"{flowers}@1.0", "old").out.splitlines()
    assert named[0].startswith(f"sha256:{first[:12]} at http://")
    assert named[0].endswith(f"by {ada.name}: first")
    assert named[1] == f"{flowers}@old is sha256:{first[:12]}"
    assert ada("tag", "rm", flowers, "old").code == 0
    assert ada("tag", "rm", flowers, "old").code == 3
    assert "stable  sha256:" in ada("tag", "ls", flowers).out
    assert ada("version", "add", flowers, "1.1", "--json").json["hash"] == second
    assert ada("version", "add", f"{flowers}@1.0", "1.1").code == 4
    versions = ada("version", "ls", flowers, "--json").json["versions"]
    assert [(each["name"], each["hash"]) for each in versions] == [("1.0", first), ("1.1", second)]
    assert ada("version", "ls", flowers).out.splitlines()[1].startswith("1.0 ")
    log = ada("log", flowers, "--remote", "--json").json["log"]
    assert [each["hash"] for each in log] == [second, first]
    keys = {"event", "hash", "created_at", "author", "message", "tags", "versions", "origin", "copied_from"}
    keys |= {"parent", "parents", "bytes_logical"}
    assert log[1].keys() == keys
    assert "first" in ada("log", flowers).out
    assert "build" in ada("log", flowers, "--local").out


def test_access(ada: Person, stranger: Person, flowers: str) -> None:
    assert ada("access", "ls", flowers).out == f"{flowers} belongs to {ada.name}; it can be read by nobody else\n"
    unconfirmed = ada("access", "add", flowers, "public")
    assert (unconfirmed.code != 0, "--yes" in unconfirmed.err) == (True, True)
    assert "everybody" in ada("access", "add", flowers, "public", "--yes").out
    assert stranger("install", flowers).code == 0
    assert stranger("access", "add", flowers, "bob").code == 7
    assert ada("access", "rm", flowers, "public", "--json").json["public"] is False


def test_search(ada: Person, bob: Person, iris: Path) -> None:
    package = f"{ada.name}/botany"
    ada("build", package, str(iris))
    ada("push", package)
    found = ada("search", "botany", "--json").json["packages"]
    assert [each["package"] for each in found] == [package]
    assert found[0]["matches"] == [{"word": "botany", "where": "name", "text": package, "path": ""}]
    assert package in ada("search").out
    assert "FOUND IN" not in ada("search").out
    shown = ada("search", "botany", "petal", "--json").json["packages"][0]["matches"][1]
    assert (shown["where"], shown["text"]) == ("column", "petal")
    assert f"  name, column petal of {shown['path']}\n" in ada("search", "botany", "petal").out
    assert bob("search", "botany", "--json").json == {"packages": []}
    assert bob("search", "botany").out == "no package holds these words\n"


def test_accounts(ada: Person, registry: LiveRegistry) -> None:
    token = ada.environment.pop("DATAPKG_TOKEN")
    del ada.environment["DATAPKG_REGISTRY"]
    assert ada("whoami").code == 2
    ended = ada("login", "--token", "-", "--registry", registry.url, "--json", stdin=f"{token}\n")
    assert ended.json == {"registry": registry.url, "user": ada.name}
    assert ada("whoami").out == f"{ada.name} at {registry.url}\n"
    assert ada("whoami", "-q").out == f"{ada.name}\n"
    assert ada("logout", "--json").json == {"registry": registry.url, "was_logged_in": True}
    assert ada("logout").out == f"no token was kept for {registry.url}\n"
    assert ada("whoami").code == 7
    wrong = ada("login", "--token", "dpk_wrong")
    assert (wrong.code, "dpk_wrong" in wrong.err) == (7, False)
    assert ada("login", "--token", "").code == 2
    assert ada("login").code == 2


def test_delete(ada: Person, flowers: str) -> None:
    hash = ada("show", flowers, "--json").json["hash"]
    dry = ada("delete", flowers, "--dry-run", "--json").json
    assert dry == {"package": flowers, "deleted": False, "dry_run": True, "states": [{"hash": hash}]}
    assert ada("delete", flowers).code == 2
    assert ada("delete", f"{flowers}@1.0", "--yes").code == 2
    assert ada("install", flowers).code == 0
    assert ada("delete", flowers, "--yes", "--json").json["deleted"]
    assert ada("install", flowers).code == 3
    assert ada("delete", flowers, "--yes").code == 3
    assert ada("show", flowers).code == 0


def test_project_is_locked_and_installed(ada: Person, bob: Person, flowers: str, iris: Path) -> None:
    ada("access", "add", flowers, "public", "--yes")
    first = ada("show", flowers, "--json").json["hash"]
    assert bob("install").code == 2
    Path("datapkg.yml").write_text(f"packages: [{flowers}]\n")
    frozen = bob("install", "--frozen")
    assert (frozen.code, "hint: datapkg lock" in frozen.err) == (2, True)
    locked = bob("lock", "--json").json
    assert locked["lock"] == str(Path("datapkg.lock").absolute())
    assert [(each["package"], each["hash"]) for each in locked["packages"]] == [(flowers, first)]
    second = changed(ada, flowers, iris)
    for words in (("--frozen",), ()):
        assert bob("install", *words, "--json").json["installed"][0]["hash"] == first
    assert first[:12] in bob("lock").out
    assert bob("lock", "--update", "-q").out == ""
    assert bob("install", "--json").json["installed"][0]["hash"] == second
    Path("other.yml").write_text(f"packages: ['{flowers}:v:1.0']\n")
    assert bob("install", "-r", "other.yml", "--json").json["installed"][0]["hash"] == first
    assert bob("install", "-r", "none.yml").code == 2
    assert bob("install", flowers, "--frozen").code == 2
    assert bob("install", "--meta-only").code == 2


def test_unreachable_registry(ada: Person, flowers: str) -> None:
    ada.environment["DATAPKG_REGISTRY"] = "http://127.0.0.1:9"
    ended = ada("whoami", "--json")
    assert (ended.code, ended.error["code"]) == (8, "unreachable")


def test_objects_installed_with_another_package_count_as_present(ada: Person, bob: Person, flowers: str) -> None:
    ada("access", "add", flowers, bob.name)
    assert bob("cp", flowers, f"{bob.name}/copied").code == 0
    assert "partly here" in bob("ls").out
    bob("install", flowers)
    assert "partly here" not in bob("ls").out
    assert [each["partial"] for each in bob("ls", "--json").json["packages"]] == [False, False]


def test_missing_package_is_reported_with_the_registry(
    ada: Person, stranger: Person, registry: LiveRegistry, flowers: str
) -> None:
    ended = ada("install", f"{ada.name}/nowhere")
    assert ended.err == (
        f"error: package '{ada.name}/nowhere' not found at {registry.url}, or you lack access "
        "(the token from DATAPKG_TOKEN was sent)\n"
        f"hint: datapkg search nowhere --registry {registry.url}\n"
    )
    assert ada("search", "nowhere", "--registry", registry.url).code == 0
    ended = stranger("show", flowers, "--registry", registry.url)
    assert f"{flowers} is not installed; package '{flowers}' not found at {registry.url}, or you lack" in ended.err


def test_tag_that_looks_like_a_version_suggests_the_version_command(ada: Person, flowers: str) -> None:
    ended = ada("tag", "add", flowers, "7.1")
    assert ended.code == 2
    assert f"hint: datapkg version add {flowers} 7.1\n" in ended.err
    assert ada("version", "add", flowers, "7.1").code == 0


def test_access_for_an_unknown_user_is_explained(ada: Person, flowers: str) -> None:
    note = "note: if there is no user 'nobodyyet' yet, access starts once one of that name exists\n"
    assert ada("access", "add", flowers, "nobodyyet").err == note
    assert ada("access", "add", flowers, "public", "--yes").err == ""


def test_making_public_suggests_the_line_that_confirms(ada: Person, flowers: str) -> None:
    ended = ada("access", "add", flowers, "public")
    assert ended.code == 7
    assert f"hint: datapkg access add {flowers} public --yes (in Python: confirm=True)\n" in ended.err
    assert ada("access", "add", flowers, "public", "--yes").code == 0


def test_state_pushed_before_is_not_suggested_on_top_of_a_newer_one(
    ada: Person, bob: Person, flowers: str, iris: Path
) -> None:
    ada("access", "add", flowers, bob.name, "--write")
    bob("install", flowers)
    (iris / "README.md").write_text("# More flowers\n")
    bob("build", flowers, str(iris))
    newer = bob("push", flowers, "--json").json["hash"]
    for words in (("push", flowers), ("push", flowers, "--dry-run")):
        ended = ada(*words)
        assert ended.code == 4
        assert f"is sha256:{newer[:12]}… now, and sha256:" in ended.err
        assert "was pushed before that; nothing was pushed" in ended.err
        assert f"hint: datapkg install {flowers} (" in ended.err
    assert ada("log", flowers, "--remote", "--json").json["log"][0]["hash"] == newer
    assert ada("install", flowers, "--json").json["installed"][0]["hash"] == newer
