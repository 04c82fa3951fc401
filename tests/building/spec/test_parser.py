"""The grammar of build.yml: the meaning of each form, and every mistake with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datapkg.building.readers import TRANSFORMS
from datapkg.building.spec.model import BuildSpec, FileSource, PackageSource
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import InvalidBuildFile
from tests.building.builds import write

FILES: dict[str, str | bytes] = {
    "a.csv": "x\n1\n",
    "b.tsv": "x\n1\n",
    "c.txt": "text",
    "README.md": "# read",
    "data/one.jpg": "1",
    "data/two.jpg": "2",
    "data/deep/three.jpg": "3",
    "data/table.csv": "x\n1\n",
    "data/.hidden.jpg": "",
}


def read(folder: Path, text: str | bytes, **options: Any) -> BuildSpec:
    write(folder, {**FILES, "build.yml": text})
    return read_build_file(folder / "build.yml", **options)


def problems(folder: Path, text: str | bytes, **options: Any) -> list[str]:
    """Return each mistake as `line: path: message`, without the file."""
    with pytest.raises(InvalidBuildFile) as caught:
        read(folder, text, **options)
    start = f"{folder / 'build.yml'}:"
    found = [f"{place}: {what}" for place, what in caught.value.problems]
    assert all(each.startswith(start) for each in found)
    assert all(each in str(caught.value) for each in found[:50])
    return [each.removeprefix(start) for each in found]


def nodes(spec: BuildSpec) -> dict[str, tuple[str, str]]:
    """Return (file, transform) of each path."""
    return {
        node.path: (node.source.shown, node.transform) for node in spec.nodes if isinstance(node.source, FileSource)
    }


def test_files_groups_and_guessed_transforms(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        "contents:\n  README: {file: README.md}\n  g:\n    t: {file: a.csv}\n    raw: {file: a.csv, transform: id}\n",
    )
    assert nodes(spec) == {"README": ("README.md", "id"), "g/t": ("a.csv", "csv"), "g/raw": ("a.csv", "id")}
    assert (spec.groups, spec.meta, spec.origin) == ({}, {}, "build file")


def test_empty_contents(tmp_path: Path) -> None:
    for text in ("contents: {}\n", "contents:\n", "contents: ~\n"):
        spec = read(tmp_path, text)
        assert (spec.nodes, spec.groups) == ([], {})


def test_empty_groups_and_metadata(tmp_path: Path) -> None:
    text = """\
meta: {title: T, on: 2024-01-02, at: 2024-01-02T03:04:05Z, no: no, 1.10: 1.10, list: [1, {a: 2000-01-01}]}
contents:
  meta: {licence: X}
  empty:
  also: {}
  described: {meta: {a: 1}}
  g:
    meta: {file: this is metadata, b: 2}
    t: {file: a.csv, meta: {unit: m}}
"""
    spec = read(tmp_path, text)
    assert spec.groups == {"empty": {}, "also": {}, "described": {"a": 1}, "g": {"file": "this is metadata", "b": 2}}
    assert spec.meta == {
        "licence": "X",
        "title": "T",
        "on": "2024-01-02",
        "at": "2024-01-02T03:04:05+00:00",
        "no": False,
        "1.10": 1.1,
        "list": [1, {"a": "2000-01-01"}],
    }
    assert spec.nodes[0].meta == {"unit": "m"}


def test_reserved_words_are_nodes_if_they_have_a_source(tmp_path: Path) -> None:
    words = (
        "file",
        "checks",
        "environments",
        "kwargs",
        "transform",
        "package",
        "url",
        "sql",
        "python",
        "stage",
        "columns",
    )
    text = "contents:\n" + "".join(f"  {word}: {{file: a.csv}}\n" for word in words)
    assert list(nodes(read(tmp_path, text))) == list(words)
    text = """\
contents:
  g:
    transform: csv
    kwargs: {skiprows: 0}
    file: {file: c.txt, transform: id}
    file2: {file: c.txt}
