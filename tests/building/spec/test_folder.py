"""Which files of a directory become nodes, their names, and what is left out; also single files."""

from __future__ import annotations

import os
import time
import unicodedata
from pathlib import Path

import pytest

from datapkg.building.spec.folder import scan_directory, scan_file
from datapkg.building.spec.from_value import spec_for
from datapkg.building.spec.model import BuildSpec, FileSource
from datapkg.errors import InvalidInput, NotFound
from tests.building.builds import Bench, kinds, paths, write


def names(spec: BuildSpec) -> dict[str, str]:
    """Return the source file of each node path."""
    return {node.path: node.source.shown for node in spec.nodes if isinstance(node.source, FileSource)}


def test_tables_drop_the_extension_and_files_keep_it(tmp_path: Path) -> None:
    files = [
        "a.csv",
        "a.txt",
        "b.CSV",
        "c.tar.gz",
        "d",
        "e.csv.gz",
        "f.x.tsv",
        "sub/deep/g.jsonl",
        "sub/h.jpg",
        "i.json",
    ]
    spec = scan_directory(write(tmp_path, dict.fromkeys(files, "")))
    expected = ["a", "a.txt", "b", "c.tar.gz", "d", "e", "f.x", "i.json", "sub/deep/g", "sub/h.jpg"]
    assert sorted(names(spec)) == sorted(expected)
    assert names(spec)["sub/deep/g"] == "sub/deep/g.jsonl"


@pytest.mark.parametrize(
    "name",
    [
        "class.csv",
        "日本.csv",
        "2024 sales.csv",
        "no.csv",
        "null.csv",
        "a: b.csv",
        "-.csv",
        "'quoted\".csv",
        "😀.csv",
        "x" * 200 + ".csv",
        "@a%40.csv",
    ],
)
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    bench = Bench()
    built = bench.build(write(tmp_path, {name: "x\n1\n"}))
    (node,) = built.manifest.nodes
    assert (node.path, node.kind, node.file_name) == (name.removesuffix(".csv"), "table", name)


def test_node_names_are_normalised_and_file_names_are_kept(tmp_path: Path) -> None:
    built = Bench().build(write(tmp_path, {"cafe\u0301/re\u0301sume\u0301.txt": "x"}))
    (node,) = built.manifest.nodes
    assert node.path == "caf\u00e9/r\u00e9sum\u00e9.txt"
    assert node.file_name == "re\u0301sume\u0301.txt"


def test_non_data_files_are_left_out_and_counted(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.txt": "s"})
    folder = write(
        tmp_path / "inside",
        {
            "a.txt": "a",
            ".hidden": "",
            ".git/config": "",
            "sub/.DS_Store": "",
            "sub/__pycache__/m.pyc": "",
            "sub/build.yml": "data",
        },
    )
    (folder / "to_file").symlink_to(outside / "secret.txt")
    (folder / "to_folder").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "broken").symlink_to(folder / "nowhere")
    (folder / "good").symlink_to("a.txt")
    os.mkfifo(folder / "pipe")
    (folder / "empty").mkdir()
    built = Bench().build(folder)
    assert paths(built) == ["a.txt", "good", "sub/build.yml"]
    assert sorted(built.skipped) == [
        ".git: hidden",
        ".hidden: hidden",
        "broken: link that leads nowhere",
        "loop: link that leads to a folder that it lies in",
        "pipe: not a regular file",
        "sub/.DS_Store: hidden",
        "sub/__pycache__: made by Python",
        "to_file: link that leaves the folder",
        "to_folder: link that leaves the folder",
    ]
    assert len(built.warnings) == 4
    assert "to_file was left out: it is a link that leaves the folder" in built.warnings


def test_links_may_leave_the_folder_if_allowed(tmp_path: Path) -> None:
    write(tmp_path, {"outside/x.txt": "x", "inside/a.txt": "a"})
    (tmp_path / "inside" / "out").symlink_to(tmp_path / "outside")
    assert list(names(spec_for(tmp_path / "inside", allow_outside=True))) == ["a.txt", "out/x.txt"]


