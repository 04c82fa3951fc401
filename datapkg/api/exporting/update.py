"""A second export into a folder: files that stay, edits that are not overwritten, and files that are removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from datapkg.api.exporting.record import ABSENT, EDITED, NO_STAMP, UNCHANGED, ExportedFile, ExportRecord, Parts
from datapkg.errors import Conflict
from datapkg.format.texts import listed
from datapkg.objects.folders import OpenFolder

_SHOWN = 5


class Update:
    """The files of an earlier export, and their states now; without a record, of none."""

    def __init__(self, target: OpenFolder | None, record: ExportRecord | None) -> None:
        self._target = target
        files = record.files if target and record else ()
        self._states = {each.parts: each.state(target) for each in files} if target else {}
        self._files = {each.parts: each for each in files}
        self._of_node = {each.node: each for each in files}
        self._kept_edits: dict[Parts, ExportedFile] = {}
        self.is_known = bool(target and record)

    def kept(self, node: str, key: str, *, edited: bool = False) -> ExportedFile | None:
        """Return the file of a node if it is as it was written, and would be written again (by `key`); else None.

        With `edited`, return it also if it was edited since.
        """
        found = self._of_node.get(node)
        states = (UNCHANGED, EDITED) if edited else (UNCHANGED,)
        if found is None or found.key != key or self._states[found.parts] not in states:
            return None
        if self._states[found.parts] == EDITED:
            self._kept_edits[found.parts] = found
        return found

    def edited(self, file: ExportedFile) -> ExportedFile | None:
        """Return the file of the earlier export if this one is that, edited, and was kept; else None."""
        found = self._kept_edits.get(file.parts)
        return found if found and found.sha256 == file.sha256 else None

    def is_same(self, parts: Parts, sha256: str) -> bool:
        """Return whether a file has these bytes already, from the earlier export."""
        return self._states.get(parts) == UNCHANGED and self._files[parts].sha256 == sha256

    def check(self, files: Iterable[Parts], line: str) -> None:
        """Raise `Conflict`, with the line to type as its hint, for files that are not as an export wrote them."""
        target = self._target
        if target is None or not self.is_known:
            return
        edited = ["/".join(parts) for parts in files if not self._is_free(target, parts)]
        if edited:
            what = f"{target.path} has files that were edited or made since the last export: {listed(edited, _SHOWN)}"
            raise Conflict(f"{what}; nothing was written", hint=line, edited=edited)

    def _is_free(self, target: OpenFolder, parts: Parts) -> bool:
        if parts not in self._files:  # not of the earlier export
            return ExportedFile(parts, "", NO_STAMP).state(target) == ABSENT
        # Once more: files may have been edited while the others were written, which can take minutes.
        self._states[parts] = self._files[parts].state(target)
        return self._states[parts] != EDITED

    def remove_others(self, files: Iterable[Parts], folders: Iterable[Parts]) -> tuple[list[Parts], list[Parts]]:
        """Remove files of the earlier export that are not among these, with folders that become empty.

        Return the removed ones, and those that stay because they were edited.
        """
        removed, edited, target = [], [], self._target
        wanted, needed = set(files), set(folders)
        for parts, file in self._files.items():
            if target is None or parts in wanted or (state := file.state(target)) == ABSENT:
                continue
            if state == EDITED:
                edited.append(parts)
                continue
            with target.below(parts[:-1]) as folder:
                folder.remove_file(parts[-1])
            removed.append(parts)
        above = {parts[:end] for parts in removed for end in range(1, len(parts))} - needed
        for parts in sorted(above, key=len, reverse=True):
            if target is not None:
                with target.below(parts[:-1]) as folder:
                    folder.remove_folder(parts[-1])
        return removed, edited


@contextmanager
def earlier_export(parent: OpenFolder, name: str, record: ExportRecord | None) -> Iterator[Update]:
    """Open the folder of an earlier export, and look at its files; one that has no record is not looked at."""
    if record is None:
        yield Update(None, None)
        return
    with parent.folder(name) as target:
        yield Update(target, record)
