"""What this machine saw of the logs of registries without a server, so that a log that was rewritten is noticed.

The files of such a registry belong to whoever may write them. Each entry of a log holds the hash of the one before, so
whoever changes one has to change all that follow: then they differ from what was seen here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datapkg.errors import IntegrityError, InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.names import Ref
from datapkg.objects.files import private_folder, read_json, write_atomic


class SeenLogs:
    """A folder with a small file for each package of one registry."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder / hash_bytes(url.encode())[:16]
        self._url = url

    @property
    def is_new(self) -> bool:
        """Whether nothing of this registry was seen here yet."""
        return not self._folder.exists()

    def path(self, ref: Ref) -> Path:
        """Return the file of a package."""
        return self._folder / ref.user / f"{ref.name}.json"

    def last(self, ref: Ref) -> tuple[int, str]:
        """Return the number and the sha256 of the last entry that was seen; 0 and nothing without one."""
        value = self._read(ref)
        return value.get("number", 0), value.get("entry", "")

    def check_versions(self, ref: Ref, versions: Mapping[str, str]) -> None:
        """Raise `IntegrityError` where a version that was seen names another state now, or none."""
        for version, hash in self._read(ref).get("versions", {}).items():
            if versions.get(version) != hash:
                now = f"sha256:{versions[version][:12]}" if version in versions else "gone"
                raise self.moved(ref, f"version {version} was sha256:{hash[:12]} and is {now}")

    def keep(self, ref: Ref, number: int, entry: str, versions: Mapping[str, str]) -> None:
        """Remember the last entry of a log; one that another process saw later stays."""
        before = self._read(ref)
        if before.get("number", 0) >= number:
            return
        value = {"entry": entry, "number": number, "url": self._url, "versions": dict(versions)}
        path = self.path(ref)
        private_folder(path.parent)
        write_atomic(path, json.dumps(value, indent=1).encode() + b"\n", self._folder / "tmp")

    def page(self, ref: Ref) -> tuple[str, bytes]:
        """Return the page of a package as it was written here, and the sha256 of the entry that it shows; or nothing.

        The one at the registry may have been changed by whoever may write there.
        """
        try:
            entry, _, data = self._page_path(ref).read_bytes().partition(b"\n")
        except OSError:
            return "", b""
        return entry.decode("ascii", "replace"), data

    def keep_page(self, ref: Ref, entry: str, page: bytes) -> None:
        """Remember a page that was written, and the sha256 of the entry that it shows."""
        path = self._page_path(ref)
        private_folder(path.parent)
        write_atomic(path, entry.encode() + b"\n" + page, self._folder / "tmp")

    def _page_path(self, ref: Ref) -> Path:
        return self._folder / ".pages" / ref.user / f"{ref.name}.json"

    def moved(self, ref: Ref, what: str) -> IntegrityError:
        """Return the error for a log that is not what was seen here."""
        return IntegrityError(
            f"the log of {ref.package} at {self._url} was changed after it was read here: {what}",
            hint=f"ask who may write there; if that was meant: rm {self.path(ref)}",
        )

    def _read(self, ref: Ref) -> dict[str, Any]:
        try:
            value = read_json(self.path(ref), "memory of a log", f"rm {self.path(ref)}")
        # It only guards against others: without it, the log can still be read, and is remembered anew.
        except InvalidInput:
            return {}
        return value if _is_memory(value) else {}


def _is_memory(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(versions := value.get("versions"), dict):
        return False
    number = value.get("number")
    is_number = isinstance(number, int) and not isinstance(number, bool) and number > 0
    return is_number and all(isinstance(text, str) for text in [value.get("entry"), *versions.values()])
