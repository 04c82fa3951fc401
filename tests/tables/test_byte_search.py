"""Bytes are found and counted across the ends of parts, as Python's own methods find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapkg.tables import byte_search

SPECIAL = b'\0\r",\n'


@given(text=st.binary(max_size=40) | st.text('a,"\n\0é', max_size=40).map(str.encode), part=st.integers(1, 9))
def test_bytes_are_found_in_every_part(text: bytes, part: int) -> None:
    data = np.frombuffer(text, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_search, "_PART_BYTES", part)
        found = sorted(place for places in byte_search.places_of(data, SPECIAL) for place in places.tolist())
        counts, is_ascii = byte_search.counts_of(data, SPECIAL), byte_search.is_ascii(data)
        has_others = not byte_search.is_ascii(data, has_nul=False)
    assert found == [at for at, byte in enumerate(text) if byte in SPECIAL]
    assert counts == [text.count(byte) for byte in SPECIAL]
    assert is_ascii == text.isascii()
    assert has_others == (b"\0" in text or not text.isascii())
