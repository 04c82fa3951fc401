"""A directory, or a single file, as a package to build: every file a node, every folder a group."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from datapkg.building.ignoring import read_ignore_file
from datapkg.building.spec import BuildSpec, FileSource, NodeSpec
from datapkg.building.transforms import TRANSFORMS, guess, node_name
from datapkg.building.tree import Found, walk
from datapkg.errors import InvalidInput, InvalidName
from datapkg.format.names import MAX_DEPTH, check_node_name, shown

Problem = tuple[str, str]


def scan_directory(path: Path, *, allow_outside: bool = False) -> BuildSpec:
    """The package that a directory is without a build file; its `.datapkgignore` says what is left out.

    Raises `InvalidInput` listing all files whose names cannot be nodes, and all that would share a name.
    """
    tree = walk(path, left_out=read_ignore_file(path), allow_outside=allow_outside)
    nodes, problems = name_files(tree.files)
    raise_problems(problems, f"directory {shown(path)}")
    warnings = [*tree.warnings, *_partition_note(nodes)]
    return BuildSpec("directory", nodes, root=path, warnings=warnings, skipped=tree.skipped)


def _partition_note(nodes: Iterable[NodeSpec]) -> list[str]:
    """What is worth a line where tables lie in folders that are values of a column, such as `year=2024`."""
    for node in nodes:
        folders = [each for each in node.path.split("/")[:-1] if "=" in each]
        if folders and TRANSFORMS[node.transform].kind == "table":
            way = "in a build file `{file: FOLDER, concat: true}` makes one table of them, with these values as columns"
            return [f"folders such as {shown(folders[0])} become groups; {way}"]
    return []


def scan_file(path: Path) -> BuildSpec:
    """The package of one node that a single data file is."""
    nodes, problems = name_files([Found(path, (path.name,))])
    raise_problems(problems, f"file {shown(path)}")
    return BuildSpec("file", nodes, root=path.parent)


def name_files(files: Iterable[Found]) -> tuple[list[NodeSpec], list[Problem]]:
    """The nodes of files, named by the rule, with what is wrong about the names."""
    nodes: list[NodeSpec] = []
    problems: list[Problem] = []
    taken: dict[str, tuple[str, ...]] = {}
    for file in files:
        transform = guess(file.path)
        parts = (*file.names[:-1], node_name(file.names[-1], transform))
        problem = name_problem(parts) or _claim(parts, file.parts, taken)
        if problem:
            problems.append((_printable(file.shown), problem))
        else:
            nodes.append(NodeSpec("/".join(parts), FileSource(file.path, file.shown), transform, place=file.shown))
    return nodes, problems


def name_problem(parts: tuple[str, ...]) -> str:
    """What keeps these names from being a node's path; "" if nothing does."""
    if len(parts) > MAX_DEPTH:
        return f"it lies deeper than {MAX_DEPTH} names"
    return next(filter(None, map(_part_problem, parts)), "")


@lru_cache(maxsize=65_536)
def _part_problem(part: str) -> str:
    try:
        check_node_name(part)
    except InvalidName as error:
        return str(error)
    return ""


def _claim(parts: tuple[str, ...], origin: tuple[str, ...], taken: dict[str, tuple[str, ...]]) -> str:
    """Takes the path for a file and its groups for its folders; says so if something else has them."""
    for depth in range(len(parts), 0, -1):
        path, source = "/".join(parts[:depth]), origin[:depth]
        before = taken.setdefault(path, source)
        if before == source and depth < len(parts):
            break
        if before != source:
            other = _printable("/".join(before))
            return f"it and {shown(other)} would both be node {shown(path)}; name them in a build file"
    return ""


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def raise_problems(problems: list[Problem], what: str) -> None:
    """Raises `InvalidInput` that lists all problems, if there are any."""
    if not problems:
        return
    lines = "".join(f"\n  {_printable(shown(place))}: {_printable(problem)}" for place, problem in problems[:20])
    more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
    raise InvalidInput(
        f"{_printable(what)} cannot be built:{lines}{more}",
        hint="name the files in a build file: contents: {some_name: {file: …}}",
        problems=[(place, _printable(problem)) for place, problem in problems],
    )
