"""Values in a shell command stay values in all quotes; file names of other people's packages are among them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import datapkg
from datapkg.building.stages.shell_text import filled_shell
from tests.building.stages.test_stages import Project

HOSTILE = "a 'b' \"c\" $(touch ran) `touch ran` \\ ;touch ran;.txt"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("printf %s {x}", "X"),
        ('printf %s "<{x}>"', "<X>"),
        ("printf %s '<{x}>'", "<X>"),
        ('printf %s "$(printf %s "{x}")"', "X"),
        ('printf %s "$(printf %s {x})-{x}"', "X-X"),
        ("printf %s \"`printf %s '{x}'`\"", "X"),
        ("(printf %s {x})", "X"),
        ("# don't\nprintf %s {x}", "X"),
        ("printf %s a#'b'\\'{x}", "a#b'X"),
        ("cat <<END | tr -d '\\n'; printf %s {x}\nit's {x} {{\nEND\nprintf %s {x}", "it's X {XX"),
        ("cat <<'END' | tr -d '\\n'\nit's {x}\nEND\nprintf %s {x}", "it's XX"),
        ("printf %s {{{x}}}", "{X}"),
        ("printf '%s' {empty}{x}", "X"),
        ("f() { printf %s {x}; }; f other", "X"),
    ],
)
@pytest.mark.parametrize("value", [HOSTILE, "plain.txt"])
def test_a_value_is_never_code(tmp_path: Path, text: str, printed: str, value: str) -> None:
    words = ["/bin/sh", "-euc", filled_shell(text, {"x": value, "empty": ""})]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (printed.replace("X", value), "")
    assert list(tmp_path.iterdir()) == []


def test_misjudged_quotes_run_nothing(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", filled_shell('printf %s "${HOME:-\'}{x}"', {"x": HOSTILE})]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "run",
    ['shell: true\n    run: cat "{data}" > {out}', "run: bash -ec 'cat \"{data}\" > {out}'"],
    ids=["shell", "bash -c"],
)
def test_a_file_name_of_a_package(tmp_path: Path, run: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a $(touch ran).txt").write_text("words")
    (theirs / "build.yml").write_text('contents: {f: {file: "a $(touch ran).txt", transform: id}}\n')
    datapkg.build("me/theirs", theirs)
    project = Project(tmp_path / "project")
    project.write(
        build_yml=f"""
contents: {{out: {{stage: s}}}}
stages:
  s:
    {run}
    inputs: {{data: me/theirs/f}}
    outputs: {{out: out.txt}}
"""
    )
    project.build()
    assert datapkg.load("me/data")["out"]().read_text() == "words"
    assert sorted(each.name for each in project.folder.iterdir()) == ["build.yml", "datapkg.stages.lock"]
