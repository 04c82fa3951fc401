"""The client as a wheel, made from the `datapkg` that this registry runs on, so that versions match.

The public package index has another project under this name, so a registry serves its client itself. The wheel is made
in memory, from the installed files or from a checkout: nothing has to be built before, and no file is left that an
upgrade would make stale. Equal files give equal bytes on every machine (`format/wheel_archive.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from datapkg import __version__, errors
from datapkg.format.wheel_archive import wheel_archive, wheel_metadata

NAME = "datapkg"
PATH = "/client/"
# Extras of the registry and of developers: the client does not have the modules that need them.
LEFT_OUT_EXTRAS = ("server", "test", "test-all")
SUFFIXES = (".py", ".pyi", ".typed")
_HEADERS = (
    *("Metadata-Version", "Name", "Version", "Summary", "Keywords", "License-Expression", "License-File"),
    *("Classifier", "Requires-Python", "Requires-Dist", "Provides-Extra"),
)
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True)
class ClientWheel:
    """A wheel of the client: its file name, its bytes and their sha256."""

    name: str
    data: bytes
    sha256: str

    def install_line(self, site: str) -> str:
        """Return the command that installs the client from the registry at `site`; pip verifies the hash."""
        return f"pip install '{self.requirement(site)}'"

    def requirement(self, site: str) -> str:
        """Return the requirement (PEP 508) that names the client of the registry at `site` and its hash."""
        return f"{NAME} @ {site}{PATH}{self.name}#sha256={self.sha256}"


@lru_cache(maxsize=1)
def client_wheel() -> ClientWheel | None:
    """Return the wheel of the client, or None where datapkg runs without metadata, not being installed in any way."""
    installed = _distribution()
    if installed is None:
        return None
    data = wheel_archive(dict(_members(installed)), _info_folder())
    return ClientWheel(f"{NAME}-{__version__}-py3-none-any.whl", data, hashlib.sha256(data).hexdigest())


def _distribution() -> metadata.Distribution | None:
    # A checkout may have more than one: that of the editable install has the licence.
    found = [each for each in metadata.distributions(name=NAME) if each.version == __version__]
    return next((each for each in found if _licence(each)), None)


def _licence(installed: metadata.Distribution) -> str:
    return installed.read_text("licenses/LICENSE") or ""


def _members(installed: metadata.Distribution) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of all members but RECORD, the metadata last, as PEP 427 recommends."""
    root = Path(errors.__file__).parent
    for path in sorted(_files_of_ours(root), key=lambda path: path.relative_to(root).as_posix()):
        yield f"{NAME}/{path.relative_to(root).as_posix()}", path.read_bytes()
    info = _info_folder()
    yield f"{info}/METADATA", _metadata(installed).encode()
    yield f"{info}/WHEEL", wheel_metadata(f"{NAME} {__version__}")
    yield f"{info}/entry_points.txt", _entry_points(installed).encode()
    yield f"{info}/top_level.txt", f"{NAME}\n".encode()
    yield f"{info}/licenses/LICENSE", _licence(installed).encode()


def _files_of_ours(folder: Path) -> Iterator[Path]:
    """Yield the modules, stubs and markers below a package.

    A folder that is not a package is left out, and all below `datapkg.data`: other distributions install files there.
    """
    for path in folder.iterdir():
        if path.is_dir():
            if (path / "__init__.py").is_file() and folder.name != "data":
                yield from _files_of_ours(path)
        elif path.suffix in SUFFIXES and not path.name.startswith("."):
            yield path


def _metadata(installed: metadata.Distribution) -> str:
    """Return the core metadata of the client: those of this installation without what only a registry needs."""
    lines = [
        f"{name}: {value}"
        for name in _HEADERS
        for value in installed.metadata.get_all(name) or []
        if not (name == "Provides-Extra" and value in LEFT_OUT_EXTRAS)
        if not (name == "Requires-Dist" and set(_EXTRA.findall(value)) & set(LEFT_OUT_EXTRAS))
    ]
    return "\n".join([*lines, ""])


def _entry_points(installed: metadata.Distribution) -> str:
    own = [each for each in installed.entry_points if each.module.partition(".")[0] == NAME]
    groups = sorted({each.group for each in own})
    sections = (
        f"[{group}]\n" + "".join(f"{each.name} = {each.value}\n" for each in sorted(own) if each.group == group)
        for group in groups
    )
    return "\n".join(sections)


def _info_folder() -> str:
    return f"{NAME}-{__version__}.dist-info"
