"""Commands for versions and the states that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

import datapkg
from tests.cli.conftest import Person, changed


def test_yank(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    done = ada("version", "yank", f"{flowers}@1.0", "-m", "wrong unit")
    assert done.out == f"{flowers}@1.0 is yanked; ranges of versions no longer mean it\n"
    assert "wrong unit" in ada("version", "ls", flowers).out
    assert "1.0 (yanked)" in ada("log", flowers).out
    assert ada("version", "ls", flowers, "--json").json["versions"][0]["yanked"] == "wrong unit"
    refused = ada("install", f"{flowers}@>=1")
    assert (refused.code, "yanked: 1.0: wrong unit" in refused.err) == (3, True)
    assert f"datapkg install {flowers}@1.0" in refused.err
    installed = ada("install", f"{flowers}@1.0")
    assert (installed.code, "yanked by its publisher" in installed.err) == (0, True)
    undone = ada("version", "unyank", f"{flowers}@1.0", "--json").json
    assert undone == {"package": flowers, "name": "1.0", "hash": first, "yanked": None}
    assert "yanked" not in ada("version", "ls", flowers).out


def test_yank_needs_a_version(ada: Person, flowers: str) -> None:
    refused = ada("version", "yank", flowers)
    assert (refused.code, f"datapkg version yank {flowers}@1.2.0" in refused.err) == (2, True)
    assert "datapkg version yank" in ada("version", "rm", flowers, "1.0").err


def test_yank_from_python(ada: Person, flowers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ada.environment.items():
        monkeypatch.setenv(name, value)
    exact = f"{flowers}@1.0"
    assert [datapkg.version(exact, yank=each)[0]["yanked"] for each in ("why", True, False)] == ["why", "", None]
    with pytest.raises(datapkg.errors.InvalidInput, match="about the version in the ref"):
        datapkg.version(exact, "2.0", yank=True)


def test_a_version_is_not_pushed_twice(ada: Person, flowers: str, iris: Path) -> None:
    (iris / "flowers.csv").write_text("petal,kind\n1.1,setosa\n")
    ada("build", flowers, str(iris))
    for dry in ([], ["--dry-run"]):
        refused = ada("push", flowers, "--version", "1.0.0", *dry)
        assert (refused.code, "versions never move" in refused.err) == (4, True)
    changed(ada, flowers, iris)
    refused = ada("version", "add", flowers, "1.0")
    assert (refused.code, "versions never move" in refused.err) == (4, True)


def test_a_version_of_a_deleted_package_is_refused_before_anything_is_sent(
    ada: Person, flowers: str, iris: Path
) -> None:
    assert ada("delete", flowers, "--yes").code == 0
    (iris / "flowers.csv").write_text("petal,kind\n1.1,setosa\n")
    ada("build", flowers, str(iris))
    for dry in (["--dry-run"], []):
        refused = ada("push", flowers, "--version", "1.0", "--force", *dry)
        assert (refused.code, "before the package was deleted" in refused.err) == (4, True)
    assert ada("push", flowers, "--version", "1.1", "--force").code == 0
