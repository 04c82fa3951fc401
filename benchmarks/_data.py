"""Tables and files for benchmarks, generated from a seed: row 1,000,000 does not depend on the number of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

CHUNK_ROWS = 250_000
_START = 1_704_067_200  # 2024-01-01
_BOROUGHS = "Manhattan Queens Brooklyn Bronx Richmond Newark".split()
_QUARTERS = "North South East West Central Heights Village Park".split()
_ZONES = pa.array([f"{borough} {quarter}" for borough in _BOROUGHS for quarter in _QUARTERS])
_DRIVERS = pa.array([f"DRV{number:06}" for number in range(40_000)])
_PRODUCTS = pa.array([f"{number * 7_919 % 100_003:05}-{'ABCDEF'[number % 6]}" for number in range(20_000)])
_STATES = pa.array("placed paid packed shipped delivered returned".split())
_LANGUAGES = pa.array("en de fr es pt ja zh ru".split())


def trips(number: int, rows: int) -> pa.Table:
    """Return taxi trips: identifiers, times, numbers with few and with many digits, place names, some nulls."""
    random = np.random.default_rng([1, number])
    start = _START + number * CHUNK_ROWS // 3 + np.sort(random.integers(0, CHUNK_ROWS // 3, rows))
    distance = np.round(random.gamma(1.3, 2.2, rows), 2)
    seconds = (distance * 240).astype("int64") + random.integers(60, 900, rows)
    fare = np.round(3 + distance * 2.5 + seconds / 120, 1)
    tip = np.round(np.where(random.random(rows) < 0.6, fare * random.uniform(0.05, 0.3, rows), 0), 2)
    return pa.table(
        {
            "trip_id": _hexadecimal(random, rows),
            "vendor": random.integers(1, 3, rows),
            "picked_up": pa.array(start, pa.timestamp("s")),
            "dropped_off": pa.array(start + seconds, pa.timestamp("s")),
            "passengers": pa.array(random.integers(1, 7, rows), mask=random.random(rows) < 0.03),
            "distance": distance,
            "speed": distance / seconds,
            "stored": pa.array(["N", "Y"]).take(pa.array((random.random(rows) < 0.01).astype("int8"))),
            "zone": _ZONES.take(pa.array(random.integers(0, len(_ZONES), rows))),
            "zone_to": random.integers(1, 266, rows),
            "driver": _DRIVERS.take(pa.array(random.integers(0, len(_DRIVERS), rows))),
            "payment": random.integers(1, 5, rows),
            "fare": fare,
            "tip": pa.array(tip, mask=random.random(rows) < 0.1),
            "latitude": np.round(40.6 + random.random(rows) * 0.3, 6),
            "longitude": np.round(-74.1 + random.random(rows) * 0.4, 6),
        }
    )


def readings(number: int, rows: int) -> pa.Table:
    """Return sensor readings: a time, a sensor, floats with all their digits, some of them missing."""
    random = np.random.default_rng([2, number])
    time = (_START + number * CHUNK_ROWS) * 1_000 + np.cumsum(random.integers(1, 2_000, rows))
    columns: dict[str, Any] = {"time": pa.array(time, pa.timestamp("ms")), "sensor": random.integers(0, 500, rows)}
    for index, name in enumerate(("temperature", "pressure", "humidity", "wind", "gust", "radiation")):
        mask = random.random(rows) < 0.01 * index
        columns[name] = pa.array(random.normal(20 * (index + 1), 5, rows), mask=mask)
    columns["battery"] = np.round(random.uniform(3.2, 4.2, rows), 2)
    columns["quality"] = random.integers(0, 4, rows).astype("int32")
    return pa.table(columns)


def posts(number: int, rows: int) -> pa.Table:
    """Return mostly text: about two dozen words per row, with a realistic word frequency."""
    random = np.random.default_rng([3, number])
    words = _vocabulary()
    texts = words.take(pa.array(random.zipf(1.3, rows * 24) % len(words)))
    lengths = np.minimum(random.geometric(1 / 20, rows), 24)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype("int32")
    return pa.table(
        {
            "id": number * CHUNK_ROWS + np.arange(rows),
            "time": pa.array(_START + number * CHUNK_ROWS + np.arange(rows), pa.timestamp("s")),
            "author": words.take(pa.array(random.zipf(1.2, rows) % len(words))),
            "language": _LANGUAGES.take(pa.array(random.zipf(2, rows) % len(_LANGUAGES))),
            "score": random.zipf(1.5, rows).clip(max=100_000),
            "rank": random.normal(size=rows),
            "text": pc.binary_join(pa.ListArray.from_arrays(ends, texts), " "),
        }
    )


def orders(number: int, rows: int) -> pa.Table:
    """Return order lines of a shop: increasing numbers, thousands of products and customers, few statuses."""
    random = np.random.default_rng([4, number])
    price = np.round(random.lognormal(3, 1, rows), 2)
    quantity = random.geometric(0.4, rows)
    return pa.table(
        {
            "line": number * CHUNK_ROWS + np.arange(rows),
            "order": (number * CHUNK_ROWS + np.arange(rows)) // 3,
            "day": pa.array(19_700 + (number * CHUNK_ROWS + np.arange(rows)) // 9_000, pa.int32()).cast(pa.date32()),
            "customer": random.zipf(1.1, rows) % 1_000_000,
            "product": _PRODUCTS.take(pa.array(random.zipf(1.2, rows) % len(_PRODUCTS))),
            "state": _STATES.take(pa.array(random.integers(0, len(_STATES), rows))),
            "quantity": quantity,
            "price": price,
            "discount": pa.array(np.round(random.random(rows) * 0.3, 2), mask=random.random(rows) < 0.7),
            "total": np.round(price * quantity, 2),
            "gift": random.random(rows) < 0.05,
        }
    )


def visits(number: int, rows: int) -> pa.Table:
    """Return visits of a website: each with a place, the pages that were seen, and a list of what was bought."""
    random = np.random.default_rng([8, number])
    bought, seen = random.geometric(0.5, rows) - 1, random.geometric(0.3, rows)
    items = int(bought.sum())
    lines = pa.StructArray.from_arrays(
        [
            _PRODUCTS.take(pa.array(random.zipf(1.2, items) % len(_PRODUCTS))),
            pa.array(np.round(random.lognormal(3, 1, items), 2)),
            pa.array(random.geometric(0.6, items).astype("int32")),
        ],
        ["product", "price", "quantity"],
    )
    pages = _vocabulary().take(pa.array(random.zipf(1.2, int(seen.sum())) % 20_000))
    place = [pa.array(random.normal(size=rows)), pa.array(random.normal(size=rows))]
    return pa.table(
        {
            "id": number * CHUNK_ROWS + np.arange(rows),
            "time": pa.array(_START + number * CHUNK_ROWS + np.arange(rows), pa.timestamp("s")),
            "visitor": random.integers(0, 1 << 40, rows),
            "place": pa.StructArray.from_arrays(place, ["latitude", "longitude"]),
            "pages": pa.ListArray.from_arrays(_offsets(seen), pages),
            "items": pa.ListArray.from_arrays(_offsets(bought), lines),
            "seconds": random.exponential(60, rows),
        }
    )


def _offsets(lengths: Any) -> Any:
    return np.concatenate([[0], np.cumsum(lengths)]).astype("int32")


TABLES: dict[str, Callable[[int, int], pa.Table]] = {
    "trips": trips,
    "readings": readings,
    "posts": posts,
    "orders": orders,
    "visits": visits,
}
ROW_BYTES = {"trips": 44, "readings": 51, "posts": 47, "orders": 13, "visits": 46}
"""Approximate bytes per row in a plain Parquet file (zstd)."""


def parts(name: str, rows: int, start: int = 0) -> Iterator[pa.Table]:
    """Yield the rows of a table from `start` on, in parts; `start` is a multiple of `CHUNK_ROWS`."""
    number = start // CHUNK_ROWS
    while rows > 0:
        part = TABLES[name](number, CHUNK_ROWS).slice(0, rows)
        yield part
        rows -= len(part)
        number += 1


def table(name: str, rows: int, start: int = 0) -> pa.Table:
    """Return the rows of a table from `start` on."""
    return pa.concat_tables(parts(name, rows, start))


def write_csv(path: Path, name: str, size: int) -> int:
    """Write whole rows of a table until the file has about `size` bytes, and return the number of rows."""
    written = 0
    with open(path, "wb") as file:
        for number in range(1 << 20):
            part = TABLES[name](number, CHUNK_ROWS)
            data = csv_bytes(part, header=not number)
            missing = size - file.tell()
            if missing < len(data):
                data = data[: data.index(b"\n", max(missing, 1)) + 1]
                file.write(data)
                return written + data.count(b"\n") - (not number)
            file.write(data)
            written += len(part)
    raise AssertionError("unreachable")


def csv_bytes(part: pa.Table, header: bool) -> bytes:
    """Return a table as CSV, strings without quotes."""
    sink = pa.BufferOutputStream()
    pyarrow.csv.write_csv(part, sink, pyarrow.csv.WriteOptions(include_header=header, quoting_style="none"))
    return sink.getvalue().to_pybytes()


def write_files(folder: Path, count: int, size: int) -> list[Path]:
    """Write many files of equal size with text that compresses little, a hundred per folder."""
    paths = [folder / f"{number // 100:03}" / f"{number:06}.txt" for number in range(count)]
    for number, path in enumerate(paths):
        if not number % 100:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(np.random.default_rng([5, number]).bytes((size + 1) // 2).hex().encode()[:size])
    return paths


def _hexadecimal(random: Any, rows: int) -> pa.Array:
    text = random.bytes(8 * rows).hex().encode()
    return pa.Array.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(text)]).cast(pa.binary()).cast(pa.string())


def _vocabulary() -> pa.Array:
    random = np.random.default_rng(6)
    letters = random.integers(97, 123, (20_000, 10)).astype("uint8")
    return pa.array(
        [bytes(row[:length]).decode() for row, length in zip(letters, random.integers(3, 11, 20_000), strict=True)]
    )
