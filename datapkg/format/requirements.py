"""The requirements of a project (`datapkg.yml`): which packages it needs, as a value.

`packages` is a list of references; `groups` has further lists by name, such as `dev`, for those who ask for them.
"""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, Any

from datapkg.errors import InvalidLock, InvalidName
from datapkg.format.checkout import mistakes, not_yaml, parse_checkout
from datapkg.format.frozen import dataclass
from datapkg.format.lockfile import DEFAULT_GROUP, MAX_BYTES, REQUIREMENTS, has_conflict
from datapkg.format.names import SAFE_PREFIX, Ref
from datapkg.format.suggestions import advice, close_names, did_you_mean
from datapkg.format.texts import quoted, visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

Node = Any
"""A node of YAML, with `id`, `value` and marks; the library's types know only the last."""

_QUILT = re.compile(r"(?P<ref>[^:@]+(?::[^:@]+/[^:@]+)?):(?P<kind>[htv]|hash|tag|version):(?P<value>[^:]+)\Z")
_EXAMPLE = "user/name@1.0"
_GROUP = re.compile(r"[a-z][a-z0-9]*([._-][a-z0-9]+)*\Z")
_MAX_GROUP = 64
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
        what = f"group {quoted(text)} is not allowed: it is {rule}, at most {_MAX_GROUP} characters"
        raise InvalidName(what, hint=f"--group {_allowed_group(text)}")
    return text


def _allowed_group(text: str) -> str:
    """Return the allowed name that is most like a group's."""
    near = re.sub(r"[^a-z0-9]+", "-", text.lower()).lstrip("-0123456789")[:_MAX_GROUP].strip("-")
    return near if _GROUP.match(near) else DEFAULT_GROUP


def chosen_groups(known: Collection[str], wanted: Collection[str], unwanted: Collection[str]) -> set[str]:
    """Return the groups to install: `dev`, if there is one, and the wanted ones; raise `InvalidLock` for unknown ones.

    A group that is both wanted and unwanted is not installed, as in uv.
    """
    for name in [*wanted, *unwanted]:
        if name not in known:
            group = name if _GROUP.match(name) else _allowed_group(name)
            problem = f"there is no group {quoted(name)}{advice(name, known)}"
            raise InvalidLock(problem, hint=f"datapkg add --group {group} user/name")
    return {*wanted, *({DEFAULT_GROUP} & set(known))} - set(unwanted)


def compose(data: bytes, place: str = REQUIREMENTS) -> Node | None:
    """Return the YAML of `datapkg.yml` as nodes, which have their lines; raise `InvalidLock` for other text."""
    import yaml

    try:
        if len(data) > MAX_BYTES:
            what = f"{place} is over {MAX_BYTES:,} bytes long"
            raise InvalidLock(what, hint=f"rm {quote(place)} && datapkg init")
        if has_conflict(data):
            what = f"{place} has conflict markers of a merge; keep the lines that you want, without the markers"
            raise InvalidLock(what, hint="then type: datapkg lock")
        node: Node | None = yaml.compose(data, Loader=yaml.CBaseLoader)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise not_yaml(error, place) from error
    return node


def members(node: Node | None) -> list[tuple[str, Node]]:
    """Return the keys of a mapping and their nodes."""
    return [(str(key.value), each) for key, each in node.value] if node is not None and node.id == "mapping" else []


def parse_requirements(data: bytes, place: str = REQUIREMENTS, *, may_disagree: bool = False) -> Requirements:
    """Parse `datapkg.yml`; raise `InvalidLock` that lists every mistake.

    With `may_disagree`, requirements of a package that can never have one state are not a mistake.
    """
    keys = members(compose(data, place))
    names = [key for key, _ in keys]
    if "packages" not in names and "groups" not in names:
        near = close_names("packages", names)[:1]
        found = f", but {quoted(near[0])}" if near else ""
        hint = f"write packages: instead of {near[0]}:" if near else f"begin it with a line: packages: [{_EXAMPLE}]"
        raise InvalidLock(f"{place} has no 'packages'{found}", hint=hint)
    parser = _Parser(place)
    for key in names:
        if key not in _KEYS:
            parser.note_unknown(key)
    parser.note_repeated(keys, "")
    entries = [each for key, node in keys if key == "packages" for each in parser.entries(node, "packages", "")]
    groups = [each for key, node in keys if key == "groups" for each in parser.groups(node)]
    for name, node in groups:
        entries += parser.entries(node, f"groups.{name}", name)
    if not may_disagree:
        parser.compare(entries)
    if "checkout" in names:
        parser.checkout(data)
    if parser.problems:
        raise mistakes(place, parser.problems, parser.hints[0])
    return Requirements(tuple(entries), tuple(name for name, _ in groups), tuple(parser.warnings))


