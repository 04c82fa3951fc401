"""`datapkg stubs`: which packages it covers, where it writes, and which files it keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from datapkg.format.lockfile import Lock, Pin
from datapkg.format.names import Ref
from datapkg.home import Home
from tests.cli.conftest import Run
from tests.reading.packages import file_node, install, install_iris

FILES = [
    "data/__init__.pyi",
    "data/uciml/__init__.pyi",
    "data/uciml/_iris.pyi",
    "data/uciml/iris/__init__.pyi",
    "py.typed",
]


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def test_stubs_are_written_once(run: Run) -> None:
    hash = install_iris(Home())
    ended = run("stubs", "--into", "typings", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["packages"] == [{"package": "uciml/iris", "hash": hash}]
    assert sorted(ended.json["written"]) == FILES == files(Path("typings/datapkg-stubs"))
    classes = Path("typings/datapkg-stubs/data/uciml/_iris.pyi").read_text()
    assert classes.startswith(f"# Made by datapkg stubs from uciml/iris@sha256:{hash}; do not edit.\n")
    assert Path("typings/datapkg-stubs/py.typed").read_text() == "partial\n"
    assert Path("typings/datapkg-stubs/py.typed").stat().st_mode & 0o777 == 0o644
    again = run("stubs", "--into", "typings", "--json").json
    assert (again["written"], again["removed"]) == ([], [])


def test_default_target_is_site_packages(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_iris(Home())
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / name))
    (tmp_path / "purelib").mkdir()
    ended = run("stubs")
    assert "mypy, pyright and PyCharm find them" in ended.out
    assert files(tmp_path / "purelib" / "datapkg-stubs") == FILES


def test_only_stubs_of_removed_packages_are_deleted(run: Run) -> None:
    home = Home()
    install_iris(home)
    install(home, "examples/other", file_node(home, "f", b"1"))
    run("stubs", "--into", "typings")
    folder = Path("typings/datapkg-stubs")
    own = folder / "data" / "uciml" / "own.pyi"
    own.write_text("x: int\n")
    home.store.refs.remove(Ref("examples", "other"))
    assert len(run("stubs", "--into", "typings", "--json").json["removed"]) == 3
    assert files(folder) == sorted([*FILES, "data/uciml/own.pyi"])
    assert not (folder / "data" / "examples").exists()
    home.store.refs.remove(Ref("uciml", "iris"))
    run("stubs", "--into", "typings")
    assert files(Path("typings")) == ["datapkg-stubs/data/uciml/own.pyi"]
    own.unlink()


def test_links_in_the_stubs_folder_are_not_followed(run: Run, tmp_path: Path) -> None:
    install_iris(Home())
    (tmp_path / "elsewhere").mkdir()
    for link in ("typings/datapkg-stubs/data/uciml", "typings/datapkg-stubs/data", "typings/datapkg-stubs"):
        Path(link).parent.mkdir(parents=True, exist_ok=True)
        Path(link).symlink_to(tmp_path / "elsewhere")
        ended = run("stubs", "--into", "typings")
        assert ended.code == 4
        assert "in the way" in ended.err
        assert files(tmp_path / "elsewhere") == []
        shutil.rmtree("typings")
    Path("typings/datapkg-stubs").mkdir(parents=True)
    Path("typings/datapkg-stubs/py.typed").symlink_to(tmp_path / "elsewhere" / "py.typed")
    assert run("stubs", "--into", "typings").code == 4
    assert files(tmp_path / "elsewhere") == []


def test_foreign_file_is_never_overwritten(run: Run) -> None:
    install_iris(Home())
    strange = Path("typings/datapkg-stubs/data/uciml/__init__.pyi")
    strange.parent.mkdir(parents=True)
    strange.write_text("iris: int\n")
    ended = run("stubs", "--into", "typings")
    assert ended.code == 4
    assert str(strange) in ended.err
    assert files(Path("typings")) == ["datapkg-stubs/data/uciml/__init__.pyi"]


@pytest.mark.parametrize(("option", "code"), [("--dry-run", 0), ("--check", 5)])
def test_check_and_dry_run_write_nothing(run: Run, option: str, code: int) -> None:
    home = Home()
    install_iris(home)
    ended = run("stubs", "--into", "typings", option)
    assert ended.code == code
    assert "5 files would be written" in ended.out
    assert not Path("typings").exists()
    run("stubs", "--into", "typings")
    assert run("stubs", "--into", "typings", option).code == 0
    install(home, "uciml/iris", file_node(home, "f", b"1"))
    ended = run("stubs", "--into", "typings", option)
    assert ended.code == code
    assert ("hint: datapkg stubs --into typings" in ended.err) == bool(code)


def test_locked_state_is_used(run: Run) -> None:
    home = Home()
    locked = install_iris(home)
    install(home, "uciml/iris", file_node(home, "later", b"1"))
    pin = {"requirement": "uciml/iris", "package": "uciml/iris", "registry": "https://x.org", "hash": locked, "size": 1}
    Path("datapkg.lock").write_text(json.dumps({"datapkg": 1, "packages": [pin]}))
    assert run("stubs", "--into", "typings", "--json").json["packages"][0]["hash"] == locked


def test_unreadable_package_is_named_and_the_others_are_written(run: Run) -> None:
    home = Home()
    install_iris(home)
    pin = {"requirement": "a/b", "package": "a/b", "registry": "https://x.org", "hash": "1" * 64, "size": 1}
    Path("datapkg.lock").write_text(json.dumps({"datapkg": 1, "packages": [pin]}))
    ended = run("stubs", "--into", "typings")
    assert ended.code == 3
    assert "a/b has no stub" in ended.err
    assert "datapkg install" in ended.err
    assert files(Path("typings/datapkg-stubs")) == FILES


def test_nothing_is_written_without_installed_packages(run: Run) -> None:
    ended = run("stubs", "--into", "typings")
    assert ended.code == 0
    assert "datapkg install USER/NAME" in ended.out
    assert not Path("typings").exists()


def test_folder_that_cannot_be_created_is_an_error(run: Run) -> None:
    install_iris(Home())
    Path("typings").write_text("")
    ended = run("stubs", "--into", "typings")
    assert ended.code == 2
    assert "cannot be written" in ended.err
    assert "Traceback" not in ended.err


def test_folder_in_the_store_with_an_invalid_name_is_skipped(run: Run) -> None:
    home = Home()
    install_iris(home)
    current = home.store.refs.folder / "uciml" / "iris" / "current"
    odd = home.store.refs.folder / "import" / "no-name"
    odd.mkdir(parents=True)
    (odd / "current").write_bytes(current.read_bytes())
    assert [each["package"] for each in run("stubs", "--into", "t", "--json").json["packages"]] == ["uciml/iris"]


def test_only_locked_packages_are_covered_with_lock(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    hash = install_iris(home)
    install(home, "examples/other", file_node(home, "f", b"1"))
    ended = run("stubs", "--lock", "--into", "typings")
    assert (ended.code, "datapkg lock" in ended.err) == (2, True)
    Path("datapkg.lock").write_bytes(Lock((Pin("uciml/iris", "uciml/iris", "https://a.example", hash, 0),)).to_bytes())
    assert run("stubs", "--into", "typings").code == 0
    ended = run("stubs", "--into", "typings", "--lock", "--check")
    assert ended.code == 5
    assert "datapkg stubs --into typings --lock" in ended.err
    assert run("stubs", "--into", "typings", "--lock", "--json").json["packages"] == [
        {"package": "uciml/iris", "hash": hash}
    ]
    assert files(Path("typings/datapkg-stubs")) == FILES

    monkeypatch.setenv("DATAPKG_HOME", "another_machine")
    install(Home(), "examples/third", file_node(Home(), "f", b"1"))
    install_iris(Home())
    assert run("stubs", "--into", "typings", "--lock", "--check").code == 0
    assert run("stubs", "--into", "typings", "--check").code == 5
