"""The build file written by `generate` builds the same package as the directory without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapkg.building.spec.from_value import spec_for
from datapkg.building.spec.generate import generate
from datapkg.building.spec.model import FileSource
from datapkg.errors import Conflict, InvalidInput, NotFound
from tests.building.builds import Bench, paths, write

ODD = [
    *(
        "a.csv",
        "b.txt",
        "README.md",
        "no",
        "2024.csv",
        "null.txt",
        "a: b.csv",
        "true",
        "~",
        "1.10",
        "# x.txt",
        "- y",
        "*star*.csv",
    ),
    *(
        "[a].txt",
        "?.txt",
        "日本/😀.txt",
        "sub/deep/er/c.tsv",
        "with space/d e.jsonl",
        "'q'\"d\".txt",
        "{x}.csv",
        "&a",
        "%40@",
        "<<",
    ),
    *(
        "n/meta.csv",
        "sub/meta",
        "meta/x.csv",
        "meta/meta/y",
        "file/a.csv",
        "kwargs/b.txt",
        "transform",
        "g/package.csv",
        "checks/1",
    ),
    *(
        "[b]/meta.txt",
        "url/[c]*/z.txt",
        "cafe\u0301.txt",
        "contents.csv",
        "\u00a0nbsp.txt",
        "zero\u200bwidth.txt",
        "\u202ebidi.txt",
    ),
    "x" * 200,
]


def test_odd_names_build_to_the_same_package(tmp_path: Path) -> None:
    bodies = {name: '{"a": 1}\n' if name.endswith("jsonl") else "x\n1\n" for name in ODD}
    folder = write(tmp_path, bodies)
    written = generate(folder)
    assert written.files == [folder / "build.yml"]
    bench = Bench()
    by_file, by_folder = bench.build(folder), bench.build(folder, build_file=False)
    assert paths(by_file) == paths(by_folder)
    assert by_file.manifest == by_folder.manifest
    assert len(by_file.manifest.nodes) == len(ODD)


def test_generated_file_is_readable(tmp_path: Path) -> None:
    folder = write(tmp_path, {"sales.csv": "x\n1\n", "photos/cat.jpg": "", "no": ""})
    assert generate(folder).files == [folder / "build.yml", folder / "README.md"]
    lines = (folder / "build.yml").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "contents:",
        "  README.md: {file: README.md}",
        '  "no": {file: "no"}',
        "  photos:",
        "    cat.jpg: {file: photos/cat.jpg}",
        "  sales: {file: sales.csv, transform: csv}",
    ]


def test_empty_directory(tmp_path: Path) -> None:
    generate(tmp_path)
    (tmp_path / "README.md").unlink()
    (tmp_path / "build.yml").unlink()
    write(tmp_path, {".hidden": ""})
    generate(tmp_path)
    assert paths(Bench().build(tmp_path)) == ["README.md"]


def test_existing_files_are_kept(tmp_path: Path) -> None:
    write(tmp_path, {"README.md": "mine", "a.txt": ""})
    generate(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    text = (tmp_path / "build.yml").read_text()
    with pytest.raises(Conflict, match="is there already"):
        generate(tmp_path)
    assert (tmp_path / "build.yml").read_text() == text


@pytest.mark.parametrize(
    ("files", "nodes"),
    [
        (["a.csv", "a.tsv", "b.csv"], ["a_csv", "a_tsv", "b"]),
        (["a.csv", "a/x.txt"], ["a/x.txt", "a_csv"]),
        (["a", "a.csv", "a_csv.tsv"], ["a", "a_csv", "a_csv_2"]),
        (["g/a.csv.gz", "g/a.jsonl", "g/a_jsonl"], ["g/a_csv_gz", "g/a_jsonl", "g/a_jsonl_2"]),
    ],
)
def test_files_with_one_node_path_get_distinct_names(tmp_path: Path, files: list[str], nodes: list[str]) -> None:
    folder = write(tmp_path, {**dict.fromkeys(files, ""), "README.md": ""})
    generate(folder)
    spec = spec_for(folder)
    assert sorted(node.path for node in spec.nodes) == sorted([*nodes, "README.md"])
    assert sorted(node.source.shown for node in spec.nodes if isinstance(node.source, FileSource)) == sorted(
        [*files, "README.md"]
    )


def test_nothing_is_written_if_a_name_is_invalid(tmp_path: Path) -> None:
    write(tmp_path, {"caf\u00e9.csv": "", "cafe\u0301.csv": "", "b\x7f.csv": ""})
    with pytest.raises(InvalidInput, match=r"b\\x7f"):
        generate(tmp_path)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv"] * 3


def test_files_ignored_by_git_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "*.log\nout/\n", "a.csv": "", "x.log": "", "out/b.csv": "", "README.md": ""})
    written = generate(tmp_path)
    assert "left out 2 files and folders that .gitignore ignores: 'out', 'x.log'" in written.warnings[0]
    assert [node.path for node in spec_for(tmp_path).nodes] == ["README.md", "a"]
    (tmp_path / "build.yml").unlink()
    assert not generate(tmp_path, gitignore=False).warnings
    assert [node.path for node in spec_for(tmp_path).nodes] == ["README.md", "a", "out/b", "x.log"]


def test_build_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "build.yml").symlink_to(target)
    with pytest.raises(Conflict):
        generate(folder)
    assert not target.exists()


def test_link_swapped_in_is_not_followed_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "target"
    folder = write(tmp_path / "folder", {"a.csv": "n\n1\n"})
    monkeypatch.setattr("os.path.lexists", lambda path: False)
    for name in ("README.md", "build.yml"):
        (folder / name).symlink_to(target)
        with pytest.raises(Conflict, match="is there already"):
            generate(folder)
        assert not target.exists()
        (folder / name).unlink()
        assert [path.name for path in folder.iterdir()] == ["a.csv"]


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        generate(tmp_path / "nothing")
