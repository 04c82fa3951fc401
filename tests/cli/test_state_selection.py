"""Which state a new tag or version, a log, an install or a lock refers to, and what a list of states shows."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

import datapkg
from datapkg.errors import NodeNotFound
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.reading.files.fsspec_filesystem import DatapkgFileSystem
from datapkg.reading.files.tree import FileTree
from datapkg.reading.missing import registry_states
from datapkg.reading.opening import open_source
from tests.cli.conftest import Person, Run, changed


def build(ada: Person, package: str, iris: Path, text: str, message: str = "") -> str:
    (iris / "flowers.csv").write_text(text)
    hash: str = ada("build", package, str(iris), "-m", message, "--json").json["hash"]
    return hash


@pytest.mark.parametrize(("kind", "name"), [("version", "2.0"), ("tag", "good")])
def test_name_is_not_given_to_an_older_state_than_the_newest_local_one(
    ada: Person, flowers: str, iris: Path, kind: str, name: str
) -> None:
    pushed = ada("show", flowers, "--json").json["hash"]
    mine = build(ada, flowers, iris, "petal\n1\n")
    refused = ada(kind, "add", flowers, name)
    assert refused.code == 4
    assert f"sha256:{mine[:12]}, was not pushed" in refused.err
    assert f"hint: datapkg push {flowers} --{kind} {name} (" in refused.err
    assert name not in ada(kind, "ls", flowers).out
    assert ada(kind, "add", flowers, name, "--state", mine).code == 3
    assert ada(kind, "add", f"{flowers}@1.0", name, "--state", pushed).code == 2
    assert ada(kind, "add", flowers, name, "--state", f"sha256:{pushed[:9]}", "--json").json["hash"] == pushed
    assert ada("push", flowers).code == 0
    assert ada("tag", "add", flowers, "after", "--json").json["hash"] == mine


def test_name_is_shown_on_this_machine(ada: Person, flowers: str) -> None:
    assert ada("version", "add", flowers, "1.5").code == 0
    (listed,) = ada("ls", "--json").json["packages"]
    assert [each["name"] for each in listed["states"][0]["versions"]] == ["1.0", "1.5"]


def test_tagging_does_not_mark_pushes_of_others_as_seen(ada: Person, flowers: str, iris: Path) -> None:
    own = ada.environment["DATAPKG_HOME"]
    ada.environment["DATAPKG_HOME"] = f"{own}-other"
    assert ada("install", flowers).code == 0
    changed(ada, flowers, iris)
    ada.environment["DATAPKG_HOME"] = own
    assert ada("tag", "add", flowers, "seen").code == 0
    build(ada, flowers, iris, "petal\n2\n")
    assert "somebody pushed" in ada("push", flowers).err


def test_log_has_local_builds_and_each_push_once(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    local = build(ada, flowers, iris, "petal\n1\n", "mine")
    entries = ada("log", flowers, "--json").json["log"]
    assert [(each["event"], each["hash"], each["message"]) for each in entries] == [
        ("build", local, "mine"),
        ("push", first, "first"),
        ("build", first, ""),
    ]
    assert [each["name"] for each in entries[1]["versions"]] == ["1.0"]
    assert entries[1]["versions"] == entries[2]["versions"]
    assert entries[0]["versions"] == []
    assert [each["event"] for each in ada("log", flowers, "--remote", "--json").json["log"]] == ["push"]
    assert [each["event"] for each in ada("log", flowers, "--local", "--json").json["log"]] == [
        "build",
        "push",
        "build",
    ]


def test_log_without_the_registry_suggests_the_local_log(ada: Person, flowers: str) -> None:
    ada.environment["DATAPKG_REGISTRY"] = "http://127.0.0.1:9"
    ended = ada("log", flowers)
    assert (ended.code, f"hint: datapkg log {flowers} --local" in ended.err) == (8, True)
    assert ada("log", flowers, "--local").code == 0


def test_log_of_one_state(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    local = build(ada, flowers, iris, "petal\n1\n")
    for state in ("1.0", "stable", f"sha256:{first[:8]}"):
        assert {each["hash"] for each in ada("log", f"{flowers}@{state}", "--json").json["log"]} == {first}
    assert [each["hash"] for each in ada("log", f"{flowers}@sha256:{local}", "--json").json["log"]] == [local]
    for state in ("nope", "9.9", "sha256:000000"):
        assert ada("log", f"{flowers}@{state}").code == 3
        assert ada("log", f"{flowers}@{state}", "--local").code == 3
    assert ada("log", f"{flowers}/README.md").code == 2


def test_log_shows_changes(ada: Person, flowers: str, iris: Path) -> None:
    build(ada, flowers, iris, "petal\n1\n")
    newest, pushed, _ = ada("log", flowers, "--changes", "--json").json["log"]
    (change,) = newest["changes"]
    assert change["what"][0] == "column kind removed"
    assert {each["change"] for each in pushed["changes"]} == {"added"}
    text = ada("log", flowers, "--changes").out
    assert "\n  changed  flowers  column kind removed, column petal: double → int64, 2 → 1 rows\n" in text
    dry = ada("push", flowers, "--dry-run", "--json").json
    assert dry["changes"] == newest["changes"]


def test_unpushed_state_is_installed_by_its_short_hash(ada: Person, flowers: str, iris: Path) -> None:
    local = build(ada, flowers, iris, "petal\n1\n")
    build(ada, flowers, iris, "petal\n2\n")
    assert ada("install", f"{flowers}@sha256:{local[:8]}").code == 0
    assert ada("show", flowers, "--json").json["hash"] == local
    del ada.environment["DATAPKG_REGISTRY"]
    assert ada("install", flowers, "-x", local[:12], "--json").json["installed"][0]["hash"] == local


def test_all_stored_states_are_listed(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    states = [build(ada, flowers, iris, f"petal\n{number}\n") for number in range(7)]
    (listed,) = ada("ls", "--json").json["packages"]
    assert [each["hash"] for each in listed["states"]] == [*states[::-1], first]
    assert [each["name"] for each in listed["states"][-1]["tags"]] == ["latest", "stable"]
    lines = ada("ls").out.splitlines()
    assert len(lines) == 1 + 1 + 5 + 1
    assert "… 2 more" in lines[-1]
    assert "1.0, latest, stable" not in "".join(lines)


def test_status_suggests_the_review_of_an_unpushed_build(ada: Person, flowers: str, iris: Path) -> None:
    review = f"datapkg push {flowers} --dry-run"
    assert review not in ada("status", flowers).out
    build(ada, flowers, iris, "petal\n1\n")
    assert review in ada("status", flowers).out
    assert ada("status", flowers, "--json").json["packages"][0]["is_pushed"] is False


def test_lock_that_decides_the_state_is_named(ada: Person, flowers: str, iris: Path) -> None:
    first = ada("show", flowers, "--json").json["hash"]
    second = changed(ada, flowers, iris)
    Path("datapkg.yml").write_text(f"packages: ['{flowers}@1.0']\n")
    assert ada("lock").code == 0
    installed = ada("install", flowers)
    assert f"pins {flowers} to sha256:{first[:12]}" in installed.err
    assert "import it" not in installed.out
    lock = str(Path("datapkg.lock").absolute())
    assert ada("install", flowers, "--json").json["installed"][0]["overruled_by"] == lock
    note = f"note: {flowers} is sha256:{first[:12]} here: {lock} pins it; the current state is sha256:{second[:12]}\n"
    for words in (("show", flowers), ("cat", f"{flowers}/README.md"), ("export", flowers, "out")):
        assert ada(*words).err == note
    assert ada("show", flowers, "--json").json["why"] == lock
    assert ada("show", f"{flowers}@1.0").err == ""
    assert "import it" in ada("install").out
    assert ada("show", flowers).err == ""


def test_removed_node_is_reported_with_the_states_that_had_it(ada: Person, flowers: str, iris: Path) -> None:
    (iris / "picture.bin").unlink()
    (iris / "flowers.csv").write_text("petal\n1\n")
    hash = ada("build", flowers, str(iris), "--json").json["hash"]
    for words in (("show", f"{flowers}/picture.bin"), ("cat", f"{flowers}/picture.bin")):
        ended = ada(*words)
        assert ended.code == 3
        assert f"{flowers} has no node 'picture.bin'" in ended.err
        assert f"(the state is sha256:{hash[:12]}; it was in 1.0)" in ended.err
        assert f"hint: datapkg show {flowers}@1.0\n" in ended.err
    assert f"(the state is sha256:{hash[:12]})" in ada("show", f"{flowers}/never").err
    assert ada("push", flowers).code == 0
    for words in (("install", f"{flowers}/picture.bin"), ("fetch", f"{flowers}/picture.bin")):
        assert f"(the state is sha256:{hash[:12]}; it was in 1.0)" in ada(*words).err


@pytest.fixture
def without_picture(ada: Person, flowers: str, iris: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the hash of the newest state of a package, the only one installed, which lost a file and a table."""
    (iris / "picture.bin").unlink()
    (iris / "README.md").write_text("# Fewer\n")
    (iris / "flowers.csv").rename(iris / "plants.csv")
    hash: str = ada("build", flowers, str(iris), "--json").json["hash"]
    assert ada("push", flowers, "-v", "2.0").code == 0
    ada.environment["DATAPKG_HOME"] += "-other"
    assert ada("install", flowers).code == 0
    return hash


