"""The `checkout` of a `datapkg.yml`: which folders of a project have the files of which packages or groups."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from datapkg.errors import InvalidLock, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.lockfile import MAX_BYTES, REQUIREMENTS
from datapkg.format.names import Ref
from datapkg.format.texts import quoted

KEY = "checkout"
LINKS = ("auto", "reflink", "hardlink", "symlink", "copy")
_EXAMPLE = "data/raw: user/name/raw"
_KEYS = {"ref", "link"}


@dataclass(frozen=True)
class CheckoutFolder:
    """A folder, relative to the project, the package or group that it has, and how its files get their bytes."""

    folder: str
    ref: Ref
    link: str = "auto"


def parse_checkout(data: bytes, place: str = REQUIREMENTS) -> list[CheckoutFolder]:
    """Return the checkout folders of a valid `datapkg.yml`, in order; raise `InvalidLock` that lists every mistake."""
    import yaml

    if len(data) > MAX_BYTES:
        raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long")
    try:
        value = yaml.load(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidLock(f"{place} is not YAML: {' '.join(str(error).split())[:300]}") from error
    items = (value.get(KEY) if isinstance(value, dict) else None) or {}
    if not isinstance(items, dict):
        raise InvalidLock(f"{place}: {KEY}: expected folders and packages such as {_EXAMPLE}, got {quoted(items)}")
    found: list[CheckoutFolder] = []
    problems: list[tuple[str, str]] = []
    for folder, item in items.items():
        try:
            found.append(_folder(str(folder), item, found))
        except InvalidName as error:
            problems.append((f"{place}: {KEY}.{folder}", str(error)))
    if problems:
        lines = "\n".join(f"  {where}: {what}" for where, what in problems)
        raise InvalidLock(f"{place} has mistakes in {KEY}:\n{lines}", problems=problems)
    return found


def _folder(folder: str, item: Any, others: list[CheckoutFolder]) -> CheckoutFolder:
    """Return one of them; raise `InvalidName`.

    Names that begin with a dot are refused, because a repository must not write into `.git` through a package.
    """
    path = PurePosixPath(folder)
    if path.is_absolute() or not path.parts or any(part.startswith(".") for part in path.parts) or "\0" in folder:
        raise InvalidName("it is a folder below this file, without names that begin with a dot")
    for each in others:
        other = PurePosixPath(each.folder)
        if path == other or path in other.parents or other in path.parents:
            raise InvalidName(f"it and {each.folder} are one inside the other")
    value = item if isinstance(item, dict) else {"ref": item}
    link = value.get("link", "auto")
    if not isinstance(value.get("ref"), str) or not value.keys() <= _KEYS or link not in LINKS:
        raise InvalidName(f"it has a reference such as user/name/raw, or ref and link ({', '.join(LINKS)})")
    ref = Ref.parse(value["ref"])
    if ref.state is not None or ref.registry is not None:
        raise InvalidName(f"the lock decides the state, so write {quoted(ref.package)} without one, or a group of it")
    return CheckoutFolder(str(path), ref, link)
