"""The example in docs/sources.md can be read, and the documented limits equal those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from datapkg.building.sources import archives, git_repository
from datapkg.building.spec.model import FileSource, PackageSource, UrlSource
from datapkg.building.spec.parser import read_build_file
from tests.building.builds import write

TEXT = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_example_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"prices.csv": "x\n", "photos/a.jpg": "", "backup.tar.gz": "", "build.yml": EXAMPLES[0]})
    found = {node.path: type(node.source) for node in read_build_file(tmp_path / "build.yml").nodes}
    assert found == {
        "prices": FileSource,
        "photos/a.jpg": FileSource,
        "irises": UrlSource,
        "rates": UrlSource,
        "notes": UrlSource,
        "flowers": PackageSource,
    }


def test_example_of_a_repository_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"build.yml": EXAMPLES[1]})
    ((path, source),) = [
        (node.path, node.source) for node in read_build_file(tmp_path / "build.yml", update=True).nodes
    ]
    assert path == "penguins"
    assert isinstance(source, UrlSource)
    assert source.url.startswith("git+https://")


def test_limits_are_documented() -> None:
    assert f"{archives.MAX_MEMBERS:,} members, and expand to {archives.MAX_RATIO} times its size" in TEXT
    assert f"{archives.FREE_BYTES >> 30} GiB is always allowed" in TEXT
    assert f"{git_repository.MAX_FILES:,} files" in TEXT
