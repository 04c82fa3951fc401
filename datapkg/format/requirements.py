"""The requirements of a project (`datapkg.yml`): which packages it wants, as a value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from datapkg.errors import InvalidLock, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.lockfile import MAX_BYTES, REQUIREMENTS, has_conflict
from datapkg.format.names import SAFE_PREFIX, Ref
from datapkg.format.suggestions import close_names
from datapkg.format.texts import quoted

_QUILT = re.compile(r"(?P<ref>[^:@]+(?::[^:@]+/[^:@]+)?):(?P<kind>[htv]|hash|tag|version):(?P<value>[^:]+)\Z")


@dataclass(frozen=True)
class Requirements:
    """The refs of a `datapkg.yml`, in order, and warnings."""

    refs: tuple[Ref, ...]
    warnings: tuple[str, ...] = ()


def parse_requirement(text: str) -> Ref:
    """Return the ref of a requirement, which may also have Quilt's form (`u/p:h:…`, `:t:`, `:v:`)."""
    if match := _QUILT.match(text.strip()):
        state = match["value"]
        text = f"{match['ref']}@{'sha256:' if match['kind'][0] == 'h' else ''}{state}"
    return Ref.parse(text.strip())


def parse_requirements(data: bytes, place: str = REQUIREMENTS) -> Requirements:
    """Parse `datapkg.yml`; raise `InvalidLock` that lists every mistake."""
    import yaml

    try:
        if len(data) > MAX_BYTES:
            raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long")
        if has_conflict(data):
            what = f"{place} has conflict markers of a merge; keep the lines that you want, without the markers"
            raise InvalidLock(what, hint="then type: datapkg lock")
        value = yaml.load(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidLock(f"{place} is not YAML: {' '.join(str(error).split())[:300]}") from error
    if not isinstance(value, dict) or "packages" not in value:
        near = close_names("packages", [str(each) for each in value] if isinstance(value, dict) else [])[:1]
        found = f", but {quoted(near[0])}" if near else ""
        hint = "begin it with a line: packages: [user/name@1.0]"
        raise InvalidLock(f"{place} has no 'packages'{found}", hint=hint)
    problems = [(f"{place}: {key}", "unknown key; only 'packages' is known") for key in value if key != "packages"]
    items = value["packages"] or []
    if not isinstance(items, list):
        problems.append((f"{place}: packages", f"expected a list such as [uciml/iris@1.2.0], got {quoted(items)}"))
        items = []
    refs, warnings = _refs(items, place, problems)
    if problems:
        lines = "\n".join(f"  {where}: {what}" for where, what in problems)
        what = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise InvalidLock(f"{place} has {what}:\n{lines}", problems=problems)
    return Requirements(tuple(refs), tuple(warnings))


def _refs(items: Iterable[Any], place: str, problems: list[tuple[str, str]]) -> tuple[list[Ref], list[str]]:
    refs: list[Ref] = []
    warnings: list[str] = []
    states: dict[str, Ref] = {}
    for number, item in enumerate(items):
        where = f"{place}: packages[{number}]"
        try:
            if not isinstance(item, str):
                raise InvalidName("it is a reference such as uciml/iris@1.2.0")
            ref = parse_requirement(item)
        except InvalidName as error:
            problems.append((where, str(error)))
            continue
        first = states.setdefault(ref.package, ref)
        if (first.state, first.registry) != (ref.state, ref.registry):
            problems.append((where, f"{ref.package} is asked for in two different states; one package has one"))
        if ref.state and ref.state.kind == "hash" and len(ref.state.value) < SAFE_PREFIX:
            warnings.append(f"{where}: {item}: a hash of under {SAFE_PREFIX} digits can be forged; write the whole one")
        refs.append(ref)
    return refs, warnings
