"""The build file: thin for now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from datapkg.building.spec import BuildSpec, FileSource, NodeSpec
from datapkg.building.transforms import guess
from datapkg.errors import InvalidBuildFile


def read_build_file(path: Path, *, allow_outside: bool = False) -> BuildSpec:
    """The package that a build file describes."""
    value = yaml.load(path.read_text(), yaml.CSafeLoader)
    if not isinstance(value, dict) or "contents" not in value:
        raise InvalidBuildFile(f"{path} has no contents")
    nodes: list[NodeSpec] = []
    _read(value["contents"], (), path.parent, nodes)
    return BuildSpec("build file", nodes, meta=value.get("meta") or {}, root=path.parent)


def _read(group: dict[str, Any], parts: tuple[str, ...], root: Path, nodes: list[NodeSpec]) -> None:
    for key, each in group.items():
        here = (*parts, str(key))
        if "file" in each:
            file = root / each["file"]
            source = FileSource(file, each["file"])
            nodes.append(
                NodeSpec("/".join(here), source, each.get("transform") or guess(file), each.get("kwargs") or {})
            )
        else:
            _read(each, here, root, nodes)
