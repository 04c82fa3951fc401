"""`.datapkgignore` leaves out the same files as git does with the same lines, compared with git itself."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from pathlib import Path

import pytest

from datapkg.building.spec.folder_files import walk
from datapkg.building.spec.generate import generate
from datapkg.building.spec.ignore_rules import left_out_by, read_ignore_file
from datapkg.errors import InvalidBuildFile, InvalidInput
from tests.building.builds import Bench, paths, write

FILES = (
    *("a", "a.csv", "b.csv", "b.txt", "data/a.csv", "data/b.txt", "data/raw/a.csv", "data/raw/deep/x.bin", "raw/a.csv"),
    *("raw/keep/a.csv", "#x", "!x", "sp ace", "end ", "back\\slash", "[s]", "*", "x?y", "xy", "xzy", "A.CSV", "é.txt"),
    *("foo/bar/baz", "foo/baz", "x/foo/bar/baz", "a-b", "a]b", "a^b", "a!b", "0", "5", "Z", "_", "-", "b/c/d/e/f/g"),
    *("deep/a/b/c.csv", "tab\tx", "star*x", "cr\rx"),
)
RULES = {
    "comments and empty lines": "# a.csv\n\n   \n\\#x\n",
    "negation": "*.csv\n!b.csv\n",
    "the last rule wins": "!b.csv\n*.csv\n",
    "escaped mark": "\\!x\n",
    "nothing after the mark": "!\n/\n//\n!/\n",
    "a name at any depth": "a.csv\n",
    "a folder": "raw/\n",
    "a folder, not a file": "a/\n",
    "at the root": "/raw\n/a.csv\n",
    "a slash in the middle": "data/raw\nfoo/bar\n",
    "nothing comes back out of a folder": "data/\n!data/a.csv\n",
    "back by its content": "data/*\n!data/raw\n",
    "all but": "/*\n!/data\n/data/*\n!/data/raw\n",
    "two stars before": "**/bar\n**/foo/baz\n",
    "two stars behind": "data/**\n!data/raw/\n!data/raw/a.csv\n",
    "two stars between": "data/**/a.csv\nfoo/**/baz\nb/**/g\n",
    "two stars alone": "**\n!a.csv\n",
    "two stars, all folders": "**/\n",
    "two stars in a name": "a**v\ndata/**b.txt\n",
    "three stars": "data/***/x.bin\n***/bar\nb/c/***\n",
    "stars and a folder": "deep/**/\n",
    "a star stays in a name": "data/*.csv\n*/deep\nfoo/*\n",
    "question marks": "?.csv\nx?y\n?\n",
    "sets": "[ab].csv\n[0-9]\n[!a-z]\n",
    "odd sets": "[]-]\n[z-a]\na[]]b\na[^-]b\na[!!]b\n[a-]b\n[-a]\n",
    "sets that are not closed": "[ab.csv\n[\n[!\n[]\n",
    "escapes in sets": "[\\]]\na[\\^]b\na[\\]x]b\n[a\\-z]\n[\\",
    "named sets": "[[:digit:]]\n[[:upper:]].CSV\nx[[:punct:]]y\n[![:alnum:]]\n[[:space:]x]\ntab[[:blank:]]x\n",
    "unknown named sets": "[[:letter:]]\n[[:alpha]\n[[:]x]\n",
    "spaces at the end": "sp ace   \nend\\ \na   b\n",
    "a space within": "sp\\ ace\n",
    "escaped letters": "\\a.csv\nx\\?y\n\\[s]\n\\*\nback\\\\slash\nstar\\*x\n",
    "a backslash at the end": "a\\\nfoo\\\n",
    "lines of Windows": "*.csv\r\nraw/\r\n",
    "a carriage return within": "cr\rx\n",
    "a mark of the byte order": "\ufeffa.csv\n",
    "capitals": "A.csv\n*.CSV\n",
    "other letters": "é.txt\n",
    "slashes twice": "data//raw\nfoo/bar//\n",
    "dots": "./a.csv\n../a\n.\n",
    "no line break at the end": "b.txt",
    "files by their folder": "data/raw/deep/x.bin\n/foo/baz/\n",
    "a set with a folder": "[dr]a*/*.csv\n",
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("tree"), dict.fromkeys(FILES, ""))


def by_git(tree: Path, rules: str) -> set[str]:
    """Return the files that git does not ignore; the repository is outside the tree, so the tree has no git files."""
    repository = tree.parent / "repository"
    git = ["git", "-c", "core.ignoreCase=false", f"--git-dir={repository}", f"--work-tree={tree}"]
    if not repository.exists():
        subprocess.run([*git, "init", "-q"], check=True, capture_output=True, cwd=tree)
    excludes = tree.parent / "excludes"
    excludes.write_bytes(rules.encode())
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--others", f"--exclude-from={excludes}"], check=True, capture_output=True, cwd=tree
    )
    return {name for name in listed.stdout.decode().split("\0") if name}


def by_us(tree: Path, rules: str) -> set[str]:
    (tree.parent / "ours").mkdir(exist_ok=True)
    (tree.parent / "ours" / ".datapkgignore").write_bytes(rules.encode())
    return {file.shown for file in walk(tree, left_out=read_ignore_file(tree.parent / "ours")).files}


@pytest.mark.needs("git")
@pytest.mark.parametrize("name", RULES)
def test_same_as_git(tree: Path, name: str) -> None:
    assert by_us(tree, RULES[name]) == by_git(tree, RULES[name])


@pytest.mark.needs("git")
def test_git_evaluates_the_rules(tree: Path) -> None:
    assert by_git(tree, "") == by_us(tree, "") == set(FILES)
    assert by_git(tree, "*\n!*/\n!*.csv\n") == {name for name in FILES if name.endswith(".csv")}


@pytest.mark.needs("git")
def test_pairs_of_rules_are_the_same_as_git(tree: Path) -> None:
    lines = ["*", "!*/", "!*.csv", "data/", "!data/raw/**", "/**/a.csv", "!/raw/keep", "foo/*", "raw/**"]
    for pair in itertools.permutations(lines, 2):
        rules = "\n".join(pair)
        assert by_us(tree, rules) == by_git(tree, rules), rules


def test_non_ascii_letters_match_as_one_character() -> None:
    left_out = left_out_by("?.txt\n[é].csv\ncafe\u0301\n")
    assert left_out(["é.txt"], False)
    assert left_out(["é.csv"], False)
    assert left_out(["caf\u00e9"], False)


def test_many_stars_are_fast() -> None:
    left_out = left_out_by("*a" * 60 + "b\n" + "**/a/" * 30 + "b\n")
    started = time.perf_counter()
    assert not left_out(["a" * 250], False)
    assert not left_out(["a"] * 60, False)
    assert time.perf_counter() - started < 1


def test_ignored_files_are_left_out_and_counted(tmp_path: Path) -> None:
    files = {"a.csv": "x\n1\n", "b.tmp": "", "raw/c.csv": "not even\ntext", "raw/d": "", "sub/e.tmp": "", "sub/f": ""}
    folder = write(tmp_path, {**files, ".datapkgignore": "# drafts\n*.tmp\nraw/\n", "sub/.datapkgignore": "f\n"})
    built = Bench().build(folder)
    assert paths(built) == ["a", "sub/f"]
    assert built.skipped == [
        "b.tmp: left out by .datapkgignore",
        "raw: left out by .datapkgignore",
        "sub/.datapkgignore: hidden",
        "sub/e.tmp: left out by .datapkgignore",
    ]


def test_ignored_files_may_be_invalid_nodes(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.csv": "x\n1\n", "a.tsv": "x\n1\n", ".datapkgignore": "*.tsv\nlinks/\nout\n"})
    (folder / "out").symlink_to("/")
    (folder / "real").mkdir()
    (folder / "links").symlink_to("real")
    built = Bench().build(folder)
    assert (paths(built), built.warnings) == (["a"], [])


def test_hidden_files_cannot_be_included(tmp_path: Path) -> None:
    folder = write(tmp_path, {".secret": "", "a": "", ".datapkgignore": "!.secret\n!.*\n"})
    assert paths(Bench().build(folder)) == ["a"]


def test_rules_apply_to_a_directory_given_as_a_value(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.txt": "", "b.tmp": "", ".datapkgignore": "*.tmp"})
    assert paths(Bench().build({"group": folder})) == ["group/a.txt"]


def test_generate_names_only_what_is_built(tmp_path: Path) -> None:
    files = {"README.md": "", "a.csv": "x\n1\n", "b.tmp": "", "meta/x": "", "meta/y.tmp": "", "raw/z": ""}
    folder = write(tmp_path, {**files, ".datapkgignore": "*.tmp\nraw\n"})
    generate(folder)
    bench = Bench()
    by_file, by_folder = bench.build(folder), bench.build(folder, build_file=False)
    assert paths(by_file) == paths(by_folder) == ["README.md", "a", "meta/x"]
    assert by_file.manifest == by_folder.manifest


def test_globs_skip_ignored_files_but_explicit_names_do_not(tmp_path: Path) -> None:
    build_file = """\
