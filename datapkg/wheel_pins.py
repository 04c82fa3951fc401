"""The pins of this environment: the states that thin wheels beside the libraries of this Python pin packages to.

They are found by their place on `sys.path`, since a scan of the metadata of all distributions takes as long as an
import.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from datapkg.errors import UPGRADE_HINT, InvalidLock, InvalidName, NewerFormat
from datapkg.format.lockfile import Pin
from datapkg.format.names import check_package, check_user, is_hash

FORMAT = 1
SUFFIX = ".pin.json"
MAX_BYTES = 64 << 10
FETCH_LINE = "datapkg fetch --installed"
_FOLDER = os.path.join("datapkg", "data")
_TEXTS = ("package", "registry", "hash")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Pins of modules that were imported from elsewhere than a folder, such as a zip file, by package.
_imported: dict[str, tuple[Path, Pin]] = {}


def wheel_pin(package: str) -> tuple[Path, Pin] | None:
    """Return the file of the first pin of a package (`user/name`) on the path, and the pin; None if there is none.

    Raise `InvalidLock` for a file that is not a pin of this package, `NewerFormat` for one of a newer datapkg.
    """
    name = os.path.join(_FOLDER, *package.split("/")) + SUFFIX
    for entry in sys.path:
        place = os.path.join(entry or os.getcwd(), name)
        try:
            with open(place, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError:
            continue
        return Path(place), _parsed(data, place, package)
    return _noted(package)


def _noted(package: str) -> tuple[Path, Pin] | None:
    found = _imported.get(package)
    is_on_path = found and any(each and str(found[0]).startswith(os.path.join(each, "")) for each in sys.path)
    return found if is_on_path else None


def pinned_packages() -> list[str]:
    """Return the packages that have a pin, in order."""
    return sorted({*_packages(), *(package for package in _imported if _noted(package))})


def note_pin(package: str, place: str, data: bytes) -> None:
    """Remember the pin beside a module that was imported, for where `wheel_pin` does not find it."""
    _imported[package] = Path(place), _parsed(data, place, package)


def is_wheel_pin(why: str | Path) -> bool:
    """Return whether what decided a state, a path in most cases, is the pin of a wheel."""
    return str(why).endswith(SUFFIX)


def _packages() -> Iterator[str]:
    for entry in sys.path:
        folder = os.path.join(entry or os.getcwd(), _FOLDER)
        for user in _names(folder):
            for name in _names(os.path.join(folder, user)):
                if name.endswith(SUFFIX) and _is_package(package := f"{user}/{name.removesuffix(SUFFIX)}"):
                    yield package


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_package(package: str) -> bool:
    user, _, name = package.partition("/")
    try:
        return bool(check_user(user) and check_package(name))
    except InvalidName:
        return False


def _parsed(data: bytes, place: str, package: str) -> Pin:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _bad_pin(place, package, f"it is not JSON ({error})") from error
    if not isinstance(value, dict) or type(value.get("format")) is not int or value["format"] < 1:
        raise _bad_pin(place, package, "it has no format version ('format')")
    if value["format"] > FORMAT:
        raise NewerFormat(f"{place}: format {value['format']} is newer than what this datapkg reads", hint=UPGRADE_HINT)
    if any(type(value.get(key)) is not str for key in _TEXTS) or not is_hash(value["hash"]):
        raise _bad_pin(place, package, "its package, registry or hash is missing or not valid")
    if value["package"] != package:
        raise _bad_pin(place, package, f"it is of {value['package']!r:.100}")
    return Pin(package, package, value["registry"], value["hash"], 0)


def _bad_pin(place: str, package: str, what: str) -> InvalidLock:
    from datapkg.format.thin_wheel import distribution_name

    line = f"pip install --force-reinstall --no-deps {distribution_name(package)}"
    return InvalidLock(f"{place} cannot be read: {what}", hint=f"install it again as it was, such as {line}")
