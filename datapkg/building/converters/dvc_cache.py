"""Find data that DVC tracks: in the workspace, else in its cache or a remote that is a folder, by their MD5 sums."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import inner_path
from datapkg.errors import HashMismatch, InvalidInput
from datapkg.format.texts import quoted
from datapkg.objects.files import beginning, sync_file

_SUM = re.compile(r"[0-9a-f]{32}(\.dir)?\Z")
_MAX_CONFIG, _MAX_LISTING, _MAX_FILES = 1 << 20, 256 << 20, 1_000_000
_PIECE = 1 << 20


class DvcCache:
    """The places of a repository's data, by MD5: the cache, and the remotes that are folders of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.remotes: list[str] = []
        self._folders = [root / ".dvc" / "cache"]
        self._read_config()

    def _read_config(self) -> None:
        for name in ("config", "config.local"):
            path = self.root / ".dvc" / name
            if not path.is_file() or path.stat().st_size > _MAX_CONFIG:
                continue
            config = configparser.ConfigParser(interpolation=None, strict=False)
            try:
                config.read_string(path.read_text("utf-8"))
            except (configparser.Error, UnicodeDecodeError) as error:
                raise InvalidInput(
                    f"{quoted(path)} is not a configuration of DVC: {str(error).splitlines()[0]}"
                ) from None
            for section in config.sections():
                key = "dir" if section == "cache" else "url"
                if (section == "cache" or "remote" in section) and (text := config[section].get(key)):
                    self._add(text, is_remote=section != "cache")

    def _add(self, text: str, *, is_remote: bool) -> None:
        if "://" not in text or text.startswith("file://"):
            self._folders.append(self.root / ".dvc" / text.removeprefix("file://"))
        elif is_remote:
            self.remotes.append(text)

    def restore(self, path: str, md5: str) -> bool:
        """Copy a file or folder with this sum to its path in the workspace; return whether all of it was found.

        Raise `HashMismatch` for data that do not have their sum; nothing is left at the path then.
        """
        if not _SUM.match(md5):
            raise InvalidInput(f"{quoted(path)} has the MD5 {quoted(md5)}, which is not one")
        if not md5.endswith(".dir"):
            return self._restore_file(path, md5)
        listing = self._find(md5)
        if listing is None:
            return False
        files = list(_listed(listing, md5))
        # A folder that lacks files would look whole to a build, so it is copied only if all of them are here.
        if not all(self._find(each) or (self.root / path / name).is_file() for name, each in files):
            return False
        for name, each in files:
            self._restore_file(f"{path}/{name}", each)
        return True

    def _restore_file(self, path: str, md5: str) -> bool:
        target = self.root / path
        if target.is_file():
            return True
        source = self._find(md5)
        if source is None:
            return False
        parent = target.parent
        parent.mkdir(parents=True, exist_ok=True)
        if not parent.resolve().is_relative_to(self.root.resolve()):
            raise InvalidInput(f"{quoted(path)} leads out of the repository through a link")
        handle, temporary = tempfile.mkstemp(dir=parent, prefix=f".{beginning(target.name)}-")
        try:
            with source.open("rb") as stream, os.fdopen(handle, "wb") as copy:
                found, unix = (hashlib.md5(usedforsecurity=False) for _ in range(2))
                while piece := stream.read(_PIECE):
                    found.update(piece)
                    # Before version 3, DVC took the sum of a text with the line ends of Unix, piece by piece.
                    unix.update(piece.replace(b"\r\n", b"\n"))
                    copy.write(piece)
                # A file that is there is never copied again, not even one that a power cut has left short.
                sync_file(copy)
            if md5 not in (found.hexdigest(), "" if source.parent.parent.name == "md5" else unix.hexdigest()):
                raise HashMismatch(
                    f"{quoted(source)} is corrupt: expected MD5 {md5}, got {found.hexdigest()}; nothing was written",
                    hint="dvc fetch --force",
                    expected=md5,
                    actual=found.hexdigest(),
                )
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return True

    def _find(self, md5: str) -> Path | None:
        """Return the file with a sum in the first place that has it, in the layout of DVC 3 or before."""
        for folder in self._folders:
            for layout in (folder / "files" / "md5", folder):
                path = layout / md5[:2] / md5[2:]
                if path.is_file():
                    return path
        return None


def _listed(path: Path, md5: str) -> Iterator[tuple[str, str]]:
    """Yield the relative paths and sums in the listing of a folder, after its own sum is verified."""
    if path.stat().st_size > _MAX_LISTING:
        raise InvalidInput(f"{quoted(path)} is a listing of more than {_MAX_LISTING >> 20} MiB")
    data = path.read_bytes()
    actual = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if actual != md5.removesuffix(".dir"):
        raise HashMismatch(f"{quoted(path)} is corrupt: expected MD5 {md5}, got {actual}", expected=md5, actual=actual)
    try:
        entries: Any = json.loads(data)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list) or len(entries) > _MAX_FILES:
        raise InvalidInput(f"{quoted(path)} is not a listing of a folder")
    for each in entries:
        name, sum_ = (each.get("relpath"), each.get("md5")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(sum_, str) or not re.fullmatch("[0-9a-f]{32}", sum_):
            raise InvalidInput(f"{quoted(path)} is not a listing of a folder")
        if not inner_path(name) or inner_path(name) != name:
            raise InvalidInput(f"{quoted(path)} lists {quoted(name)}, which leads out of the folder")
        yield name, sum_
