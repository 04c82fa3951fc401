"""Move exported files into place: all or none, without following links, leaving nothing behind on failure."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from datapkg.errors import Conflict
from datapkg.objects.folders import OpenFolder, not_a_folder

Parts = tuple[str, ...]
TREE = "tree"
_REPLACED = "replaced"


def make_tree(staged: OpenFolder, folders: Iterable[Parts], files: Iterable[tuple[int, Parts]]) -> None:
    """Move the numbered files of a staging folder into a folder `tree` in it, under their names."""
    staged.make_folder(TREE)
    for parts in folders:
        with staged.below((TREE, *parts), make=True):
            pass
    for number, parts in files:
        with staged.below((TREE, *parts[:-1]), make=True) as folder:
            staged.move(str(number), folder, parts[-1])


def place_file(staged: OpenFolder, number: int, parent: OpenFolder, name: str, *, force: bool) -> None:
    """Move one file to its path; raise `Conflict` if a folder is there, and without `force` if anything is."""
    _check_free(parent, name, force)
    refuse_folder(parent, name)
    staged.move(str(number), parent, name)


def place_tree(
    staged: OpenFolder, parent: OpenFolder, name: str, folders: list[Parts], files: list[Parts], *, force: bool
) -> None:
    """Move the tree of a staging folder to its path: as a whole, or file by file into an existing folder.

    Raise `Conflict`, before anything is changed, for a link or file where a folder is needed, or the reverse. Files of
    the same name are replaced. If a file cannot be moved, the earlier ones are moved back.
    """
    _check_free(parent, name, force)
    if parent.status(name) is None:
        staged.move(TREE, parent, name)
        return
    with parent.folder(name) as target, staged.folder(TREE) as tree:
        needed = sorted({parts[:length] for parts in (*folders, *(f[:-1] for f in files)) for length in _to(parts)})
        for parts in needed:
            _check_folder(target, parts)
        for parts in files:
            with _existing(target, parts[:-1]) as folder:
                if folder is not None:
                    refuse_folder(folder, parts[-1])
        staged.make_folder(_REPLACED)
        with staged.folder(_REPLACED) as replaced:
            _merge(tree, target, replaced, needed, files)


def _to(parts: Parts) -> range:
    return range(1, len(parts) + 1)


def refuse_folder(folder: OpenFolder, name: str) -> None:
    """Raise `Conflict` if a folder is where a file is to be written."""
    found = folder.status(name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        raise Conflict(f"{folder.path / name} is a folder where a file is to be written; nothing was written")


def _check_free(parent: OpenFolder, name: str, force: bool) -> None:
    if not force and parent.status(name) is not None:
        raise Conflict(f"{parent.path / name} exists; nothing was written")


@contextmanager
def _existing(folder: OpenFolder, parts: Parts) -> Iterator[OpenFolder | None]:
    """Open a folder some levels below, or yield None if it does not exist."""
    with ExitStack() as stack:
        found: OpenFolder | None = folder
        for part in parts:
            if found is None or found.status(part) is None:
                found = None
                break
            found = stack.enter_context(found.folder(part))
        yield found


def _check_folder(target: OpenFolder, parts: Parts) -> None:
    """Raise `Conflict` if something that is not a folder is where one is needed."""
    with _existing(target, parts[:-1]) as folder:
        found = folder.status(parts[-1]) if folder is not None else None
        if folder is not None and found is not None and not stat.S_ISDIR(found.st_mode):
            raise not_a_folder(folder.path / parts[-1])


@dataclass
class _Changes:
    """The steps done so far, so that they can be undone in reverse order."""

    made: list[Parts] = field(default_factory=list)
    placed: list[tuple[Parts, str | None]] = field(default_factory=list)


def _merge(
    tree: OpenFolder, target: OpenFolder, replaced: OpenFolder, folders: list[Parts], files: list[Parts]
) -> None:
    done = _Changes()
    try:
        for parts in folders:
            with target.below(parts[:-1]) as folder:
                if folder.status(parts[-1]) is None:
                    folder.make_folder(parts[-1])
                    done.made.append(parts)
        for number, parts in enumerate(files):
            with tree.below(parts[:-1]) as start, target.below(parts[:-1]) as folder:
                kept = None
                if folder.status(parts[-1]) is not None:
                    kept = str(number)
                    folder.move(parts[-1], replaced, kept)
                # Recorded before the move, so that an interruption between the two is undone as well.
                done.placed.append((parts, kept))
                start.move(parts[-1], folder, parts[-1])
    except BaseException:  # Ctrl-C is undone too
        _undo(tree, target, replaced, done)
        raise


def _undo(tree: OpenFolder, target: OpenFolder, replaced: OpenFolder, done: _Changes) -> None:
    for parts, kept in reversed(done.placed):
        try:
            with tree.below(parts[:-1]) as start, target.below(parts[:-1]) as folder:
                if start.status(parts[-1]) is None and folder.status(parts[-1]) is not None:
                    folder.move(parts[-1], start, parts[-1])
                if kept is not None:
                    replaced.move(kept, folder, parts[-1])
        except (OSError, Conflict):  # the folder is being changed by another process: continue undoing the rest
            continue
    for parts in reversed(done.made):
        try:
            with target.below(parts[:-1]) as folder:
                folder.remove_folder(parts[-1])
        except (OSError, Conflict):
            continue
