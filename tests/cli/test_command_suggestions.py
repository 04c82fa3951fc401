"""The hint for a mistyped command line is the intended line, and running it works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from datapkg.cli.correcting import corrected, swapped
from tests.cli.conftest import Run
from tests.live_registry import LiveRegistry


def hint(error: str) -> list[str]:
    """Return the arguments of the command in an error's hint, without the program name."""
    line = next(each for each in error.splitlines() if each.startswith("hint: "))
    return shlex.split(line.removeprefix("hint: datapkg "))


@pytest.fixture
def built(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a working directory with a folder from which alice/sales was built."""
    folder = tmp_path / "sales"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "orders.csv").write_text("day,amount\n1,5\n")
    (folder / "README.md").write_text("# Sales\n")
    monkeypatch.chdir(tmp_path)
    assert run("build", "alice/sales", "sales").code == 0
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("buidl alice/sales sales", "build alice/sales sales"),
        ("show alice/sales --jsno", "show alice/sales --json"),
        ("tag addd --help", "tag add --help"),
        ("help pusch", "help push"),
        ("show alice/sales/data/oders", "show alice/sales/data/orders"),
        ("show alice/sales/data/oders@sha256:HASH", "show alice/sales/data/orders@sha256:HASH"),
        ("cat alice/sales/READMEE.md", "cat alice/sales/README.md"),
        ("export alice/sales/dta out", "export alice/sales/data out"),
        ("show Alice/sales", "show alice/sales"),
        ("show sales", "show alice/sales"),
        ("build alice/other sale", "build alice/other sales"),
        ("build alice/other sales/dat", "build alice/other sales/data"),
        ("build ./sales alice/sales", "build alice/sales ./sales"),
        ("config timeout 30", "config timeout_s 30"),
        ("build new sales", "build alice/new sales"),
    ],
)
def test_hint_is_the_intended_line(run: Run, built: Path, typed: str, meant: str) -> None:
    hash = run("ls", "--json").json["packages"][0]["hash"][:16]
    ended = run(*shlex.split(typed.replace("HASH", hash)))
    assert ended.code != 0
    assert hint(ended.err) == shlex.split(meant.replace("HASH", hash))
    assert run(*hint(ended.err)).code == 0


@pytest.mark.parametrize(
    "typed",
    [
        "rm Alice/sales",
        "rm alice/sales --nwo",
        "delete Alice/sales --yes",
        "edit alice/sales --remvoe data --no-push",
        "login http://127.0.0.1:1 --tokn=dpk_secret",
        "export alice/sales sales --froce",
    ],
)
def test_no_destructive_command_or_token_is_suggested(run: Run, built: Path, typed: str) -> None:
    ended = run(*shlex.split(typed))
    assert ended.code == 2
    assert "secret" not in ended.err
    assert "hint" not in ended.err or hint(ended.err)[-1] == "--help"
    assert run("show", "alice/sales").code == 0


def test_repeated_word_is_not_corrected() -> None:
    assert corrected(["build", "kg", "kg"], "kg", "a/kg") == []
    assert corrected(["show", "a/b/oders"], "orders", "x") == []
    assert corrected(["show", "a/b/oders.csv"], "oders", "orders") == []
    assert swapped(["sync", "./x", "a/b", "c/d"], "./x") == []
    assert swapped(["sync", "a/b", "./x"], "./x") == ["sync", "./x", "a/b"]


def test_missing_path_is_reported_with_its_folder(run: Run, built: Path) -> None:
    for words, message in (
        (("build", "a/b", "zzz"), "there is no file or folder 'zzz' in"),
        (("append", "a/b", "zzz", "--no-push"), "there is no file or folder 'zzz' in"),
        (("sync", "zzz", "a/b"), "there is no folder 'zzz' in"),
        (("install", "-r", "zzz.yml"), "there is no file 'zzz.yml' in"),
    ):
        first, second = run(*words).err.splitlines()
        assert first.startswith(f"error: {message} {built}")
        assert second == f"hint: ls {built}"


def test_setting_of_the_wrong_type_shows_the_valid_form(run: Run) -> None:
    for name, example in (("timeout_s", "60"), ("lazy", "false"), ("max_source_bytes", "107374182400")):
        ended = run("config", name, "x y")
        assert hint(ended.err) == ["config", name, example]
        assert run(*hint(ended.err)).code == 0


def test_address_without_a_scheme_is_completed(run: Run) -> None:
    assert hint(run("config", "registry", "data.example.org").err) == ["config", "registry", "https://data.example.org"]
    assert hint(run("config", "registry", "localhost:80").err) == ["config", "registry", "http://localhost:80"]
    line = ["search", "x", "--registry", "http://127.0.0.1:1"]
    assert hint(run("search", "x", "--registry", "127.0.0.1:1").err) == line
    message = run(*line).err
    assert message.startswith("error: http://127.0.0.1:1 cannot be reached: Connection refused\n")


def test_unreachable_registry_is_described(run: Run, registry: LiveRegistry) -> None:
    dead = run("login", "http://127.0.0.1:1", "--token", "dpk_x").err
    assert dead == (
        "error: http://127.0.0.1:1 cannot be reached: Connection refused\n"
        "hint: check the network, that the registry is running, and its address: datapkg config registry\n"
    )
    plain = run("search", "x", "--registry", registry.url.replace("http:", "https:"))
    assert "does not answer in https; it may be plain http\n" in plain.err
    assert hint(plain.err)[:3] == ["config", "registry", registry.url]


def test_copy_without_a_user_suggests_the_user_of_the_original(run: Run, built: Path) -> None:
    ended = run("cp", "alice/sales", "mine")
    assert ended.err.startswith("error: 'mine' is not a package: expected user/name")
    assert hint(ended.err) == ["cp", "alice/sales", "alice/mine"]
    assert run(*hint(ended.err)).code == 0
    assert "hint:" not in run("cp", "alice/sales", "No-Name").err


def test_missing_requirements_file_is_named(run: Run) -> None:
    ended = run("install", "-r", "nofile.yml")
    assert ended.err.startswith("error: there is no file 'nofile.yml' in ")
    assert ended.err.splitlines()[1].startswith("hint: ls ")
    run("init")
    line = hint(run("install", "-r", "nofile.yml").err)
    assert line == ["install", "-r", str(Path.cwd() / "datapkg.yml")]
    assert run(*line).code == 0


def test_missing_arguments_show_the_usage(run: Run) -> None:
    assert run("rm").err.endswith("hint: datapkg rm USER/NAME\n")
    assert "missing argument 'FILE...'; usage: datapkg append [OPTIONS] REF FILE...\n" in run("append", "me/p").err


def test_similar_installed_package_is_suggested(run: Run, built: Path) -> None:
    ended = run("fetch", "alice/sale")
    assert (
        ended.err
        == "error: alice/sale is not installed; did you mean 'alice/sales'?\nhint: datapkg install alice/sale\n"
    )
    assert "did you mean" not in run("fetch", "alice/other").err


def test_mistyped_node_to_move_is_suggested_from_all_groups(run: Run, built: Path) -> None:
    ended = run("edit", "alice/sales", "--move", "data/oders", "orders", "--no-push")
    assert ended.err.startswith("error: alice/sales has no node 'data/oders'; did you mean 'data/orders'?\n")
    assert run(*hint(ended.err)).code == 0


def test_tag_that_looks_like_a_version_suggests_the_version_option(run: Run, built: Path) -> None:
    ended = run("push", "alice/sales", "--tag", "1.0")
    assert hint(ended.err) == ["push", "alice/sales", "--version", "1.0"]


def test_unwritable_path_is_named(run: Run, built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = run("export", "alice/sales", "/proc/here")
    assert (ended.code, hint(ended.err)) == (7, ["export", "alice/sales", "~/sales"])
    assert ended.err.startswith("error: nothing can be written at /proc/here: ")
    monkeypatch.setenv("DATAPKG_HOME", "/proc/home")
    ended = run("build", "alice/sales", "sales")
    assert ended.code == 7
    assert ended.err.startswith("error: datapkg cannot write /proc/home/store: ")


@pytest.mark.parametrize(
    ("typed", "message", "line"),
    [
        (
            "install ./datapkg.yml",
            "-r installs the packages that a file lists",
            "install -r datapkg.yml",
        ),
        ("install alice/sales -r datapkg.yml", "they do not go with REF", "install -r datapkg.yml"),
        ("install alice/sales -r absent.yml", "they do not go with REF", "install alice/sales"),
        ("merge alice/sales alice/x", "missing option '-o'", "merge alice/sales alice/x -o REF"),
        ("version rm alice/sales 1.0", "a version never moves and is never removed", "version yank USER/NAME@1.2.0"),
        ("push alice/sales --version latest", "(this is a tag)", "push alice/sales --tag latest"),
        ("version add alice/sales stable", "(this is a tag)", "tag add alice/sales stable"),
    ],
)
def test_hint_names_the_way_that_exists(run: Run, built: Path, typed: str, message: str, line: str) -> None:
    (built / "datapkg.yml").write_text("packages: []\n")
    ended = run(*shlex.split(typed))
    assert ended.code == 2
    assert message in ended.err
    assert hint(ended.err) == shlex.split(line)


def test_log_of_a_copy_names_its_original(run: Run, built: Path) -> None:
    assert run("cp", "alice/sales", "alice/copy", "-m", "for Bob").code == 0
    (event,) = run("log", "alice/copy", "--json").json["log"]
    assert event["copied_from"] == f"alice/sales@sha256:{event['hash']}"
    assert f"copy of alice/sales@sha256:{event['hash'][:12]}; for Bob" in run("log", "alice/copy").out


def test_lines_to_install_name_the_registry_that_was_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "iris.csv").write_text("n\n1\n")
    place = str(tmp_path / "the registry")
    assert run("build", "me/iris", str(tmp_path / "iris.csv")).code == 0
    line = f"datapkg install me/iris --registry '{place}'"
    for words in (["push", "me/iris"], ["search", "iris"]):
        done = run(*words, "--registry", place)
        assert line in done.out + done.err, words
    assert run(*shlex.split(line)[1:]).code == 0