class _Parser:
    """Collects the mistakes of one file, with what mends each, and warnings."""

    def __init__(self, place: str) -> None:
        self._place = place
        self.problems: list[tuple[str, str]] = []
        self.hints: list[str] = []
        self.warnings: list[str] = []

    def _note(self, where: str, what: str, hint: str) -> None:
        self.problems.append((f"{self._place}{where}", what))
        self.hints.append(hint)

    def note_unknown(self, key: str) -> None:
        known = " and ".join([", ".join(map(repr, _KEYS[:-1])), repr(_KEYS[-1])])
        near = close_names(key, _KEYS, 1)
        hint = f"write {near[0]}: instead of {visible(key)}:" if near else f"delete what is below {visible(key)}:"
        self._note(f": {key}", f"unknown key{did_you_mean(near)}; only {known} are known", hint)

    def note_repeated(self, keys: list[tuple[str, Node]], where: str) -> None:
        # YAML takes the last one silently.
        for key in dict.fromkeys(key for key, _ in keys):
            lines = [node.start_mark.line + 1 for each, node in keys if each == key]
            if len(lines) > 1:
                hint = f"move what line {lines[1]} has to line {lines[0]}, and delete line {lines[1]}"
                self._note(f": {where}{key}", "it is there twice", hint)

    def checkout(self, data: bytes) -> None:
        """Note the mistakes in `checkout`."""
        try:
            parse_checkout(data, self._place)
        except InvalidLock as error:
            self.problems += error.problems
            self.hints.append(error.hint)

    def groups(self, node: Node) -> Iterator[tuple[str, Node]]:
        """Yield the names of groups with the nodes of their lists."""
        found = members(node)
        if node.id != "mapping" and node.value:
            hint = f"write groups: {{dev: [{_EXAMPLE}]}}"
            self._note(": groups", "expected lists by name, such as dev: [uciml/iris@1.2.0]", hint)
        self.note_repeated(found, "groups.")
        for name, each in found:
            try:
                yield check_group(name), each
            except InvalidName as error:
                hint = f"write {_allowed_group(name)}: instead of {quoted(name)} in line {each.start_mark.line + 1}"
                self._note(": groups", error.message, hint)

    def entries(self, node: Node, where: str, group: str) -> Iterator[Requirement]:
        """Yield the requirements of a list."""
        if node.id != "sequence":
            if node.value:
                got = quoted(node.value) if node.id == "scalar" else "a mapping"
                item = visible(node.value) if node.id == "scalar" else _EXAMPLE
                what = f"expected a list such as [uciml/iris@1.2.0], got {got}"
                self._note(f": {where}", what, f"write {where.rpartition('.')[2]}: [{item}]")
            return
        for number, item in enumerate(node.value):
            place, line = f": {where}[{number}]", item.start_mark.line + 1
            try:
                if item.id != "scalar":
                    raise InvalidName("it is a reference such as uciml/iris@1.2.0")
                ref = parse_requirement(item.value)
            except InvalidName as error:
                self._note(place, error.message, _right_reference(item, line))
                continue
            if ref.state and ref.state.kind == "hash" and len(ref.state.value) < SAFE_PREFIX:
                what = f"a hash of under {SAFE_PREFIX} digits can be forged; write the whole one"
                self.warnings.append(f"{self._place}{place}: {item.value}: {what}")
            yield Requirement(ref, group, item.start_mark.line + 1)

    def compare(self, entries: list[Requirement]) -> None:
        """Note requirements that can never have one state: a package has one in a project."""
        first: dict[str, Requirement] = {}
        for each in entries:
            other = first.setdefault(each.ref.package, each)
            if not _may_agree(each.ref, other.ref):
                self._note(f":{each.line}", disagreement(each, other), _agreement(each, other))


def disagreement(one: Requirement, other: Requirement) -> str:
    """Return why two requirements of a package do not go together."""
    return (
        f"{one.ref.package} is asked for in two different states: {one} here and {other} in line {other.line}; "
        "a project has one state of a package"
    )


def _agreement(one: Requirement, other: Requirement) -> str:
    """Return the command that leaves one of two requirements that do not go together."""
    if one.group == other.group:
        return f"datapkg add {quote(str(one.ref))}{f' --group {one.group}' if one.group else ''}"
    return f"datapkg remove {one.ref.package} --group {one.group or other.group}"


def _right_reference(item: Node, line: int) -> str:
    """Return what to type where a reference is wrong."""
    if item.id == "scalar" and "://" in item.value and "@" not in item.value:
        return f"write url: {quote(item.value)} in a build.yml, then: datapkg build --update USER/NAME build.yml"
    return f"write a reference in line {line}, such as {_EXAMPLE}"


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
    # PEP 440: 1.0 and 1.0.0 are equal.
    return len({re.sub(r"(\.0)+\Z", "", value) for value in values}) == 1
