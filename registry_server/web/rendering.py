"""HTML from values: templates that escape everything, and READMEs through a sanitiser."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

HERE = Path(__file__).parent
STATIC = HERE / "static"

# Controls, and what reorders or hides text: none of it may make a page say what its source does not.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINES = re.compile("[\t\n\r]")
_TAGS = {
    *("a abbr b blockquote br code dd del dl dt em h2 h3 h4 h5 h6 hr i kbd li ol p pre s strong sub sup").split(),
    *("table tbody td th thead tr ul").split(),
}
_PLAIN = (".txt", ".rst")


def render(template: str, **values: Any) -> str:
    """A page."""
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
    environment.filters.update(size=size, count=count, day=day, is_link=is_link, licence_page=licence_page)
    return environment


def _final(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def visible(text: str, *, lines: bool = False) -> str:
    """The text with control and direction characters written out, as in ⟨U+202E⟩; with `lines`, line ends too."""
    text = _HIDDEN.sub(_written, text)
    return _LINES.sub(_written, text) if lines else text


def _written(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"


def size(number: int) -> str:
    """Bytes for people: `2.3 kB`."""
    if number < 1000:
        return f"{number} B"
    value, unit = number / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 999.5:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def count(number: int, what: str = "") -> str:
    """A number for people, with what it counts: `10,000 rows`, `1 row`."""
    text = f"{number:,}"
    return f"{text} {what if number == 1 else what + 's'}" if what else text


def day(moment: str) -> str:
    """The day of a moment."""
    return datetime.fromisoformat(moment).strftime("%Y-%m-%d")


def is_link(text: str) -> bool:
    """Whether a text is the address of a page, which may be linked to."""
    return re.match(r"https?://[^\s<>\"']+\Z", text) is not None


@lru_cache(maxsize=256)
def licence_page(text: str) -> str:
    """The address at which a licence can be read: its own, or SPDX's page of its id; "" for all else."""
    if is_link(text):
        return text
    if len(text) > 100 or text.casefold().startswith("licenseref-"):
        return ""
    try:
        id = canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return ""
    return f"https://spdx.org/licenses/{id}.html" if re.fullmatch(r"[A-Za-z0-9.-]+", id) else ""


def readme_html(text: str, name: str) -> Markup:
    """A README as safe HTML; `name` tells whether it is Markdown."""
    text = visible(text)
    if name.casefold().endswith(_PLAIN):
        return Markup("<pre>{}</pre>").format(text)
    html = _markdown().render(text)
    return Markup(
        nh3.clean(
            html,
            tags=_TAGS,
            attributes={"a": {"href", "title"}, "td": {"align"}, "th": {"align"}, "ol": {"start"}},
            url_schemes={"http", "https", "mailto"},
            url_relative="deny",
            link_rel="noopener noreferrer nofollow",
        )
    )


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("heading_open", _heading)
    markdown.add_render_rule("heading_close", _heading)
    return markdown


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Mapping[str, Any]) -> str:
    """An image elsewhere as a link to it; nothing is loaded from other places, and what is beside the README is not."""
    token = tokens[index]
    address = str(token.attrs.get("src", ""))
    words = escape(token.content or "image")
    return f'<a href="{escape(address)}">{words}</a>' if is_link(address) else str(words)


def _heading(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Mapping[str, Any]) -> str:
    """A heading one level lower: the page's own is the first."""
    token = tokens[index]
    level = min(6, int(token.tag[1:]) + 1)
    return f"<{'/' if token.nesting < 0 else ''}h{level}>"
