"""Checks carried from one state to the next have the same result as checking the whole new state."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from datapkg.building.checks.definitions import definition_of, packed, read_definition, unpacked
from datapkg.building.checks.demands import CarriedCheck, asked_for, carried_checks_of, run_carried_checks
from datapkg.building.spec.model import Check
from datapkg.format.hashing import hash_bytes
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.objects.memory import MemoryObjects
from tests.building.builds import Bench
from tests.examples import seeds

KINDS: list[dict[str, Any]] = [
    {"not_null": True},
    {"unique": True},
    {"min": 1},
    {"between": (0, 4)},
    {"isin": [0, 1, 2]},
    {"monotonic": "increasing"},
    {"foreign_key": "keys.n"},
    {"row_count": (2, 6)},
    {"sql": "n < 4"},
    {"sql": "n <= (FROM This SELECT avg(n)) + 1"},
    {"sql": "n <= (select min(n) from query('from th' || 'is')) + 3"},
    {"sql": "select n from this group by n having count(*) > 2"},
    {"type": ("int",)},
]


class Blocks:
    """Tables composed of blocks of a few rows, as long tables consist of long blocks."""

    def __init__(self, random: random.Random) -> None:
        self.bench, self.random = Bench(), random

    def block(self) -> TableNode:
        return self.of([self.random.choice([*range(6), None]) for _ in range(self.random.randint(1, 3))])

    def of(self, values: list[int | None]) -> TableNode:
        node = self.bench.build({"t": pa.table({"n": pa.array(values, pa.int64())})}).manifest.get("t")
        assert isinstance(node, TableNode)
        return node

    def table(self, path: str, parts: list[TableNode]) -> TableNode:
        blocks = [block for part in parts for block in part.blocks]
        content = "c1:" + hash_bytes("".join(block.hash for block in blocks).encode())
        rows = sum(part.rows for part in parts)
        return msgspec.structs.replace(parts[0], path=path, blocks=blocks, content=content, rows=rows)

    def changed(self, parts: list[TableNode]) -> list[TableNode]:
        """Return the blocks of the table after rows were appended, after another change, or unchanged."""
        at = self.random.choice([len(parts), len(parts), self.random.randint(0, len(parts) - 1), -1])
        return parts if at < 0 else [*parts[:at], *(self.block() for _ in range(self.random.randint(1, 2)))]


def fresh(checks: list[Check], state: Manifest) -> list[CarriedCheck]:
    return asked_for(checks, "t", [], state.get)


@pytest.mark.parametrize("seed", seeds(12, 300))
def test_carried_checks_equal_a_full_check(seed: int) -> None:
    blocks = Blocks(random.Random(seed))
    checks = [
        Check(f"c{at}", rules, None if "row_count" in rules else ("n",), "warn") for at, rules in enumerate(KINDS)
    ]
    parts, keys = [blocks.block() for _ in range(3)], [blocks.block()]
    before = Manifest.make([blocks.table("t", parts), blocks.table("keys", keys)])
    record = packed(run_carried_checks(fresh(checks, before), before, blocks.bench.objects).entries)
    for _ in range(3):
        parts, keys = blocks.changed(parts), blocks.changed(keys) if blocks.random.random() < 0.3 else keys
        after = Manifest.make([blocks.table("t", parts), blocks.table("keys", keys)])
        carried = run_carried_checks(carried_checks_of(unpacked(record), before.get), after, blocks.bench.objects)
        whole = run_carried_checks(fresh(checks, after), after, blocks.bench.objects)
        assert carried.entries == whole.entries
        record, before = packed(carried.entries), after


@pytest.mark.parametrize("text", ["n <= 1 + (select avg(n) from this)", "n <= (from THIS select min(n)) + 2"])
def test_expression_with_a_query_is_checked_on_all_rows(text: str) -> None:
    blocks = Blocks(random.Random(1))
    parts = [blocks.of([1, 2]), blocks.of([2, 3])]
    before = Manifest.make([blocks.table("t", parts)])
    record = packed(
        run_carried_checks(fresh([Check("c", {"sql": text})], before), before, blocks.bench.objects).entries
    )
    after = Manifest.make([blocks.table("t", [*parts, blocks.of([100, 101])])])
    found = run_carried_checks(carried_checks_of(unpacked(record), before.get), after, blocks.bench.objects)
    assert [each["outcome"] for each in (*unpacked(record), *found.entries)] == ["ok", "failed"]


def test_unchanged_tables_are_not_read() -> None:
    blocks = Blocks(random.Random(1))
    state = Manifest.make([blocks.table("t", [blocks.block()]), blocks.table("keys", [blocks.block()])])
    checks = [Check("c", {"foreign_key": "keys.n"}, ("n",), "warn"), Check("d", {"unique": True}, ("n",), "warn")]
    entries = run_carried_checks(fresh(checks, state), state, blocks.bench.objects).entries
    demands = [each.moved("t", "g/t").moved("keys", "k") for each in carried_checks_of(entries, state.get)]
    moves = {"t": "g/t", "keys": "k"}
    after = Manifest.make([msgspec.structs.replace(node, path=moves[node.path]) for node in state.nodes])
    found = run_carried_checks(demands, after, MemoryObjects()).entries
    assert [(each["path"], each["outcome"]) for each in found] == [("g/t", each["outcome"]) for each in entries]
    assert 'foreign_key: "k.n"' in found[0]["definition"]


ODD: list[dict[str, Any]] = [
    {"isin": ["é😀\n\"'\\\u2028: #", "no", "1", "2024-01-01"]},
    {"min": 0, "max": 1e-05},
    {"isin": [1e300, 2.5, 10**40]},
    {"row_count": (1, None)},
    {"regex": "[A-Z]{2}: #"},
    {"sql": "n < 1 -- x\n and n > 0"},
]


@pytest.mark.parametrize("rules", [*KINDS, *ODD], ids=str)
def test_definition_round_trips(rules: dict[str, Any]) -> None:
    check = Check("name", rules, ("n", 'a "b": {c}'), "warn")
    assert read_definition("name", definition_of(check)) == check


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "[",
        "{min: 0}, {max: 1}",
        "{min: [}",
        "{python: 'os:system'}",
        "{<<: {python: 'os:system'}}",
        "{rm: -rf}",
    ],
)
def test_invalid_definition_is_not_run(text: str) -> None:
    assert read_definition("name", text) is None
