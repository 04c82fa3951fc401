"""Whole builds: reproducibility, reuse of earlier results, nodes of other packages, and state after failures."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest

from datapkg.building.sources.package import take_over
from datapkg.building.spec.model import NodeSpec, PackageSource
from datapkg.errors import (
    BuildFailed,
    HashMismatch,
    InvalidInput,
    NodeNotFound,
    PackageNotInstalled,
    TransformFailed,
)
from datapkg.format.manifest.parsed import TableNode
from datapkg.format.names import Ref
from datapkg.objects.memory import MemoryObjects
from tests.building.builds import Bench, kinds, paths, write

SAMPLES = Path(__file__).parent.parent.parent / "sample_packages"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in SAMPLES.glob("*/build.yml")))
def test_sample_packages_build_reproducibly(name: str) -> None:
    one, two = Bench(), Bench()
    first, second = one.build(SAMPLES / name), two.build(SAMPLES / name)
    assert first.manifest == second.manifest
    assert first.warnings == []
    assert set(one.objects) == set(two.objects)
    again = one.build(SAMPLES / name, previous=first.manifest)
    assert (again.manifest, again.built, again.reused) == (first.manifest, 0, first.built)


def test_iris_as_on_the_product_page() -> None:
    bench = Bench()
    frame = bench.frame(bench.build(SAMPLES / "iris"), "measurements")
    assert list(frame.columns) == ["sepal_length", "sepal_width", "petal_length", "petal_width", "class"]
    assert [str(dtype) for dtype in frame.dtypes] == ["float64"] * 4 + ["str"]
    assert frame.shape == (150, 5)


def test_nodes_of_every_kind(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((2, 3)))
    pandas.DataFrame({"a": [1]}).to_parquet(tmp_path / "p.parquet")
    write(tmp_path, {"t.csv": "x\n1\n", "f.bin": b"\0" * 10, "sub/g.txt": "g"})
    built = Bench().build(tmp_path)
    assert kinds(built) == {"f.bin": "file", "p": "table", "sub/g.txt": "file", "t": "table", "w": "array"}
    assert (built.built, built.reused) == (5, 0)
    assert built.bytes_logical == sum(node.size for node in built.manifest.nodes)


def test_large_file_is_streamed_and_file_of_exactly_a_mebibyte(tmp_path: Path) -> None:
    bodies = {
        f"{size}.bin": random.Random(size).randbytes(size)
        for size in (0, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20)
    }
    bench = Bench()
    built = bench.build(write(tmp_path, dict(bodies)))
    for name, body in bodies.items():
        node = built.manifest.get(name)
        assert node is not None
        ((hash, size),) = node.objects()
        assert (hash, size) == (hashlib.sha256(body).hexdigest(), len(body))
        assert bench.objects.read(hash) == body


def test_order_in_the_build_file_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": "x\n1\n", "one.yml": "contents: {a: {file: a.csv}, b: {file: a.csv, transform: id}}\n"})
    write(tmp_path, {"two.yml": "contents:\n  b:\n    transform: id\n    file: a.csv\n  a: {file: a.csv}\n"})
    bench = Bench()
    assert bench.build(tmp_path / "one.yml").manifest == bench.build(tmp_path / "two.yml").manifest


def test_package_hash_covers_metadata_but_not_source_paths(tmp_path: Path) -> None:
    write(tmp_path, {"x/a.txt": "a", "y/a.txt": "a"})
    texts = ["{file: x/a.txt}", "{file: y/a.txt}", "{file: x/a.txt, meta: {m: 1}}"]
    bench = Bench()
    hashes = [bench.build(write(tmp_path, {"build.yml": f"contents: {{a: {text}}}\n"})).manifest.hash for text in texts]
    assert hashes[0] == hashes[1] != hashes[2]


class TestReuse:
    def csv(self, rows: int, extra: str = "") -> str:
        return "k,v\n" + "".join(f"{row * 7919 % 1_000_003},{row / 7}\n" for row in range(rows)) + extra

    def blocks(self, built: Any, path: str) -> list[str]:
        node = built.manifest.get(path)
        assert isinstance(node, TableNode)
        return [block.hash for block in node.blocks]

    def test_append_keeps_all_blocks_but_the_last(self, tmp_path: Path) -> None:
        bench = Bench()
        first = bench.build(write(tmp_path, {"t.csv": self.csv(200_000)}))
        second = bench.build(write(tmp_path, {"t.csv": self.csv(200_000, "1,2.5\n")}), previous=first.manifest)
        old, new = self.blocks(first, "t"), self.blocks(second, "t")
        assert len(old) > 2
        assert new[: len(old) - 1] == old[:-1]

    def test_insertion_changes_one_or_two_blocks(self, tmp_path: Path) -> None:
        bench = Bench()
        text = self.csv(200_000)
        first = bench.build(write(tmp_path, {"t.csv": text}))
        at = text.index("\n", len(text) // 2) + 1
        second = bench.build(write(tmp_path, {"t.csv": text[:at] + "5,0.5\n" + text[at:]}))
        assert len(set(self.blocks(second, "t")) - set(self.blocks(first, "t"))) <= 2

    def test_equal_values_keep_the_objects_of_another_writer(self) -> None:
        table = pa.table({"a": [1, 2, 3], "t": ["x", None, "z"]})
        bench = Bench()
        first = bench.build({"t": table})
        node = first.manifest.get("t")
        assert isinstance(node, TableNode)
        chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)]).cast(
            pa.schema([("a", pa.int64()), ("t", pa.large_string())])
        )
        second = bench.build({"t": chunked}, previous=first.manifest)
        assert second.manifest == first.manifest
        assert second.reused == 1

    def test_renamed_table_is_reused(self) -> None:
        frame = pandas.DataFrame({"a": [1, 2, 3]})
        bench = Bench()
        first = bench.build({"old": frame})
        count = len(list(bench.objects))
        second = bench.build({"new": {"deep": frame}}, previous=first.manifest)
        assert paths(second) == ["new/deep"]
        assert second.reused == 1
        assert len(list(bench.objects)) == count

    def test_missing_objects_are_written_again(self) -> None:
        frame = pandas.DataFrame({"a": [1, 2, 3]})
        first = Bench().build({"t": frame})
        other = Bench()
        second = other.build({"t": frame}, previous=first.manifest)
        assert (second.built, second.reused) == (1, 0)
        assert second.manifest == first.manifest
        assert other.frame(second, "t")["a"].tolist() == [1, 2, 3]

    def test_changed_value_is_built(self) -> None:
        bench = Bench()
        first = bench.build({"t": pandas.DataFrame({"a": [1, 2]}), "u": pandas.DataFrame({"b": [1]})})
        second = bench.build(
            {"t": pandas.DataFrame({"a": [1, 3]}), "u": pandas.DataFrame({"b": [1]})}, previous=first.manifest
        )
        assert (second.built, second.reused) == (1, 1)
        assert bench.frame(second, "t")["a"].tolist() == [1, 3]

    def test_changed_dtype_is_built(self) -> None:
        bench = Bench()
        first = bench.build({"t": pandas.DataFrame({"a": [1, 2]})})
        second = bench.build({"t": pandas.DataFrame({"a": [1, 2]}).astype("Int64")}, previous=first.manifest)
        assert second.built == 1
        assert str(bench.frame(second, "t")["a"].dtype) == "Int64"


class TestComposition:
    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench()
        values = {
            "t": pandas.DataFrame({"a": [1, 2]}),
            "g": {"u": pandas.DataFrame({"b": ["x"]}), "w": np.ones(3)},
            "e": None,
        }
        bench.packages["u/p"] = bench.build(values).manifest
        return bench

    def compose(self, bench: Bench, folder: Path, text: str) -> Any:
        return bench.build(write(folder, {"build.yml": text}))

    def test_package_source_of_a_node_a_group_and_a_whole_package(self, bench: Bench, tmp_path: Path) -> None:
        text = (
            "contents:\n  one: {package: u/p/t}\n  g: {mine: {package: u/p/g, meta: {m: 1}}}\n  all: {package: u/p}\n"
        )
        built = self.compose(bench, tmp_path, text)
        assert paths(built) == ["all/e", "all/g/u", "all/g/w", "all/t", "g/mine", "g/mine/u", "g/mine/w", "one"]
        assert (built.built, built.reused) == (0, 6)
        assert bench.frame(built, "one")["a"].tolist() == [1, 2]
        old, new = bench.packages["u/p"].get("t"), built.manifest.get("one")
        assert old is not None
        assert new is not None
        assert list(old.objects()) == list(new.objects())
        group = built.manifest.get("g/mine")
        assert group is not None
        assert (group.kind, group.meta) == ("group", {"m": 1})
        assert built.record["packages"] == [
            {"path": path, "package": ref, "hash": bench.packages["u/p"].hash}
            for path, ref in (("one", "u/p/t"), ("g/mine", "u/p/g"), ("all", "u/p"))
        ]

    def test_metadata_is_included(self, bench: Bench, tmp_path: Path) -> None:
        text = "meta: {title: T}\ncontents:\n  a: {file: build.yml, transform: id, meta: {x: 1, y: 1}}\n"
        bench.packages["u/q"] = self.compose(bench, tmp_path, text).manifest
        built = self.compose(bench, tmp_path, "contents:\n  q: {package: u/q}\n  a: {package: u/q/a, meta: {y: 2}}\n")
        metas = {node.path: node.meta for node in built.manifest.nodes}
        assert metas == {"q": {"title": "T"}, "q/a": {"x": 1, "y": 1}, "a": {"x": 1, "y": 2}}

    def test_objects_are_copied_from_another_store(self, bench: Bench, tmp_path: Path) -> None:
        mine = MemoryObjects()
        built = bench.build(write(tmp_path, {"build.yml": "contents: {all: {package: u/p}}\n"}), into=mine)
        assert not mine.missing(built.manifest.objects())

    def test_corrupt_objects_are_rejected(self, bench: Bench) -> None:
        manifest = bench.packages["u/p"]

        class Damaged(MemoryObjects):
            def _body(self, hash: str) -> bytes:
                return b"damaged"

            def missing(self, hashes: Iterable[str]) -> set[str]:
                return set()

        spec = NodeSpec("all", PackageSource(Ref("u", "p")))
        with pytest.raises(HashMismatch):
            take_over(spec, Ref("u", "p"), MemoryObjects(), lambda ref: (manifest, Damaged()))

    def test_error_for_a_missing_package_or_node_names_the_line(self, bench: Bench, tmp_path: Path) -> None:
        with pytest.raises(PackageNotInstalled, match=r"build.yml:2: contents.a: other/pkg is not installed") as caught:
            self.compose(bench, tmp_path, "contents:\n  a: {package: other/pkg}\n")
        assert caught.value.hint == "datapkg install other/pkg"
        with pytest.raises(NodeNotFound, match=r"build.yml:2: contents.a: the package has no node 'x'"):
            self.compose(bench, tmp_path, "contents:\n  a: {package: u/p/x}\n")


class TestValues:
    def test_single_value_is_the_node_data(self) -> None:
        bench = Bench()
        assert kinds(bench.build(pandas.DataFrame({"a": [1]}))) == {"data": "table"}
        assert kinds(bench.build(np.ones(2))) == {"data": "array"}
        assert kinds(bench.build(pa.table({"a": [1]}))) == {"data": "table"}

    def test_dicts_are_groups(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.csv": "x\n1\n", "d/b.txt": "b"})
        values = {
            "t": pandas.DataFrame({"a": [1]}),
            "g": {"file": tmp_path / "a.csv", "folder": tmp_path, "none": None, "empty": {}},
        }
        built = Bench().build(values)
        assert kinds(built) == {
            "g/empty": "group",
            "g/file": "table",
            "g/folder/a": "table",
            "g/folder/d/b.txt": "file",
            "g/none": "group",
            "t": "table",
        }

    def test_equal_values_are_equal_packages(self, tmp_path: Path) -> None:
        frame = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
        bench = Bench()
        from_memory, again = bench.build({"t": frame}), bench.build({"t": frame.copy()})
        assert from_memory.manifest == again.manifest
        frame.to_csv(tmp_path / "t.csv", index=False)
        from_file = bench.build(tmp_path / "t.csv")
        one, other = from_memory.manifest.get("t"), from_file.manifest.get("t")
        assert isinstance(one, TableNode)
        assert isinstance(other, TableNode)
        assert (one.content, one.blocks) == (other.content, other.blocks)

    def test_chunking_does_not_change_the_package(self) -> None:
        rows = 100_000
        table = pa.table({"i": np.arange(rows), "t": [f"{i}" if i % 7 else None for i in range(rows)]})
        table = table.append_column("c", pa.array([f"{i % 9}" for i in range(rows)]).dictionary_encode())
        chunked = pa.concat_tables([table.slice(start, 777) for start in range(0, rows, 777)])
        assert Bench().build({"t": table}).manifest == Bench().build({"t": chunked}).manifest

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"a": 1, "b/c": pandas.DataFrame({"a": [1]}), "": None}, "got int"),
            ({"a": {1: None}}, "it is not text"),
            ({"caf\u00e9": None, "cafe\u0301": None}, "it is here twice"),
            ({"a": "a.csv"}, "got str"),
            ({"a": Path("/nowhere/at/all")}, "there is no file or directory"),
            ({"a": np.float64(1)}, "got float64"),
            (3, "got int"),
        ],
    )
    def test_unsupported_values(self, values: Any, reason: str) -> None:
        with pytest.raises(InvalidInput, match=reason):
            Bench().build(values)

    def test_object_arrays_are_rejected(self) -> None:
        with pytest.raises(TransformFailed, match="Python objects"):
            Bench().build({"a": np.array([object()])})


class TestRecord:
    def test_record_lists_sources_and_transforms(self, tmp_path: Path) -> None:
        body = "when;x\n2024-01-02;1\n"
        text = """\
