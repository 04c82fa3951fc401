"""HTML from templates, which escape every value."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from datapkg.format.texts import count_text, size_text, visible_lines
from datapkg.format.wire import PackageInfo

HERE = Path(__file__).parent
STATIC = HERE / "static"

_ADDRESS = re.compile(r"(https?://[^\s<>\"']+)")


def render(template: str, **values: Any) -> str:
    """Render a page."""
    return _environment().get_template(template).render(**values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    environment.filters.update(
        size=size_text,
        count=count,
        day=day,
        linked=linked,
        licence_page=licence_page,
        tags_in_order=tags_in_order,
        versions_in_order=versions_in_order,
        yanked_versions=yanked_versions,
    )
    return environment


def _final(value: Any) -> Any:
    return visible_lines(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def count(number: int, what: str = "") -> str:
    """Return a number for people, with what it counts: `10,000 rows`, `1 row`."""
    return count_text(number, what) if what else f"{number:,}"


def day(moment: str) -> str:
    """Return the date of a time."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d")


def is_link(text: str) -> bool:
    """Return whether a text is a URL that may be linked to."""
    return re.match(r"https?://[^\s<>\"']+\Z", text) is not None


def linked(text: str) -> Markup:
    """Return the text as HTML in which the addresses of pages are links; punctuation behind one is not part of it."""
    parts = _ADDRESS.split(visible_lines(text))
    for at in range(1, len(parts), 2):
        address = parts[at].rstrip(".,;:!?")
        if address.endswith(")") and "(" not in address:
            address = address.rstrip(").,;:!?")
        parts[at + 1] = parts[at][len(address) :] + parts[at + 1]
        parts[at] = Markup('<a href="{0}" rel="noopener noreferrer nofollow">{0}</a>').format(address)
    return Markup("").join(escape(part) for part in parts)


def tags_in_order(info: PackageInfo) -> list[tuple[str, str]]:
    """Return the tags with their hashes: `latest`, then the others by name, numbers in them by value."""
    return sorted(info.tags.items(), key=lambda each: (each[0] != "latest", _natural(each[0])))


def _natural(name: str) -> list[tuple[str, int]]:
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)]


def versions_in_order(info: PackageInfo) -> list[tuple[str, str]]:
    """Return the versions with their hashes, the newest first."""
    return [(each.version, each.hash) for each in reversed(info.versions)]


def yanked_versions(info: PackageInfo) -> dict[str, str]:
    """Return the reasons of yanked versions, "" where there is none."""
    return {each.version: each.yanked for each in info.versions if each.yanked is not None}


@lru_cache(maxsize=256)
def licence_page(text: str) -> str:
    """Return the URL of a licence: its own, or the SPDX page of its id; "" for anything else."""
    if is_link(text):
        return text
    if len(text) > 100 or text.casefold().startswith("licenseref-"):
        return ""
    try:
        id = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return ""
    return f"https://spdx.org/licenses/{id}.html" if re.fullmatch(r"[A-Za-z0-9.-]+", id) else ""