"""
    assert nodes(read(tmp_path, text)) == {"g/file": ("c.txt", "id"), "g/file2": ("c.txt", "csv")}


def test_keys_under_contents_are_read_as_written(tmp_path: Path) -> None:
    names = ["no", "2024", "1.10", "null", "~", "0x1f", "2024-01-02", "a: b", "日本", "class", "with space", "<<", "*"]
    text = "contents:\n" + "".join(
        f"  {name if name in ('no', '2024', '1.10', 'null', '~') else repr(name)}: {{file: a.csv}}\n" for name in names
    )
    assert list(nodes(read(tmp_path, text))) == names


def test_names_are_normalised(tmp_path: Path) -> None:
    assert list(nodes(read(tmp_path, "contents:\n  cafe\u0301: {file: a.csv}\n"))) == ["caf\u00e9"]


def test_transforms_are_inherited_and_overridden(tmp_path: Path) -> None:
    text = """\
contents:
  transform: tsv
  a: {file: c.txt}
  g:
    transform: csv
    b: {file: b.tsv}
    c: {file: a.csv, transform: ssv}
    d: {transform: id, e: {file: a.csv}}
"""
    found = {path: transform for path, (_, transform) in nodes(read(tmp_path, text)).items()}
    assert found == {"a": "tsv", "g/b": "csv", "g/c": "ssv", "g/d/e": "id"}


def test_kwargs_are_merged_and_the_innermost_wins(tmp_path: Path) -> None:
    text = """\
contents:
  kwargs: {skiprows: 1, nrows: 5}
  a: {file: a.csv, kwargs: {nrows: 2}}
  g:
    kwargs: {nrows: 3, sep: ";"}
    b: {file: b.tsv}
    raw: {file: c.txt}
    j: {file: c.txt, transform: jsonl, kwargs: {orient: records}}
    x: {file: c.txt, transform: xlsx}
"""
    kwargs = {node.path: node.kwargs for node in read(tmp_path, text).nodes}
    assert kwargs == {
        "a": {"skiprows": 1, "nrows": 2},
        "g/b": {"skiprows": 1, "nrows": 3, "sep": ";"},
        "g/raw": {},
        "g/j": {"orient": "records"},
        "g/x": {"skiprows": 1, "nrows": 5},
    }


def test_inherited_kwargs_apply_to_their_transform_family_only(tmp_path: Path) -> None:
    text = """\
contents:
  transform: xlsx
  kwargs: {skiprows: 1}
  a: {file: a.csv, transform: csv}
  b: {file: c.txt}
"""
    assert {node.path: node.kwargs for node in read(tmp_path, text).nodes} == {"a": {}, "b": {"skiprows": 1}}


def test_kwargs_are_yaml_1_1(tmp_path: Path) -> None:
    kwargs = "{header: , na_values: [no, 1_0, 'no'], dtype: {0: str, x: float}, decimal: ','}"
    text = f"contents:\n  a: {{file: a.csv, kwargs: {kwargs}}}\n"
    assert read(tmp_path, text).nodes[0].kwargs == {
        "header": None,
        "na_values": [False, 10, "no"],
        "dtype": {0: "str", "x": "float"},
        "decimal": ",",
    }


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = """\
contents:
  a: &base {file: a.csv, kwargs: &kw {nrows: 1}}
  b: {<<: *base, meta: {n: 2}}
  c: {<<: [{transform: tsv}, *base], kwargs: {<<: *kw, skiprows: 1}}
"""
    spec = read(tmp_path, text)
    assert nodes(spec) == {"a": ("a.csv", "csv"), "b": ("a.csv", "csv"), "c": ("a.csv", "tsv")}
    assert spec.nodes[2].kwargs == {"nrows": 1, "skiprows": 1}


def test_globs(tmp_path: Path) -> None:
    text = """\
contents:
  raw:
    "data/**/*.jpg": {transform: id, meta: {m: 1}}
  top:
    "*.csv": {kwargs: {nrows: 1}}
    "[!abc]*": {}
  all:
    "data/**":
  text:
    transform: csv
    "c.tx?":
