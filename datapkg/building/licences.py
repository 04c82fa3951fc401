"""Licences as SPDX writes them: what is wrong with an expression, and which one was probably meant.

The list of licences is that of the library `packaging`; https://spdx.org/licenses explains each.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Any

from datapkg.format.suggestions import nearest
from datapkg.format.texts import quoted

MAX_EXPRESSION = 500
_OWN = re.compile(r"(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+\Z", re.IGNORECASE)
_DOCUMENT = re.compile(r"\bDocumentRef-[A-Za-z0-9.-]+:(?=LicenseRef-)", re.IGNORECASE)
_OPERATORS = re.compile(r"(?:^|\s)(?:AND|OR|WITH)(?=\s|\Z)|[()]", re.IGNORECASE)
_LISTED = re.compile(r"\s*[,;|/&]\s*")
_ADDRESS = re.compile(r"https?://(?:www\.)?(.*)", re.IGNORECASE | re.DOTALL)
# Pages that stand for a licence, and how its id is made of their address.
_PAGES = (
    (re.compile(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)\b.*"), r"cc-\1-\2"),
    (re.compile(r"creativecommons\.org/publicdomain/zero/(\d\.\d)\b.*"), r"cc0-\1"),
    (re.compile(r"opendatacommons\.org/licenses/(odbl|pddl)\b.*"), r"\1-1.0"),
    (re.compile(r"opendatacommons\.org/licenses/by\b.*"), "odc-by-1.0"),
    (re.compile(r"(?:spdx|opensource)\.org/licenses?/([^/]+?)(?:\.html)?/?"), r"\1"),
)
# How people write out what the ids abbreviate.
_PHRASES = (
    (re.compile(r"creative\s*commons"), "cc"),
    (re.compile(r"(?:cc\s*)?zero\b"), "cc0"),
    (re.compile(r"non[\s-]*commercial"), "nc"),
    (re.compile(r"no[\s-]*deriv\w*"), "nd"),
    (re.compile(r"share[\s-]*alike"), "sa"),
    (re.compile(r"attribution"), "by"),
    (re.compile(r"open\s*(?:data\s*commons\s*)?open\s*database|open\s*database"), "odbl"),
    (re.compile(r"\baffero\s*general\s*public|\bgnu\s*agpl"), "agpl"),
    (re.compile(r"\blesser\s*general\s*public|\bgnu\s*lgpl"), "lgpl"),
    (re.compile(r"\bgeneral\s*public|\bgnu\s*gpl"), "gpl"),
    (re.compile(r"\b(?:the|gnu|licen[cs]ed?|version|international|unported|generic|software|foundation)\b"), ""),
    (re.compile(r"v(?:er)?\.?\s*(?=\d)"), ""),
)
_ALIASES = {
    "bsd": "BSD-3-Clause",
    "newbsd": "BSD-3-Clause",
    "simplifiedbsd": "BSD-2-Clause",
    "publicdomain": "LicenseRef-public-domain",
    "pd": "LicenseRef-public-domain",
    "proprietary": "LicenseRef-proprietary",
    "allrightsreserved": "LicenseRef-proprietary",
}
_NOTHING = frozenset("none unknown other various tbd na nolicense nolicence notspecified unspecified".split())


def licence_problem(text: str) -> str:
    """What SPDX has against a licence; "" for an expression of its ids in its own spelling."""
    if len(text) > MAX_EXPRESSION:
        return f"is {len(text):,} characters long; name the licence, such as CC-BY-4.0, and keep its text in a file"
    return _problem(text.strip())


@lru_cache(maxsize=256)
def _problem(text: str) -> str:
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        normal = str(canonicalize_license_expression(_DOCUMENT.sub("", text)))
    except (InvalidLicenseExpression, RecursionError, MemoryError):
        return _unknown(text)
    if old := next(filter(None, map(_deprecated, _ids_in(normal))), ""):
        return old
    if normal != _DOCUMENT.sub("", text):
        return f"SPDX writes {quoted(text)} as {normal}"
    return ""


def _ids_in(expression: str) -> list[str]:
    return [each.strip() for each in _OPERATORS.split(expression) if each.strip()]


def _deprecated(id: str) -> str:
    base = id.removesuffix("+")
    if not _list().get(base.lower(), {}).get("deprecated"):
        return ""
    new = _successors(id)
    return f"{id} is deprecated in SPDX's list" + (f"; say {' or '.join(new)}" if new else "")


def _successors(id: str) -> list[str]:
    """The ids that say what an old one left open: GPL-3.0-only or GPL-3.0-or-later."""
    endings = ("-or-later",) if id.endswith("+") else ("-only", "-or-later")
    return [id.removesuffix("+") + end for end in endings if (id.removesuffix("+") + end).lower() in _list()]


def _unknown(text: str) -> str:
    """What to say of a text that is no expression: the first part that is unknown, and what it may mean."""
    if _squeezed(text) in _NOTHING:
        return f"{quoted(text)} names no licence; leave it out"
    parts = _ids_in(text)
    if len(parts) == 1 and (meant := suggestion(text)):
        return f"{_not_listed(text)}; did you mean {meant}?"
    if _ADDRESS.match(text):
        return f"{quoted(text)} is an address; name the licence, or LicenseRef-… where SPDX has no name for it"
    unknown = next((part for part in parts if not _is_known(part)), "")
    if meant := suggestion(unknown) or _nearest_exception(unknown):
        return f"{_not_listed(unknown)}; did you mean {meant}?"
    if len(several := _LISTED.split(unknown)) > 1:
        ids = [_list().get(part.lower(), {}).get("id") or suggestion(part) for part in several]
        joined = " OR ".join(ids if all(ids) else ["MIT", "Apache-2.0"])
        return f"{quoted(text)}: several licences are joined by AND or OR, such as {joined}"
    own = re.sub(r"[^A-Za-z0-9.]+", "-", re.sub("(?i)LicenseRef-?", "", unknown)).strip("-")[:60]
    if own:
        return f"{_not_listed(unknown)}; one that is not there is written LicenseRef-{own}"
    return f"{quoted(text)} is not an SPDX expression, such as MIT OR Apache-2.0"


def _not_listed(text: str) -> str:
    return f"{quoted(text)} is not in SPDX's list of licences"


def _nearest_exception(word: str) -> str:
    exceptions = _exceptions()
    return exceptions.get(nearest(word.lower(), exceptions) if word else "", {}).get("id", "")


def _is_known(part: str) -> bool:
    return part.removesuffix("+").lower() in _list() or part.lower() in _exceptions() or bool(_OWN.match(part))


def suggestion(text: str) -> str:
    """The id that somebody probably meant, or two where that cannot be known; "" where nothing is near."""
    word = _of_page(text.strip())
    for key in dict.fromkeys((_squeezed(word), _squeezed(_abbreviated(word)))):
        if found := _ALIASES.get(key) or _by_key().get(key) or _by_key().get(f"{key}0") or _begun(key):
            is_old = _list().get(found.lower(), {}).get("deprecated")
            return " or ".join(_successors(found) or [found]) if is_old else found
    near = difflib.get_close_matches(_squeezed(word), _by_key(), 1, 0.85) if len(word) > 3 else []
    return _by_key()[near[0]] if near else ""


def _of_page(text: str) -> str:
    """What the address of a licence's page says; other text as it is."""
    address = _ADDRESS.fullmatch(text)
    found = (page.fullmatch(address[1].lower()) for page, _ in _PAGES) if address else ()
    return next((match.expand(id) for match, (_, id) in zip(found, _PAGES, strict=False) if match), text)


