"""Generate a build file and a README for a directory that has none.

The generated build file describes exactly what the directory is without it: both packages have the same hash. Files
that would share a node path, which cannot be built without a build file, get distinct names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from datapkg.building.spec.document import MAX_VALUES
from datapkg.building.spec.folder import scan_directory
from datapkg.building.spec.folder_files import BUILD_FILE
from datapkg.building.spec.keywords import RESERVED
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.building.spec.yaml_text import yaml_quoted, yaml_text
from datapkg.errors import Conflict, InvalidInput
from datapkg.format.texts import quoted
from datapkg.objects.files import no_such_path

README = "README.md"
# The name, a mapping, `file` with a path, `transform` with a name, and some for the groups around it.
_VALUES_A_NODE = 8
_HEADER = """\
# What the package is made of. Build it with: datapkg build USER/NAME
# All that can be said here is in datapkg's documentation, docs/build.md.
# meta: {title: …, description: …, licence: CC-BY-4.0, origin: …}
"""


@dataclass(frozen=True)
class Generated:
    """The files that were written, and warnings."""

    files: list[Path]
    warnings: list[str]


def generate(directory: Path, *, gitignore: bool = True) -> Generated:
    """Write `build.yml` and `README.md` into a directory; an existing README is kept.

    Files that `.gitignore` ignores are excluded unless `gitignore` is false. Raise `Conflict` if there is a build file,
    `InvalidInput` for files that cannot be nodes.
    """
    if not directory.is_dir():
        raise no_such_path(directory, "folder")
    path, readme = directory / BUILD_FILE, directory / README
    if os.path.lexists(path):
        raise _exists(path)
    written: list[Path] = []
    try:
        if not os.path.lexists(readme):
            # Before the scan, so that the build file lists it too.
            _write_new(readme, f"# {directory.resolve().name}\n", written)
        spec = scan_directory(directory, gitignore=gitignore, apart=True)
        nodes = spec.nodes
        if len(nodes) * _VALUES_A_NODE > MAX_VALUES:
            raise InvalidInput(
                f"{len(nodes):,} files are more than a build file can name one by one",
                hint=f"take them by globs, or build the folder as it lies: datapkg build USER/NAME {directory}",
            )
        _write_new(path, build_file_text(nodes), written)
    except BaseException:
        for each in written:
            each.unlink(missing_ok=True)
        raise
    return Generated(written[::-1], spec.warnings)


def _write_new(path: Path, text: str, written: list[Path]) -> None:
    """Write a file that must not exist, not even as a link created since the last check (`O_EXCL`)."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            written.append(path)
            stream.write(text)
    except FileExistsError:
        raise _exists(path) from None


def _exists(path: Path) -> Conflict:
    return Conflict(
        f"{quoted(path)} is there already, and was not changed", hint="move it away to have a new one written"
    )


def build_file_text(nodes: list[NodeSpec]) -> str:
    """Return the build file that lists these files; those whose node path it cannot spell out become globs."""
    tree: dict[str, object] = {}
    globs: dict[str, None] = {}
    for node in nodes:
        parts = node.path.split("/")
        assert isinstance(node.source, FileSource)
        if pattern := glob_instead(parts, node.source.shown):
            globs[pattern] = None
            continue
        group = tree
        for part in parts[:-1]:
            below = group.setdefault(part, {})
            assert isinstance(below, dict)
            group = below
        group[parts[-1]] = node
    lines = ["contents: {}" if not nodes else "contents:", *_lines(tree, 1)]
    lines += [f"  {yaml_quoted(pattern)}: {{}}" for pattern in globs]
    return _HEADER + "\n".join(lines) + "\n"


def _lines(tree: dict[str, object], depth: int) -> list[str]:
    lines = []
    for name, value in tree.items():
        start = f"{'  ' * depth}{yaml_text(name)}:"
        if isinstance(value, dict):
            lines += [start, *_lines(value, depth + 1)]
        elif isinstance(value, NodeSpec) and isinstance(value.source, FileSource):
            transform = "" if value.transform == "id" else f", transform: {value.transform}"
            lines.append(f"{start} {{file: {yaml_text(value.source.shown)}{transform}}}")
    return lines


def glob_instead(parts: list[str], shown: str) -> str:
    """Return the glob for a node whose path a build file cannot spell out, or for the folder that causes this.

    Return "" for other nodes. Every part of the glob has a wildcard, so that all folders become groups.
    """
    for index, part in enumerate(parts):
        if part == "meta" or (part in RESERVED and index < len(parts) - 1):
            blamed = literal_glob("/".join(shown.split("/")[: index + 1]))
            return f"{blamed}/**/*" if index < len(parts) - 1 else blamed
    return ""


def literal_glob(shown: str) -> str:
    """Return the pattern that matches this path only, with a wildcard in each part of it.

    Raise `InvalidInput` for a name that consists of pattern characters only.
    """
    return "/".join(map(_pattern, shown.split("/")))


def _pattern(part: str) -> str:
    escaped = ["[[]" if c == "[" else f"[{c}]" if c in "*?" else c for c in part]
    first = next((index for index, c in enumerate(part) if c not in "[]*?!^-\\"), None)
    if first is None:
        raise InvalidInput(f"a build file cannot name {quoted(part)}", hint="rename it")
    escaped[first] = f"[{part[first]}]"
    return "".join(escaped)
