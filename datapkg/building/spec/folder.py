"""Scan a directory, or a single file, as a package to build: every file is a node, every folder a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from shlex import quote

from datapkg.building.readers import TRANSFORMS, guess, node_name
from datapkg.building.spec.folder_files import DataFile, walk
from datapkg.building.spec.ignore_rules import IGNORED_BY_GIT, read_ignore_file
from datapkg.building.spec.model import BuildSpec, FileSource, NodeSpec
from datapkg.errors import InvalidInput, InvalidName
from datapkg.format.names import MAX_DEPTH, check_node_name
from datapkg.format.texts import first_lines, quoted

_PROBLEMS_SHOWN = 20
Problem = tuple[str, str]
_COLLIDE = "would both be node"


def scan_directory(
    path: Path, *, allow_outside: bool = False, gitignore: bool = True, apart: bool = False
) -> BuildSpec:
    """Return the package that a directory without a build file describes.

    Its `.datapkgignore` and, with `gitignore`, its `.gitignore` files exclude files. With `apart`, files that would
    share a node path also get their extensions as part of the name. Raise `InvalidInput` that lists all files whose
    names are not valid node names, and all that share a path.
    """
    tree = walk(path, left_out=read_ignore_file(path, gitignore=gitignore), allow_outside=allow_outside)
    nodes, problems = name_files(_taken_from(tree.files), apart=apart)
    collide = problems and all(_COLLIDE in problem for _, problem in problems)
    raise_problems(problems, f"directory {quoted(path)}", f"datapkg generate {quote(str(path))}" if collide else "")
    warnings = [*tree.warnings, *_gitignore_note(tree.skipped), *_partition_note(nodes)]
    return BuildSpec("directory", nodes, root=path, warnings=warnings, skipped=tree.skipped)


def _taken_from(files: list[DataFile]) -> Iterator[DataFile]:
    """Yield files in order, and release each one: a million of them would need much memory beside their nodes."""
    files.reverse()
    while files:
        yield files.pop()


def _gitignore_note(skipped: Iterable[str]) -> list[str]:
    """Return a warning that counts what `.gitignore` excluded and shows how to include it."""
    suffix = f": {IGNORED_BY_GIT}"
    found = [each.removesuffix(suffix) for each in skipped if each.endswith(suffix)]
    if not found:
        return []
    files = f"{len(found):,} files and folders" if len(found) > 1 else "1 file or folder"
    named = ", ".join(map(quoted, found[:3])) + (", …" if len(found) > 3 else "")
    line = f"!{found[0]}"
    ways = f"`datapkg build USER/NAME --no-gitignore` includes them, as does a line such as {line} in .datapkgignore"
    return [f"left out {files} that .gitignore ignores: {named}; {ways}"]


def _partition_note(nodes: Iterable[NodeSpec]) -> list[str]:
    """Return a warning if tables are in folders that are column values, such as `year=2024`."""
    for node in nodes:
        folders = [each for each in node.path.split("/")[:-1] if "=" in each]
        if folders and TRANSFORMS[node.transform].kind == "table":
            way = "in a build file `{file: FOLDER, concat: true}` makes one table of them, with these values as columns"
            return [f"folders such as {quoted(folders[0])} become groups; {way}"]
    return []


def scan_file(path: Path) -> BuildSpec:
    """Return the package of one node for a single data file."""
    nodes, problems = name_files([DataFile(path, (path.name,))])
    raise_problems(problems, f"file {quoted(path)}")
    return BuildSpec("file", nodes, root=path.parent)


def name_files(files: Iterable[DataFile], *, apart: bool = False) -> tuple[list[NodeSpec], list[Problem]]:
    """Return the nodes of files, named by the rule, and the problems with names.

    With `apart`, files that would share a path get distinct names: `a_csv` and `a_tsv` for `a.csv` and `a.tsv`.
    """
    nodes: list[NodeSpec] = []
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    found = ((file, transform := guess(file.location), _path_of(file, transform)) for file in files)
    for file, transform, parts in _apart(list(found)) if apart else found:
        shown = file.shown
        path = shown if parts == file.parts else "/".join(parts)
        problem = name_problem(parts) or _claim(path, shown, taken)
        if problem:
            problems.append((_printable(shown), problem))
        else:
            nodes.append(NodeSpec(path, FileSource(file.location, shown), transform, place=shown))
    return nodes, problems


def _path_of(file: DataFile, transform: str) -> tuple[str, ...]:
    return (*file.names[:-1], node_name(file.names[-1], transform))


def _apart(found: list[tuple[DataFile, str, tuple[str, ...]]]) -> list[tuple[DataFile, str, tuple[str, ...]]]:
    """Return the files with a distinct path for each file whose path equals that of another file or of a folder."""
    times = Counter(parts for _, _, parts in found)
    groups = {file.names[:depth] for file, _, _ in found for depth in range(1, len(file.names))}
    alone = {parts for parts, count in times.items() if count == 1 and parts not in groups}
    taken = groups | alone
    named = []
    for file, transform, parts in found:
        if parts not in alone:
            parts = _free((*file.names[:-1], file.names[-1].replace(".", "_")), taken)
            taken.add(parts)
        named.append((file, transform, parts))
    return named


def _free(parts: tuple[str, ...], taken: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the path, with a number appended if it is taken."""
    candidate, number = parts, 1
    while candidate in taken:
        number += 1
        candidate = (*parts[:-1], f"{parts[-1]}_{number}")
    return candidate


def name_problem(parts: tuple[str, ...]) -> str:
    """Return why these names are not a valid node path; "" if they are."""
    if len(parts) > MAX_DEPTH:
        return f"it is deeper than {MAX_DEPTH} names"
    return next(filter(None, map(_part_problem, parts)), "")


@lru_cache(maxsize=65_536)
def _part_problem(part: str) -> str:
    try:
        check_node_name(part)
    except InvalidName as error:
        return str(error)
    return ""


def _claim(path: str, origin: str, taken: dict[str, str]) -> str:
    """Claim the path for a file and its folders as groups; return a problem if something else has them."""
    is_folder = False
    while path:
        before = taken.setdefault(path, origin)
        if before == origin and is_folder:
            break  # with the folders above it, by an earlier file
        if before != origin:
            return f"it and {quoted(_printable(before))} {_COLLIDE} {quoted(path)}; name them in a build file"
        path, origin, is_folder = path.rpartition("/")[0], origin.rpartition("/")[0], True
    return ""


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def raise_problems(problems: list[Problem], what: str, hint: str = "") -> None:
    """Raise `InvalidInput` that lists all problems; do nothing if there are none."""
    if not problems:
        return
    lines = [f"{_printable(quoted(place))}: {_printable(problem)}" for place, problem in problems]
    listing = "".join(first_lines(lines, _PROBLEMS_SHOWN, indent="\n  "))
    raise InvalidInput(
        f"{_printable(what)} cannot be built:{listing}",
        hint=hint or "name the files in a build file: contents: {some_name: {file: …}}",
        problems=[(place, _printable(problem)) for place, problem in problems],
    )
