"""Convert the `.dvc` files of a repository: data that DVC tracks, fetched from addresses or from other repositories."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapkg.building.converters.code_files import inner_path
from datapkg.building.converters.conversion import Conversion
from datapkg.building.converters.dvc_cache import DvcCache
from datapkg.building.converters.sections import Section, plain_value
from datapkg.building.spec.globs import is_glob

_ADDRESSES = ("http://", "https://", "s3://", "gs://")
_WITHOUT_MEANING = {
    "cache": "all data of a package are kept by their hash",
    "persist": "data of a package never change",
    "push": "a package is pushed as a whole",
    "remote": "a package is pushed to a registry: datapkg push USER/NAME",
    "frozen": "a build reads an address again with --update only",
    "always_changed": "a build reads an address again with --update only",
}
_PIECE = 1 << 20
_SUMS = ("md5", "md5-dos2unix", "size", "hash", "nfiles", "isexec", "etag", "checksum", "version_id", "files")


@dataclass(frozen=True)
class Tracked:
    """Data at a path of the repository: the node, and how a stage reads it."""

    path: str
    node: str
    is_folder: bool
    input: Any


class DataReader:
    """Reads the `.dvc` files of one repository."""

    def __init__(self, root: Path, conversion: Conversion) -> None:
        self.root, self.conversion = root, conversion
        self.cache = DvcCache(root)
        self.found: dict[str, Tracked] = {}

    def read(self, path: Path) -> None:
        """Read one `.dvc` file: its data become nodes."""
        shown = path.relative_to(self.root).as_posix()
        section = Section.of_file(path, shown, self.conversion)
        folder = inner_path(section.text("wdir"), inner_path(Path(shown).parent.as_posix()))
        address = self._address(section)
        for word in _WITHOUT_MEANING:
            section.leave_out(word, _WITHOUT_MEANING[word])
        described = description(section)
        for word in (*_SUMS, "outs"):
            if word != "outs":
                section.take(word)
        for out in mappings(section, "outs"):
            self._out(out, shown, folder, address, described)
        section.close()

    def _address(self, section: Section) -> str:
        """Return the address that the data was imported from; "" if it can only be read from a copy."""
        address = ""
        for dep in mappings(section, "deps"):
            text, repository = dep.text("path"), dep.section("repo")
            for word in _SUMS:
                dep.take(word)
            if repository is not None:
                where = repository.text("url")
                for word in ("rev", "rev_lock", "config", "remote"):
                    repository.take(word)
                dep.leave_out("repo", f"data of {where or 'another repository'}; the copy here is what is built")
            elif text.startswith(_ADDRESSES):
                address = text
            else:
                dep.leave_out("path", "addresses of this kind are not read; the copy here is what is built")
            dep.close()
        return address

    def _out(self, out: Section, shown: str, folder: str, address: str, meta: dict[str, Any]) -> None:
        text, md5 = out.text("path"), out.text("md5") or out.text("md5-dos2unix")
        path = inner_path(text, folder)
        for word in _SUMS:
            out.take(word)
        for word, reason in _WITHOUT_MEANING.items():
            out.leave_out(word, reason)
        meta = {**meta, **description(out)}
        out.close()
        if not text or not path:
            out.leave_out("path", "a path outside of the repository cannot be built")
            return
        is_folder = md5.endswith(".dir") or (self.root / path).is_dir()
        if address and not is_folder:
            sums = self._sums(path, md5, out)
            node = self._node(path, {"url": address, **sums}, meta, out)
            self.found[path] = Tracked(path, node, False, f"contents.{node}")
            return
        self._restore(path, md5, shown)
        keywords: dict[str, Any] = {"file": path}
        if is_folder:
            if is_glob(path):
                out.leave_out("path", "the name of the folder has characters of a pattern; rename it")
                return
            keywords = {f"{path}/**/*": {}}
        node = self._node(path, keywords, meta, out, is_folder=is_folder)
        self.found[path] = Tracked(path, node, is_folder, {"file": path})

    def _sums(self, path: str, md5: str, out: Section) -> dict[str, str]:
        """Return the sums of an address: that of DVC, and that of a copy on this machine with the same bytes."""
        stated = {"md5": md5} if md5 and out.text("hash") == "md5" else {}
        if stated and ((self.root / path).is_file() or self.cache.restore(path, md5)):
            found = [hashlib.sha256(), hashlib.md5(usedforsecurity=False)]
            with (self.root / path).open("rb") as stream:
                while piece := stream.read(_PIECE):
                    for each in found:
                        each.update(piece)
            if found[1].hexdigest() == md5:
                return {"sha256": found[0].hexdigest(), **stated}
        out.leave_out(
            "path", "the address has no sha256 yet; the first build finds it out: datapkg build USER/NAME --update"
        )
        return stated

    def _node(
        self, path: str, keywords: dict[str, Any], meta: dict[str, Any], out: Section, *, is_folder: bool = False
    ) -> str:
        node = self.conversion.add_node(path, {**keywords, **({"meta": meta} if meta else {})}, is_group=is_folder)
        if not node:
            out.leave_out("path", "no node can have this name")
        return node

    def _restore(self, path: str, md5: str, shown: str) -> None:
        """Copy data that is not in the workspace from where DVC keeps it, and note it as missing if it fails."""
        target = self.root / path
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            return
        if md5 and self.cache.restore(path, md5):
            self.conversion.restored.append(path)
        else:
            self.conversion.missing.append(shown)


def mappings(section: Section, word: str) -> Iterator[Section]:
    """Yield the mappings of a list; raise `InvalidInput` for anything else."""
    item = section.take(word)
    if item is not None and item.kind != "list":
        raise section.wrong(word, "expected a list of mappings")
    for number, each in enumerate(item.values if item else ()):
        yield Section(each, section.shown, f"{section.where(word)}[{number}]", section.conversion)


def description(section: Section) -> dict[str, Any]:
    """Return the metadata of a node: what DVC has as `desc`, `type`, `labels` and `meta`."""
    found: dict[str, Any] = {}
    if text := section.text("desc"):
        found["description"] = text
    for word in ("type", "labels"):
        if (value := section.value(word)) is not None:
            found[word] = value
    item = section.take("meta")
    if item is not None and item.kind == "mapping":
        found |= plain_value(item)
    return found