contents:
  all: {"**/*.txt": }
  below: {"data/*": }
  named: {file: raw/c.txt}
"""
    files = {"a.txt": "", "data/b.txt": "", "data/no.txt": "", "raw/c.txt": ""}
    folder = write(tmp_path, {**files, "build.yml": build_file, ".datapkgignore": "/data/no*\nraw\n"})
    assert paths(Bench().build(folder)) == ["all/a.txt", "all/data/b.txt", "below/b.txt", "named"]
    write(folder, {"build.yml": 'contents: {"raw/*": }\n'})
    with pytest.raises(InvalidBuildFile, match="matches no file"):
        Bench().build(folder)


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"ok\n\xff\n", r"\.datapkgignore:2: this is not UTF-8"), (b"x" * (1 << 20) + b"\n", "more than 1 MiB")],
)
def test_invalid_rules_file(tmp_path: Path, body: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        Bench().build(write(tmp_path, {".datapkgignore": body}))


def test_rules_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"rules": "*.tmp", "a.tmp": ""})
    (folder / ".datapkgignore").symlink_to("rules")
    assert paths(Bench().build(folder)) == ["rules"]
    (folder / ".datapkgignore").unlink()
    (folder / ".datapkgignore").symlink_to(write(tmp_path, {"outside": "*"}) / "outside")
    with pytest.raises(InvalidInput, match="not a regular file in this folder"):
        Bench().build(folder)
    (folder / ".datapkgignore").unlink()
    os.mkfifo(folder / ".datapkgignore")
    with pytest.raises(InvalidInput, match="not a regular file"):
        Bench().build(folder)


GIT_FILES = {
    ".gitignore": "*.tmp\n/out/\n!keep.tmp\n",
    "a.csv": "",
    "a.tmp": "",
    "keep.tmp": "",
    "out/x.csv": "",
    "sub/out/y.csv": "",
    "sub/b.tmp": "",
    "sub/.gitignore": "!b.tmp\n*.csv\ndeep/\n",
    "sub/c.csv": "",
    "sub/deep/.gitignore": "!*\n",
    "sub/deep/d.txt": "",
    "other/keep.tmp": "",
}


@pytest.mark.needs("git")
def test_gitignore_in_every_folder_equals_git(tmp_path: Path) -> None:
    folder = write(tmp_path, GIT_FILES)
    subprocess.run(["git", "init", "-q"], check=True, cwd=folder)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True, cwd=folder
    )
    found = walk(folder, left_out=read_ignore_file(folder, gitignore=True)).files
    assert {each.shown for each in found} == {each for each in listed.stdout.split() if not each.endswith(".gitignore")}


def test_files_ignored_by_git_are_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "", "b.tmp": "", "c.tmp": "", ".gitignore": "*.tmp\n"})
    built = Bench().build(folder)
    assert (paths(built), built.skipped) == (["a"], ["b.tmp: ignored by .gitignore", "c.tmp: ignored by .gitignore"])
    assert "left out 2 files and folders that .gitignore ignores: 'b.tmp', 'c.tmp'" in built.warnings[0]
    assert paths(Bench().build(folder, gitignore=False)) == ["a", "b.tmp", "c.tmp"]
    write(folder, {".datapkgignore": "!b.tmp\n"})
    assert paths(Bench().build(folder)) == ["a", "b.tmp"]


def test_gitignore_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", {"a": ""})
    (folder / ".gitignore").symlink_to(write(tmp_path, {"elsewhere": "a\n"}) / "elsewhere")
    assert paths(Bench().build(folder)) == ["a"]


def test_build_file_includes_what_it_names(tmp_path: Path) -> None:
    text = "contents: {x: {file: x.csv}, '*.txt': {}}"
    folder = write(tmp_path, {"x.csv": "n\n1\n", "y.txt": "", ".gitignore": "*\n", "build.yml": text})
    assert paths(Bench().build(folder)) == ["x", "y.txt"]


def test_installed_libraries_are_not_data(tmp_path: Path) -> None:
    files = {"a": "", "venv/pyvenv.cfg": "", "env/pyvenv.cfg": "", "env/lib/x.py": "", "site/node_modules/m/x.js": ""}
    folder = write(tmp_path, {**files, "lib/x.py": ""})
    built = Bench().build(folder)
    assert paths(built) == ["a", "lib/x.py"]
    assert built.skipped == [
        "env: a virtual environment of Python",
        "site/node_modules: installed by npm",
        "venv: a virtual environment of Python",
    ]


def test_oversized_gitignore_is_rejected(tmp_path: Path) -> None:
    """Without the rules behind the limit, files that git ignores would get into the package."""
    write(tmp_path, {"a.txt": "a", "in/b.secret": "b", "in/.gitignore": "x\n" * (1 << 19) + "*.secret\n"})
    with pytest.raises(InvalidInput, match=r"' has more than 1 MiB") as caught:
        Bench().build(tmp_path)
    assert "--no-gitignore" in caught.value.hint
