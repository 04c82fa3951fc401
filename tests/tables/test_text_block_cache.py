"""Building a text again reads what changed, and gives what a clean build gives; blocks are small here, edits random."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from datapkg.tables import table_writer
from datapkg.tables.text_block_cache import TextBlockCache
from tests.building.builds import Bench
from tests.building.rebuild_bench import RebuildBench, make_blocks_small, watch_walks
from tests.examples import seeds


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    make_blocks_small(monkeypatch)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RebuildBench:
    bench = RebuildBench(tmp_path / "data")
    watch_walks(bench, monkeypatch)
    return bench


def line(number: int) -> str:
    text = random.Random(number).choice(["plain", "naïve", '"quo""ted"', '"two\nlines"', ""])
    return f"{number},{number / 7:.3f},{text},{'' if number % 9 == 0 else number * 3}\n"


HEAD = "id,share,text,count\n"


def write(bench: RebuildBench, lines: list[str], head: str = HEAD) -> None:
    bench.path.write_text(head + "".join(lines))


def test_an_appended_row_reads_the_last_block(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(5_000)]
    write(bench, lines)
    bench.check()
    blocks = bench.read[0]
    assert blocks > 20
    write(bench, [*lines, line(9_999)])
    bench.check()
    assert bench.read[-2] <= 2, "and a clean build reads all of them"
    assert bench.read[-1] >= blocks


def test_an_inserted_row_reads_one_or_two(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(5_000)]
    write(bench, lines)
    bench.check()
    lines.insert(2_500, line(77_777))
    write(bench, lines)
    bench.check()
    assert bench.read[-2] <= 3


@pytest.mark.parametrize("seed", seeds(8, 25))
def test_random_edits(bench: RebuildBench, seed: int) -> None:
    dice = random.Random(seed)
    lines = [line(number) for number in range(dice.choice([300, 1_500, 4_000]))]
    write(bench, lines)
    bench.check()
    for _ in range(4):
        for _ in range(dice.randint(1, 3)):
            edit(lines, dice)
        write(bench, lines)
        bench.check()


def edit(lines: list[str], dice: random.Random) -> None:
    at = dice.randrange(len(lines) + 1)
    number = dice.randint(10_000, 99_999)
    kind = dice.randrange(9)
    if kind == 0:
        lines.insert(at, line(number))
    elif kind == 1:
        del lines[at : at + dice.choice([1, 5, 200])]
    elif kind == 2:
        lines[at:at] = [line(number + each) for each in range(dice.choice([1, 300]))]
    elif kind == 3:
        lines.extend(line(number + each) for each in range(100))
    elif kind == 4 and lines:
        lines[at % len(lines)] = f"{number},0.5,changed,x\n"  # a text in a column of numbers
    elif kind == 5:
        lines[:] = [each for each in lines if ",x\n" not in each]  # and none any more
    elif kind == 6:
        lines[at:at] = lines[: dice.choice([10, 500])]
    elif kind == 7:
        lines.insert(at, "\n")
    else:
        lines.insert(at, f"{number},1,short\n")
    if not lines:
        lines.append(line(1))


def test_rows_that_are_all_alike(bench: RebuildBench) -> None:
    write(bench, ["1,1.5,a,2\n"] * 3_000)
    bench.check()
    write(bench, ["1,1.5,a,2\n"] * 3_001)
    bench.check()


def test_type_required_only_by_a_removed_row(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(1, 3_000)]
    for odd in ("1,1.5,a,2.5\n", "1,1.5,a,none\n", "x,1.5,a,2\n"):
        write(bench, [*lines[:2_000], odd, *lines[2_000:]])
        bench.check()
        write(bench, lines)
        bench.check()


def test_changed_header_or_kwargs_reset_the_cache(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(2_000)]
    write(bench, lines)
    bench.check()
    write(bench, lines, "id,share,words,count\n")
    bench.check()
    assert bench.read[-2] > 5
    bench.check(kwargs="dtype: {id: str}")
    assert bench.read[-2] > 5


def test_missing_objects_are_read_again(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(3_000)]
    write(bench, lines)
    node = bench.build()
    for hash, _ in list(node.objects())[3:6]:
        bench.objects.delete(hash)
    write(bench, [*lines, line(5_000)])
    bench.check()


def test_garbage_in_the_index_is_ignored(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(3_000)]
    write(bench, lines)
    bench.build()
    assert TextBlockCache.decode(bench.path, b"garbage").blocks == []
    found = bench.index._rows("SELECT key FROM found WHERE key LIKE 'memo:%'")
    assert found
    bench.index.put_many({key: b"\x80garbage" for (key,) in found})
    write(bench, [*lines, line(5_000)])
    bench.check()


def test_force_reads_all(bench: RebuildBench) -> None:
    lines = [line(number) for number in range(3_000)]
    write(bench, lines)
    bench.build()
    time.sleep(0.03)
    bench.build(forced=True)
    assert bench.read[-1] == bench.read[0]


def test_result_is_independent_of_the_number_of_workers(bench: RebuildBench, monkeypatch: pytest.MonkeyPatch) -> None:
    write(bench, [line(number) for number in range(5_000)])
    found = set()
    for workers in (1, 2, 7):
        monkeypatch.setattr(table_writer, "WORKERS", workers)
        found.add(Bench().build(bench.folder).manifest.hash if bench.build() else "")
    assert len(found) == 1
