"""The commands that need no registry, run for real: build, generate, ls, show, cat, export, log, verify, rm, config."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.names import Ref
from datapkg.format.requirements import parse_requirements
from datapkg.home import Home
from tests.api.false_content import rewritten
from tests.cli.conftest import Run


@pytest.fixture
def built(run: Run, iris: Path) -> str:
    """Return the hash of an installed package me/flowers."""
    (iris / "build.yml").write_text(
        "meta: {title: Flowers, licence: CC0-1.0}\n"
        "contents:\n"
        "  README: {file: README.md}\n"
        "  tables: {flowers: {file: flowers.csv}}\n"
        "  raw: {picture: {file: picture.bin}}\n"
    )
    hash: str = run("build", "me/flowers", str(iris), "--json").json["hash"]
    return hash


def test_build_json_output(run: Run, iris: Path) -> None:
    first = run("build", "me/flowers", str(iris), "--json")
    assert (first.code, first.err) == (0, "")
    assert first.json["package"] == "me/flowers"
    assert len(first.json["hash"]) == 64
    assert first.json["nodes"] == {"built": 3, "reused": 0}
    assert first.json["bytes_logical"] > 256
    again = run("build", "me/flowers", str(iris), "--json").json
    assert again["hash"] == first.json["hash"]
    assert sum(again["nodes"].values()) == 3


def test_build_prints_the_next_command(run: Run, iris: Path) -> None:
    ended = run("build", "me/flowers", str(iris))
    assert "datapkg push me/flowers" in ended.out
    assert "from datapkg.data.me import flowers" in ended.out
    hash = run("show", "me/flowers", "--json").json["hash"]
    assert ended.out.startswith(f"built me/flowers@sha256:{hash}\n")
    assert run("build", "me/flowers", str(iris), "-q").out == f"me/flowers@sha256:{hash}\n"


def test_build_prints_skipped_files(run: Run, iris: Path) -> None:
    (iris / ".hidden").write_text("")
    assert run("build", "me/flowers", str(iris), "--json").json["skipped"] == [".hidden: hidden"]
    assert "note: left out 1: .hidden: hidden\n" in run("build", "me/flowers", str(iris)).err


def test_failed_check_has_its_own_exit_code(run: Run) -> None:
    Path("a.csv").write_text("x\n1\n20\n")
    Path("build.yml").write_text("contents: {a: {file: a.csv, checks: {small: {column: x, max: 9}}}}\n")
    ended = run("build", "me/checked")
    assert (ended.code, ended.out) == (5, "")
    assert "Data check failed: small: a.x: 1 of 2 rows is above 9; row 2: 20\n" in ended.err
    assert run("build", "me/checked", "--json").error["detail"]["type"] == "CheckFailed"
    assert "me/checked" not in run("ls").out


def test_build_uses_the_build_file_of_the_working_directory(run: Run, iris: Path) -> None:
    ended = run("build", "me/flowers")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: there is no build.yml here; name what to build\nhint: datapkg build me/flowers PATH\n"
    shutil.copy(iris / "flowers.csv", "flowers.csv")
    Path("build.yml").write_text("contents: {flowers: {file: flowers.csv}}\n")
    assert run("build", "me/flowers", "--json").json["nodes"]["built"] == 1


def test_all_build_file_mistakes_are_reported_together(run: Run) -> None:
    Path("build.yml").write_text("contents:\n  a: {file: no.csv}\n  b: {file: no.csv, transfrom: csv}\n")
    ended = run("build", "me/flowers")
    assert ended.code == 2
    problems = run("build", "me/flowers", "--json").error["detail"]["problems"]
    assert len(problems) == 3
    for place, what in problems:
        assert ended.err.count(f"\n  {place}: {what}\n") == 1


def test_missing_source(run: Run) -> None:
    ended = run("build", "me/flowers", "nowhere.csv")
    assert ended.code in (2, 3)
    assert "nowhere.csv" in ended.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("install nope.dpkg", "ls {here}"),
        ("install ./no/such/nope.dpkg", "ls {here}"),
        ("sync nope me/flowers", "ls {here}"),
        ("sync {there}/sourcse me/flowers", "datapkg sync {there}/sources me/flowers"),
        ("append me/flowers nope.csv", "ls {here}"),
        ("build me/flowers nope.csv", "ls {here}"),
        ("cache share no/such/folder", "ls {here}"),
        ("bundle me/flowers -o no/x.dpkg", "ls {here}"),
    ],
)
def test_paths_at_which_there_is_nothing_have_a_line_to_type(
    run: Run, built: str, iris: Path, words: str, hint: str
) -> None:
    names = {"here": Path.cwd(), "there": iris.parent}
    ended = run(*words.format(**names).split())
    assert ended.code in (2, 3), ended.err
    assert "there is no " in ended.err
    assert f"hint: {hint.format(**names)}\n" in ended.err


def test_generate(run: Run, iris: Path) -> None:
    (iris / "README.md").unlink()
    ended = run("generate", str(iris), "--json")
    assert ended.json == {"files": [str(iris / "build.yml"), str(iris / "README.md")]}
    ended = run("generate", str(iris))
    assert ended.code == 4
    assert "build.yml" in ended.err


def test_ls(run: Run, built: str) -> None:
    listed = run("ls", "--json").json["packages"]
    assert [(each["package"], each["hash"], each["title"]) for each in listed] == [("me/flowers", built, "Flowers")]
    lines = run("ls").out.splitlines()
    assert lines[0].split() == ["PACKAGE", "STATE", "NAMES", "SIZE", "FROM", "TITLE"]
    assert lines[1].startswith(f"me/flowers  sha256:{built[:12]}  ")


def test_ls_without_packages(run: Run) -> None:
    assert "datapkg install" in run("ls").out
    assert run("ls", "-q").out == ""
    assert run("ls", "--json").json == {"packages": []}


def test_show(run: Run, built: str) -> None:
    shown = run("show", "me/flowers", "--json").json
    assert (shown["package"], shown["hash"]) == ("me/flowers", built)
    assert shown["meta"] == {"title": "Flowers", "licence": "CC0-1.0"}
    nodes = {node["path"]: node for node in shown["nodes"]}
    table = nodes["tables/flowers"]
    assert (table["kind"], table["rows"]) == ("table", 2)
    assert table["columns"] == [["petal", "double"], ["kind", "string"]]
    assert (nodes["raw/picture"]["kind"], nodes["raw/picture"]["size"]) == ("file", 256)
    assert (nodes["README"]["rows"], nodes["README"]["columns"]) == (None, None)
    text = run("show", "me/flowers").out
    assert text.startswith(f"me/flowers@sha256:{built}\nFlowers\n")
    for line in (
        "  licence  CC0-1.0",
        "raw/",
        "  picture   file",
        "tables/",
        "  flowers   table",
        "    .petal  double",
    ):
        assert f"\n{line}" in text, text
    assert text.count("tables/") == 1
    assert run("show", f"me/flowers@sha256:{built[:8]}", "--json").json["hash"] == built


def test_show_part_of_a_package(run: Run, built: str) -> None:
    assert [node["path"] for node in run("show", "me/flowers/raw", "--json").json["nodes"]] == ["raw/picture"]
    assert run("show", "me/flowers/nowhere").code == 3
    ended = run("show", "you/flowers")
    assert (ended.code, "hint: datapkg install you/flowers" in ended.err) == (3, True)


def test_show_many_columns(run: Run) -> None:
    Path("wide.csv").write_text(",".join(f"c{number}" for number in range(100)) + "\n" + "1," * 99 + "1\n")
    run("build", "me/wide", "wide.csv")
    text = run("show", "me/wide").out
    assert ".c29" in text
    assert ".c30" not in text
    assert "… 70 more columns" in text


@pytest.fixture
def described(run: Run) -> Home:
    """Build a package me/described with every kind of metadata."""
    from tests.reading.packages import file_node, group_node, iris_frame, table_node
    from tests.reading.packages import install as put

    home = Home()
    notes = {
        "petal_length": {"unit": "cm", "description": "From base to tip\x1b[2J"},
        "class": "The \u202especies",
        "petal_width": {"unit": "m" * 500},
        "nowhere": {"unit": "no such column"},
    }
    readme = b"\n# Petals\n\n\x1b[31mred\n" + b"".join(b"line %d\n" % number for number in range(20))
    put(
        home,
        "me/described",
        table_node(home, "tables/petals", iris_frame(), meta={"title": "Petals", "columns": notes, "instrument": 5}),
        group_node("tables", description="All tables"),
        file_node(home, "Readme.md", readme),
        file_node(home, "licence", b"Do what you like"),
        file_node(home, "sub/a b/README", b"below"),
        meta={"title": "Described", "columns": {"a": "b"}, "keywords": ["flowers", "日本"]},
    )
    return home


def test_show_table_lists_columns_with_their_metadata(run: Run, described: Home) -> None:
    lines = run("show", "me/described/tables/petals").out.splitlines()
    assert lines[0].startswith("me/described/tables/petals@sha256:")
    assert lines[1] == "Petals"
    assert lines[2].startswith("  3 rows × 3 columns, ")
    assert lines[3:6] == ["  instrument  5", "", "COLUMN        TYPE    UNIT" + lines[5].partition("UNIT")[2]]
    assert lines[6].split() == ["petal_length", "double", "cm", "From", "base", "to", "tip⟨U+001B⟩[2J"]
    assert lines[8].split() == ["class", "string", "The", "⟨U+202E⟩species"]
    assert "no such column" not in "".join(lines)
    assert lines[-1] == "  import it  from datapkg.data.me import described"
    (node,) = run("show", "me/described/tables/petals", "--json").json["nodes"]
    assert node["columns"][0] == ["petal_length", "double"]
    assert node["meta"]["columns"]["petal_length"]["unit"] == "cm"


def test_show_table_without_metadata(run: Run, built: str) -> None:
    text = run("show", "me/flowers/tables/flowers").out
    assert "\n  licence  CC0-1.0\n\nCOLUMN  TYPE\npetal   double\nkind    string\n" in text


def test_show_has_units_and_the_beginning_of_the_readme(run: Run, described: Home) -> None:
    shown = run("show", "me/described")
    assert "    .petal_length  double, cm" in shown.out
    assert f"double, {'m' * 30}…" in shown.out
    assert "\n  columns   {" in shown.out
    assert "\n  keywords  flowers, 日本\n  licence   see licence\n" in shown.out
    expected = [
        "  Readme.md",
        "  │ # Petals",
        "  │",
        "  │ ⟨U+001B⟩[31mred",
        *(f"  │ line {number}" for number in range(7)),
    ]
    assert "\n".join([*expected, "  … all of it  datapkg cat me/described/Readme.md"]) in shown.out
    found = run("show", "me/described", "--json").json
    assert (found["readme"], found["licence_file"]) == ("Readme.md", "licence")
    assert "Petals\n" not in run("show", "me/described", "-q").out


def test_show_a_group(run: Run, described: Home) -> None:
    text = run("show", "me/described/tables").out
    assert "\n  description  All tables\n" in text
    assert "Described" not in text
    assert "datapkg cat" not in run("show", "me/described/sub").out
    assert "  sub/a b/README\n  │ below\n" in run("show", "me/described/sub/a b").out


def test_cat(run: Run, built: str, iris: Path) -> None:
    assert run("cat", "me/flowers/README").out == "# Flowers\n"
    assert run("cat", "me/flowers/tables/flowers").out == (iris / "flowers.csv").read_text()
    ended = run("cat", "me/flowers/tables")
    assert (ended.code, ended.out) == (3, "")
    assert run("cat", "me/flowers").code == 3


def test_cat_prints_csv_or_json_for_any_source(run: Run) -> None:
    Path("tabs.tsv").write_text("a\tb\n1\tx\n\t\n")
    assert run("build", "me/tabs", "tabs.tsv").code == 0
    assert run("cat", "me/tabs/tabs").out == "a,b\n1.0,x\n,\n"
    assert run("cat", "me/tabs/tabs", "--json").json == [{"a": 1.0, "b": "x"}, {"a": None, "b": None}]


def test_export_with_a_build_file(run: Run, built: str) -> None:
    ended = run("export", "me/flowers", "out", "--with-build-file", "--json")
    assert str(Path("out/build.yml").absolute()) in ended.json["files"]
    assert ended.json["notes"] == []
    again = run("build", "me/again", "out", "--json").json
    assert again["hash"] == run("show", "me/flowers", "--json").json["hash"]


def test_export(run: Run, built: str, iris: Path) -> None:
    ended = run("export", "me/flowers", "out", "--json")
    assert ended.json["package"] == "me/flowers"
    assert {Path(file).name for file in ended.json["files"]} == {"README.md", "flowers.csv", "picture.bin"}
    assert Path("out/raw/picture.bin").read_bytes() == bytes(range(256))
    assert run("export", "me/flowers", "out").out.endswith("; 3 unchanged\n")
    Path("out/raw/picture.bin").write_bytes(b"edited")
    assert run("export", "me/flowers", "out").code == 4
    assert run("export", "me/flowers", "out", "--force").code == 0
    assert Path("out/raw/picture.bin").read_bytes() == bytes(range(256))
    assert run("export", "me/flowers/tables/flowers", "f.parquet", "--format", "parquet").code == 0
    assert Path("f.parquet").read_bytes()[:4] == b"PAR1"


def test_log_and_rm(run: Run, built: str) -> None:
    run("build", "me/flowers", str(Path("../sources")), "-m", "again\x1b[2J")
    assert [entry["event"] for entry in run("log", "me/flowers", "--json").json["log"]] == ["build", "build"]
    assert "again⟨U+001B⟩[2J" in run("log", "me/flowers").out
    would = run("rm", "me/flowers", "--dry-run").out
    assert re.fullmatch(r"would remove me/flowers; frees \d.*B\n", would)
    assert run("rm", "me/flowers/raw").code == 2
    done = run("rm", "me/flowers", "--json").json
    assert (done["package"], done["removed"], done["bytes_left"], done["frees_at"]) == ("me/flowers", True, 0, None)
    assert done["bytes_freed"] > 0
    for words in (["rm", "me/flowers"], ["rm", "me/flowers", "--dry-run"], ["show", "me/flowers"]):
        assert run(*words).code == 3
    assert run("rm").code == run("rm", "--dry-run").code == 2
    assert run("rm", "--now").out == "freed 0 B\n"


def test_cp(run: Run, built: str) -> None:
    copied = run("cp", "me/flowers", "me/again")
    assert copied.out.startswith(f"copied me/flowers to me/again@sha256:{built}\n")
    assert "publish it  datapkg push me/again" in copied.out
    assert run("cp", "me/flowers", "me/again", "-q").out == f"me/again@sha256:{built}\n"
    answer = run("cp", "me/flowers", "me/third", "--json").json
    assert (answer["package"], answer["hash"], answer["source"]) == ("me/third", built, "me/flowers")
    assert answer["bytes_absent"] == 0
    assert run("cp", "me/flowers/raw", "me/raw").code == 2
    assert run("cat", "me/third/README").out == run("cat", "me/flowers/README").out


def test_rm_prints_what_remains_and_why(run: Run, built: str) -> None:
    assert run("build", "me/again", "../sources").code == 0
    assert "other packages use them" in run("rm", "me/again").out
    with Home().store.writing():
        left = run("rm", "me/flowers").out
    assert re.search(r"removed me/flowers; freed 0 B\n  \d.* stay until 20.* UTC: another", left)
    freed = run("rm", "--now", "--json").json
    assert freed["bytes_freed"] > 0
    assert not list((Home().data / "store" / "objects").rglob("*/*"))


def test_verify(run: Run, built: str) -> None:
    whole = run("verify", "--json")
    assert (whole.code, whole.json["damaged"]) == (0, [])
    assert whole.json["checked"] >= 4
    assert "0 damaged" in run("verify", "me/flowers").out
    for folder in ("packs", "objects"):
        for file in (Home().data / "store" / folder).rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                data = bytearray(file.read_bytes())
                data[len(data) // 3] ^= 1
                file.write_bytes(data)
    ended = run("verify", "--json")
    assert ended.code == 6
    assert ended.json["damaged"]
    assert ended.json["damaged"][0].keys() == {"hash", "package", "path", "problem"}
    assert ended.error["code"] == "integrity"
    assert run("verify").code == 6


def test_verify_content(run: Run, built: str) -> None:
    home = Home()
    assert "0 damaged, content of 1 table checked" in run("verify", "--content").out
    current = home.store.refs.current(Ref("me", "flowers"))
    assert current
    nodes = home.store.manifest(current.hash).nodes
    lie = Manifest.make(
        [rewritten(home, each, swapped=True) if isinstance(each, TableNode) else each for each in nodes]
    )
    home.store.save(lie)
    home.store.refs.set_current(Ref("me", "flowers"), replace(current, hash=lie.hash))
    assert run("verify", "me/flowers").code == 0
    ended = run("verify", "--content", "me/flowers")
    assert (ended.code, "expected content c1:" in ended.out) == (6, True)
    assert "1 table with false content" in ended.err


def test_config(run: Run) -> None:
    names = [each["name"] for each in run("config", "--json").json["settings"]]
    limits = ["timeout_s", "max_time_s", "jobs", "bwlimit"]
    assert names == ["registry", "registries", "path", "lock", "objects", *limits, "lazy", "max_source_bytes"]
    assert run("config", "registry", "-q").out == "(none)\n"
    assert run("config", "registry", "https://data.example.org/").code == 0
    assert run("config", "registry", "-q").out == "https://data.example.org\n"
    assert run("config", "registries.work", "https://work.example").code == 0
    work = run("config", "registries.work", "--json").json
    assert (work["name"], work["value"]) == ("registries.work", "https://work.example")
    assert work["source"].endswith("settings.json")
    assert "work = https://work.example" in run("config").out
    assert run("config", "--unset", "registries.work", "--json").json["value"] is None
    assert run("config", "--unset", "registry").out == "registry = (none)   (from default)\n"
    assert run("config", "--unset", "registry", "https://x.example").code == 2
    assert run("config", "--unset").code == 2
    ended = run("config", "registyr")
    assert ended.code == 2
    assert ended.err.endswith("did you mean 'registry'?\nhint: datapkg config registry\n")
    assert "registries.NAME" in run("config", "zzz").err
    assert run("config", "registry", "ftp://x").code == 2


def test_config_shows_the_overriding_environment_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPKG_REGISTRY", "https://env.example")
    assert run("config", "registry").out == "registry = https://env.example   (from DATAPKG_REGISTRY)\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(run: Run, shell: str) -> None:
    ended = run("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert "_DATAPKG_COMPLETE" in ended.out
    assert "datapkg" in ended.out


def test_completion_knows_commands_options_and_packages(run: Run, built: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, completed in (
        ("datapkg pu", "push"),
        ("datapkg show me/", "me/flowers"),
        ("datapkg push --pu", "--public"),
    ):
        monkeypatch.setenv("_DATAPKG_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(typed.split()) - 1))
        ended = run()
        assert ended.out == f"plain,{completed}\n"


def test_help_for_an_unknown_command(run: Run) -> None:
    assert run("help", "bulid").err.startswith("error: there is no command 'bulid'; did you mean build?")
    assert run("help", "tag", "mv").code == 2
    assert run("help", "build", "x").err.startswith("error: datapkg build has no commands")
    assert run("help").out == run("--help").out
    assert "Usage: datapkg push" in run("help", "push", "--json").json["help"]


def test_init_creates_a_project_and_keeps_an_existing_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run("init")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "wrote datapkg.yml")
    assert parse_requirements(Path("datapkg.yml").read_bytes()).entries == ()
    Path("datapkg.yml").write_text("packages: [me/x]\n")
    ended = run("init", ".")
    assert (ended.code, Path("datapkg.yml").read_text()) == (4, "packages: [me/x]\n")
    assert run("init", "nowhere", "--json").error["detail"]["type"] == "NotAFolder"
    Path("other").mkdir()
    assert run("init", "other", "--json").json == {"file": "other/datapkg.yml"}
    monkeypatch.chdir("/")
    assert "hint: datapkg init" in run("lock").err
