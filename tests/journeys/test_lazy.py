"""Lazily opened packages fetch only the requested bytes from the registry and keep them."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import datapkg
from datapkg.api.build import build_package
from datapkg.api.install import InstallOptions, fetch_packages, install_one, install_packages
from datapkg.api.lock import write_lock
from datapkg.api.push import push_package
from datapkg.building.spec.options import BuildOptions as BuildOptions
from datapkg.errors import CorruptObject, ObjectNotFound, Unreachable
from datapkg.format.names import Ref
from datapkg.format.selection import Selection
from datapkg.reading.load import load
from datapkg.reading.tables import arrow_cache_writer
from tests.conftest import Person
from tests.faulty_proxy import Fault, faulty_way

ROWS, COLUMNS = 120_000, 20


def wide_frame() -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame({f"c{at:02}": random.standard_normal(ROWS) for at in range(COLUMNS)}).assign(
        key=np.arange(ROWS), word=np.array(["even", "odd"])[np.arange(ROWS) % 2]
    )


@pytest.fixture
def published(person: Person, tmp_path: Path) -> Ref:
    """Push a package with a wide table, a big file and small ones."""
    home, ref = person.home("publisher"), person.ref("wide")
    big = tmp_path / "noise.bin"
    big.write_bytes(np.random.default_rng(1).bytes(3 << 20))
    small = {f"s{at:03}.txt": _text(tmp_path / f"s{at:03}.txt", f"small {at}\n") for at in range(50)}
    source: Any = {"table": wide_frame(), "noise": big, "small": small, "numbers": np.arange(10.0)}
    build_package(home, ref, source, BuildOptions(allow_outside=True))
    push_package(home, ref)
    return ref


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def received(node: Any) -> int:
    """Return the bytes of response bodies received for the objects of a lazily opened package."""
    through = node.__source__.through
    return 0 if through._theirs is None else through._theirs._session.received_bytes


def test_one_remote_column_transfers_a_twentieth_of_the_table(person: Person, published: Ref) -> None:
    home = person.home("reader")
    package: Any = load(published, home, lazy=True)
    assert package.table.shape == (ROWS, COLUMNS + 2)
    assert received(package) == 0
    column = package.table["c03"]
    assert column.equals(wide_frame()["c03"])
    assert 0 < received(package) < 0.1 * package.table.size
    before = received(package)
    assert package.table["c03"].equals(column)
    assert received(package) == before
    again: Any = load(published, person.home("reader"), lazy=True)
    assert again.table["c03"].equals(column)
    assert received(again) == 0


def test_arrow_cache_needs_no_object_and_no_registry(person: Person, published: Ref) -> None:
    package: Any = load(published, person.home("reader"), lazy=True)
    source, entry = package.table.__source__, package.table.__entry__
    arrow_cache_writer.write(package.table.__stored__)
    for hash, _ in entry.objects():
        source.store.objects.delete(hash)
    nowhere: Any = load(published, person.home("reader", url="http://127.0.0.1:9"), lazy=True)
    assert nowhere.table["c03"].equals(wide_frame()["c03"])
    assert (
        nowhere.table(columns=["c01"], filters=[("key", "<", 10)])["c01"].tolist() == wide_frame()["c01"][:10].tolist()
    )
    assert nowhere.table.schema == package.table.schema


@pytest.mark.parametrize("whole", ["install", "fetch"])
def test_partial_files_are_deleted_when_their_object_is_complete(person: Person, published: Ref, whole: str) -> None:
    home = person.home("reader")
    package: Any = load(published, home, lazy=True)
    package.table["c03"]
    kept = [path for path in (home.store.folder / "partial").glob("*/*") if path.is_file()]
    assert kept
    bring = install_packages if whole == "install" else fetch_packages
    (outcome,) = bring(home, [published])
    assert outcome.error is None
    assert not [path for path in kept if path.exists()]
    assert package.table["c03"].equals(wide_frame()["c03"])


def test_displaying_remote_nodes_fetches_nothing(person: Person, published: Ref) -> None:
    package: Any = load(published, person.home("reader"), lazy=True)
    for node in [package, *package.values()]:
        assert node._repr_mimebundle_()["text/plain"] == repr(node)
    assert "c03" in package.table._repr_html_()
    for node in (package.table, package.noise, package.numbers):
        assert "it is fetched when it is read" in node._repr_html_()
    assert "it is fetched when it is read" in repr(package.table)
    assert received(package) == 0
    package.table()
    before = received(package)
    assert "bars are of the first 65,536 rows" in package.table._repr_html_()
    assert received(package) == before


def test_rows_of_a_remote_table_fetch_only_their_blocks(person: Person, published: Ref) -> None:
    package: Any = load(published, person.home("reader"), lazy=True)
    blocks = len(package.table.__entry__.blocks)
    assert blocks > 1
    found = package.table(columns=["c01"], filters=[("key", "<", 10)])
    assert found["c01"].tolist() == wide_frame()["c01"][:10].tolist()
    assert received(package) < 0.1 * package.table.size
    part = package.table(rows=slice(ROWS - 5, None))
    assert part["key"].tolist() == list(range(ROWS - 5, ROWS))
    assert received(package) < package.table.size


def test_reading_a_whole_table_stores_verified_objects(person: Person, published: Ref) -> None:
    home = person.home("reader")
    package: Any = load(published, home, lazy=True)
    package.table["c00"]
    assert package.table().equals(wide_frame())
    assert not home.store.objects.missing(hash for hash, _ in package.table.__entry__.objects())
    assert list(package.__source__.through.parts) == []


def test_lazy_files_arrays_and_groups(person: Person, published: Ref) -> None:
    package: Any = load(published, person.home("reader"), lazy=True)
    assert package.small["s007.txt"].read_text() == "small 7\n"
    assert package.numbers().tolist() == list(range(10))
    with package.noise.open() as stream:
        stream.seek(2_000_000)
        part = stream.read(10)
    assert received(package) < 1 << 20
    data = package.noise.path.read_bytes()
    assert (len(data), data[2_000_000:2_000_010]) == (3 << 20, part)


def test_lazy_import_transfers_only_the_manifest(
    person: Person, published: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_way(person.url) as way:
        environment = person.environ("lazy", way.url) | {"DATAPKG_LAZY": "1"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = f"from datapkg.data.{published.user} import wide; print(len(wide.small), wide.table.shape)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["50", f"({ROWS},", f"{COLUMNS + 2})"]
        asked = [path for _, path in way.seen]
        assert not any("/objects" in path for path in asked)
        assert sum("/manifests/" in path for path in asked) == 1
        code = f"from datapkg.data.{published.user} import wide; print(wide.table['key'].sum())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) == sum(range(ROWS))


def test_local_data_is_readable_offline(person: Person, published: Ref) -> None:
    with faulty_way(person.url) as way:
        home = person.home("reader", way.url)
        package: Any = load(published, home, lazy=True)
        column = package.table["c05"]
        way.faults.append(Fault("drop"))
        offline: Any = load(published, person.home("reader", way.url), lazy=True)
        assert offline.table["c05"].equals(column)
        with pytest.raises(Unreachable, match=f"{published.package}/table is not on this machine.*datapkg fetch"):
            offline.table["c06"]
        with pytest.raises(Unreachable, match=r"small/s001\.txt is not on this machine"):
            offline.small["s001.txt"].read_text()
        way.faults.clear()
        assert offline.table["c06"].equals(wide_frame()["c06"])


def test_bytes_corrupted_in_transit_are_detected_and_fetched_again(person: Person, published: Ref) -> None:
    with faulty_way(person.url) as way:
        package: Any = load(published, person.home("reader", way.url), lazy=True)
        package.table["key"]  # the footers are local
        way.faults.append(Fault("flip", where="/objects/"))
        with pytest.raises(CorruptObject):
            package.table["c07"]
        way.faults.clear()
        assert package.table["c07"].equals(wide_frame()["c07"])


def test_page_corrupted_in_transit_suggests_a_command(person: Person, published: Ref) -> None:
    with faulty_way(person.url) as way:
        package: Any = load(published, person.home("reader", way.url), lazy=True)
        assert len(package.table["c01"]) == ROWS
        way.faults.append(Fault("flip", "/objects", times=1))
        with pytest.raises(CorruptObject, match=r"read it again, or type: datapkg fetch .*/wide/table@sha256:"):
            package.table["c02"]
        assert package.table["c02"].equals(wide_frame()["c02"])


@pytest.fixture
def kept(person: Person, tmp_path: Path) -> Ref:
    """Push a package with a table whose Parquet file pandas wrote, without page checksums."""
    home, ref = person.home("publisher"), person.ref("kept")
    wide_frame().to_parquet(tmp_path / "t.parquet")
    build_package(home, ref, {"t": tmp_path / "t.parquet"}, BuildOptions(allow_outside=True))
    push_package(home, ref)
    return ref


def test_column_of_a_file_without_page_checksums_is_verified_by_chunks(person: Person, kept: Ref) -> None:
    package: Any = load(kept, person.home("reader"), lazy=True)
    assert package.t["c03"].equals(wide_frame()["c03"])
    assert 0 < received(package) < 0.1 * package.t.size
    again: Any = load(kept, person.home("reader", "http://127.0.0.1:1"), lazy=True)
    assert again.t["c03"].equals(wide_frame()["c03"])
    assert received(again) == 0


def test_corrupt_byte_in_a_file_without_page_checksums_is_detected(person: Person, kept: Ref) -> None:
    with faulty_way(person.url) as way:
        package: Any = load(kept, person.home("reader", way.url), lazy=True)
        package.t["key"]  # the footer is local
        way.faults.append(Fault("flip", where="/objects/"))
        with pytest.raises(CorruptObject):
            package.t["c07"]
        way.faults.clear()
        assert package.t["c07"].equals(wide_frame()["c07"])


def test_whole_object_is_fetched_if_the_registry_has_no_chunks(person: Person, kept: Ref) -> None:
    with faulty_way(person.url) as way:
        way.faults.append(Fault("404", where="/chunks"))
        package: Any = load(kept, person.home("reader", way.url), lazy=True)
        assert package.t["c03"].equals(wide_frame()["c03"])
        assert received(package) > package.t.size


def test_partial_install_fetches_nothing_unless_lazy(person: Person, published: Ref) -> None:
    home = person.home("partial")
    install_one(home, published, InstallOptions(Selection(meta_only=True)))
    package: Any = load(published, home)
    with pytest.raises(ObjectNotFound, match="datapkg fetch"):
        package.table()
    lazily: Any = load(published, home, lazy=True)
    assert lazily.table["key"].sum() == sum(range(ROWS))


@pytest.mark.parametrize(
    ("selection", "here"),
    [
        (Selection(include=("small/s00*.txt",)), {f"small/s00{at}.txt" for at in range(10)}),
        (
            Selection(include=("small",), exclude=("**/s*[1-9].txt",)),
            {f"small/s{at}0.txt" for at in ("00", "01", "02")},
        ),
        (Selection(max_size=1_000, exclude=("small",)), {"numbers"}),
        (Selection(meta_only=True), set()),
    ],
)
def test_lazy_part_of_a_package(person: Person, published: Ref, selection: Selection, here: set[str]) -> None:
    home = person.home("partial")
    installed = install_one(home, published, InstallOptions(selection))
    manifest = home.store.manifest(installed.hash)
    found = {node.path for node in manifest.nodes if not home.store.objects.missing(hash for hash, _ in node.objects())}
    assert here <= found
    assert {"table", "noise"}.isdisjoint(found)
    assert installed.bytes_left > 3 << 20
    current = home.store.refs.current(published)
    assert current is not None
    assert current.partial


def test_prefetch_fetches_a_node_in_the_background(person: Person, published: Ref) -> None:
    home = person.home("reader")
    package: Any = load(published, home, lazy=True)
    prefetch = datapkg.prefetch(package.small)
    assert prefetch.wait(60)
    assert prefetch.done_bytes == prefetch.size_bytes
    whole: Any = load(published, home)
    assert whole.small["s049.txt"].read_text() == "small 49\n"
    with pytest.raises(ObjectNotFound):
        whole.noise.read_bytes()


_opened: dict[str, Any] = {}


def _sum_in_fork(name: str) -> float:
    return float(_opened["package"].table[name].sum())


def test_forked_process_opens_its_own_connection(person: Person, published: Ref) -> None:
    package = _opened["package"] = load(published, person.home("reader"), lazy=True)
    _sum_in_fork("c00")  # a connection is open that a child process must not use
    names = [f"c{at:02}" for at in range(1, 9)]
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(_sum_in_fork, names, chunksize=1)
    frame = wide_frame()
    assert found == [float(frame[name].sum()) for name in names]
    assert package.__source__.through.has(package.table.__entry__.blocks[0].hash) is False


def test_lazy_load_uses_the_locked_state(
    person: Person, published: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "datapkg.yml").write_text(f"packages: [{published}]\n")
    monkeypatch.chdir(project)
    locked = write_lock(person.home("reader"), project)
    publisher = person.home("publisher")
    build_package(publisher, published, {"other": np.arange(3)}, BuildOptions())
    push_package(publisher, published)
    package: Any = load(published, person.home("reader"), lazy=True)
    assert (package.hash, "table" in package) == (locked.pins[0].hash, True)
    locked.path.unlink()
    newest: Any = load(published, person.home("elsewhere"), lazy=True)
    assert list(newest) == ["other"]


def test_node_sent_to_another_process_stays_lazy(
    person: Person, published: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environ("reader").items():
        monkeypatch.setenv(name, value)
    package: Any = load(published, person.home("reader"), lazy=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(_sum_of, [(package.table, "c02")])
    assert found == float(wide_frame()["c02"].sum())
    assert person.token.encode() not in pickle.dumps(package)


def _sum_of(asked: tuple[Any, str]) -> float:
    return float(asked[0][asked[1]].sum())


def frame_of_types(rows: int = 150_000) -> pd.DataFrame:
    """Return a frame with a column of each storage type, each with distinct values."""
    random = np.random.default_rng(3)
    numbers = random.standard_normal(rows)
    words = pd.Series(random.integers(0, 10_000, rows)).astype(str)
    return pd.DataFrame(
        {
            "float": np.where(random.random(rows) < 0.1, np.nan, numbers),
            "int": random.integers(-(2**60), 2**60, rows),
            "nullable": pd.array(random.integers(0, 1000, rows), "Int64").copy(),
            "bool": random.random(rows) < 0.5,
            "word": words.where(random.random(rows) < 0.9),
            "category": pd.Categorical(words.str[:1]),
            "number category": pd.Categorical(random.integers(0, 7, rows)),
            "at": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.sort(random.integers(0, 10**9, rows)), "s"),
            "zoned": pd.date_range("2020-01-01", periods=rows, freq="min", tz="Europe/Berlin"),
            "took": pd.to_timedelta(random.integers(0, 10**9, rows), "us"),
            "bytes": [b"x%d" % each for each in random.integers(0, 10**6, rows)],
        }
    )


@pytest.fixture
def typed(person: Person) -> Ref:
    home, ref = person.home("publisher"), person.ref("typed")
    build_package(home, ref, {"t": frame_of_types()}, BuildOptions())
    push_package(home, ref)
    return ref


QUESTIONS: list[dict[str, Any]] = [
    *({"columns": [name]} for name in frame_of_types(2).columns),
    {"columns": ["word", "float"], "filters": [("int", ">", 2**59)]},
    {"filters": [("at", "<", pd.Timestamp("2025-01-01")), ("word", "in", ["17", "4711", "9999"])]},
    {"filters": [[("bool", "=", True), ("nullable", "<", 3)], [("float", ">", 3.5)]]},
    {"columns": ["category"], "rows": slice(-7, None)},
    {"rows": slice(10, 100_000, 9_999)},
    {"columns": ["number category", "zoned"], "rows": slice(0, 5)},
]


def test_lazy_reads_equal_reads_after_an_install(person: Person, typed: Ref) -> None:
    home = person.home("whole")
    install_one(home, typed, InstallOptions())
    whole: Any = load(typed, home)
    assert len(whole.t.__entry__.blocks) > 1
    for number, question in enumerate(QUESTIONS):
        lazily: Any = load(typed, person.home(f"lazy{number % 3}"), lazy=True)
        pd.testing.assert_frame_equal(lazily.t(**question), whole.t(**question))
    fresh: Any = load(typed, person.home("fresh"), lazy=True)
    batches = list(fresh.t.iter_batches(40_000, columns=["word", "at"], filters=[("bool", "=", False)]))
    pd.testing.assert_frame_equal(pd.concat(batches), whole.t(["word", "at"], [("bool", "=", False)]))
    assert fresh.t.describe().equals(whole.t.describe())
    assert fresh.t.tail(3).equals(whole.t.tail(3))
    assert received(fresh) < fresh.t.size
    pd.testing.assert_frame_equal(fresh.t(), whole.t())


def _read_all(asked: tuple[Any, str]) -> tuple[int, float]:
    package, small = asked
    return len(package.noise.path.read_bytes()) + len(package.small[small].read_text()), float(
        package.table["c01"].sum()
    )


def test_eight_processes_on_an_empty_store_fetch_each_object_once(
    person: Person, published: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_way(person.url) as way:
        for name, value in person.environ("reader", way.url).items():
            monkeypatch.setenv(name, value)
        package: Any = load(published, person.home("reader", way.url), lazy=True)
        asked = [(package, f"s{at:03}.txt") for at in range(8)]
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(["pandas", "pyarrow.parquet", "pyarrow.dataset"])
        with processes.Pool(8) as pool:
            found = pool.map(_read_all, asked, chunksize=1)
        total = float(wide_frame()["c01"].sum())
        assert found == [((3 << 20) + len(f"small {at}\n"), total) for at in range(8)]
        noise = next(iter(package.__source__.entry("noise").objects()))[0]
        assert sum(noise in path for method, path in way.seen if method == "GET") == 1
        for hash, _ in package.table.__entry__.objects():  # the footer, maybe the bytes before it, and a column
            assert sum(hash in path for method, path in way.seen if method == "GET") <= 3
