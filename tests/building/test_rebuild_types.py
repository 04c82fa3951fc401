"""No type of an earlier build persists: the table of a text always equals the one of a build from scratch."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.format.manifest.parsed import TableNode
from datapkg.tables import block_boundaries
from tests.building.rebuild_bench import RebuildBench, make_blocks_small, watch_walks

# The value of a column of each kind in row `number`.
KINDS: dict[str, Callable[[int], str]] = {
    "integer": lambda number: str(number % 997),
    "float": lambda number: f"{number / 8}",
    "whole float": lambda number: f"{number}.0",
    "exponent": lambda number: f"{number}e3",
    "missing": lambda number: "",
    "some missing": lambda number: "" if number % 7 == 0 else str(number),
    "boolean": lambda number: "True" if number % 3 else "False",
    "boolean or missing": lambda number: ["True", "False", ""][number % 3],
    "text": lambda number: f"t{number}",
    "date": lambda number: f"2024-01-{number % 28 + 1:02}",
    "beyond int64": lambda number: f"9{number:022}",
    "beyond 2^63": lambda number: str(2**63 + number),
    "negative zero": lambda number: "-0",
    "zero": lambda number: "0",
    "quoted integer": lambda number: f'"{number}"',
    "leading zeros": lambda number: f"00{number}",
    "infinite": lambda number: "inf",
    "hexadecimal": lambda number: hex(number),
    "quoted lines": lambda number: f'"{number}\n{number}"',
}
COLUMNS = 3
# One for each engine: given types, other missing values, pandas in chunks, pandas whole.
KWARGS = [
    "dtype: {a: str}",
    "dtype: {a: Int64, b: boolean}",
    "na_values: [t1, '7']",
    "keep_default_na: false",
    "usecols: [id, a, c]",
    "thousands: ','",
    "dtype: {a: category}",
]


class Rows:
    """A text whose columns change their kinds in all rows, in a range of rows, or in single rows."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.header = bool(dice.randrange(3))
        self.newline = True
        self.extra = ""  # an extra field of the first row, which determines the number of columns without a header
        self.distinct = dice.choice(
            [1, 20, 10_000]
        )  # values of the first column: they determine how many columns the key of the table needs
        count = dice.choice([20, 40, 150, 600, 1_500])
        kinds = [self._kind() for _ in range(COLUMNS)]
        self.rows = [self._row(number, kinds) for number in range(count)]

    def _kind(self) -> str:
        return self.dice.choice(list(KINDS))

    def _row(self, number: int, kinds: list[str]) -> list[str]:
        return [str(number % self.distinct), *(KINDS[kind](number) for kind in kinds), "p" * (80 if number % 2 else 10)]

    def edit(self) -> None:
        """Make a random change of one kind."""
        dice, rows = self.dice, self.rows
        at, number = dice.randrange(len(rows)), dice.randrange(1_000)
        kinds = [self._kind() for _ in range(COLUMNS)]
        column, kind = dice.randrange(COLUMNS) + 1, KINDS[kinds[0]]
        step = dice.choice([1, 1, 1, 13, 400])
        change = dice.randrange(12)
        if change < 5:  # a column changes its kind in every row, or in some
            first = dice.choice([0, 0, at])
            for place in range(first, len(rows), step):
                rows[place][column] = kind(place)
        elif change == 5:  # two single values
            for place in (at, dice.randrange(len(rows))):
                rows[place][column] = kind(place)
        elif change == 6:
            rows.extend(self._row(len(rows) + each, kinds) for each in range(dice.choice([1, 100, 800])))
        elif change == 7:
            del rows[at : at + dice.choice([1, 70, 500])]
        elif change == 8:
            rows[at:at] = [self._row(10_000 + each, kinds) for each in range(dice.choice([1, 90]))]
        elif change == 9:
            self.newline = not self.newline
        elif change == 10:  # the last value of the text gets longer
            rows[-1][-1] += str(number) + "\n" * dice.randrange(3)
        else:
            self.extra = "" if self.extra or self.header else ",more"
        if not rows:
            rows.append(self._row(1, kinds))

    def text(self) -> str:
        """Return the whole file."""
        lines = [",".join(row) + self.extra * (place == 0) for place, row in enumerate(self.rows)]
        head = ["id,a,b,c,pad"] if self.header else []
        return "\n".join([*head, *lines]) + "\n" * self.newline


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RebuildBench:
    make_blocks_small(monkeypatch, chunks=2_000)
    bench = RebuildBench(tmp_path / "data")
    watch_walks(bench, monkeypatch)
    return bench


