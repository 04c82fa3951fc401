"""Pages for people: what is public, package by package; they need no JavaScript and load nothing from elsewhere."""

from __future__ import annotations

from functools import partial
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from datapkg.errors import PackageNotFound
from datapkg.format.names import shown
from registry_server.services import browse
from registry_server.services.policy import ANONYMOUS
from registry_server.services.registry import Registry
from registry_server.services.showcase import Exhibit, Shown, find_shown, read_exhibit
from registry_server.web.asking import TheRegistry
from registry_server.web.rendering import readme_html, render
from registry_server.web.turns import Makers, search

PAGES_AT_ONCE, KEPT_PAGES = 2, 64

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Words = Annotated[str, Query()]
Place = Annotated[str | None, Query(max_length=500)]


@router.get("/")
async def front(request: Request, registry: TheRegistry, q: Words = "", cursor: Place = None) -> HTMLResponse:
    """The public packages: the last pushed first, or those that a search finds."""
    q = q[: browse.MAX_QUERY]
    find = partial(browse.find_packages, registry, ANONYMOUS, query=q, recent=True, cursor=cursor)
    page = await search(request, q, find)
    return HTMLResponse(render("packages.html", page=page, query=q, user=None, base="/", site=registry.settings.url))


@router.get("/{user}")
def user(registry: TheRegistry, user: str, cursor: Place = None) -> HTMLResponse:
    """The public packages of a user."""
    page = browse.find_packages(registry, ANONYMOUS, user=user, recent=True, cursor=cursor)
    if not page.packages:
        raise PackageNotFound(f"{shown(user)} has no public packages here")
    html = render("packages.html", page=page, query="", user=user, base=f"/{user}", site=registry.settings.url)
    return HTMLResponse(html)


class _Content(NamedTuple):
    """What takes long to make of a page, and depends on the state alone."""

    exhibit: Exhibit
    readme: Markup


@router.get("/{user}/{name}")
async def package(request: Request, registry: TheRegistry, user: str, name: str) -> HTMLResponse:
    """A public package, in its latest state or in the one that stands behind an `@`."""
    name, _, state = name.partition("@")
    found = await run_in_threadpool(find_shown, registry, ANONYMOUS, user, name, state or None)
    pages: Makers[_Content] = request.app.state.pages
    content = await pages.get(found.resolved.hash, lambda: _content(registry, found.resolved.hash))
    return await run_in_threadpool(_page, registry, found, content)


def _content(registry: Registry, hash: str) -> _Content:
    exhibit = read_exhibit(registry, hash)
    return _Content(exhibit, readme_html(exhibit.readme, exhibit.readme_name))


def _page(registry: Registry, found: Shown, content: _Content) -> HTMLResponse:
    html = render("package.html", found=found, site=registry.settings.url, **content._asdict())
    return HTMLResponse(html)
