"""The `checkout` of a `datapkg.yml`: which folders or files of a project have which packages or nodes."""

from __future__ import annotations

from pathlib import PurePosixPath
from shlex import quote
from typing import Any

from datapkg.errors import InvalidLock, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.lockfile import MAX_BYTES, REQUIREMENTS
from datapkg.format.names import Ref
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted, visible

KEY = "checkout"
LINKS = ("auto", "reflink", "hardlink", "symlink", "copy")
_EXAMPLE = "data/raw: user/name/raw"
_KEYS = {"ref", "link"}


@dataclass(frozen=True)
class CheckoutFolder:
    """A folder, relative to the project, the package or node that it has, and how its files get their bytes.

    One table or file is a file in its place.
    """

    folder: str
    ref: Ref
    link: str = "auto"


def parse_checkout(data: bytes, place: str = REQUIREMENTS) -> list[CheckoutFolder]:
    """Return the checkout folders of a valid `datapkg.yml`, in order; raise `InvalidLock` that lists every mistake."""
    import yaml

    if len(data) > MAX_BYTES:
        raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long", hint=f"rm {quote(place)} && datapkg init")
    try:
        # This loader makes no objects, and leaves all values text: 1.10 stays 1.10.
        value = yaml.load(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise not_yaml(error, place) from error
    items = (value.get(KEY) if isinstance(value, dict) else None) or {}
    if not isinstance(items, dict):
        what = f"expected folders and packages such as {_EXAMPLE}, got {quoted(items)}"
        raise mistakes(place, [(f"{place}: {KEY}", what)], f"write {KEY}: {{{_EXAMPLE}}}")
    found: list[CheckoutFolder] = []
    problems: list[tuple[str, str]] = []
    hints: list[str] = []
    for folder, item in items.items():
        try:
            found.append(_folder(str(folder), item, found))
        except InvalidName as error:
            problems.append((f"{place}: {KEY}.{folder}", error.message))
            hints.append(error.hint or f"write {KEY}: {{{visible(folder)}: user/name}}")
    if problems:
        raise mistakes(place, problems, hints[0])
    return found


def mistakes(place: str, problems: list[tuple[str, str]], hint: str) -> InvalidLock:
    """Return the error that lists what is wrong in a `datapkg.yml`; the hint mends the first of it."""
    lines = "\n".join(f"  {where}: {what}" for where, what in problems)
    what = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return InvalidLock(f"{place} has {what}:\n{lines}", hint=hint, problems=problems)


def not_yaml(error: Exception, place: str) -> InvalidLock:
    """Return the error for a `datapkg.yml` that YAML cannot be read from."""
    mark = getattr(error, "problem_mark", None)
    hint = f"mend line {mark.line + 1}, then type: datapkg lock" if mark else "write it as UTF-8, then: datapkg lock"
    return InvalidLock(f"{place} is not YAML: {' '.join(str(error).split())[:300]}", hint=hint)


def _folder(folder: str, item: Any, others: list[CheckoutFolder]) -> CheckoutFolder:
    """Return one of them; raise `InvalidName`.

    Names that begin with a dot are refused, because a repository must not write into `.git` through a package.
    """
    path = PurePosixPath(folder)
    if path.is_absolute() or not path.parts or any(part.startswith(".") for part in path.parts) or "\0" in folder:
        what = "it is a folder below this file, without names that begin with a dot"
        raise InvalidName(what, hint=f"write {KEY}: {{{_EXAMPLE}}}")
    for each in others:
        other = PurePosixPath(each.folder)
        if path == other or path in other.parents or other in path.parents:
            hint = f"write another folder, such as {other.name}-2: {_ref_text(item) or 'user/name'}"
            raise InvalidName(f"it and {each.folder} are one inside the other", hint=hint)
    value = item if isinstance(item, dict) else {"ref": item}
    link = value.get("link", "auto")
    if not isinstance(value.get("ref"), str) or not value.keys() <= _KEYS or link not in LINKS:
        near = close_names(str(link), LINKS, 1) if "link" in value else []
        hint = f"write {visible(folder)}: {{ref: {_ref_text(item) or 'user/name'}, link: {(near or LINKS)[0]}}}"
        raise InvalidName(f"it has a reference such as user/name/raw, or ref and link ({', '.join(LINKS)})", hint=hint)
    ref = Ref.parse(value["ref"])
    if ref.state is not None or ref.registry is not None:
        what = f"the lock decides the state, so write {quoted(ref.package)} without one, or a node of it"
        raise InvalidName(what, hint=f"write {visible(folder)}: {Ref(ref.user, ref.name, ref.path)}")
    return CheckoutFolder(str(path), ref, link)


def _ref_text(item: Any) -> str:
    """Return the reference of an entry that may be wrong, or ""."""
    found = item.get("ref") if isinstance(item, dict) else item
    return visible(found) if isinstance(found, str) else ""
