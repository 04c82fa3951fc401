"""Names and references: valid names of users, packages, nodes, tags and versions, and parsing of references."""

from __future__ import annotations

import keyword
import re
import unicodedata

from datapkg.errors import InvalidName
from datapkg.format.frozen import dataclass
from datapkg.format.suggestions import did_you_mean
from datapkg.format.texts import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, NoReturn

    StateKind = Literal["hash", "version", "tag", "range", "date"]

RESERVED = frozenset(
    """about access accounts admin api app assets auth blob blog client config core data datapkg datasets docs download
    dvc error errors events explore favicon feed git health healthz help home index info install invite legal lfs
    livez login logout media metrics new null oauth objects oidc openapi orgs packages ping pip policy privacy public
    push readyz redoc register registry robots root search security server session settings signin signup simple
    sitemap stage static status store support system tags terms token tokens upload versions wheels""".split()
)
MAX_USER, MAX_PACKAGE, MAX_TAG, MAX_VERSION, MAX_REF = 39, 64, 64, 64, 20_000
MAX_NODE_NAME_BYTES, MAX_DEPTH = 255, 64
"""Nodes are exported as files, and most file systems take names of up to 255 bytes."""
MIN_PREFIX, SAFE_PREFIX = 6, 16
"""Hexadecimal digits: for fewer than the second, another state with the same beginning can be made on purpose."""

_HASH = re.compile(r"[0-9a-f]{64}\Z")
_USER = re.compile(r"[a-z][a-z0-9]*\Z")
_PACKAGE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_TAG = re.compile(r"[a-z][a-z0-9._-]*\Z")
_PLAIN_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*\Z")
_RESERVED_VERSION = re.compile(r"0(\.0)*\.dev[0-9]+\Z")
_PREFIX = re.compile(r"[0-9a-f]{6,64}\Z")
_REGISTRY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_NODE_BAD = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029]")


