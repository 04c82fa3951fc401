"""`show`, `cat` and `ls` on packages that are not installed, and on states that an import does not return."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.live_registry import LiveRegistry


@pytest.fixture
def me(registry: LiveRegistry, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a user who is logged in to the registry."""
    name = f"u{os.urandom(4).hex()}"
    monkeypatch.setenv("DATAPKG_REGISTRY", registry.url)
    monkeypatch.setenv("DATAPKG_TOKEN", registry.add_user(name))
    return name


@pytest.fixture
def pushed(run: Run, me: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """Return a package that only the registry has, with a check and a README, and its two states, oldest first."""
    source, package = tmp_path / "source", f"{me}/p"
    source.mkdir()
    (source / "README.md").write_text("# Hello\n")
    (source / "build.yml").write_text(
        "contents: {t: {file: t.csv, checks: {small: {column: n, max: 9}}}, README.md: {file: README.md}}\n"
    )
    hashes = []
    for rows in ("1\n2\n", "5\n"):
        (source / "t.csv").write_text(f"n\n{rows}")
        hashes.append(run("build", package, str(source), "--json").json["hash"])
        assert run("push", package, "--version", f"{len(hashes)}.0").code == 0
    monkeypatch.setenv("DATAPKG_HOME", str(tmp_path / "another home"))
    return package, hashes


def test_package_not_installed_is_shown_from_its_registry(
    run: Run, registry: LiveRegistry, pushed: tuple[str, list[str]]
) -> None:
    package, (old, new) = pushed
    ended = run("show", package)
    assert ended.err == f"note: {package} is not installed; showing the state at {registry.url}\n"
    assert ended.out.startswith(f"{package}@sha256:{new}\n")
    assert "\nchecks: 1 ok\n" in ended.out
    assert "  │ # Hello\n" in ended.out
    assert ended.out.endswith(
        f'  install it  datapkg install {package}\n  read it     datapkg.open("{package}@sha256:{new}")\n'
    )
    older = run("show", f"{package}@1.0")
    assert f"datapkg install {package}@1.0\n" in older.out
    assert older.err == f"note: {package}@1.0 is not installed; showing the state at {registry.url}\n"
    shown = run("show", f"{package}/t@1.0", "--json").json
    assert (shown["hash"], shown["registry"], shown["is_imported"]) == (old, registry.url, False)
    assert [each["check"] for each in shown["checks"]] == ["small"]
    assert run("cat", f"{package}/t").out == "n\n5\n"
    assert run("cat", f"{package}/t@1.0", "--json").json == [{"n": 1}, {"n": 2}]
    assert run("cat", f"{package}/README.md").out == "# Hello\n"
    assert "nothing is installed here" in run("ls").out, "show installs nothing"
    assert package in [each["package"] for each in run("ls", "--remote", "--json").json["packages"]]


def test_package_not_found(run: Run, registry: LiveRegistry, pushed: tuple[str, list[str]]) -> None:
    package, _ = pushed
    ended = run("show", "nobody/nothing")
    assert (ended.code, "datapkg search" in ended.err) == (3, True)
    assert run("show", f"{package}@7.0").code == 3
    assert run("show", f"{package}/nope").code == run("cat", f"{package}/nope").code == 3


def test_registry_is_queried_only_if_set_or_named(
    run: Run, registry: LiveRegistry, pushed: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, _ = pushed
    monkeypatch.setenv("DATAPKG_REGISTRY", "http://127.0.0.1:9")
    ended = run("show", package)
    assert f"{package} is not installed, and its registry cannot be asked: http://127.0.0.1:9" in ended.err
    monkeypatch.delenv("DATAPKG_REGISTRY")
    monkeypatch.delenv("DATAPKG_TOKEN")
    assert run("show", package).err == f"error: {package} is not installed\nhint: datapkg install {package}\n"
    message = run("show", package, "--registry", registry.url).err
    assert f"{package} is not installed; package '{package}' not found at {registry.url}, or you lack access" in message


def test_show_prints_the_line_that_loads_the_state(run: Run, pushed: tuple[str, list[str]]) -> None:
    package, (old, new) = pushed
    user, _, name = package.partition("/")
    run("install", f"{package}@1.0")
    assert run("show", package).out.endswith(f"  import it  from datapkg.data.{user} import {name}\n")
    run("install", package)
    for state in (f"sha256:{old}", f"sha256:{old[:10]}", "1.0"):
        assert f'  load it  datapkg.load("{package}@sha256:{old}")' in run("show", f"{package}@{state}").out
    assert run("show", f"{package}@2.0").out.endswith(f"  import it  from datapkg.data.{user} import {name}\n")
    remote = run("show", package, "--remote")
    assert f"@sha256:{new}\n" in remote.out
    assert remote.err.startswith("note: showing the state at http")


def test_checks_of_an_installed_package_are_shown_offline(
    run: Run, pushed: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    package, (old, new) = pushed
    assert run("install", package).code == run("install", f"{package}@1.0").code == 0
    assert run("install", f"{package}@sha256:{new}").code == 0, "from local data, without a request"
    monkeypatch.setenv("DATAPKG_REGISTRY", "http://127.0.0.1:9")
    for hash in (old, new):
        exact = f"{package}@sha256:{hash}"
        assert "\nchecks: 1 ok\n" in run("show", exact).out
        (check,) = run("show", exact, "--json").json["checks"]
        assert (check["path"], check["check"], check["outcome"]) == ("t", "small", "ok")


def test_long_lines_of_a_readme_are_wrapped(run: Run, tmp_path: Path) -> None:
    folder, words = tmp_path / "long", [f"word{number}" for number in range(40)]
    folder.mkdir()
    (folder / "README.md").write_text(f"# Title\n\n- {' '.join(words)}\n\n{'x' * 150}\n" + "more\n" * 20)
    assert run("build", "me/long", str(folder)).code == 0
    lines = [line for line in run("show", "me/long").out.splitlines() if line.startswith("  │")]
    assert len(lines) == 10
    assert max(map(len, lines)) <= 80
    assert " ".join(each.removeprefix("  │ ").strip() for each in lines[2:6]).split() == ["-", *words]
    assert "characters more" not in "".join(lines)
    assert "…" in run("show", "me/long").out
