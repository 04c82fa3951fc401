"""Commands with packages that wheels pin: which state is shown, and how its data come here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from datapkg.home import Home
from tests.cli.conftest import Person, Run, changed
from tests.thin_wheels import put_wheel


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A library folder of this Python."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def pin(ada: Person, flowers: str, iris: Path, library: Path) -> Path:
    """The pin of the first pushed state of a package, which is here in a second one."""
    first = ada("show", flowers, "--json").json["hash"]
    changed(ada, flowers, iris)
    return put_wheel(library, Home(ada.environment).store.manifest(first), flowers, ada.environment["DATAPKG_REGISTRY"])


@pytest.fixture
def elsewhere(ada: Person, pin: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """The same user and environment on a machine that has no package."""
    return Person(ada.name, run, {**ada.environment, "DATAPKG_HOME": str(tmp_path / "elsewhere")}, monkeypatch)


def hash_of(pin: Path) -> str:
    hash: str = json.loads(pin.read_text())["hash"]
    return hash


def test_the_pinned_state_is_shown(ada: Person, flowers: str, pin: Path) -> None:
    shown = ada("show", flowers, "--json").json
    assert (shown["hash"], shown["why"], shown["is_imported"]) == (hash_of(pin), str(pin), True)
    assert f"the wheel of {pin} pins it; the current state is sha256:" in ada("show", flowers).err
    assert "setosa" in ada("cat", f"{flowers}/flowers").out
    assert "9.9" not in ada("cat", f"{flowers}/flowers").out
    assert ada("export", flowers, "out").code == 0
    assert "1.4" in Path("out/flowers.csv").read_text()


def test_ls_says_what_wheels_pin(ada: Person, flowers: str, pin: Path) -> None:
    (listed,) = ada("ls", "--json").json["packages"]
    registry = ada.environment["DATAPKG_REGISTRY"]
    assert listed["wheel"] == {"hash": hash_of(pin), "registry": registry, "path": str(pin)}
    assert listed["hash"] != hash_of(pin)
    lines = ada("ls").out.splitlines()
    assert [line for line in lines if hash_of(pin)[:12] in line and "pinned by wheel" in line]
    assert ada("install", f"{flowers}@1.0").code == 0
    (line,) = [line for line in ada("ls").out.splitlines() if flowers in line]
    assert f"{registry}, pinned by wheel" in line
    pin.unlink()
    assert ada("ls", "--json").json["packages"][0]["wheel"] is None


def test_ls_has_packages_that_only_a_wheel_names(elsewhere: Person, flowers: str, pin: Path) -> None:
    (listed,) = elsewhere("ls", "--json").json["packages"]
    assert (listed["package"], listed["hash"], listed["partial"], listed["states"]) == (flowers, hash_of(pin), True, [])
    assert "not here" in elsewhere("ls").out
    assert "setosa" in elsewhere("cat", f"{flowers}/flowers").out
    (listed,) = elsewhere("ls", "--json").json["packages"]
    assert listed["bytes_logical"] > 0


def test_fetch_installed_brings_all_that_wheels_pin(
    elsewhere: Person, ada: Person, flowers: str, pin: Path, library: Path, iris: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{ada.name}/other"
    assert ada("build", other, str(iris)).code == 0
    assert ada("push", other).code == 0
    state = ada("show", other, "--json").json["hash"]
    registry = ada.environment["DATAPKG_REGISTRY"]
    put_wheel(library, Home(ada.environment).store.manifest(state), other, registry)
    planned = elsewhere("fetch", "--installed", "--dry-run", "--json").json
    assert planned["dry_run"]
    assert [(each["package"], each["hash"]) for each in planned["planned"]] == [(flowers, hash_of(pin)), (other, state)]
    assert all(each["transfer"]["objects"] > 0 for each in planned["planned"])
    fetched = elsewhere("fetch", "--installed", "--json").json["fetched"]
    assert [(each["ref"], each["hash"]) for each in fetched] == [(flowers, hash_of(pin)), (other, state)]
    assert fetched[0]["bytes_received"] > 0
    elsewhere.environment["DATAPKG_REGISTRY"] = "http://127.0.0.1:9"
    assert "setosa" in elsewhere("cat", f"{flowers}/flowers").out
    again = elsewhere("fetch", "--installed", "--json").json["fetched"]
    assert [each["objects_received"] for each in again] == [0, 0]


def test_fetch_installed_goes_on_after_a_failure(elsewhere: Person, flowers: str, pin: Path, library: Path) -> None:
    (library / "datapkg/data/uciml").mkdir()
    (library / "datapkg/data/uciml/iris.pin.json").write_text("{")
    ended = elsewhere("fetch", "--installed", "--json")
    assert ended.code == 2
    assert "iris.pin.json cannot be read" in ended.err
    assert [each["package"] for each in ended.json["fetched"]] == [flowers]


def test_fetch_installed_asks_no_unknown_registry(elsewhere: Person, flowers: str, pin: Path) -> None:
    registry = elsewhere.environment.pop("DATAPKG_REGISTRY")
    del elsewhere.environment["DATAPKG_TOKEN"]
    refused = elsewhere("fetch", "--installed")
    assert refused.code == 7
    assert f"hint: datapkg config registry {registry}" in refused.err
    assert elsewhere("show", flowers).code == 7
    assert elsewhere("access", "add", flowers, "public", "--registry", registry).code != 0
    assert elsewhere("fetch", "--installed", "--registry", registry).code == 3  # it is private


def test_fetch_installed_without_wheels(elsewhere: Person, pin: Path, flowers: str) -> None:
    assert elsewhere("fetch").code == 2
    assert elsewhere("fetch", flowers, "--installed").code == 2
    pin.unlink()
    ended = elsewhere("fetch", "--installed", "--json")
    assert (ended.code, ended.json) == (0, {"fetched": []})
    assert "no wheel pins a package" in elsewhere("fetch", "--installed").err


def test_fetch_of_a_pinned_package_needs_no_install(elsewhere: Person, flowers: str, pin: Path) -> None:
    fetched = elsewhere("fetch", flowers, "--json").json["fetched"]
    assert [each["hash"] for each in fetched] == [hash_of(pin)]
    assert fetched[0]["objects_received"] > 0