contents:
  t: {file: in/t.csv, kwargs: {sep: ';', na_values: [2024-01-02, .inf]}}
  r: {file: in/t.csv, transform: id}
"""
        built = Bench().build(write(tmp_path, {"in/t.csv": body, "build.yml": text}))
        hash = hashlib.sha256(body.encode()).hexdigest()
        source = {"file": "in/t.csv", "hash": hash, "size": len(body)}
        kwargs = {"sep": ";", "na_values": ["2024-01-02", "inf"]}
        exact = "{'sep': ';', 'na_values': [datetime.date(2024, 1, 2), inf]}"
        writer = {"compression": "zstd", "level": 1, "page_bytes": [65_536, 262_144], "dictionaries": []}
        assert built.record["sources"] == [
            {"path": "t", **source, "transform": "csv", "kwargs": kwargs, "kwargs_python": exact, "writer": writer},
            {"path": "r", **source, "transform": "id"},
        ]
        assert built.record["libraries"]["pandas"] == pandas.__version__
        text = json.dumps(built.record)
        assert str(tmp_path) not in text
        import platform

        assert platform.node() == "" or platform.node() not in text

    @pytest.mark.needs("git")
    def test_record_has_commit_and_dirty_flag(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "repository" / "data", {"a.txt": "a", ".gitignore": "ignored\n", "ignored": ""})

        def git(*arguments: str) -> str:
            command = [
                "git",
                "-c",
                "user.name=n",
                "-c",
                "user.email=e@example.org",
                "-C",
                str(folder.parent),
                *arguments,
            ]
            return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

        git("init", "--quiet")
        assert "git" not in Bench().build(folder).record
        git("add", ".")
        git("commit", "--quiet", "-m", "first")
        commit = git("rev-parse", "HEAD")
        assert Bench().build(folder).record["git"] == {"commit": commit, "dirty": False}
        write(folder.parent, {"elsewhere.txt": ""})
        assert Bench().build(folder).record["git"]["dirty"] is False
        write(folder, {"new.txt": ""})
        assert Bench().build(folder).record["git"]["dirty"] is True
        (folder / "new.txt").unlink()
        write(folder, {"a.txt": "changed"})
        assert Bench().build(folder).record["git"]["dirty"] is True

    @pytest.mark.needs("git")
    def test_git_repository_runs_no_code(self, tmp_path: Path) -> None:
        marker = tmp_path / "ran"
        folder = write(tmp_path / "repository", {"a.txt": "a", ".gitattributes": "* filter=evil\n"})
        for arguments in (
            ["init", "--quiet"],
            ["add", "."],
            ["-c", "user.name=n", "-c", "user.email=e@x.org", "commit", "-qm", "m"],
        ):
            subprocess.run(["git", "-C", str(folder), *arguments], check=True)
        for key in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "diff.external", "core.sshCommand"):
            subprocess.run(["git", "-C", str(folder), "config", key, f"touch {marker}"], check=True)
        write(folder, {"a.txt": "b"})
        assert Bench().build(folder).record["git"]["dirty"] is True
        assert not marker.exists()


class TestFailure:
    def test_unreadable_table_has_a_hint(self, tmp_path: Path) -> None:
        folder = write(tmp_path, {"sub/bad.csv": "a,b\n1,2\n3,4,5\n"})
        with pytest.raises(TransformFailed, match=r"'sub/bad.csv' cannot be read as csv: .*line 3, saw 3") as caught:
            Bench().build(folder)
        assert (
            caught.value.hint == "to keep the file as it is, write in a build file: {file: sub/bad.csv, transform: id}"
        )
        assert caught.value.detail["file"] == "sub/bad.csv"
        write(folder, {"build.yml": "contents:\n  t: {file: sub/bad.csv}\n"})
        with pytest.raises(TransformFailed, match=r"build.yml:2: contents.t: 'sub/bad.csv' cannot be read"):
            Bench().build(folder)

    def test_file_deleted_or_changed_during_the_build(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from datapkg.building import node_builder
        from datapkg.building.pipeline import build_package
        from datapkg.building.spec.from_value import spec_for

        write(tmp_path, {"a.csv": "x\n1\n"})
        spec, bench = spec_for(tmp_path), Bench()
        real = node_builder.hash_source

        def meddling(stream: Any) -> tuple[str, int]:
            found = real(stream)
            write(tmp_path, {"a.csv": "x\n2\n3\n"})
            return found

        monkeypatch.setattr(node_builder, "hash_source", meddling)
        with pytest.raises(BuildFailed, match=r"'a.csv' changed while it was read"):
            build_package(spec, bench.objects, previous=None, find_package=bench.find)
        (tmp_path / "a.csv").unlink()
        with pytest.raises(BuildFailed, match=r"'a.csv' cannot be read: No such file"):
            build_package(spec, bench.objects, previous=None, find_package=bench.find)

    def test_store_failure_is_not_reported_as_a_source_error(self, tmp_path: Path) -> None:
        class Full(MemoryObjects):
            def put(self, stream: Any, expected: str | None = None) -> str:
                raise OSError(28, "No space left on device")

        for name in ("a.csv", "b.txt"):
            folder = write(tmp_path / name, {name: "x\n1\n"})
            with pytest.raises(OSError, match="No space left"):
                Bench().build(folder, into=Full())

    def test_all_objects_are_put_in_one_batch(self, tmp_path: Path) -> None:
        class Watched(MemoryObjects):
            batches = 0
            inside = False

            @contextmanager
            def batch(self) -> Iterator[None]:
                self.batches += 1
                self.inside = True
                yield
                self.inside = False

            def put(self, stream: Any, expected: str | None = None) -> str:
                assert self.inside
                return super().put(stream, expected)

        watched = Watched()
        Bench().build(write(tmp_path, {"a.csv": "x\n1\n", "b.txt": "b", "c/d.txt": "d"}), into=watched)
        assert watched.batches == 1

    def test_progress_counts_bytes_of_what_is_read(self, tmp_path: Path) -> None:
        from datapkg.building.pipeline import build_package
        from datapkg.building.spec.from_value import spec_for

        reports: list[tuple[str, int, int]] = []
        spec = spec_for(write(tmp_path, {"a.txt": "a", "b.txt": "bcd"}))
        build_package(
            spec, MemoryObjects(), previous=None, find_package=Bench().find, progress=lambda *each: reports.append(each)
        )
        assert reports == [("comparing", 0, 2), ("comparing", 1, 2), ("building", 1, 4), ("building", 4, 4)]


def test_location_of_the_folder_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one", {"a.csv": "x\n1\n", "build.yml": "contents: {'*.csv': , b: {file: ./a.csv}}\n"})
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "three")
    bench = Bench()
    expected = bench.build(tmp_path / "one").manifest
    assert bench.build(tmp_path / "two" / "three").manifest == expected
    monkeypatch.chdir(tmp_path / "one")
    assert bench.build(Path()).manifest == expected
    assert bench.build(Path("build.yml")).manifest == expected
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert bench.build(tmp_path / "link").manifest == expected
