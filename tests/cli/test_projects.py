"""The commands of a project, run for real: add, remove, update, outdated, lock, install with groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.format.texts import hash_text
from tests.cli.conftest import Person


@pytest.fixture
def states(ada: Person, tmp_path: Path) -> list[str]:
    """Push two states of `data`, versions 1.0 and 2.0, and return their hashes."""
    return [push(ada, tmp_path, number, "--version", f"{number}.0") for number in (1, 2)]


def push(ada: Person, tmp_path: Path, number: int, *options: str) -> str:
    (tmp_path / "data.csv").write_text(f"n\n{number}\n")
    ada("build", f"{ada.name}/data", str(tmp_path / "data.csv"))
    pushed = ada("push", f"{ada.name}/data", *options, "--json").json
    return str(pushed["hash"])


def test_add_update_outdated_and_remove(ada: Person, states: list[str], tmp_path: Path) -> None:
    package = f"{ada.name}/data"
    added = ada("add", f"{package}@1.0")
    assert added.code == 0
    assert f"{package}  added  1.0 ({hash_text(states[0])})" in added.out
    assert f"installed {package}@sha256:{states[0]}" in added.out
    assert ada("outdated", "--json").json["outdated"] == [
        {
            "requirement": f"{package}@1.0",
            "group": "",
            "package": package,
            "pinned": {"hash": states[0], "version": "1.0"},
            "allowed": {"hash": states[0], "version": "1.0"},
            "latest": {"hash": states[1], "version": "2.0"},
        }
    ]
    assert ada("outdated").out.split()[4:8] == [f"{package}@1.0", "1.0", "1.0", "2.0"]
    failed = ada("outdated", "--check", "--json")
    assert (failed.code, failed.error["hint"]) == (5, f"datapkg add {package}@2.0")
    ada("add", package, "--group", "docs", "--no-install")
    assert ada("lock", "--check").code == 0
    assert ada("remove", package, "--group", "docs").code == 0
    changed = ada("add", f"{package}@>=1", "--json").json
    assert changed["changes"] == [
        {
            "package": package,
            "old": {"hash": states[0], "version": "1.0"},
            "new": {"hash": states[1], "version": "2.0"},
        }
    ]
    third = push(ada, tmp_path, 3, "--version", "3.0")
    assert ada("outdated", "--check", "--json").error["hint"] == "datapkg update"
    dry = ada("update", package, "--dry-run")
    assert f"changed  2.0 ({hash_text(states[1])}) -> 3.0 ({hash_text(third)})" in dry.out
    assert f"-> 3.0 ({hash_text(third)})" in ada("lock", "--update", "--dry-run").out
    assert ada("update", "--json").json["installed"][0]["hash"] == third
    assert "no pin changed" in ada("update").out
    assert "every pin is the latest state" in ada("outdated").out
    removed = ada("remove", package)
    assert f"datapkg rm {package}" in removed.out
    assert ada("remove", package).code == 3
    assert Path("datapkg.yml").read_text().endswith("packages:\ngroups:\n  docs:\n")


def test_add_and_update_name_what_is_left_to_do(ada: Person, states: list[str]) -> None:
    package = f"{ada.name}/data"
    assert ada("version", "yank", f"{package}@1.0", "-m", "wrong unit").code == 0
    Path("datapkg.yml").write_text(f"packages: []\ncheckout: {{data/raw: {package}}}\n")
    added = ada("add", f"{package}@1.0")
    assert f"note: yanked by its publisher: {package}@1.0: wrong unit" in added.err
    assert "update data/raw  datapkg install" in added.out + added.err
    assert "yanked by its publisher" in ada("lock", "--update").err
    unchanged = ada("add", f"{package}@1.0")
    assert "update data/raw" not in unchanged.out + unchanged.err
    Path("datapkg.yml").write_text(f"packages: [{package}@1.0]\ncheckout: {{../raw: {package}}}\n")
    refused = ada("add", f"{package}@2.0", "--json")
    assert (refused.code, refused.error["hint"]) == (2, "write checkout: {data/raw: user/name/raw}")
    Path("datapkg.yml").write_text(f"packages: [{package}@1.0]\n")
    assert ada("add", f"{package}@2.0").code == 0
    ada("rm", package)
    removed = ada("remove", package)
    assert (removed.code, "uninstall it" in removed.out + removed.err) == (0, False)


def test_add_in_the_spelling_of_pip_shows_what_to_type(ada: Person) -> None:
    failed = ada("add", "uciml/iris==1.0", "--json")
    assert (failed.code, failed.error["hint"]) == (2, "datapkg add uciml/iris@1.0 --json")


def test_changed_packages_upstream_show_what_to_type(ada: Person, states: list[str], tmp_path: Path) -> None:
    package, mix = f"{ada.name}/data", f"{ada.name}/mix"
    folder = tmp_path / "mix"
    folder.mkdir()
    (folder / "build.yml").write_text(f"contents:\n  data: {{package: {package}/data}}\n")
    ada("build", mix, str(folder))
    push(ada, tmp_path, 3)
    ada("install", f"{package}@2.0")
    lines = ada("status", mix, "--upstream").out.splitlines()
    assert lines[1] == "  nothing changed here"
    assert lines[2].startswith(f"  changed      data: {package}/data (sha256:{states[1][:12]}")
    assert lines[3:5] == [
        f"  take what changed  datapkg install {package}",
        f"  then build it      datapkg build {mix} {folder}",
    ]


def test_lock_check_lists_what_fails(ada: Person, states: list[str]) -> None:
    package = f"{ada.name}/data"
    ada("add", package)
    with Path("datapkg.yml").open("a") as file:
        file.write(f"groups: {{dev: [{package}/data, {package}/nope]}}\n")
    failed = ada("lock", "--check", "--json")
    assert (failed.code, failed.error["hint"]) == (2, "datapkg lock")
    assert [ref for ref, _ in failed.error["detail"]["problems"]] == [f"{package}/data", f"{package}/nope"]
    failed = ada("lock")
    assert failed.code == 3
    assert f"{package}/nope" in failed.err
    assert ada("lock", "--check", "--update").code == 2


def test_groups_are_installed_on_demand(ada: Person, states: list[str]) -> None:
    ada("add", f"{ada.name}/data", "--group", "docs", "--no-install")
    assert ada("install", "--frozen", "--json").json["installed"] == []
    assert ada("install", "--frozen", "--group", "docs", "--json").json["installed"][0]["hash"] == states[1]
    mistyped = ada("install", "--group", "dosc")
    assert (mistyped.code, "did you mean 'docs'" in mistyped.err) == (2, True)
    assert ada("install", f"{ada.name}/data", "--group", "docs").code == 2


def test_conflict_of_a_merge_names_the_command_that_settles_it(ada: Person, states: list[str]) -> None:
    ada("add", f"{ada.name}/data")
    lock = Path("datapkg.lock")
    lock.write_text(f"<<<<<<< HEAD\n{lock.read_text()}=======\n{lock.read_text()}>>>>>>> other\n")
    for command in (["install"], ["lock", "--check"], ["outdated"]):
        failed = ada(*command)
        assert (failed.code, "write it again with: datapkg lock" in failed.err) == (2, True)
    assert "1 pin in it could" in ada("lock").err
    assert ada("lock", "--check").code == 0


def test_lock_of_a_registry_that_moved(ada: Person, states: list[str]) -> None:
    ada("add", f"{ada.name}/data", "--no-install")
    old = ada.environment["DATAPKG_REGISTRY"]
    new = old.replace("127.0.0.1", "localhost")
    moved = ada("lock", "--registry", f"{old}={new}")
    assert (moved.code, f"note: 1 of 1 pins moved from {old} to {new}" in moved.err) == (0, True)
    assert [pin["registry"] for pin in ada("lock", "--json").json["packages"]] == [new]
    assert ada("install", "--frozen", "--registry", old, "--json").json["installed"][0]["hash"] == states[1]
    assert ada("lock", "--registry", f"{old}={new}").code == 3
    failed = ada("lock", "--registry", f"{old}=https://data.example.org", "--json")
    assert failed.error["hint"] == f"datapkg lock --registry {new}=https://data.example.org"
    assert ada("lock", "--registry", f"{old}={new}", "--update").code == 2
