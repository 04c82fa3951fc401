"""A README as safe HTML: nothing in it runs, and nothing is loaded from other hosts.

Markdown is rendered with raw HTML disabled, then sanitised. The caller resolves relative links to paths of this
registry; the sanitiser removes all other relative links.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from datapkg.format.texts import visible_lines
from registry_server.web.rendering import is_link

_TAGS = {
    *("a abbr b blockquote br code dd del dl dt em h2 h3 h4 h5 h6 hr i img kbd li ol p pre s strong sub sup").split(),
    *("table tbody td th thead tr ul").split(),
}
_ATTRIBUTES = {
    "a": {"href", "title", "download"},
    "img": {"src", "alt", "loading"},
    "td": {"align"},
    "th": {"align"},
    "ol": {"start"},
    **{f"h{level}": {"id"} for level in range(2, 7)},
}
_CLASSES = {"td": {"long"}, "th": {"long"}}
# Cells with longer text get a minimum width, so that the table scrolls rather than wrap after every word.
_LONG_CELL = 30
_SCHEMES = {"http", "https", "mailto"}
_PLAIN = (".txt", ".rst")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


class Link(NamedTuple):
    """Where a relative address leads: `href`, the name to download it by, and `src` if it can be shown as an image."""

    href: str
    download: str = ""
    src: str = ""


Finds = Callable[[str], Link | None]


def _nothing(address: str) -> Link | None:
    return None


def readme_html(text: str, name: str, find: Finds = _nothing) -> Markup:
    """Return a README as safe HTML; `name` tells whether it is Markdown, `find` where a relative address leads."""
    text = visible_lines(text)
    if name.casefold().endswith(_PLAIN):
        return Markup("<pre>{}</pre>").format(text)
    page = _Page(find)
    html = _markdown().render(text, {"page": page})
    return Markup(
        nh3.clean(
            html,
            tags=_TAGS,
            attributes=_ATTRIBUTES,
            allowed_classes=_CLASSES,
            attribute_filter=partial(_allowed, page.own),
            url_schemes=_SCHEMES,
            url_relative="pass_through",
            link_rel="noopener noreferrer nofollow",
        )
    )


def _allowed(own: set[str], tag: str, attribute: str, value: str) -> str | None:
    """Return the value; drop the address of an image unless it is ours, and of a link unless its scheme is allowed."""
    if attribute not in ("href", "src") or value in own:
        return value
    return value if attribute == "href" and value.partition(":")[0].lower() in _SCHEMES else None


class _Page:
    """The state of rendering one README: `own` are the relative addresses that were put into it."""

    def __init__(self, find: Finds) -> None:
        self._find = find
        self.own: set[str] = set()
        self.links = 0
        self.headings: dict[str, int] = {}

    def find(self, address: str) -> Link | None:
        """Return where a relative address leads, or None."""
        if _ELSEWHERE.match(address):
            return None
        found = Link(f"#{heading_id(address[1:])}") if address.startswith("#") else self._find(address)
        if found:
            self.own |= {found.href, found.src}
        return found

    def new_heading(self, text: str) -> str:
        """Return the id of a heading; a repeated one gets the suffix -1, -2, … as on GitHub."""
        id = heading_id(text)
        number = self.headings.get(id, 0)
        self.headings[id] = number + 1
        return f"{id}-{number}" if number else id


def heading_id(text: str) -> str:
    """Return the HTML id of a heading with this text: `Some words!` → `readme-some-words`."""
    return "readme-" + re.sub(r"[^\w-]", "", text.strip().lower().replace(" ", "-"))


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable(["table", "strikethrough"])
    for name, rule in (
        ("image", _image),
        ("link_open", _link),
        ("link_close", _link_end),
        ("heading_open", _heading),
        ("heading_close", _heading),
        ("td_open", _cell),
        ("th_open", _cell),
    ):
        markdown.add_render_rule(name, rule)
    return markdown


_Env = MutableMapping[str, Any]


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    """Show an image of the package, link to one elsewhere, and show only the alternative text of anything else."""
    page: _Page = env["page"]
    token = tokens[index]
    address = str(token.attrs.get("src", ""))
    words = escape(token.content or "image")
    found = page.find(address)
    if found and found.src:
        return f'<img src="{escape(found.src)}" alt="{escape(token.content)}" loading="lazy">'
    href = found.href if found else address if is_link(address) else ""
    if not href or page.links:  # inside a link already, which shows these words
        return str(words)
    return f"{_opened(href, found)}{words}</a>"


def _link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    page: _Page = env["page"]
    page.links += 1
    address = str(tokens[index].attrs.get("href", ""))
    found = page.find(address)
    return _opened(found.href if found else address, found, str(tokens[index].attrs.get("title", "")))


def _link_end(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    env["page"].links -= 1
    return "</a>"


def _opened(href: str, found: Link | None, title: str = "") -> str:
    values = {"href": href, "title": title, "download": found.download if found else ""}
    return "<a" + "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value) + ">"


def _heading(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env | Mapping[str, Any]
) -> str:
    """Render a heading one level lower: the page's own heading is level 1."""
    token = tokens[index]
    level = min(6, int(token.tag[1:]) + 1)
    if token.nesting < 0:
        return f"</h{level}>"
    return f'<h{level} id="{escape(env["page"].new_heading(tokens[index + 1].content))}">'


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    """Open a table cell; its alignment is an attribute, since the page's policy forbids inline styles."""
    token = tokens[index]
    align = str(token.attrs.get("style", "")).removeprefix("text-align:")
    long = len(tokens[index + 1].content) > _LONG_CELL
    return f"<{token.tag}" + (f' align="{align}"' if align else "") + (' class="long"' if long else "") + ">"
