"""Tests of joining cells to lines."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datapkg.reading.tables.line_join import joined_lines, plain_lines


def _columns(cell: str) -> list[pa.Array]:
    return [pa.array(each, pa.large_string()) for each in (["a", cell], ["1", "é 2"])]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("place", ["{}b", "b{}", "b{}b", "{}"])
def test_plain_lines_refuse_all_that_is_part_of_the_form(separator: str, place: str) -> None:
    for special in (separator, '"', "\n", "\r"):
        assert plain_lines(_columns(place.format(special)), separator) is None
    for usual in ("", "b", " ", "\0", "'", *{",", ";", "\t", "|"} - {separator}):
        columns = _columns(place.format(usual))
        assert plain_lines(columns, separator) == joined_lines(columns, separator)