def test_removed_node_is_looked_up_at_the_registry(ada: Person, flowers: str, without_picture: str) -> None:
    message = f"(the state is sha256:{without_picture[:12]}; it was in 1.0)\nhint: datapkg show {flowers}@1.0\n"
    for words in (
        ("show", f"{flowers}/picture.bin"),
        ("cat", f"{flowers}/picture.bin"),
        ("fetch", f"{flowers}/flowers"),
    ):
        assert ada(*words).err.endswith(message)
    assert ada("show", f"{flowers}/never").err.endswith(
        f"(the state is sha256:{without_picture[:12]})\nhint: datapkg show {flowers}\n"
    )
    ada.environment["DATAPKG_HOME"] += "-empty"
    assert ada("show", f"{flowers}/picture.bin").err.endswith(message), "of a package that is not installed"


def test_removed_node_is_looked_up_by_every_file_reader(ada: Person, flowers: str, without_picture: str) -> None:
    assert ada("show", flowers).code == 0
    message = r"it was in 1\.0\)"
    for path in ("picture.bin", "flowers.parquet", "flowers"):
        with pytest.raises(FileNotFoundError, match=message):
            DatapkgFileSystem().info(f"{flowers}/{path}")
        with datapkg.open_hook("shown", flowers), pytest.raises(FileNotFoundError, match=message):
            Path("shown", path).read_bytes()
    with pytest.raises(NodeNotFound, match=message):
        FileTree(open_source(Ref.parse(flowers), Home())).look("picture.bin")
    with pytest.raises(NodeNotFound, match=message):
        datapkg.load(f"{flowers}/picture.bin")