def normal_form(text: str) -> str:
    """Return the text in Unicode's normal form NFC, in which names of nodes are stored.

    File systems and input methods may write `é` as two characters; both forms mean the same name.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def is_hash(text: object) -> bool:
    """Return whether this is a full hash."""
    return isinstance(text, str) and _HASH.match(text) is not None


def check_user(text: str) -> str:
    """Return the user name itself; raise `InvalidName` with the rule if it is not allowed."""
    return _identifier(text, "user name", _USER, MAX_USER, "a lower-case letter, then lower-case letters and digits")


def check_package(text: str) -> str:
    """Return the package name itself; raise `InvalidName` with the rule if it is not allowed."""
    rule = "a lower-case letter, then lower-case letters, digits and single underscores between them"
    return _identifier(text, "package name", _PACKAGE, MAX_PACKAGE, rule)


def _identifier(text: str, what: str, pattern: re.Pattern[str], limit: int, rule: str) -> str:
    if not isinstance(text, str) or not pattern.match(text) or len(text) > limit:
        meant = re.sub(r"[^a-z0-9]+", "_" if pattern is _PACKAGE else "", str(text).strip().lower()).strip("_")
        is_taken = keyword.iskeyword(meant) or (what == "user name" and meant in RESERVED)
        is_allowed = pattern.match(meant) is not None and len(meant) <= limit and not is_taken
        raise _not_allowed(what, text, f"{rule}, at most {limit} characters", meant if is_allowed else "")
    if keyword.iskeyword(text):
        raise InvalidName(f"{what} {text!r} is not allowed: it is a keyword of Python, and the name is imported")
    if what == "user name" and text in RESERVED:
        raise InvalidName(f"{what} {text!r} is reserved; choose another", reserved=True)
    return text


def _not_allowed(what: str, given: object, rule: str, meant: str) -> InvalidName:
    """Return the error for a name that is not allowed, with the one that was `meant`, if that is known."""
    if not isinstance(given, str):
        advice = f"; write it as text, {meant!r}" if meant and isinstance(given, (int, float)) else ""
        return InvalidName(f"{what} {given!s:.80} is not allowed: expected text, got {type(given).__name__}{advice}")
    detail: dict[str, Any] = {"meant": [given, meant]} if meant else {}
    message = f"{what} {quoted(given)} is not allowed: it is {rule}{did_you_mean([meant] if meant else [])}"
    return InvalidName(message, **detail)


def check_tag(text: str, version_line: str = "") -> str:
    """Return the tag itself; raise `InvalidName` with the rule if it is not allowed.

    `version_line` is the hint for a tag that looks like a version: the command that gives a version.
    """
    if not isinstance(text, str) or not _TAG.match(text) or len(text) > MAX_TAG:
        meant = re.sub(r"[^a-z0-9._-]+", "-", str(text).strip().lower()).strip("-")
        is_allowed = _TAG.match(meant) is not None and len(meant) <= MAX_TAG
        rule = "a lower-case letter, then lower-case letters, digits, '.', '_' and '-'"
        error = _not_allowed("tag", text, f"{rule}, at most {MAX_TAG} characters", meant if is_allowed else "")
        if isinstance(text, str) and _PLAIN_VERSION.match(text):
            error.explain("this is a version", version_line)
        raise error
    return text


def check_version(text: str) -> str:
    """Return the version in normal form (PEP 440: `1.0` for `01.0`); raise `InvalidName` if it is not a version."""
    if isinstance(text, str) and len(text) <= MAX_VERSION and _PLAIN_VERSION.match(text):
        return text  # most versions are plain, and `packaging` takes long to import
    from packaging.version import InvalidVersion, Version

    try:
        if not isinstance(text, str) or len(text) > MAX_VERSION or not text[:1].isdigit():
            raise InvalidVersion(text)
        version = Version(text)
    except (InvalidVersion, TypeError):
        meant = str(text).strip().lstrip("=vV ")
        is_allowed = len(meant) <= MAX_VERSION and _PLAIN_VERSION.match(meant) is not None
        rule = "a PEP 440 version that begins with a digit, such as 1.2.0"
        raise _not_allowed("version", text, rule, meant if is_allowed else "") from None
    if version.local is not None:
        raise InvalidName(f"version {quoted(text)} is not allowed: a version has no local part ('+…')")
    return str(version)


def check_new_version(text: str, tag_line: str = "") -> str:
    """Return a new version in normal form; raise `InvalidName` also for the reserved form `0.dev<N>`.

    That form numbers states without a version in an index for pip. Existing ones are still read. `tag_line` is the hint
    for a version that looks like a tag: the command that sets a tag.
    """
    try:
        version = check_version(text)
    except InvalidName as error:
        if isinstance(text, str) and _TAG.match(text) and len(text) <= MAX_TAG and "meant" not in error.detail:
            error.explain("this is a tag", tag_line)
        raise
    if _RESERVED_VERSION.match(version):
        raise InvalidName(
            f"version {quoted(text)} is not allowed: 0.dev1, 0.dev2 … are reserved for states without one"
        )
    return version


def check_node_name(text: str) -> str:
    """Return one part of a node's path itself; raise `InvalidName` with the problem if it is not allowed."""
    problem = _node_name_problem(text)
    if problem:
        raise InvalidName(f"node name {quoted(text)} is not allowed: {problem}")
    return text


def _node_name_problem(text: object) -> str:
    if not isinstance(text, str):
        return "it is not text"
    if text in ("", ".", ".."):
        return "it may not be empty, '.' or '..'"
    if text.isascii():
        if len(text) > MAX_NODE_NAME_BYTES:
            return f"it is longer than {MAX_NODE_NAME_BYTES} bytes"
    else:
        try:
            if len(text.encode()) > MAX_NODE_NAME_BYTES:
                return f"it is longer than {MAX_NODE_NAME_BYTES} bytes"
        except UnicodeEncodeError:
            return "it is not valid Unicode"
        if not unicodedata.is_normalized("NFC", text):
            return "it is not in Unicode's normal form NFC"
    if _NODE_BAD.search(text):
        return "it may not contain '/', '\\' or control characters"
    return ""


def check_node_path(path: str) -> tuple[str, ...]:
    """Return the parts of a node's path (`a/b` → `("a", "b")`); raise `InvalidName` for a part or depth not allowed."""
    parts = tuple(path.split("/"))
    if len(parts) > MAX_DEPTH:
        raise InvalidName(f"node path {quoted(path)} is not allowed: it is deeper than {MAX_DEPTH} names")
    for part in parts:
        check_node_name(part)
    return parts


