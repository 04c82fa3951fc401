"""Warn if the first line looks like data, but not if numeric column names are intended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building.builds import Bench, write

IRIS = "5.1,3.5,setosa\n4.9,3.0,setosa\n7.0,3.2,versicolor\n"


@pytest.mark.parametrize(
    ("text", "kwargs", "is_warned"),
    [
        (IRIS, "", True),
        ("a,b,c\n" + IRIS, "", False),
        (IRIS, "{header: null}", False),
        ("5\n6\n7\n", "", True),
        ("0,1,2\n5,6,7\n", "", False),
        ("2001,2002,2003\n5,6,7\n", "", False),
        ("country,2001,2002\nde,1,2\n", "", False),
        (",0,5\n0,1,2\n", "", False),
        ("1,x\n2,y\n", "", False),
        ("1.5,2\n", "", False),
        ("3,7\na,b\n", "", False),
        ("1,how to\n4,what is\n5,why\n9,who\n", "", True),
        ("1,how to\n4,what is\n3,why\n9,who\n", "", False),
        ("1,how to\n4,what is\n5,why\n", "", False),
        ("2020,name\n2100,a\n2200,b\n2300,c\n", "", False),
        ("1,how to\n4,what is\n5,why\n9,who\n", "{header: null}", False),
    ],
)
def test_first_line_that_looks_like_data_causes_a_warning(
    tmp_path: Path, text: str, kwargs: str, is_warned: bool
) -> None:
    option = f", kwargs: {kwargs}" if kwargs else ""
    write(tmp_path, {"a.csv": text, "build.yml": f"contents:\n  a: {{file: a.csv{option}}}\n"})
    warnings = [each for each in Bench().build(tmp_path).warnings if "looks like data" in each]
    assert bool(warnings) == is_warned
    if is_warned and text == IRIS:
        names = "'5.1', '3.5', 'setosa'"
        line = f"a.csv: the first line looks like data, and names the columns: {names}; if it is data: kwargs: "
        assert warnings == [line + "{header: null}"]
