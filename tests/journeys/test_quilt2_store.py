"""Behaviours 97 to 101 of Quilt 2: removal, export, references, commands and settings."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pandas as pd
import pytest

import datapkg
from datapkg.cli.main import COMMANDS
from tests.conftest import Person
from tests.faulty_proxy import Fault, faulty_way
from tests.journeys.conftest import Build, Machine, Publish, at, write

TABLE = "a,b\n1,x\n2,y\n"


def test_097_removed_package_is_gone_and_shared_objects_stay(build: Build, here: Machine) -> None:
    files = {"a.csv": TABLE, "b.txt": "b"}
    hash = build(files, "me/one").hash
    build(files, "me/two")
    assert here.ask("rm", "me/one")["removed"]
    with pytest.raises(datapkg.PackageNotInstalled):
        datapkg.load("me/one")
    two = datapkg.load("me/two")
    assert (len(two.a()), two["b.txt"].read_text()) == (2, "b")
    assert here.ask("verify")["damaged"] == []
    assert build(files, "me/one").hash == hash
    assert len(datapkg.load("me/one").a()) == 2


def test_097_removing_a_missing_package(here: Machine) -> None:
    assert here.fail("rm", "me/absent")["code"] == "not_found"
    assert here.fail("rm", "me/p/node")["code"] == "invalid"


ODD = {
    "2024 sales.csv": TABLE,
    "class.csv": TABLE,
    "{}.txt": "braces",
    "日本.txt": "日本",
    "a.txt": "text",
    "a.csv": TABLE,
    "deep er/x{0}.bin": b"\x00\xff",
    "UPPER.TSV": "a\tb\n1\tx\n",
    "percent%40at@.txt": "@",
}


def test_098_export_restores_original_names(build: Build, here: Machine, tmp_path: Path) -> None:
    build(ODD)
    here.ask("export", "me/p", str(tmp_path / "out"))
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == set(ODD)
    for name in ("{}.txt", "日本.txt", "deep er/x{0}.bin", "a.txt"):
        data = ODD[name]
        assert (tmp_path / "out" / name).read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]


def test_098_csv_is_exported_with_equal_values(build: Build, here: Machine, tmp_path: Path) -> None:
    text = 'i,f,t,d,n\n1,0.1,"a,b",2024-01-02,\n2,1e300,"line\nend",,x\n3,,"quote "" it",2024-01-03,\n'
    build({"t.csv": text, "u.tsv": "a\tb\n1\tx\n"})
    here.ask("export", "me/p", str(tmp_path / "out"))
    again = build({path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}, "me/q")
    first = datapkg.load("me/p")
    assert again.t.content == first.t.content
    assert again.u.content == first.u.content
    assert (tmp_path / "out/u.tsv").read_text() == "a\tb\n1\tx\n"


def test_098_export_format_option(build: Build, here: Machine, tmp_path: Path) -> None:
    package = build({"t.csv": TABLE})
    here.ask("export", "me/p", str(tmp_path / "out"), "--format", "parquet")
    assert pd.read_parquet(tmp_path / "out/t.parquet").equals(package.t())
    datapkg.build("me/q", {"t": package.t()})
    here.ask("export", "me/q/t", str(tmp_path / "t.csv"), "--format", "csv")
    assert (tmp_path / "t.csv").read_text() == TABLE


def test_098_existing_files_are_kept_unless_forced(build: Build, here: Machine, tmp_path: Path) -> None:
    build({"a.txt": "new", "b/c.txt": "c"})
    out = write(tmp_path / "out", {"a.txt": "old", "other.txt": "other"})
    write(tmp_path, {"file": "old"})
    assert here.fail("export", "me/p", str(out))["code"] == "conflict"
    assert here.fail("export", "me/p/a.txt", str(tmp_path / "file"))["code"] == "conflict"
    assert ((out / "a.txt").read_text(), (tmp_path / "file").read_text()) == ("old", "old")
    here.ask("export", "me/p", str(out), "--force")
    assert {path.name: path.read_text() for path in out.glob("*.txt")} == {"a.txt": "new", "other.txt": "other"}
    here.ask("export", "me/p/a.txt", str(tmp_path / "file"), "--force")
    assert (tmp_path / "file").read_text() == "new"


def test_098_unwritable_target(build: Build, here: Machine, tmp_path: Path) -> None:
    build({"a.txt": "a"})
    write(tmp_path, {"file": "a file"})
    ended = here.run("export", "me/p", str(tmp_path / "file/out"), "--json")
    assert ended.error["message"]
    assert "Traceback" not in ended.err


def test_098_group_and_single_file(build: Build, here: Machine, tmp_path: Path) -> None:
    build({"g/one.txt": "1", "g/deep/two.csv": TABLE, "other.txt": "no"})
    here.ask("export", "me/p/g", str(tmp_path / "g"))
    assert sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "g").rglob("*.*")) == [
        "g/deep/two.csv",
        "g/one.txt",
    ]
    here.ask("export", "me/p/g/deep/two", str(tmp_path / "renamed.csv"))
    assert (tmp_path / "renamed.csv").read_text() == TABLE


def test_098_two_nodes_of_one_file_are_written_under_distinct_names(
    build: Build, here: Machine, tmp_path: Path
) -> None:
    build({"build.yml": "contents: {one: {file: t.csv}, two: {file: t.csv}}", "t.csv": TABLE})
    here.run("export", "me/p", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.csv", "two.csv"]


def test_098_file_in_place_of_a_folder(build: Build, here: Machine, tmp_path: Path) -> None:
    build({"build.yml": "contents: {x: {file: d/y}, y: {z: {file: d/y}}}", "d/y": "y"})
    assert here.fail("export", "me/p", str(tmp_path / "out"))["code"] == "conflict"
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".datapkg-export-*")) == []


def test_098_links_out_of_the_target_are_not_followed(build: Build, here: Machine, tmp_path: Path) -> None:
    build({"g/a.txt": "new", "b.txt": "new"})
    outside = write(tmp_path / "outside", {"a.txt": "old", "b.txt": "old"})
    out = write(tmp_path / "out", {})
    (out / "b.txt").symlink_to(outside / "b.txt")
    (out / "g").symlink_to(outside)
    assert here.fail("export", "me/p", str(out), "--force")["code"] == "conflict"
    (out / "g").unlink()
    here.ask("export", "me/p", str(out), "--force")
    assert (out / "b.txt").read_text() == "new"
    assert [(outside / name).read_text() for name in ("a.txt", "b.txt")] == ["old", "old"]


HASH = "0123456789abcdef" * 4
GOOD = {
    "uciml/iris": ("", None, None),
    "a/b": ("", None, None),
    "u1/p_2_x": ("", None, None),
    "u/p/": ("", None, None),
    "u/p/node": ("node", None, None),
    "u/p/a/b/c": ("a/b/c", None, None),
    "u/p/2024 sales": ("2024 sales", None, None),
    "u/p/日本": ("日本", None, None),
    "u/p/a%40b": ("a@b", None, None),
    "u/p/a.b:c": ("a.b:c", None, None),
    "u/p@1": ("", "1", None),
    "u/p@1.2.0": ("", "1.2.0", None),
    "u/p@1.2rc1": ("", "1.2rc1", None),
    "u/p@latest": ("", "latest", None),
    "u/p@my-tag_1.x": ("", "my-tag_1.x", None),
    "u/p@sha256:123456": ("", "sha256:123456", None),
    f"u/p@sha256:{HASH}": ("", f"sha256:{HASH}", None),
    "u/p@>=1,<2": ("", "<2,>=1", None),
    "u/p/node@1.2": ("node", "1.2", None),
    "work:u/p": ("", None, "work"),
    "work:u/p/node@stable": ("node", "stable", "work"),
    "https://data.example.org/u/p": ("", None, "https://data.example.org"),
    "http://127.0.0.1:8484/u/p/x@1.0": ("x", "1.0", "http://127.0.0.1:8484"),
}
BAD = [
    *("", " ", "/", "u", "u/", "/p", "//", "u//p", "u p", "@", "u@1", "u/p@", "u/p@@1", "u/p@1@2", "u/p@ 1"),
    *("U/p", "u/P", "u_x/p", "u-x/p", "u/p-x", "u/p__x", "u/_p", "u/p_", "1u/p", "u/1p", "u/class", "class/p", "ü/p"),
    *("api/p", "data/p", "x" * 40 + "/p", "u/" + "p" * 65),
    *("u/p/../x", "u/p/./x", "u/p/a//b", "u/p/a\\b", "u/p/a\nb", "u/p/a\0b", "../u/p", "u/../p", "u/p/" + "x" * 256),
    *("u/p@sha256:12345", "u/p@sha256:xyzxyz", f"u/p@sha256:{HASH}0", "u/p@1.x.y", "u/p@Tag", "u/p@-x", "u/p@1+local"),
    *("work:", ":u/p", "a b:u/p", "u/p:t:stable", "ftp://h/u/p", "https://h", "https:///u/p", "https://h/u"),
    *("https://user:secret@h/u/p", "https://h/u/p?x=1", "https://h/u/p#x", "--force"),
]


@pytest.mark.parametrize("text", GOOD)
def test_099_valid_reference(text: str) -> None:
    ref = datapkg.Ref.parse(text)
    assert (ref.path, None if ref.state is None else str(ref.state), ref.registry) == GOOD[text]
    assert datapkg.Ref.parse(str(ref)) == ref


@pytest.mark.parametrize("text", BAD)
def test_099_invalid_reference(here: Machine, text: str) -> None:
    with pytest.raises(datapkg.InvalidInput):
        datapkg.Ref.parse(text)
    ended = here.run("show", "--json", "--", text)
    assert (ended.code, ended.error["code"]) == (2, "invalid")


def test_100_help_is_complete(here: Machine) -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", here.run("--help").out, re.MULTILINE)
    assert set(listed) >= COMMANDS.keys()
    for command in COMMANDS:
        assert f"datapkg {command}" in here.run(command, "--help").out


def test_100_ctrl_c_ends_without_a_traceback(person: Person, publish: Publish) -> None:
    publish(person, "p", {"a.csv": TABLE})
    with faulty_way(person.url) as way:
        way.faults.append(Fault("slow"))
        with at(person, "other", way.url).start("-m", "datapkg", "install", f"{person.name}/p") as process:
            while not way.seen and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "url",
    ["nonsense", "ftp://data.example.org", "https://", "https://u:p@h", "https://h?x", "//h", "h:80"],
)
def test_101_invalid_url_is_not_stored(here: Machine, url: str) -> None:
    for name in ("registry", "registries.team"):
        assert here.fail("config", name, url)["code"] == "invalid"
    assert here.ask("config", "registry")["value"] is None


def test_101_url_is_normalised(here: Machine) -> None:
    here.ask("config", "registry", "HTTPS://Data.Example.org:443/")
    assert here.ask("config", "registry")["value"] == "https://data.example.org"
    here.ask("config", "--unset", "registry")
    assert here.ask("config", "registry")["value"] is None


def test_101_login_reports_errors(here: Machine, person: Person) -> None:
    assert "no registry is set" in here.fail("login", "--token", "dpk_x")["message"]
    assert here.fail("login", "--registry", "nowhere", "--token", "dpk_x")["code"] == "invalid"
    assert here.fail("login", "--registry", person.url, "--token", "dpk_wrong")["code"] == "refused"
    assert here.fail("login", "--registry", "http://127.0.0.1:9", "--token", "dpk_x")["code"] == "unreachable"
    assert here.fail("whoami", "--registry", person.url)["code"] == "refused"
    assert here.ask("login", "--registry", person.url, "--token", person.token)["user"] == person.name
    assert here.ask("whoami")["user"] == person.name
    assert here.ask("logout")["was_logged_in"]
    assert here.fail("whoami")["code"] == "refused"


def test_101_tokens_are_readable_only_by_their_owner(here: Machine, person: Person) -> None:
    here.ask("login", "--registry", person.url, "--token", person.token)
    holders = [
        path for path in here.home.config.rglob("*") if path.is_file() and person.token in path.read_text("latin-1")
    ]
    assert [oct(path.stat().st_mode & 0o777) for path in holders] == ["0o600"]
    assert person.token not in here.run("config").out
