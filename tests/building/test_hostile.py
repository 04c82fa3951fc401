"""Malicious build files cause a clear error, soon, in little memory, and nothing foreign is read or run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.building.sources.file import open_source
from datapkg.building.spec import document, source_paths, sql_python
from datapkg.building.spec.from_value import spec_for
from datapkg.building.spec.model import FileSource
from datapkg.building.spec.parser import read_build_file
from datapkg.errors import BuildFailed, InvalidBuildFile, InvalidInput
from datapkg.format import canonical
from datapkg.format.canonical import check_metadata
from tests.building.builds import write
from tests.examples import examples

# Generous for a busy machine; on an idle one each test takes a second at most.
SECONDS = 10.0


def refused(path: Path, text: str | bytes, **options: Any) -> str:
    """Return the error message for a build file; it must come soon and be short."""
    write(path, {"a.csv": "x\n1\n", "build.yml": text})
    start = time.process_time()
    with pytest.raises(InvalidBuildFile) as caught:
        read_build_file(path / "build.yml", **options)
    assert time.process_time() - start < SECONDS
    assert len(str(caught.value)) < 50_000
    assert all(line.isprintable() for line in str(caught.value).split("\n"))
    return str(caught.value)


BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)
MERGES = "contents:\n  a0: &a0 {k: {file: a.csv}}\n" + "".join(
    f"  a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (BOMB, "more than 250,000 values"),
        (MERGES, "more than 250,000 values"),
        ("contents: &a {b: *a}", "contains itself"),
        ("contents:\n  a: &a {<<: *a, file: a.csv}", "contains itself"),
        ("contents: " + "{a: " * 10_000, "nested deeper than 200"),
        ("contents: " + "[" * 10_000, "nested deeper than 200"),
        ("contents:\n" + "".join(" " * (n + 1) + "a:\n" for n in range(3_000)), "nested deeper than 200"),
        (
            "contents:\n" + "".join(f"  k{n}: {{file: a.csv}}\n" for n in range(1_000_000 // 4)),
            "more than 250,000 values",
        ),
        ("".join(f"k{n}: 1\n" for n in range(200_000)), "more than 250,000 values"),
        ("contents:\n  ? " + "k" * 2_000_000 + "\n  : {file: a.csv}\n", "1,024 are the bound"),
        ("contents:\n  a: {file: " + "x" * 5_000_000 + "}", "at most 4,096 are allowed"),
        ("contents:\n  a: {url: 'http://h/" + "x" * 5_000_000 + "', sha256: " + "0" * 64 + "}", "at most 8,192"),
        ("contents:\n  a: {file: a.csv, extract: " + "x" * 5_000_000 + "}", "at most 4,096 are allowed"),
        ("contents:\n  a: {sql: '" + "x" * 5_000_000 + "', connection: A}", "at most 100,000 are allowed"),
        ("contents:\n  a: {file: a.csv, columns: {x: " + "x" * 100_000 + "}}", "at most 4,096 are allowed"),
        (
            "contents:\n  a: {file: a.csv, columns: {" + "".join(f"k{n}: v, " for n in range(30_000)) + "}}",
            "at most 20,000",
        ),
        ("contents:\n  a: {file: a.csv, meta: {t: " + "x" * 600_000 + "}}", "more than 512 KiB"),
        ("contents:\n  a: {file: a.csv, kwargs: {nrows: 1" + ":59" * 200_000 + "}}", "it is too long"),
        ("contents:\n  a: {file: a.csv, kwargs: {nrows: " + "9" * 200_000 + "}}", "it is too long"),
        ("contents:\n  a: {file: a.csv, sheet: 1" + ":59" * 200_000 + "}", "`sheet` is for Excel files"),
        (
            "contents:\n  a: {file: a.csv, " + "".join(f"k{n}: 1, " for n in range(50_000)) + "}",
            "at least 1000 mistakes",
        ),
        ("contents:\n" + "".join(f"  a{n}: {{file: b{n}}}\n" for n in range(5_000)), "at least 1000 mistakes"),
        ("contents:\n  a: {python: 'a:b', files: [" + "a.csv, " * 50_000 + "]}", "at most 10,000 are allowed"),
        ("contents: !!python/object/apply:os.system [x]", "tags"),
        ("contents: !!python/name:os.system", "tags"),
        ("contents:\n  a: !include /etc/passwd", "tags"),
        ("contents:\n  a: {file: !!binary a.csv}", "tags"),
        ("%TAG ! tag:x,2000:\n---\ncontents: {a: !x {}}", "tags"),
        ("contents: {}\n---\ncontents: {}\n", "second"),
        ("contents:\n  a: {file: a.csv}\x00", "U\\+0000|U+0000"),
        ("contents:\n  a: {file: \x1b[2Ja.csv}", "U+001B"),
        ("contents:\n  a: {file: \ufffe}", "U+FFFE"),
        ('contents:\n  a: {file: "a\\0.csv"}', "embedded null byte"),
        ('contents:\n  "a\\0": {file: a.csv}', "control characters"),
        ('contents:\n  "a\\u202e\\n": {file: a.csv}', "control characters"),
        ('contents:\n  a: {file: "\\uD800"}', "invalid Unicode"),
        ('contents:\n  "*\\0": {}', "matches no file"),
        ('contents:\n  a: {url: "http://h/\\0", sha256: x}', "spaces or control characters|64 hex digits"),
        (b"contents: {a: {file: \xff\xfe}}", "UTF-8"),
        ("contents: {}".encode("utf-16"), "UTF-8"),
        ("contents: {}".encode("utf-16-be"), "U+0000"),
        ("contents: {}".encode("utf-32"), "UTF-8"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) and len(value) < 60 else "…",
)
def test_clear_error_soon(tmp_path: Path, text: str | bytes, expected: str) -> None:
    message = refused(tmp_path, text)
    assert any(each.replace("\\+", "+") in message for each in expected.split("|")), message[:500]


@pytest.mark.parametrize(
    "source",
    [
        *(
            "/etc/passwd",
            "../../../../../../etc/passwd",
            "/dev/zero",
            "/dev/stdin",
            "/proc/self/environ",
            "/proc/self/mem",
        ),
        *(
            "fifo",
            "socket",
            "link",
            "linked/passwd",
            "loop",
            ".",
            "..",
            "a.csv/../a.csv/x",
            "~/x",
            "file:///etc/passwd",
        ),
    ],
)
def test_sources_that_are_not_files_of_the_folder(tmp_path: Path, source: str) -> None:
    import socket

    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as each, contextlib.chdir(tmp_path):
        each.bind("socket")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to("/etc")
    (tmp_path / "loop").symlink_to("loop")
    assert "contents.a.file: " in refused(tmp_path, f"contents:\n  a: {{file: '{source}'}}\n")
    refused(tmp_path, f"contents:\n  a: {{file: '{source}', extract: x}}\n")
    refused(tmp_path, f"contents:\n  a: {{python: 'a:b', files: ['{source}']}}\n")


@pytest.mark.parametrize(
    "module", ["os:system", "..a:b", "/etc/x:y", "a/b:c", "link:run", "class:x", "a:b:c", "a", "a.py:b", "é:x"]
)
def test_functions_must_be_in_modules_of_the_folder(tmp_path: Path, module: str) -> None:
    (tmp_path / "link.py").symlink_to(os.__file__)
    assert "contents.a.python: " in refused(tmp_path, f"contents:\n  a: {{python: '{module}'}}\n")


def test_special_files_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": "x\n"})
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "up").symlink_to("..")
    (tmp_path / "loop").symlink_to("loop")
    assert [node.path for node in spec_for(tmp_path).nodes] == ["a"]
    write(tmp_path, {"build.yml": "contents:\n  '**':\n"})
    assert [node.path for node in spec_for(tmp_path).nodes] == ["a"]


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "/etc/shadow-that-is-not", "."])
def test_build_file_that_is_not_a_regular_file(tmp_path: Path, target: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    path = tmp_path / "b.yml"
    path.symlink_to(target)
    start = time.process_time()
    with contextlib.suppress(InvalidInput, LookupError):
        spec_for(path)
    assert time.process_time() - start < SECONDS


def test_total_matches_of_globs_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_paths, "MAX_TRIED", 100)
    text = "contents:\n" + "".join(f"  g{n}:\n    '**/*.csv': {{}}\n" for n in range(200))
    assert "tried on more than 100 files" in refused(tmp_path, text)
    text = "contents:\n  '" + "**/" * 300 + "*.csv': {}\n"
    monkeypatch.setattr(source_paths, "MAX_TRIED", 1_000)
    write(tmp_path, {"build.yml": text})
    assert len(read_build_file(tmp_path / "build.yml").nodes) == 1


def test_files_of_a_function_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_python, "MAX_FILES", 10)
    write(tmp_path, {"make.py": "", "x.txt": ""})
    assert "more than 10 files" in refused(
        tmp_path, "contents:\n  a: {python: 'make:x', files: [" + "'*', " * 50 + "]}\n"
    )


def test_long_key_of_many_values_is_not_copied_for_each() -> None:
    start = time.process_time()
    check_metadata({"k" * 500_000: [0] * 200_000})
    assert time.process_time() - start < SECONDS


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the memory of a process")
def test_memory_use_is_small(tmp_path: Path) -> None:
    write(tmp_path, {"build.yml": "contents:\n" + "".join(f"  k{n}: {{file: a.csv}}\n" for n in range(400_000))})
    code = (
        "import pathlib, re\nfrom datapkg.building.spec.parser import read_build_file\n"
        f"try: read_build_file(pathlib.Path({str(tmp_path / 'build.yml')!r}))\n"
        "except ValueError: print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 300_000  # KiB, including the libraries


def test_limits_are_documented() -> None:
    text = (Path(__file__).parents[2] / "docs" / "build.md").read_text()
    assert f"{document.MAX_BYTES >> 20} MiB, {document.MAX_DEPTH} levels and {document.MAX_VALUES:,} values" in text
    assert canonical.MAX_META_BYTES >> 10 == 512


WORDS = st.sampled_from(
    [
        *"contents meta checks transform kwargs file url sha256 extract package sql connection python files".split(),
        *"sheet table columns stage environments a a.csv csv http://h/x 1 no ~ * ** data/*.csv u/p column min".split(),
    ]
)
VALUES = st.recursive(
    st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=examples(40, 150), deadline=None)
@given(st.dictionaries(WORDS, VALUES, max_size=4), st.booleans())
def test_any_build_file_is_read_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any], update: bool
) -> None:
    import json

    path = write(tmp_path_factory.mktemp("any"), {"a.csv": "x\n", "data/b.csv": "y\n"}) / "build.yml"
    for text in (value, {"contents": value}, {"contents": {"n": {"file": "a.csv", **value}}}):
        path.write_text(json.dumps(text))
        with contextlib.suppress(InvalidBuildFile):
            read_build_file(path, update=update)


def test_file_replaced_by_a_link_is_not_read(tmp_path: Path) -> None:
    """The file checked while reading the build file may be replaced before it is opened."""
    write(
        tmp_path,
        {"outside/secret": "secret", "in/a.txt": "a", "in/d/b.txt": "b", "in/build.yml": "contents:\n  '**':\n"},
    )
    spec = spec_for(tmp_path / "in")
    sources = {node.path: node.source for node in spec.nodes if isinstance(node.source, FileSource)}
    assert sources.keys() == {"a.txt", "d/b.txt"}
    (tmp_path / "in" / "a.txt").unlink()
    (tmp_path / "in" / "a.txt").symlink_to("../outside/secret")
    (tmp_path / "in" / "d").rename(tmp_path / "in" / "e")
    (tmp_path / "outside" / "b.txt").write_text("secret")
    (tmp_path / "in" / "d").symlink_to("../outside")
    for source in sources.values():
        with (
            pytest.raises(BuildFailed, match="leads out of the folder now"),
            open_source(source.path, "x", source.within),
        ):
            pass
    (tmp_path / "in" / "d").unlink()
    (tmp_path / "in" / "e").rename(tmp_path / "in" / "d")
    with open_source(sources["d/b.txt"].path, "x", sources["d/b.txt"].within) as stream:
        assert stream.read() == b"b"


def test_broken_link_is_not_reported_as_a_misspelt_file(tmp_path: Path) -> None:
    (tmp_path / "b.csv").symlink_to("gone.csv")
    message = refused(tmp_path, "contents:\n  b: {file: b.csv}\n")
    assert message.endswith("contents.b.file: 'b.csv' is a broken link")
