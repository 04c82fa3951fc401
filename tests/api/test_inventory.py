"""Python calls that list, tag, share, pin, configure and remove return the resulting state and print nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import datapkg
from datapkg.errors import Conflict, InvalidInput, NotFound
from tests.conftest import Person


@pytest.fixture
def package(person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a pushed package of the user of this process."""
    for name, value in person.environ().items():
        if name.startswith("DATAPKG_"):
            monkeypatch.setenv(name, value)
    (tmp_path / "data.csv").write_text("n\n1\n")
    ref = f"{person.name}/p"
    datapkg.build(ref, tmp_path / "data.csv")
    datapkg.push(ref, message="first")
    return ref


def test_each_call_returns_the_resulting_state(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hash = datapkg.hash(datapkg.load(package))
    assert [(each.package, each.hash) for each in datapkg.ls()] == [(package, hash)]
    assert [each["message"] for each in datapkg.log(package, remote=True)] == ["first"]
    assert [each["event"] for each in datapkg.log(package, remote=False)] == ["push", "build"]

    assert [each["name"] for each in datapkg.version(package, "1.0")] == ["1.0"]
    assert datapkg.version(package)[0]["hash"] == hash
    before = datapkg.tag(package)
    assert "stable" in str(datapkg.tag(f"{package}@1.0", "stable"))
    assert datapkg.tag(package, "stable", remove=True) == before == datapkg.tag(package)

    assert datapkg.access(package)["public"] is False
    assert datapkg.access(package, "public", confirm=True)["public"] is True
    assert datapkg.access(package, "public", remove=True) == datapkg.access(package)

    assert not datapkg.status(package)[0].changes
    (tmp_path / "data.csv").write_text("n\n2\n")
    assert datapkg.status(package)[0].changes.changed

    project = tmp_path / "project"
    project.mkdir()
    (project / "datapkg.yml").write_text(f"packages: ['{package}@1.0']\n")
    locked = datapkg.lock(project)
    assert (locked.path, [pin.hash for pin in locked.pins]) == (project / "datapkg.lock", [hash])

    assert datapkg.config("registries.work", "https://data.example.org") == "https://data.example.org"
    assert datapkg.config()["registries"] == {"work": "https://data.example.org"}
    assert datapkg.config("registries.work", unset=True) is None

    would = datapkg.rm(package, dry_run=True)
    assert [each.package for each in datapkg.ls()] == [package]
    done = datapkg.rm(package, now=True)
    assert (done.package, done.bytes_left, would.bytes_left) == (package, 0, 0)
    assert done.bytes_freed >= would.bytes_freed > 0
    assert datapkg.ls() == []
    assert datapkg.rm(now=True).package == ""
    assert capfd.readouterr() == ("", "")


def test_incomplete_calls_change_nothing(package: str) -> None:
    for call in (
        lambda: datapkg.tag(package, remove=True),
        lambda: datapkg.tag(package, state="sha256:abc"),
        lambda: datapkg.tag(package, "stable", state="sha256:abc", remove=True),
        lambda: datapkg.tag(f"{package}@latest", "stable", state="sha256:abc"),
        lambda: datapkg.version(package, state="sha256:abc"),
        lambda: datapkg.rm(),
        lambda: datapkg.rm(dry_run=True),
        lambda: datapkg.access(package, remove=True),
        lambda: datapkg.config(unset=True),
        lambda: datapkg.config("lazy", "1", unset=True),
    ):
        with pytest.raises(InvalidInput):
            call()
    with pytest.raises(NotFound):
        datapkg.status("no/such")


def test_pushed_state_can_be_tagged_while_a_newer_one_is_unpushed(package: str, tmp_path: Path) -> None:
    pushed = datapkg.hash(datapkg.load(package))
    (tmp_path / "data.csv").write_text("n\n7\n")
    datapkg.build(package, tmp_path / "data.csv")
    for call in (datapkg.tag, datapkg.version):
        with pytest.raises(Conflict, match="was not pushed"):
            call(package, "3.0" if call is datapkg.version else "good")
    assert datapkg.version(package, "3.0", state=pushed[:12])[-1]["hash"] == pushed
    assert {each["name"]: each["hash"] for each in datapkg.tag(package, "good", state=f"sha256:{pushed}")}[
        "good"
    ] == pushed