def states(bench: RebuildBench, seed: int, edits: int) -> None:
    dice = random.Random(seed)
    rows = Rows(dice)
    kwargs = dice.choice(["", *KWARGS]) if rows.header else "header: null"
    for _ in range(edits):
        bench.path.write_text(rows.text())
        bench.check(kwargs=kwargs)
        for _ in range(dice.choice([1, 1, 2])):
            rows.edit()


@pytest.mark.parametrize("seed", range(5))
def test_random_types(bench: RebuildBench, seed: int) -> None:
    states(bench, seed, 4)


@pytest.mark.big
@pytest.mark.parametrize("seed", range(100, 170))
def test_many_random_types(bench: RebuildBench, seed: int) -> None:
    states(bench, seed, 10)


def write(bench: RebuildBench, values: list[str], head: str = "id,n,text\n") -> TableNode:
    bench.path.write_text(head + "".join(f"{row},{value},{'p' * 40}\n" for row, value in enumerate(values)))
    bench.check()
    return bench.built.manifest.get("a")  # type: ignore[union-attr, return-value]


@pytest.mark.parametrize(
    ("odd", "wide", "narrow"),
    [("n/k", "string", "int64"), ("0.5", "double", "int64"), ("", "double", "int64"), ("yes", "string", "bool")],
)
def test_values_corrected_in_every_block(bench: RebuildBench, odd: str, wide: str, narrow: str) -> None:
    sound = [str(row) if narrow == "int64" else "True" for row in range(2_000)]
    broken = [odd if row % 5 == 2 else value for row, value in enumerate(sound)]
    assert dict(write(bench, broken).columns)["n"] == wide
    assert dict(write(bench, sound).columns)["n"] == narrow
    before = len(bench.read)
    write(bench, [*sound, sound[0]])
    assert bench.read[before] <= 2, "confirmed types are assumed again, so that only new rows are parsed"


def test_large_integers_beside_missing_values_that_come_and_go(bench: RebuildBench) -> None:
    few = [str(row) if row % 7 else "" for row in range(2_000)]
    large = [*few[:1_500], str(2**53 + 1), *few[1_501:]]
    for values, kind in ((few, "double"), (large, "int64"), ([*large, "5"], "int64"), (few, "double")):
        assert dict(write(bench, values).columns)["n"] == kind
    floats = [*few[:10], str(10**16), *few[11:20], "0.5", *few[21:]]
    assert dict(write(bench, floats).columns)["n"] == "double"
    assert dict(write(bench, [*floats[:20], "1", *floats[21:]]).columns)["n"] == "int64"


def test_unconfirmed_types_are_not_assumed_again(bench: RebuildBench) -> None:
    write(bench, [str(row) for row in range(2_000)])
    digits = [f"{row:025}" for row in range(2_000)]
    write(bench, digits)
    before = len(bench.read)
    write(bench, [*digits, "1"])
    assert len(bench.read) == before + 2, "one read of the rebuild, one of the build from scratch"


def test_integer_beyond_64_bits_before_the_first_fraction(bench: RebuildBench) -> None:
    values = ["1"] * 2_000
    values[1_000:1_002] = ["1" + "0" * 25, "2.5"]
    assert dict(write(bench, ["1.5", *values[1:]]).columns)["n"] == "double"
    assert dict(write(bench, values).columns)["n"] == "string"


def test_key_chosen_from_few_rows(bench: RebuildBench) -> None:
    for count in (20, 3_000):
        bench.path.write_text("id,n,text\n" + "".join(f"{row % 20},{row},{'p' * 60}\n" for row in range(count)))
        bench.check()


def test_last_record_that_gets_longer(bench: RebuildBench) -> None:
    cutter = block_boundaries.Cutter([0])
    hit = next(n for n in range(10_000) if cutter.is_hit(pa.table({"id": [n]})))
    text = "id\n" + "\n".join(str(10**15 + row) for row in range(66))
    bench.path.write_text(text)
    assert len(bench.build().blocks) == 1
    bench.path.write_text(f"{text}{hit}\n1\n")
    bench.check()


def test_blank_lines_after_the_last_record(bench: RebuildBench) -> None:
    text = "id,n\n" + "".join(f"{row},{'9' * 15}\n" for row in range(500))
    for end in ("", "\n", "\n\n\n", "1,2\n"):
        bench.path.write_text(text + end)
        bench.check()


def test_number_of_columns_is_part_of_the_choices() -> None:
    """Without a header it depends on the first row; cached blocks read with another number are not reused."""
    found = [detect_dialect(head, {"header": None}) for head in (b"1,a\n2,b\n", b"1,a,more\n2,b\n")]
    assert len({each.choices for each in found if each}) == 2
