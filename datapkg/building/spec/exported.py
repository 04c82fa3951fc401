"""Write the build file of a package that was exported as files: it names each file and how to read it.

A node path that a build file cannot spell out (`meta` is always metadata) is written as a glob that matches only its
file, so the node gets its name from the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapkg.building.spec.generate import glob_instead, literal_glob
from datapkg.building.spec.model import BuildSpec, FileSource
from datapkg.building.spec.parser import read_build_file
from datapkg.building.spec.yaml_text import flow, yaml_quoted, yaml_text
from datapkg.errors import InvalidBuildFile, InvalidInput
from datapkg.format.texts import quoted

_HEADER = "# Written by datapkg export. Build the package again with: datapkg build USER/NAME\n"


@dataclass(frozen=True)
class FileEntry:
    """A node and its file, both relative to the build file's folder, and how the file is read."""

    path: str
    file: str
    transform: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings of the node other than its file."""
        more = {"kwargs": self.kwargs, "meta": self.meta}
        return {"transform": self.transform, **{key: value for key, value in more.items() if value}}


def needs_glob(path: str) -> bool:
    """Return whether a build file cannot spell out the path of a node and needs a glob."""
    return bool(glob_instead(path.split("/"), path))


def package_file(entries: Iterable[FileEntry], groups: Mapping[str, dict[str, Any]], meta: dict[str, Any]) -> str:
    """Return the text of the build file; `groups` are those that are empty or have metadata.

    Raise `InvalidInput` for a group that a build file cannot name.
    """
    tree: dict[str, Any] = {}
    globs = []
    for path, group_meta in groups.items():
        if needs_glob(f"{path}/x"):
            raise _not_told(f"it cannot name the group {quoted(path)}")
        _group(tree, path.split("/"))[""] = group_meta
    for entry in entries:
        if needs_glob(entry.path):
            globs.append(f"  {yaml_quoted(literal_glob(entry.file))}: {flow(entry.settings)}")
            continue
        *above, name = entry.path.split("/")
        _group(tree, above)[name] = entry
    lines = [_HEADER + f"meta: {flow(meta)}"] if meta else [_HEADER.rstrip("\n")]
    body = [*_lines(tree, 1), *globs]
    return "\n".join([*lines, "contents:" if body else "contents: {}", *body]) + "\n"


def check_package_file(
    path: Path, entries: Iterable[FileEntry], groups: Mapping[str, dict[str, Any]], meta: dict[str, Any]
) -> None:
    """Raise `InvalidInput` if a written build file does not describe exactly these nodes, groups and metadata."""
    try:
        spec = read_build_file(path)
    except InvalidBuildFile as error:
        raise _not_told(str(error).replace(str(path), path.name)) from error
    wanted = {each.path: (each.file, each.transform, each.kwargs, each.meta) for each in entries}
    if _nodes(spec) != wanted or spec.groups != dict(groups) or spec.meta != meta:
        raise _not_told("its metadata, or names in it, have no form there")


def _nodes(spec: BuildSpec) -> dict[str, Any]:
    files = ((node, node.source) for node in spec.nodes)
    return {
        node.path: (source.shown, node.transform, node.kwargs, node.meta)
        for node, source in files
        if isinstance(source, FileSource)
    }


def _not_told(why: str) -> InvalidInput:
    return InvalidInput(
        f"no build file can describe this package: {why}; nothing was written", hint="leave out --with-build-file"
    )


def _group(tree: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    for part in parts:
        tree = tree.setdefault(part, {})
    return tree


def _lines(tree: dict[str, Any], depth: int) -> list[str]:
    """Return the lines of a group; its metadata is stored at the key "", which is not a valid node name."""
    lines = []
    indent = "  " * depth
    for name, value in tree.items():
        if not name:
            lines += [f"{indent}meta: {flow(value)}"] if value else []
        elif isinstance(value, FileEntry):
            lines.append(f"{indent}{yaml_text(name)}: {flow({'file': value.file, **value.settings})}")
        else:
            lines += [f"{indent}{yaml_text(name)}:", *_lines(value, depth + 1)]
    return lines
