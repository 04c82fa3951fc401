"""Pages for people: what is public, package by package; they need no JavaScript and load nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from markupsafe import Markup

from datapkg.errors import PackageNotFound
from datapkg.format.texts import quoted
from registry_server.services import browse
from registry_server.services.client_wheel import client_wheel
from registry_server.services.images import find_image
from registry_server.services.package_page import (
    PageModel,
    ShownState,
    anchor,
    check_counts,
    find_shown,
    object_path,
    read_exhibit,
)
from registry_server.services.policy import ANONYMOUS, PackageRequest
from registry_server.services.readme_targets import Target
from registry_server.services.registry import Registry
from registry_server.web.concurrency_limits import Makers, search
from registry_server.web.dependencies import TheHash, TheRegistry
from registry_server.web.middleware import API_POLICY
from registry_server.web.objects import reply
from registry_server.web.readme import Link, readme_html
from registry_server.web.rendering import render

PAGES_AT_ONCE, KEPT_PAGES = 2, 64
IMAGE = "/{user}/{name}/images/{hash}"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Words = Annotated[str, Query()]
Place = Annotated[str | None, Query(max_length=500)]


@router.get("/")
async def front(request: Request, registry: TheRegistry, q: Words = "", cursor: Place = None) -> HTMLResponse:
    """The public packages: the last pushed first, or those that a search finds."""
    q = q[: browse.MAX_QUERY]
    find = partial(browse.find_packages, registry, ANONYMOUS, query=q, recent=True, cursor=cursor)
    page = await search(request, q, find)
    return HTMLResponse(render("packages.html", page=page, query=q, user=None, base="/", **_setup(registry)))


@router.get("/{user}")
def user(registry: TheRegistry, user: str, cursor: Place = None) -> HTMLResponse:
    """The public packages of a user."""
    page = browse.find_packages(registry, ANONYMOUS, user=user, recent=True, cursor=cursor)
    if not page.packages:
        raise PackageNotFound(f"{quoted(user)} has no public packages here")
    html = render("packages.html", page=page, query="", user=user, base=f"/{user}", **_setup(registry))
    return HTMLResponse(html)


def _setup(registry: Registry) -> dict[str, Any]:
    """What a page needs to print how a machine is set up."""
    return {"client": client_wheel(), "site": registry.settings.url}


class _Content(NamedTuple):
    """What takes long to make of a page, and depends on the package and its state alone."""

    exhibit: PageModel
    readme: Markup
    checks: str


@router.get("/{user}/{name}")
async def package(request: Request, registry: TheRegistry, user: str, name: str) -> HTMLResponse:
    """A public package, in its latest state or in the one that stands behind an `@`."""
    name, _, state = name.partition("@")
    found = await run_in_threadpool(find_shown, PackageRequest(registry, ANONYMOUS, user, name), state or None)
    pages: Makers[_Content] = request.app.state.pages
    package, hash = found.info.package, found.resolved.hash
    content = await pages.get(f"{package}@{hash}", lambda: _content(registry, package, hash))
    return await run_in_threadpool(_page, registry, found, content)


@router.get(IMAGE)
async def image(request: Request, registry: TheRegistry, user: str, name: str, hash: TheHash) -> Response:
    """An image of a public package, which its README shows."""
    served, media_type = find_image(PackageRequest(registry, ANONYMOUS, user, name), hash)
    response = await reply(request, served, media_type)
    response.headers["content-security-policy"] = API_POLICY  # as foreign bytes have it everywhere
    return response


def _content(registry: Registry, package: str, hash: str) -> _Content:
    exhibit, targets = read_exhibit(registry, hash)
    shown = {row.path for row in exhibit.tree}

    def find(address: str) -> Link | None:
        target = targets.find(address)
        return _link(package, target, shown) if target else None

    user, _, name = package.partition("/")
    checks = check_counts(browse.checks(PackageRequest(registry, ANONYMOUS, user, name), hash))
    return _Content(exhibit, readme_html(exhibit.readme, exhibit.readme_name, find), checks)


def _link(package: str, target: Target, shown: Container[str]) -> Link:
    """A file leads to its bytes, all else to its line on the page, or to the lines where it has none."""
    if target.hash:
        user, name = package.split("/")
        src = IMAGE.format(user=user, name=name, hash=target.hash) if target.is_image else ""
        return Link(object_path(package, target.hash), target.file_name, src)
    return Link(f"#{anchor(target.path)}" if target.path in shown else "#contents")


def _page(registry: Registry, found: ShownState, content: _Content) -> HTMLResponse:
    html = render("package.html", found=found, **_setup(registry), **content._asdict())
    return HTMLResponse(html)
