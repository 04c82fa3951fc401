"""Record boundaries, compared with a reader that examines one character at a time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapkg.building.readers.csv.record_splitter import PackedFile, Piece, Text, pieces, record_end, row_starts
from datapkg.building.readers.csv.unsupported import UnsupportedByEngine
from tests.examples import examples

TEXTS = st.text(st.sampled_from('",\n\r a'), max_size=40).map(str.encode)


def ends_of_records(data: bytes) -> list[int]:
    """Return the offsets behind each newline that ends a record, as both parsers define it."""
    ends, state = [], "start"
    for place, character in enumerate(data):
        sign = chr(character)
        if state == "quoted":
            state = "quote" if sign == '"' else "quoted"
        elif sign == '"' and state in ("quote", "start"):
            state = "quoted"
        else:
            state = "start" if sign in ",\n\r" else "field"
            ends += [place + 1] * (sign == "\n")
    return ends


def whole(data: bytes) -> bool:
    """Return whether the text ends outside of quotes."""
    return not data or ends_of_records(data + b"\n")[-1:] == [len(data) + 1]


@settings(derandomize=True, max_examples=examples(100, 500), deadline=None)
@given(data=TEXTS)
def test_last_end_of_a_record(data: bytes) -> None:
    assert record_end(data, b",", False) == (ends_of_records(data) or [0])[-1]


@settings(derandomize=True, max_examples=examples(100, 500), deadline=None)
@given(data=TEXTS, size=st.integers(1, 12))
def test_pieces_are_whole_records(tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_bytes(data)
    source = Text(path).open()
    found: list[Piece] = []
    try:
        if whole(data):
            found = list(pieces(source, 0, size, b","))
        else:
            with pytest.raises(UnsupportedByEngine, match="does not end"):
                list(pieces(source, 0, size, b","))
    finally:
        source.close()
    if whole(data):
        assert b"".join(piece.data for piece in found) == data
        assert {piece.stop for piece in found} - {len(data)} <= set(ends_of_records(data))


@settings(derandomize=True, max_examples=examples(60, 300), deadline=None)
@given(data=TEXTS.filter(lambda data: whole(data) and b"\r" not in data and data != b""))
def test_row_offsets(data: bytes) -> None:
    ends = [end for end in ends_of_records(data) if end < len(data)]
    stops = [*ends, len(data)]
    expected = [start for start, stop in zip([0, *ends], stops, strict=True) if data[start:stop].strip(b"\n")]
    assert row_starts(data, b",").tolist() == expected


def test_compressed_text_is_reread_from_the_end_of_a_piece() -> None:
    packed = PackedFile(io.BytesIO(bytes(range(100))))
    assert packed.at(3, 4) == bytes(range(3, 7))
    assert packed.at(5, 10) == bytes(range(5, 15))
    assert packed.at(14, 500) == bytes(range(14, 100))
    assert packed.at(100, 1) == b""
    assert packed.at(500, 1) == b""


def test_record_of_any_length_is_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "text"
    long = b'1,"' + b"x\n" * 5000 + b'"\n'
    path.write_bytes(long + b"2,y\n" * 5000)
    source = Text(path).open()
    found = [piece.data for piece in pieces(source, 0, 100, b",")]
    assert found[0].startswith(long)
    assert len(found) > 50
    source.close()
