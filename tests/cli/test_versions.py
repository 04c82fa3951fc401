"""Commands for versions and the states that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

import datapkg
from datapkg.format.names import Ref
from datapkg.home import Home
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


def test_the_beginning_of_a_hash_and_a_date_name_a_state(ada: Person, flowers: str, iris: Path, tmp_path: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    then = ada("log", flowers, "--remote", "--json").json["log"][0]["created_at"].replace("+00:00", "Z")
    second = changed(ada, flowers, iris)
    for number, state in enumerate((f"sha256:{first[:6]}", f"{{{then}}}")):
        ref = f"{flowers}@{state}"
        assert ada("install", ref, "--json").json["installed"][0]["hash"] == first
        assert ada("install", flowers).code == 0
        assert ada("show", ref, "--json").json["hash"] == first
        assert {each["hash"] for each in ada("log", ref, "--json").json["log"]} == {first}
        assert ada("tag", "add", ref, f"t{number}", "--json").json["hash"] == first
        assert ada("version", "add", ref, f"3.{number}", "--json").json["hash"] == first
        for line in (
            *(f"cat {flowers}/flowers@{state}", f"export {ref} {tmp_path / 'out'}{number}", f"fetch {ref}"),
            *(
                f"verify {ref}",
                f"cache keep {ref}",
                f"bundle {ref} -o {tmp_path}/{number}.dpkg",
            ),
            *(f"cp {ref} {ada.name}/copy{number}", f"merge {ref} -o {ada.name}/merged{number}"),
        ):
            ended = ada(*line.split())
            assert ended.code == 0, (line, ended.err)
        Path("build.yml").write_text(f"contents: {{a: {{package: '{flowers}/flowers@{state}'}}}}\n")
        assert ada("build", f"{ada.name}/made{number}", "build.yml").code == 0
        assert ada("show", f"{ada.name}/made{number}", "--json").json["nodes"]
    assert ada("show", flowers, "--json").json["hash"] == second
    early = ada("install", f"{flowers}@{{2020-01-01}}")
    assert (early.code, f"first pushed at {then[:19]}Z" in early.err) == (3, True)


def test_an_ambiguous_beginning_lists_the_candidates(
    ada: Person, flowers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ada.environment.items():
        monkeypatch.setenv(name, value)
    home, ref = Home(), Ref.parse(flowers)
    same = ["abcdef" + digit * 58 for digit in "01"]
    home.store.refs.set_pointers(ref, "tags", {f"t{number}": hash for number, hash in enumerate(same)})
    for command in ("show", "cat", "export", "verify", "fetch"):
        refused = ada(command, f"{flowers}@sha256:abcdef", *(["out"] if command == "export" else []), "--json")
        assert refused.error["detail"].get("candidates") == same, (command, refused.err)
