"""Every build file in docs/build.md and docs/checks.md builds, and the docs cover the whole grammar."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas
import pytest

from datapkg.building.readers import TRANSFORMS
from datapkg.building.spec.kwargs import REFUSED
from datapkg.building.spec.rule_schema import ALIASES, KINDS, ORDERS, TYPES
from tests.building.builds import Bench, paths, write

ROOT = Path(__file__).parent.parent.parent
TEXTS = {page: (ROOT / "docs" / f"{page}.md").read_text() for page in ("build", "checks", "transforms")}
TEXT = "".join(TEXTS.values())
EXAMPLES = [
    text
    for page in ("build", "checks")
    for text in re.findall(r"^```yaml\n(.*?)^```$", TEXTS[page], re.DOTALL | re.MULTILINE)
    if "contents:" in text
]
NODES = [
    ["README", "measurements", "raw/deep/two.jpg", "raw/one.jpg"],
    ["later", "tables/about", "tables/first", "tables/second", "tables/third"],
    ["first", "keys", "photos/deep/two.jpg", "photos/one.jpg"],
    ["flowers", "flowers/README", "flowers/measurements", "sizes"],
    ["tables/first", "tables/keys", "tables/second"],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "sample_packages" / "iris", tmp_path, dirs_exist_ok=True)
    files: dict[str, str | bytes] = {
        "data/one.jpg": "1",
        "data/deep/two.jpg": "2",
        "tables/first.csv": "a\n-\n2\n",
        "tables/second.csv": "a\n1\n",
        "tables/keys.csv": "a\n1\n2\n",
        "tables/second.txt": "a,b\n-,1\n2,2\n3,3\n",
        "tables/third.tsv": "a\tb\n1\t-\n",
    }
    return write(tmp_path, files)


@pytest.mark.parametrize(("text", "expected"), list(zip(EXAMPLES, NODES, strict=True)))
def test_example(folder: Path, text: str, expected: list[str]) -> None:
    bench = Bench()
    bench.packages["uciml/iris"] = bench.build(folder).manifest
    built = bench.build(write(folder, {"build.yml": text}))
    assert paths(built) == expected
    if "tables/keys" in expected:
        outcomes = {(check["path"], check["check"]): check["outcome"] for check in built.record["checks"]}
        assert outcomes.pop(("tables/first", "filled")) == "warned"
        assert set(outcomes.values()) == {"ok"}
        assert len(outcomes) == 6
    elif "tables/second" in expected:
        assert bench.frame(built, "tables/second").fillna(0).to_dict("list") == {"a": [0, 2], "b": [1, 2]}
        assert bench.frame(built, "tables/third")["b"].isna().all()


def test_every_kind_of_check_is_documented() -> None:
    section = TEXTS["checks"]
    for name in (*KINDS, *ALIASES, *ORDERS, *TYPES, "column", "columns", "severity"):
        assert name in section, name


def test_every_transform_and_unsupported_kwarg_is_documented() -> None:
    for name in (*TRANSFORMS, *(REFUSED["csv"].keys() - {"filepath_or_buffer"})):
        assert f"`{name}`" in TEXT, name


def test_pandas_version_matches_the_documented_exceptions() -> None:
    assert tuple(int(part) for part in pandas.__version__.split(".")[:2]) >= (3, 1)