@dataclass(frozen=True)
class State:
    """The state of a package in a reference: a hash or its beginning, a version, a tag, a range of versions, or a date.

    A date means the latest state at that moment (`format/dates.py`).
    """

    kind: StateKind
    value: str

    def __str__(self) -> str:
        if self.kind == "date":
            return f"{{{self.value}}}"
        return f"sha256:{self.value}" if self.kind == "hash" else self.value

    @property
    def is_full_hash(self) -> bool:
        """Return whether this is a hash with all digits."""
        return self.kind == "hash" and len(self.value) == 64

    @classmethod
    def parse(cls, text: str) -> State:
        """Parse the text after the `@`; raise `InvalidName` that lists the allowed forms."""
        if text.startswith("sha256:"):
            digits = text.removeprefix("sha256:").lower()
            if not _PREFIX.match(digits):
                raise InvalidName(
                    f"hash {quoted(text)} is not allowed: it is sha256: and at least {MIN_PREFIX}, "
                    "at most 64 hex digits (0-9, a-f)"
                )
            return cls("hash", digits)
        if text[:1].isdigit():
            return cls("version", check_version(text))
        if text[:1] in ("<", ">", "=", "!", "~"):
            return cls("range", _check_range(text))
        if text[:1].isalpha():
            return cls("tag", check_tag(text))
        if text.startswith("{") and text.endswith("}"):
            from datapkg.format.dates import normal_date

            return cls("date", normal_date(text[1:-1]))
        raise InvalidName(
            f"{quoted(text)} is not a state: after '@' comes a version (1.2.0), a tag (stable), a hash "
            "(sha256:1f3a9c…), a date ({2026-05-01}) or, in datapkg.yml, a range (>=1.2,<2)"
        )


