"""The files of a registry without a server equal golden ones, which are written once, and come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from datapkg.errors import IntegrityError, InvalidName, NewerFormat
from datapkg.format import static_registry as layout
from datapkg.format.hashing import hash_bytes
from datapkg.format.locations import RECIPE, WHOLE, ObjectLocation, encode_locations
from datapkg.format.names import Ref
from datapkg.format.static_registry import Heads, LogChange, Marker, SearchIndex, Summary

GOLDEN = Path(__file__).parent.parent / "golden" / "static_registry"
REF = Ref("ada", "iris")
CHANGES: list[dict[str, Any]] = [
    {
        "kind": "push",
        "hash": "a" * 64,
        "message": "Grüße",
        "manifest_size": 120,
        "bytes_logical": 2_345,
        "version": "1.0",
        "record": {"origin": "directory", "share": 0.1, "sources": [{"file": "iris.csv", "size": 12}]},
    },
    {"kind": "tag", "tag": "stable", "hash": "a" * 64},
    {"kind": "push", "hash": "b" * 64, "parent": "a" * 64, "tag": "beta", "record_object": "c" * 64},
    {"kind": "record", "hash": "b" * 64, "record": {"checks": []}},
    {"kind": "version", "version": "2.0", "hash": "b" * 64},
    {"kind": "untag", "tag": "beta"},
    {"kind": "delete"},
    {"kind": "push", "hash": "b" * 64, "author": "bob"},
]


def log() -> list[tuple[LogChange, Heads]]:
    """Return the changes above as entries of a log, each with the pointers after it."""
    entries: list[tuple[LogChange, Heads]] = []
    heads, previous = layout.no_package(REF), None
    for number, fields in enumerate(CHANGES, start=1):
        change = LogChange(
            format=1,
            number=number,
            package=REF.package,
            at=f"2026-11-29T20:00:{number:02}+00:00",
            previous=previous,
            heads="",
            nonce=f"{number:016x}",
            **{"author": "ada", **fields},
        )
        heads = layout.applied(heads, change)
        change = replace(change, heads=layout.digest(heads))
        previous = layout.digest(change)
        entries.append((change, heads))
    return entries


def files() -> dict[str, bytes]:
    """Return the files of a registry by key."""
    summary = Summary(package=REF.package, number=8, latest="b" * 64, title="Iris", keywords=["flowers"])
    places = {
        "a" * 64: ObjectLocation("d" * 64, 8, 120),
        "b" * 64: ObjectLocation(WHOLE, 0, 1 << 21),
        "c" * 64: ObjectLocation(RECIPE, 0, 9),
    }
    entries = log()
    return {
        layout.MARKER: layout.encode(Marker(format=1)),
        **{layout.log_key(REF, change.number): layout.encode(change) for change, _ in entries},
        **{f"{layout.heads_key(REF)}.{heads.number}": layout.encode(heads) for _, heads in entries},
        layout.locations_key(REF, "b" * 64): encode_locations(
            places, number=8, manifest_size=120, bytes_logical=2_345, bases=["a" * 64]
        ),
        layout.summary_key(REF, 8): layout.encode(summary),
        layout.SEARCH_INDEX: layout.encode(SearchIndex(format=1, packages={REF.package: summary})),
    }


def test_files_equal_the_golden_ones() -> None:
    golden = {path.relative_to(GOLDEN).as_posix(): path.read_bytes() for path in GOLDEN.rglob("*") if path.is_file()}
    assert files() == golden


def test_entries_come_back() -> None:
    for change, heads in log():
        assert layout.decode(layout.encode(change), LogChange, "entry") == change
        assert layout.decode(layout.encode(heads), Heads, "heads") == heads
        assert change.heads == hash_bytes(layout.encode(heads))


def test_the_pointers_after_each_entry() -> None:
    tags = [{tag: pointer.hash[0] for tag, pointer in heads.tags.items()} for _, heads in log()]
    assert tags == [
        {"latest": "a"},
        {"latest": "a", "stable": "a"},
        {"latest": "b", "stable": "a", "beta": "b"},
        {"latest": "b", "stable": "a", "beta": "b"},
        {"latest": "b", "stable": "a", "beta": "b"},
        {"latest": "b", "stable": "a"},
        {},
        {"latest": "b"},
    ]
    heads = log()[-1][1]
    assert (heads.first, heads.versions, heads.retired) == (8, {}, {"1.0": "a" * 64, "2.0": "b" * 64})
    assert log()[3][1].records == {"b" * 64: 4}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", IntegrityError),
        (b"{", IntegrityError),
        (b"[]", IntegrityError),
        (b'{"format":1}', IntegrityError),
        (b'{"format":3,"anything":"else"}', NewerFormat),
        (b'{"format":1,"number":1,"package":"a/b","tags":{"../x":{"at":"","hash":""}}}', (IntegrityError, InvalidName)),
    ],
)
def test_what_is_not_one_of_these_files(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        layout.decode(data, Heads, "heads.json")
