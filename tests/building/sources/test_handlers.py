"""Every kind of source in a spec has a handler, and no other module checks the kind of a source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from datapkg.building.sources.handlers import HANDLERS, local_file
from datapkg.building.spec import model
from datapkg.building.spec.model import FileSource, ValueSource

BUILDING = Path(model.__file__).parent.parent
NAMES = "|".join(kind.__name__ for kind in get_args(model.Source))


def test_every_kind_of_source_has_a_handler() -> None:
    assert HANDLERS.keys() == set(get_args(model.Source))


def test_local_file_of_a_file_is_the_file_itself() -> None:
    source = FileSource(Path("a.csv"), "a.csv")
    assert local_file(source) is source
    assert local_file(ValueSource(1)) is None


def test_only_specs_and_handlers_check_the_kind_of_a_source() -> None:
    """Files to download are an exception: their own module replaces them before the build."""
    asks = re.compile(rf"isinstance\([^()]*\b(?:{NAMES})\b")
    found = {
        str(path.relative_to(BUILDING))
        for folder in (".", "sources", "checks")
        for path in (BUILDING / folder).glob("*.py")
        if asks.search(path.read_text(encoding="utf-8"))
    }
    assert found <= {"sources/fetcher.py", "sources/prepare.py", "checks/definitions.py"}