def test_all_invalid_names_are_reported_together(tmp_path: Path) -> None:
    bad = [b"a\nb.txt", b"tab\t.txt", b"back\\slash", b"\xff\xfe.csv", "\u2028.txt".encode()]
    for name in [*bad, b"good.txt"]:
        (Path(os.fsdecode(os.fsencode(tmp_path))) / os.fsdecode(name)).touch()
    with pytest.raises(InvalidInput) as caught:
        scan_directory(tmp_path)
    assert len(caught.value.problems) == len(bad)
    assert "good.txt" not in str(caught.value)
    str(caught.value).encode()
    repr(caught.value.problems).encode()


@pytest.mark.parametrize(
    ("files", "both"),
    [
        (["a.csv", "a.tsv"], ("a.csv", "a.tsv")),
        (["a.csv", "a/b.txt"], ("a", "a.csv")),
        (["caf\u00e9.txt", "cafe\u0301.txt"], ("cafe\u0301.txt", "caf\u00e9.txt")),
        (["a", "a.csv"], ("a", "a.csv")),
    ],
)
def test_two_files_with_one_node_name_are_an_error(tmp_path: Path, files: list[str], both: tuple[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        scan_directory(write(tmp_path, dict.fromkeys(files, "")))
    assert all(repr(name) in str(caught.value) for name in both)
    is_spelled_twice = len({unicodedata.normalize("NFC", name) for name in files}) == 1
    assert caught.value.hint == f"datapkg generate {tmp_path}" or is_spelled_twice


def test_names_that_only_look_alike_are_distinct(tmp_path: Path) -> None:
    files = ["a.csv", "a.txt", "a_txt$", "A.csv"]
    assert sorted(names(scan_directory(write(tmp_path, dict.fromkeys(files, ""))))) == ["A", "a", "a.txt", "a_txt$"]


def test_folders_nested_too_deeply_are_rejected(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(66):
        folder = folder / "d"
    folder.mkdir(parents=True)
    (folder / "x.txt").touch()
    with pytest.raises(InvalidInput, match="deeper than 64"):
        scan_directory(tmp_path)


def test_single_file_is_one_node(tmp_path: Path) -> None:
    write(tmp_path, {"2024 sales.csv": "x\n1\n", "other.txt": ""})
    bench = Bench()
    assert kinds(bench.build(tmp_path / "2024 sales.csv")) == {"2024 sales": "table"}
    assert kinds(bench.build(tmp_path / "other.txt")) == {"other.txt": "file"}
    assert scan_file(tmp_path / "other.txt").origin == "file"


def test_path_selects_build_file_folder_or_single_file(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "", "build.yml": "contents: {b: {file: a.txt}}\n", "sub/c.yaml": "contents: {}\n"})
    assert list(names(spec_for(tmp_path))) == ["b"]
    assert list(names(spec_for(tmp_path / "build.yml"))) == ["b"]
    assert list(names(spec_for(tmp_path, build_file=False))) == ["a.txt", "sub/c.yaml"]
    assert spec_for(tmp_path / "sub/c.yaml").origin == "build file"
    assert list(names(spec_for(tmp_path / "sub/c.yaml", build_file=False))) == ["c.yaml"]
    with pytest.raises(NotFound, match="there is no file or folder"):
        spec_for(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="neither"):
        spec_for(tmp_path / "pipe")


def test_directory_build_leaves_no_files_behind(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a.csv": "x\n1\n"})
    before = sorted(folder.rglob("*"))
    Bench().build(folder)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_ten_thousand_small_files_are_fast(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        for other in range(100):
            (folder / f"f{other}.bin").write_bytes(b"%d " % (number * 100 + other) * 2_000)
    started = time.perf_counter()
    built = Bench().build(tmp_path)
    assert built.built == 10_000
    assert time.perf_counter() - started < 10
