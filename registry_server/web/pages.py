"""Pages for people: what is public, package by package; they need no JavaScript and load nothing from elsewhere."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from datapkg.errors import PackageNotFound
from datapkg.format.names import shown
from registry_server.services import browse
from registry_server.services.policy import ANONYMOUS
from registry_server.services.showcase import Showcase
from registry_server.web.asking import TheRegistry
from registry_server.web.rendering import readme_html, render

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Words = Annotated[str, Query()]
Place = Annotated[str | None, Query(max_length=500)]


@router.get("/")
def front(registry: TheRegistry, q: Words = "", cursor: Place = None) -> HTMLResponse:
    """The public packages: the last pushed first, or those that a search finds."""
    q = q[: browse.MAX_QUERY]
    page = browse.find_packages(registry, ANONYMOUS, query=q, recent=True, cursor=cursor)
    return HTMLResponse(render("packages.html", page=page, query=q, user=None, base="/", site=registry.settings.url))


@router.get("/{user}")
def user(registry: TheRegistry, user: str, cursor: Place = None) -> HTMLResponse:
    """The public packages of a user."""
    page = browse.find_packages(registry, ANONYMOUS, user=user, recent=True, cursor=cursor)
    if not page.packages:
        raise PackageNotFound(f"{shown(user)} has no public packages here")
    html = render("packages.html", page=page, query="", user=user, base=f"/{user}", site=registry.settings.url)
    return HTMLResponse(html)


@router.get("/{user}/{name}")
def package(request: Request, registry: TheRegistry, user: str, name: str) -> HTMLResponse:
    """A public package, in its latest state or in the one that stands behind an `@`."""
    name, _, state = name.partition("@")
    showcase: Showcase = request.app.state.showcase
    found = showcase.show(ANONYMOUS, user, name, state or None)
    readme = readme_html(found.exhibit.readme, found.exhibit.readme_name)
    html = render("package.html", found=found, exhibit=found.exhibit, readme=readme, site=registry.settings.url)
    return HTMLResponse(html)
