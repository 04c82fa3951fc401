"""The requirements of a project (`datapkg.yml`): which packages it wants, as a value.

`packages` is a list of references; `groups` has further lists by name, such as `dev`, for those who ask for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from datapkg.errors import InvalidLock, InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.lockfile import DEFAULT_GROUP, MAX_BYTES, REQUIREMENTS, has_conflict
from datapkg.format.names import SAFE_PREFIX, Ref
from datapkg.format.suggestions import advice, close_names
from datapkg.format.texts import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Node = Any
"""A node of YAML, with `id`, `value` and marks; the library's types know only the last."""

_QUILT = re.compile(r"(?P<ref>[^:@]+(?::[^:@]+/[^:@]+)?):(?P<kind>[htv]|hash|tag|version):(?P<value>[^:]+)\Z")
_GROUP = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*\Z")
_MAX_GROUP = 64
# What is in `checkout` is parsed by `datapkg.format.checkout`.
_KEYS = ("packages", "groups", "checkout")


@dataclass(frozen=True)
class Requirement:
    """A line of `datapkg.yml`: the ref, its group ("" in `packages`), and its line number, counted from 1."""

    ref: Ref
    group: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Return what its pin is known by: the ref as text, and the group."""
        return str(self.ref), self.group

    def __str__(self) -> str:
        return f"{self.ref}{f' (group {self.group})' if self.group else ''}"


@dataclass(frozen=True)
class Requirements:
    """The requirements of a `datapkg.yml`, in order, the names of its groups, and warnings."""

    entries: tuple[Requirement, ...]
    groups: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def of_groups(self, groups: Collection[str]) -> tuple[Ref, ...]:
        """Return the refs of `packages` and of these groups, each once."""
        return tuple(dict.fromkeys(each.ref for each in self.entries if not each.group or each.group in groups))


def parse_requirement(text: str) -> Ref:
    """Return the ref of a requirement, which may also have Quilt's form (`u/p:h:…`, `:t:`, `:v:`)."""
    if match := _QUILT.match(text.strip()):
        state = match["value"]
        text = f"{match['ref']}@{'sha256:' if match['kind'][0] == 'h' else ''}{state}"
    return Ref.parse(text.strip())


def check_group(text: str) -> str:
    """Return the name of a group itself; raise `InvalidName` with the rule if it is not allowed."""
    if not _GROUP.match(text) or len(text) > _MAX_GROUP:
        rule = "lower-case letters and digits, with single '-', '_' or '.' between them"
        raise InvalidName(f"group {quoted(text)} is not allowed: it is {rule}, at most {_MAX_GROUP} characters")
    return text


def chosen_groups(known: Collection[str], wanted: Collection[str], unwanted: Collection[str]) -> set[str]:
    """Return the groups to install: `dev`, if there is one, and the wanted ones; raise `InvalidLock` for unknown ones.

    A group that is both wanted and unwanted is not installed, as in uv.
    """
    for name in [*wanted, *unwanted]:
        if name not in known:
            hint = f"datapkg add --group {name} user/name" if _GROUP.match(name) else ""
            raise InvalidLock(f"there is no group {quoted(name)}{advice(name, known)}", hint=hint)
    return {*wanted, *({DEFAULT_GROUP} & set(known))} - set(unwanted)