def test_registry_is_queried_only_when_the_error_message_is_read(
    ada: Person, flowers: str, without_picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ada("show", flowers).code == 0
    asked: list[str] = []
    real = registry_states._asked
    monkeypatch.setattr(registry_states, "_known", {})
    monkeypatch.setattr(registry_states, "_asked", lambda url, *rest: asked.append(url) or real(url, *rest))
    package = datapkg.load(flowers)
    assert not hasattr(package, "picture")
    assert not DatapkgFileSystem().exists(f"{flowers}/picture.bin")
    assert asked == []
    for _ in range(3):
        with pytest.raises(NodeNotFound, match="it was in 1"):
            package["picture.bin"]
    assert asked == [ada.environment["DATAPKG_REGISTRY"]], "once for all of them"


def test_unreachable_registry_does_not_delay_an_error(ada: Person, flowers: str, without_picture: str) -> None:
    registry_states._known.clear()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        ada.environment |= {"DATAPKG_REGISTRY": url}
        assert ada("show", flowers).code == 0
        user, name = flowers.split("/")
        refs = Home().store.refs
        current = refs.current(Ref(user, name))
        assert current is not None
        refs.set_current(Ref(user, name), replace(current, origin=url))
        ended = ada("show", f"{flowers}/picture.bin")
    assert (ended.code, f"(the state is sha256:{without_picture[:12]})" in ended.err) == (3, True)


def test_local_package_name_is_not_sent_to_a_registry(ada: Person, iris: Path) -> None:
    assert ada("build", f"{ada.name}/secret", str(iris)).code == 0
    assert registry_states.earlier_states(Home().store, Ref(ada.name, "secret")) == []


def test_misspelt_node_suggests_the_correct_line(ada: Person, flowers: str) -> None:
    for words, hint in (
        (("cat", f"{flowers}/flower"), f"datapkg cat {flowers}/flowers"),
        (("show", f"{flowers}/READ.md@1.0"), f"datapkg show {flowers}/README.md@1.0"),
        (("export", f"{flowers}/flower", "my folder"), f"datapkg export {flowers}/flowers 'my folder'"),
        (("install", f"{flowers}/flower"), f"datapkg install {flowers}/flowers"),
        (("merge", f"{flowers}/flower", "-o", f"{ada.name}/z"), f"datapkg merge {flowers}/flowers -o {ada.name}/z"),
    ):
        ended = ada(*words)
        assert (ended.code, ended.err.splitlines()[-1]) == (3, f"hint: {hint}")
    with pytest.raises(NodeNotFound, match=r"did you mean 'flowers'\?") as caught:
        datapkg.load(f"{flowers}/flower")
    assert caught.value.hint == f'datapkg.load("{flowers}/flowers")'
    assert caught.value.__notes__ == [f"hint: {caught.value.hint}"]
    with pytest.raises(NodeNotFound) as caught:
        datapkg.load(flowers).flower  # noqa: B018
    assert caught.value.hint == "flowers.flowers"
    with pytest.raises(NodeNotFound) as caught:
        datapkg.load(flowers)["READM.md"]
    assert caught.value.hint == "flowers.README_md"
    with pytest.raises(NodeNotFound) as caught:
        datapkg.export(f"{flowers}/flower", "out")
    assert caught.value.hint == f'datapkg.load("{flowers}/flowers")'


def test_sync_tags_the_pushed_state(ada: Person, run: Run, tmp_path: Path) -> None:
    folder, package = tmp_path / "folder", f"{ada.name}/followed"
    folder.mkdir()
    (folder / "a.csv").write_text("n\n1\n")
    hash = ada("sync", str(folder), package, "-v", "1.0", "-t", "good", "--json").json["hash"]
    assert ada("sync", str(folder), package, "-v", "1.1").out.endswith(f"it is {package}@1.1\n")
    names = {each["name"]: each["hash"] for each in ada("version", "ls", package, "--json").json["versions"]}
    assert names == {"1.0": hash, "1.1": hash}
    assert "good" in ada("tag", "ls", package).out
    (folder / "a.csv").write_text("n\n2\n")
    for dry_run in (["--dry-run"], []):
        refused = ada("sync", str(folder), package, "-v", "1.0", *dry_run)
        assert (refused.code, "versions never move" in refused.err) == (4, True)
    assert ada("sync", str(folder), package, "-v", "2.0", "--watch").code == 2
