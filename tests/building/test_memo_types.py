"""No type of an earlier build survives: the table of a text is always the one that a build from nothing makes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from datapkg.building.readers.csv.dialect import detect_dialect
from datapkg.format.manifest.parsed import TableNode
from datapkg.tables import block_boundaries
from tests.building.desks import Desk, make_blocks_small, watch_walks

# One column's values of each kind: what row `number` has.
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
# Read by each engine: with given types, with other missing words, by pandas in chunks, by pandas whole.
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
    """A text whose columns change their kinds, in all rows, in a stretch, or here and there."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.header = bool(dice.randrange(3))
        self.newline = True
        self.extra = ""  # a further field of the first row, which settles how many columns there are without a header
        self.distinct = dice.choice(
            [1, 20, 10_000]
        )  # of the leading column: how many columns the key of the table needs
        count = dice.choice([20, 40, 150, 600, 1_500])
        kinds = [self._kind() for _ in range(COLUMNS)]
        self.rows = [self._row(number, kinds) for number in range(count)]

    def _kind(self) -> str:
        return self.dice.choice(list(KINDS))

    def _row(self, number: int, kinds: list[str]) -> list[str]:
        return [str(number % self.distinct), *(KINDS[kind](number) for kind in kinds), "p" * (80 if number % 2 else 10)]

    def edit(self) -> None:
        """Change something of one kind, at random."""
        dice, rows = self.dice, self.rows
        at, number = dice.randrange(len(rows)), dice.randrange(1_000)
        kinds = [self._kind() for _ in range(COLUMNS)]
        column, kind = dice.randrange(COLUMNS) + 1, KINDS[kinds[0]]
        step = dice.choice([1, 1, 1, 13, 400])
        change = dice.randrange(12)
        if change < 5:  # a column becomes another in every row, or in some
            first = dice.choice([0, 0, at])
            for place in range(first, len(rows), step):
                rows[place][column] = kind(place)
        elif change == 5:  # a value here and there
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
        elif change == 10:  # the last value of the text goes on
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
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    make_blocks_small(monkeypatch, chunks=2_000)
    desk = Desk(tmp_path / "data")
    watch_walks(desk, monkeypatch)
    return desk


def states(desk: Desk, seed: int, edits: int) -> None:
    dice = random.Random(seed)
    rows = Rows(dice)
    kwargs = dice.choice(["", *KWARGS]) if rows.header else "header: null"
    for _ in range(edits):
        desk.path.write_text(rows.text())
        desk.check(kwargs=kwargs)
        for _ in range(dice.choice([1, 1, 2])):
            rows.edit()


@pytest.mark.parametrize("seed", range(5))
def test_random_types(desk: Desk, seed: int) -> None:
    states(desk, seed, 4)


@pytest.mark.big
@pytest.mark.parametrize("seed", range(100, 170))
def test_many_random_types(desk: Desk, seed: int) -> None:
    states(desk, seed, 10)


def write(desk: Desk, values: list[str], head: str = "id,n,text\n") -> TableNode:
    desk.path.write_text(head + "".join(f"{row},{value},{'p' * 40}\n" for row, value in enumerate(values)))
    desk.check()
    return desk.built.manifest.get("a")  # type: ignore[union-attr, return-value]


@pytest.mark.parametrize(
    ("odd", "wide", "narrow"),
    [("n/k", "string", "int64"), ("0.5", "double", "int64"), ("", "double", "int64"), ("yes", "string", "bool")],
)
def test_a_value_that_is_repaired_in_every_block(desk: Desk, odd: str, wide: str, narrow: str) -> None:
    sound = [str(row) if narrow == "int64" else "True" for row in range(2_000)]
    broken = [odd if row % 5 == 2 else value for row, value in enumerate(sound)]
    assert dict(write(desk, broken).columns)["n"] == wide
    assert dict(write(desk, sound).columns)["n"] == narrow
    before = len(desk.read)
    write(desk, [*sound, sound[0]])
    assert desk.read[before] <= 2, "types that hold are assumed again, so that only what is new is parsed"


def test_types_that_a_text_does_not_confirm_are_not_assumed_twice(desk: Desk) -> None:
    write(desk, [str(row) for row in range(2_000)])
    digits = [f"{row:025}" for row in range(2_000)]
    write(desk, digits)
    before = len(desk.read)
    write(desk, [*digits, "1"])
    assert len(desk.read) == before + 2, "one reading of the rebuild, one of the build from nothing"


def test_an_integer_beyond_64_bits_before_the_first_fraction(desk: Desk) -> None:
    values = ["1"] * 2_000
    values[1_000:1_002] = ["9" * 25, "2.5"]
    assert dict(write(desk, ["1.5", *values[1:]]).columns)["n"] == "double"
    assert dict(write(desk, values).columns)["n"] == "string"


def test_a_key_that_was_chosen_by_few_rows(desk: Desk) -> None:
    for count in (20, 3_000):
        desk.path.write_text("id,n,text\n" + "".join(f"{row % 20},{row},{'p' * 60}\n" for row in range(count)))
        desk.check()


def test_a_last_record_that_goes_on(desk: Desk) -> None:
    hit = next(
        n for n in range(10_000) if block_boundaries.row_hashes(pa.table({"id": [n]}), [0])[0] < block_boundaries._HIT
    )
    text = "id\n" + "\n".join(str(10**15 + row) for row in range(66))
    desk.path.write_text(text)
    assert len(desk.build().blocks) == 1
    desk.path.write_text(f"{text}{hit}\n1\n")
    desk.check()


def test_blank_lines_behind_the_last_record(desk: Desk) -> None:
    text = "id,n\n" + "".join(f"{row},{'9' * 15}\n" for row in range(500))
    for end in ("", "\n", "\n\n\n", "1,2\n"):
        desk.path.write_text(text + end)
        desk.check()


def test_the_number_of_columns_is_a_choice() -> None:
    """Without a header it depends on the first row, and text that was read with another number is not known."""
    found = [detect_dialect(head, {"header": None}) for head in (b"1,a\n2,b\n", b"1,a,more\n2,b\n")]
    assert len({each.choices for each in found if each}) == 2
