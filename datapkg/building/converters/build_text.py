"""Write the nodes and stages of a conversion as a build file."""

from __future__ import annotations

from typing import Any

from datapkg.building.converters.conversion import Conversion
from datapkg.building.spec.yaml_text import flow, yaml_quoted, yaml_text


def build_file_text(conversion: Conversion, origin: str) -> str:
    """Return the build file of a conversion; `origin` names the files that it was made from."""
    tree: dict[str, Any] = {}
    for path, keywords in conversion.nodes.items():
        *parents, name = path.split("/")
        group = tree
        for part in parents:
            group = group.setdefault(part, {})
        group[name] = flow(keywords)
    lines = [f"# Written by datapkg import-from, of {yaml_quoted(origin)}.", "contents:" if tree else "contents: {}"]
    lines += _nodes(tree, 1)
    if conversion.stages:
        lines.append("stages:")
        for name, keywords in conversion.stages.items():
            lines.append(f"  {name}:")
            for word, value in keywords.items():
                lines += _keyword(word, value)
    return "\n".join(lines) + "\n"


def _nodes(tree: dict[str, Any], depth: int) -> list[str]:
    lines = []
    for name, value in tree.items():
        start = f"{'  ' * depth}{yaml_text(name)}:"
        lines += [start, *_nodes(value, depth + 1)] if isinstance(value, dict) else [f"{start} {value}"]
    return lines


def _keyword(word: str, value: Any) -> list[str]:
    """Return the lines of a keyword; a command of several lines is a block, as it is in a shell script."""
    lines = value.split("\n") if isinstance(value, str) else []
    is_block = len(lines) > 1 and all(line.isprintable() for line in lines) and lines[0][:1] not in (" ", "")
    if is_block and lines[-1]:
        return [f"    {word}: |-", *(f"      {line}" if line else "" for line in lines)]
    return [f"    {word}: {flow(value)}"]