def _check_range(text: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return str(SpecifierSet(text)) if len(text) <= 200 else _no_range(text)
    except InvalidSpecifier:
        return _no_range(text)


def _no_range(text: str) -> str:
    raise InvalidName(f"range {quoted(text)} is not allowed: it is a PEP 440 specifier such as >=1.2,<2")


@dataclass(frozen=True)
class Ref:
    """A package, optionally a node in it (`path`), a state and a registry (a configured name, or an origin)."""

    user: str
    name: str
    path: str = ""
    state: State | None = None
    registry: str | None = None

    @property
    def package(self) -> str:
        """Return `user/name`."""
        return f"{self.user}/{self.name}"

    def at(self, state: State | None) -> Ref:
        """Return the same package and node in this state."""
        return Ref(self.user, self.name, self.path, state, self.registry)

    def __str__(self) -> str:
        prefix = "" if self.registry is None else self.registry + ("/" if "://" in self.registry else ":")
        path = self.path.replace("%", "%25").replace("@", "%40")
        return f"{prefix}{self.package}{'/' + path if path else ''}{f'@{self.state}' if self.state else ''}"

    @classmethod
    def parse(cls, text: str) -> Ref:
        """Parse `[registry:]user/name[/node…][@state]` or the URL of a package's page.

        `user/name@state/node`, fsspec's form, means the same. Raise `InvalidName` with the rule if it is not allowed.
        """
        if not isinstance(text, str):
            raise InvalidName(f"a reference is text such as user/name@1.0, got {type(text).__name__}")
        if len(text) > MAX_REF:
            raise InvalidName(f"a reference has at most {MAX_REF:,} characters, got {len(text):,}")
        if text.startswith(_PATH_BEGINS):
            raise InvalidName(
                f"{quoted(text)} is a path; expected a package, user/name, such as uciml/iris", not_a_package=text
            )
        if text.startswith(("https://", "http://")):
            return _parse_address(text)
        registry, body = None, text
        head, colon, tail = text.partition(":")
        if colon and "/" not in head and "@" not in head:
            if not _REGISTRY.match(head):
                raise InvalidName(
                    f"registry {quoted(head)} in {quoted(text)} is not allowed: it is a name of your settings"
                )
            registry, body = head, tail
        return _parse_body(body, text, registry, lambda part: part.replace("%40", "@").replace("%25", "%"))


def _parse_address(text: str) -> Ref:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidName(f"{quoted(text)} is not a valid address") from None
    if not host or parts.username is not None or parts.query or parts.fragment:
        raise InvalidName(f"address {quoted(text)} is not allowed: it is https://host/user/name[@state], no more")
    shown_host = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{shown_host}{f':{port}' if port else ''}"
    return _parse_body(parts.path.lstrip("/"), text, origin, unquote)


def _parse_body(body: str, text: str, registry: str | None, decode: object) -> Ref:
    names, at, state = body.rpartition("@")
    if not at:
        names, state = body, ""
    elif "/" in state and _is_package(names):  # fsspec's form: neither states nor package names contain a slash
        state, _, node = state.partition("/")
        names = f"{names}/{node}"
    elif "/" in state or "@" in names:
        raise InvalidName(f"{quoted(text)} has an '@' in a node's name: write it as %40")
    user, slash, rest = names.partition("/")
    if not slash:
        raise InvalidName(f"{quoted(text)} is not a package: expected user/name, such as uciml/iris", name=user)
    package, slash, path = rest.partition("/")
    check_user(user)
    if pinned := _PINNED.match(rest):
        _refuse_pinned(text, f"{user}/{pinned['name']}", pinned["operator"], pinned["version"])
    check_package(package)
    if slash:
        assert callable(decode)
        path = "/".join(decode(part) for part in path.removesuffix("/").split("/")) if path.strip("/") else ""
        path = normal_form(path)
        if path:
            check_node_path(path)
    if at and not state:
        raise InvalidName(f"{quoted(text)} ends with '@': after it comes a version, a tag or sha256:…")
    return Ref(user, package, path, State.parse(state) if state else None, registry)


# Beginnings of file paths, which no reference has.
_PATH_BEGINS = ("./", "../", "/", "~")
# A package with a version in the form of pip and other tools.
_PINNED = re.compile(r"(?P<name>[A-Za-z0-9_]+) ?(?P<operator>===?|=|:|~=|!=|[<>]=?) ?(?P<version>v?[0-9][^/:]*)\Z")


def _refuse_pinned(text: str, package: str, operator: str, version: str) -> NoReturn:
    """Raise `InvalidName` for `user/name==1.0` with the reference that was meant."""
    state = version.removeprefix("v") if operator in ("==", "===", "=", ":") else operator + version
    try:
        meant = str(Ref.parse(f"{package}@{state}"))
    except InvalidName:
        meant = ""
    detail: dict[str, Any] = {"meant": [text, meant]} if meant else {}
    raise InvalidName(
        f"{quoted(text)} is not a reference: a state follows '@', as in user/name@1.2.0"
        + did_you_mean([meant] if meant else []),
        **detail,
    )


def _is_package(text: str) -> bool:
    user, _, package = text.partition("/")
    return _USER.match(user) is not None and _PACKAGE.match(package) is not None


_NOT_IN_IDENTIFIERS = {code: "_" for code in range(128) if not chr(code).isalnum()}


def attribute_name(name: str) -> str:
    """Return the Python identifier for a node's name: `2024 sales` → `n2024_sales`, `class` → `class_`."""
    if name.isascii():
        text = name.translate(_NOT_IN_IDENTIFIERS)
    else:
        text = unicodedata.normalize("NFKC", name)
        text = "".join(c if c == "_" or ("a" + c).isidentifier() else "_" for c in text)
    if not text[:1].isidentifier():
        text = "n" + text
    return text + "_" if keyword.iskeyword(text) else text


# Notebooks look these up on every object; they must work for corrupt packages too.
_PROTOCOLS = ("_repr_", "_ipython_")


def is_dunder(name: str) -> bool:
    """Return whether a name has two underscores on both sides, so that it belongs to Python."""
    return name[:2] == "__" == name[-2:]


def is_reserved_attribute(name: str) -> bool:
    """Return whether Python or a notebook asks for this attribute, so that it is never a node's."""
    return is_dunder(name) or name.startswith(_PROTOCOLS)