def compose(data: bytes, place: str = REQUIREMENTS) -> Node | None:
    """Return the YAML of `datapkg.yml` as nodes, which have their lines; raise `InvalidLock` for other text."""
    import yaml

    try:
        if len(data) > MAX_BYTES:
            raise InvalidLock(f"{place} is over {MAX_BYTES:,} bytes long")
        if has_conflict(data):
            what = f"{place} has conflict markers of a merge; keep the lines that you want, without the markers"
            raise InvalidLock(what, hint="then type: datapkg lock")
        node: Node | None = yaml.compose(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidLock(f"{place} is not YAML: {' '.join(str(error).split())[:300]}") from error
    return node


def members(node: Node | None) -> list[tuple[str, Node]]:
    """Return the keys of a mapping and their nodes."""
    return [(str(key.value), each) for key, each in node.value] if node is not None and node.id == "mapping" else []


def parse_requirements(data: bytes, place: str = REQUIREMENTS) -> Requirements:
    """Parse `datapkg.yml`; raise `InvalidLock` that lists every mistake."""
    keys = members(compose(data, place))
    names = [key for key, _ in keys]
    if "packages" not in names and "groups" not in names:
        near = close_names("packages", names)[:1]
        found = f", but {quoted(near[0])}" if near else ""
        hint = "begin it with a line: packages: [user/name@1.0]"
        raise InvalidLock(f"{place} has no 'packages'{found}", hint=hint)
    parser = _Parser(place)
    for key in names:
        if key not in _KEYS:
            known = " and ".join([", ".join(map(repr, _KEYS[:-1])), repr(_KEYS[-1])])
            parser.problems.append((f"{place}: {key}", f"unknown key; only {known} are known"))
    parser.note_repeated(keys, "")
    entries = [each for key, node in keys if key == "packages" for each in parser.entries(node, "packages", "")]
    groups = [each for key, node in keys if key == "groups" for each in parser.groups(node)]
    for name, node in groups:
        entries += parser.entries(node, f"groups.{name}", name)
    parser.compare(entries)
    if problems := parser.problems:
        lines = "\n".join(f"  {where}: {what}" for where, what in problems)
        what = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        raise InvalidLock(f"{place} has {what}:\n{lines}", problems=problems)
    return Requirements(tuple(entries), tuple(name for name, _ in groups), tuple(parser.warnings))


class _Parser:
    """Collects the mistakes and warnings of one file."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def note_repeated(self, keys: list[tuple[str, Node]], where: str) -> None:
        for key in dict.fromkeys(key for key, _ in keys):
            if [each for each, _ in keys].count(key) > 1:
                self.problems.append((f"{self._place}: {where}{key}", "it is there twice"))

    def groups(self, node: Node) -> Iterator[tuple[str, Node]]:
        """Yield the names of groups with the nodes of their lists."""
        found = members(node)
        if node.id != "mapping" and node.value:
            self.problems.append((f"{self._place}: groups", "expected lists by name, such as dev: [uciml/iris@1.2.0]"))
        self.note_repeated(found, "groups.")
        for name, each in found:
            try:
                yield check_group(name), each
            except InvalidName as error:
                self.problems.append((f"{self._place}: groups", error.message))

    def entries(self, node: Node, where: str, group: str) -> Iterator[Requirement]:
        """Yield the requirements of a list."""
        if node.id != "sequence":
            if node.value:
                got = quoted(node.value) if node.id == "scalar" else "a mapping"
                what = f"expected a list such as [uciml/iris@1.2.0], got {got}"
                self.problems.append((f"{self._place}: {where}", what))
            return
        for number, item in enumerate(node.value):
            place = f"{self._place}: {where}[{number}]"
            try:
                if item.id != "scalar":
                    raise InvalidName("it is a reference such as uciml/iris@1.2.0")
                ref = parse_requirement(item.value)
            except InvalidName as error:
                self.problems.append((place, error.message))
                continue
            if ref.state and ref.state.kind == "hash" and len(ref.state.value) < SAFE_PREFIX:
                what = f"a hash of under {SAFE_PREFIX} digits can be forged; write the whole one"
                self.warnings.append(f"{place}: {item.value}: {what}")
            yield Requirement(ref, group, item.start_mark.line + 1)

    def compare(self, entries: list[Requirement]) -> None:
        """Note requirements that can never have one state: a package has one in a project."""
        first: dict[str, Requirement] = {}
        for each in entries:
            other = first.setdefault(each.ref.package, each)
            if not _may_agree(each.ref, other.ref):
                self.problems.append((f"{self._place}:{each.line}", disagreement(each, other)))


def disagreement(one: Requirement, other: Requirement) -> str:
    """Return why two requirements of a package do not go together."""
    return (
        f"{one.ref.package} is asked for in two different states: {one} here and {other} in line {other.line}; "
        "a project has one state of a package"
    )


def _may_agree(one: Ref, other: Ref) -> bool:
    if one.registry != other.registry:
        return False
    states = [each.state for each in (one, other) if each.state is not None]
    kinds = {state.kind for state in states}
    if len(states) < 2 or len(kinds) > 1 or kinds & {"tag", "range"}:
        return True  # what they mean is known when they are resolved
    values = [state.value for state in states]
    if kinds == {"hash"}:
        return values[0].startswith(values[1]) or values[1].startswith(values[0])
    return len({re.sub(r"(\.0)+\Z", "", value) for value in values}) == 1