"""
    spec = read(tmp_path, text)
    assert sorted(nodes(spec)) == sorted(
        [
            *("raw/one.jpg", "raw/two.jpg", "raw/deep/three.jpg"),
            *("top/a", "top/README.md"),
            *("all/one.jpg", "all/two.jpg", "all/deep/three.jpg", "all/table"),
            "text/c",
        ]
    )
    by_path = {node.path: node for node in spec.nodes}
    assert by_path["top/a"].kwargs == {"nrows": 1}
    assert by_path["raw/one.jpg"].meta == {"m": 1}
    assert by_path["raw/deep/three.jpg"].source == FileSource(tmp_path / "data/deep/three.jpg", "data/deep/three.jpg")


def test_globs_do_not_match_the_build_file(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "other.yml": "contents:\n  '*.yml':\n", "more.yml": ""})
    assert list(nodes(read_build_file(tmp_path / "other.yml"))) == ["more.yml"]


def test_key_with_wildcards_and_a_source_is_a_name(tmp_path: Path) -> None:
    assert nodes(read(tmp_path, "contents:\n  'a*': {file: a.csv}\n  '[g]': {x: {file: c.txt}}\n")) == {
        "a*": ("a.csv", "csv"),
        "[g]/x": ("c.txt", "id"),
    }


def test_packages(tmp_path: Path) -> None:
    spec = read(tmp_path, "contents:\n  a: {package: u/p/sub/node@1.0, meta: {m: 1}}\n")
    (node,) = spec.nodes
    assert isinstance(node.source, PackageSource)
    assert (str(node.source.ref), node.meta) == ("u/p/sub/node@1.0", {"m": 1})


def test_all_mistakes_are_reported_with_their_lines(tmp_path: Path) -> None:
    text = """\
meat: {title: x}
contents:
  a: {file: a.cvs}
  a: {file: a.csv}
  b:
    file: a.csv
    transfrom: csv
    kwargs:
      seperator: ";"
      chunksize: 5
  tables:
    iris: {file: a.csv, transform: scv, kwargs: {header: }}
  c: {transform: csv}
  d: README.md
  e: [1]
  f: {file: a.csv, package: u/p}
  g: {url: "https://example.org/x.csv", sha256: abc}
  h: {file: }
  i: {file: data}
  j: {package: Wrong/Allowed}
  "x/y": {file: a.csv}
  "nothing/*.csv":
  "data/*.xyz":
