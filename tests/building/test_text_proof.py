"""Words for nulls are found in text among values that only begin like them, or are as long."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from datapkg.building.text_content import missing_words
from datapkg.building.text_proof import _has_word

WORDS = [*sorted(missing_words({}, "")), "é", "missing"]
VALUES = st.none() | st.text("NnaA#é- m", max_size=5) | st.sampled_from(WORDS)


@given(values=st.lists(VALUES, max_size=6), words=st.lists(st.sampled_from(WORDS), min_size=1, unique=True))
def test_words_for_nulls_are_found_as_arrow_finds_them(values: list[str | None], words: list[str]) -> None:
    whole = pa.array([None, *values, "x"], pa.string())
    for array in (whole, whole.slice(1, len(values))):
        assert _has_word(array, words) == bool(pc.any(pc.is_in(array, pa.array(words))).as_py())
