"""Tables larger than the memory that is meant for them: what iterates them takes no more than a block and a batch."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datapkg.api.push import push_package
from datapkg.format.manifest.parsed import Block, TableNode
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.store.refs import LogEvent
from datapkg.tables.content_hash import column_texts
from tests.conftest import Person
from tests.live_registry import live_registry
from tests.reading.packages import CONTENT, install

pytestmark = [pytest.mark.big, pytest.mark.timeout(900)]

BLOCKS, BLOCK_ROWS = 64, 1 << 20
COLUMNS = 8  # of 8 bytes a row: 4 GiB
MOST_MB = 400

# What runs in a process of its own, whose peak of memory is told, less what the libraries took before.
READER = """
import json, sys
import datapkg, pandas, pyarrow, pyarrow.dataset, pyarrow.parquet

def peak_mb():
    words = open("/proc/self/status").read().split()
    return int(words[words.index("VmHWM:") + 1]) // 1024

node = (datapkg.open if sys.argv[2] == "lazy" else datapkg.load)(sys.argv[1])
before = peak_mb()
print(json.dumps([%s, peak_mb() - before]))
"""

READS = {
    "frames": ("sum(map(len, node.iter_batches()))", BLOCKS * BLOCK_ROWS),
    "batches": ("sum(map(len, node.iter_batches(arrow=True)))", BLOCKS * BLOCK_ROWS),
    "columns": ("sum(int(each.noise.max()) for each in node.iter_batches(columns=['noise']))", 255 * 1024),
    "filters": ("sum(map(len, node.iter_batches(filters=[('block', '==', 7)])))", BLOCK_ROWS),
    "stream": ("sum(map(len, pyarrow.RecordBatchReader.from_stream(node)))", BLOCKS * BLOCK_ROWS),
    "rows": ("len(node(['block'], rows=slice(1, 1 << 23)))", (1 << 23) - 1),
    "sample": ("len(node.sample(100, seed=1))", 100),
}


def block(number: int, noise: np.ndarray) -> bytes:  # type: ignore[type-arg]
    """A megabyte of Parquet that is sixty-four in memory."""
    constants = {f"c{at}": np.full(BLOCK_ROWS, float(at * number)) for at in range(COLUMNS - 2)}
    table = pa.table({"block": np.full(BLOCK_ROWS, number), "noise": np.roll(noise, number), **constants})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


@pytest.fixture(scope="module")
def data() -> list[bytes]:
    noise = np.random.default_rng(0).integers(0, 256, BLOCK_ROWS)
    return [block(number, noise) for number in range(BLOCKS)]


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """A user of a registry that recomputes no content, since that of the table here is made up."""
    with live_registry(tmp_path, DATAPKG_REGISTRY_MAX_CHECK_BYTES="0") as live:
        yield Person("ada", live.add_user("ada"), live.url, tmp_path / "ada")


@pytest.fixture
def ref(person: Person, data: list[bytes]) -> Iterator[Ref]:
    """A package of one table of 4 GiB, here and at the registry."""
    home, ref = person.home(), person.ref("long")
    hashes = home.store.objects.put_many(data)
    blocks = [Block(hash, BLOCK_ROWS, len(each)) for hash, each in zip(hashes, data, strict=True)]
    schema = pq.read_schema(io.BytesIO(data[0]))
    columns = column_texts(schema)
    assert len(columns) == COLUMNS
    node = TableNode(path="t", columns=columns, content=CONTENT, blocks=blocks, rows=BLOCKS * BLOCK_ROWS)
    hash = install(home, ref.package, node)
    home.store.refs.append_log(ref, LogEvent("build", hash, "2026-01-01T00:00:00+00:00"))
    push_package(home, ref)
    yield ref
    for each in hashes:
        Home(person.environ()).store.objects.delete(each)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell the peak")
@pytest.mark.parametrize("where", ["here", "lazy"])
def test_iterating_a_table_takes_little_memory(person: Person, ref: Ref, where: str) -> None:
    machine = "own" if where == "here" else "elsewhere"
    peaks = {}
    for name, (read, expected) in READS.items():
        found = subprocess.run(
            [sys.executable, "-c", READER % read, f"{ref.package}/t", where],
            env=person.environ(machine) | {"PATH": ""},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not found.returncode, found.stderr
        value, peaks[name] = json.loads(found.stdout)
        assert value == expected, name
    assert max(peaks.values()) < MOST_MB, peaks