"""
    assert problems(tmp_path, text) == [
        "1: meat: unknown key 'meat'; did you mean 'meta'?",
        "3: contents.a.file: there is no file 'a.cvs'; did you mean 'a.csv'?",
        "4: contents: key 'a' is here twice; first on line 3",
        "7: contents.b.transfrom: unknown key 'transfrom'; did you mean 'transform'?",
        "9: contents.b.kwargs: unknown kwarg 'seperator' of pandas.read_csv; did you mean 'sep'?",
        "10: contents.b.kwargs: 'chunksize' is not supported: a table is read whole",
        "12: contents.tables.iris.transform: unknown transform 'scv'; did you mean 'csv'? "
        f"there are {', '.join(TRANSFORMS)}",
        "13: contents.c: has neither a source (file, url, package, sql, python, stage, results_of) nor nodes below it",
        "14: contents.d: expected a mapping such as {file: …}, got 'README.md'",
        "15: contents.e: expected a mapping such as {file: …}, got a list",
        "16: contents.f: has both `file` and `package`; a node has one source",
        "17: contents.g.sha256: expected 64 hex digits, got 'abc'; with --update they are found out and written here",
        "18: contents.h.file: expected the path of a file, got nothing",
        "19: contents.i.file: 'data' is a folder; name its files, or take them by a glob such as data/*",
        "20: contents.j.package: user name 'Wrong' is not allowed: it is a lower-case letter, then lower-case "
        "letters and digits, at most 39 characters; did you mean 'wrong'?",
        "21: contents.x/y: node name 'x/y' is not allowed: it may not contain '/', '\\' or control characters; "
        "groups are nested mappings, and a file is named by `file:`",
        "22: contents.nothing/*.csv: there is no folder 'nothing'",
        "23: contents.data/*.xyz: matches no file (hidden files are not data)",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: build.yml is empty; expected `contents:`"),
        ("[]", "1: build.yml is not a mapping; expected `contents:`"),
        ("meta: {}\n", "1: build.yml has no `contents`"),
        ("contents: [a]\n", "1: contents: expected a mapping of names to nodes"),
        ("contents: {}\nchecks: [a]\n", "2: checks: expected a mapping of names to checks"),
        ("meta: [1]\ncontents: {}\n", "1: meta: expected a mapping"),
        ("meta: {n: 9007199254740993}\ncontents: {}\n", "1: meta: meta.n: 9007199254740993 is beyond 2^53"),
        ("meta: {n: .nan}\ncontents: {}\n", "1: meta: meta.n: nan is not a JSON number"),
        (f"meta: {{a: {'x' * 600_000}}}\ncontents: {{}}\n", "1: meta: more than 512 KiB of metadata"),
        ("meta: {a: 1, a: 2}\ncontents: {}\n", "1: meta: key 'a' is here twice; first on line 1"),
        ("meta: {d: 2024-13-45}\ncontents: {}\n", "1: meta.d: '2024-13-45' looks like a timestamp but is not one"),
        ("contents:\n  a: {kwargs: {}}\n", "2: contents.a: has neither a source"),
        ("contents:\n  [a]: {file: a.csv}\n", "2: contents: a key is text, not a mapping or list"),
        ("contents:\n  a: {file: [a.csv]}\n", "2: contents.a.file: expected the path of a file, got a list"),
        ("contents:\n  transform: {a: 1}\n", "2: contents.transform: expected the name of a transform, got a mapping"),
        ("contents:\n  kwargs: [1]\n", "2: contents.kwargs: expected a mapping of names to values"),
        ("contents:\n  kwargs: {nonsense_kwarg: 1}\n", "2: contents.kwargs: unknown kwarg 'nonsense_kwarg'"),
        ("contents:\n  a: {file: a.csv, kwargs: {heder: 1}}\n", "did you mean 'header'?"),
        (
            "contents:\n  a: {file: a.csv, kwargs: {dtype: {no: str}}}\n",
            "key 'no' reads as False in YAML; put it in quotes",
        ),
        ("contents:\n  a: {file: c.txt, kwargs: {sep: x}}\n", "'sep' is not supported: transform id has no kwargs"),
        ("contents:\n  a: {file: a.csv, kwargs: {sheet_name: x}}\n", "unknown kwarg 'sheet_name' of pandas.read_csv"),
        ("contents:\n  a: {file: a.csv, kwargs: {storage_options: {}}}\n", "credentials do not belong in a build file"),
        (
            "contents:\n  a: {package: u/p, transform: csv}\n",
            "2: contents.a.transform: a node of a package is taken as it is",
        ),
        ("contents:\n  a: {package: u}\n", "is not a package"),
        (
            "contents:\n  a: {fil: a.csv}\n",
            "2: contents.a.fil: expected a mapping such as {file: …}, got 'a.csv'; did you mean 'file'?",
        ),
        ("contents:\n  a: {stage: x}\n", "2: contents.a: there is no stage 'x'"),
        ("contents:\n  environments: {a: 1}\n", "2: contents.environments: `environments` is not supported"),
        ("contents:\n  g: {file: {file: a.csv}, package: u/p}\n", "contents.g: has both `file` and `package`"),
        ("contents:\n  a: {<<: 1}\n", "`<<` takes a mapping or a list of mappings"),
        ("contents:\n  '.': {file: a.csv}\n", "it may not be empty, '.' or '..'"),
        ("contents:\n  '': {file: a.csv}\n", "it may not be empty"),
        ('contents:\n  "a\\nb": {file: a.csv}\n', "control characters"),
        (f"contents:\n  {'n' * 300}: {{file: a.csv}}\n", "longer than 255 bytes"),
        (f"contents:\n  a: {{file: {'n' * 4_000}}}\n", "there is no file|cannot be read"),
        (f"contents:\n  a: {{file: {'n' * 5_000}}}\n", "has 5,000 characters; at most 4,096 are allowed"),
        (
            "contents:\n  é: {file: a.csv}\n  e\u0301: {file: a.csv}\n",
            "3: contents.é: node 'é' is named twice: here and on line 2",
        ),
        ("contents:\n  a: {file: a.csv}\n  '*.csv':\n", "node 'a' is named twice: here and on line"),
        ("contents:\n  a: {x: {file: a.csv}}\n  '*.csv':\n", "node 'a' is named twice"),
    ],
)
def test_single_mistakes(tmp_path: Path, text: str, expected: str) -> None:
    import re

    found = problems(tmp_path, text)
    assert any(re.search(expected, each) or expected in each for each in found), found


def test_files_of_one_glob_with_one_path_are_reported(tmp_path: Path) -> None:
    write(tmp_path, {"ok.csv": "x\n1\n", "ok.tsv": "x\n1\n"})
    assert problems(tmp_path, "contents:\n  'ok.*':\n") == [
        "2: contents.ok: 'ok.csv' and 'ok.tsv' would both be node 'ok'; name them one by one: "
        "ok_csv: {file: ok.csv}, ok_tsv: {file: ok.tsv}"
    ]


def test_nesting_of_groups_is_limited(tmp_path: Path) -> None:
    text = "contents:\n" + "".join(" " * (n + 1) + "a:\n" for n in range(100))
    assert "deeper than 64 names" in problems(tmp_path, text)[0]


@pytest.mark.parametrize(
    "source", ["../outside.csv", "/etc/passwd", "link.csv", "folder/outside.csv", "a/../../outside.csv"]
)
def test_source_may_not_leave_the_folder(tmp_path: Path, source: str) -> None:
    folder = tmp_path / "inside"
    write(tmp_path, {"outside.csv": "x\n1\n"})
    write(folder, FILES)
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "folder").symlink_to(tmp_path)
    (folder / "a").mkdir()
    text = f"contents:\n  t: {{file: {source}, transform: id}}\n"
    assert "leads out of the folder of the build file" in problems(folder, text)[0]
    spec = read(folder, text, allow_outside=True)
    assert len(spec.nodes) == 1
    assert not Path(nodes(spec)["t"][0]).is_absolute()


@pytest.mark.parametrize("pattern", ["../*.csv", "/etc/host*", "folder/*.csv"])
def test_glob_may_not_leave_the_folder(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "inside"
    write(tmp_path, {"outside.csv": "x\n1\n"})
    folder.mkdir()
    (folder / "folder").symlink_to(tmp_path)
    assert "leads out of the folder" in problems(folder, f"contents:\n  '{pattern}':\n")[0]
    if not pattern.startswith("/"):
        assert list(nodes(read(folder, f"contents:\n  '{pattern}':\n", allow_outside=True))) == ["outside"]


def test_link_inside_the_folder_is_a_source(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "link.csv").symlink_to("a.csv")
    spec = read(tmp_path, "contents:\n  t: {file: link.csv}\n")
    assert nodes(spec) == {"t": ("link.csv", "csv")}


def test_no_code_runs(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"contents: !!python/object/apply:os.system ['touch {marker}']\n"
    with pytest.raises(InvalidBuildFile, match="tags"):
        read(tmp_path, text)
    assert not marker.exists()


def test_reading_a_build_file_loads_no_heavy_library(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "build.yml": "contents:\n  '**/*':\n"})
    code = (
        "import sys, pathlib; from datapkg.building.spec.parser import read_build_file; "
        f"read_build_file(pathlib.Path({str(tmp_path / 'build.yml')!r})); "
        "assert not {'pandas', 'pyarrow', 'numpy', 'requests', 'packaging'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