def _abbreviated(text: str) -> str:
    text = text.lower()
    for phrase, short in _PHRASES:
        text = phrase.sub(f" {short} " if short else "", text)
    return text


def _squeezed(text: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", text.lower())


def _begun(key: str) -> str:
    """The latest version of a licence that was named without one, else the shortest id that begins so."""
    begun = [each for each in _by_key() if len(key) > 2 and each.startswith(key)]
    versions = [each for each in begun if each[len(key) :].isdigit()]
    if versions:
        return _by_key()[max(versions, key=lambda each: int(each[len(key) :]))]
    is_telling = len(key) > 3 and any(char.isdigit() for char in key)
    return _by_key()[min(begun, key=len)] if begun and is_telling else ""


@lru_cache(maxsize=1)
def _by_key() -> dict[str, str]:
    """The ids by their letters and digits; those in use go before deprecated ones."""
    ids = sorted(_list().values(), key=lambda each: not each["deprecated"])
    return {_squeezed(each["id"]): each["id"] for each in ids}


@lru_cache(maxsize=1)
def _list() -> dict[str, Any]:
    """SPDX's licences by their id in lower case; without them nothing is suggested, and nothing fails."""
    from packaging import licenses

    return getattr(licenses, "LICENSES", {})


def _exceptions() -> dict[str, Any]:
    from packaging import licenses

    return getattr(licenses, "EXCEPTIONS", {})
