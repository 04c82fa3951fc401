"""Pages for people, about public packages; they need no JavaScript and load nothing from other hosts."""

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
from datapkg.format.wire import PackagePage
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
    read_page_model,
)
from registry_server.services.policy import ANONYMOUS, PackageRequest
from registry_server.services.readme_targets import Target
from registry_server.services.registry import Registry
from registry_server.web.concurrency_limits import Makers, search
from registry_server.web.dependencies import TheHash, TheRegistry
from registry_server.web.middleware import API_POLICY
from registry_server.web.objects import asked, reply
from registry_server.web.readme import Link, readme_html
from registry_server.web.rendering import render

PAGES_AT_ONCE, KEPT_PAGES = 2, 64
IMAGE = "/{user}/{name}/images/{hash}"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Words = Annotated[str, Query()]
Place = Annotated[str | None, Query(max_length=500)]


@router.get("/")
async def front(request: Request, registry: TheRegistry, q: Words = "", cursor: Place = None) -> HTMLResponse:
    """Show the public packages, newest first, or those that match a search."""
    q = q[: browse.MAX_QUERY]
    find = partial(browse.find_packages, registry, ANONYMOUS, query=q, recent=True, cursor=cursor)
    page = await search(request, q, find)
    return _list(registry, page, "/", query=q, cursor=cursor)


@router.get("/{user}")
def user(registry: TheRegistry, user: str, cursor: Place = None) -> HTMLResponse:
    """Show the public packages of a user."""
    page = browse.find_packages(registry, ANONYMOUS, user=user, recent=True, cursor=cursor)
    if not page.packages and not cursor:
        raise PackageNotFound(f"{quoted(user)} has no public packages here")
    return _list(registry, page, f"/{user}", user=user, cursor=cursor)


def _list(registry: Registry, page: PackagePage, base: str, **values: Any) -> HTMLResponse:
    values = {"query": "", "user": None, **values, **_setup(registry)}
    return HTMLResponse(render("packages.html", page=page, base=base, **values))


def _setup(registry: Registry) -> dict[str, Any]:
    """Return the values with which a page prints how to set up a machine."""
    return {"client": client_wheel(), "site": registry.settings.url}


class _Content(NamedTuple):
    """The part of a page that takes long to make and stays the same for a state of a package and its record."""

    model: PageModel
    readme: Markup
    checks: str


@router.get("/{user}/{name}")
async def package(request: Request, registry: TheRegistry, user: str, name: str) -> HTMLResponse:
    """Show a public package, in its latest state or in the one after an `@`."""
    name, _, state = name.partition("@")
    found = await run_in_threadpool(find_shown, PackageRequest(registry, ANONYMOUS, user, name), state or None)
    pages: Makers[_Content] = request.app.state.pages
    package, hash = found.info.package, found.resolved.hash
    content = await pages.get(f"{package}@{hash} {found.record_key}", lambda: _content(registry, package, hash))
    return await run_in_threadpool(_page, registry, found, content)


@router.get(IMAGE)
async def image(request: Request, registry: TheRegistry, user: str, name: str, hash: TheHash) -> Response:
    """Return an image of a public package that its README shows."""
    wanted = PackageRequest(registry, ANONYMOUS, user, name)
    served, media_type = await asked(registry, partial(find_image, wanted, hash))
    response = await reply(request, served, media_type)
    response.headers["content-security-policy"] = API_POLICY  # the same policy as for all foreign bytes
    return response


def _content(registry: Registry, package: str, hash: str) -> _Content:
    model, targets = read_page_model(registry, hash)
    shown = {row.path for row in model.tree}

    def find(address: str) -> Link | None:
        target = targets.find(address)
        return _link(package, target, shown) if target else None

    user, _, name = package.partition("/")
    checks = check_counts(browse.checks(PackageRequest(registry, ANONYMOUS, user, name), hash))
    return _Content(model, readme_html(model.readme, model.readme_name, find), checks)


def _link(package: str, target: Target, shown: Container[str]) -> Link:
    """Link a file to its bytes, anything else to its row on the page, or to the table if it has no row."""
    if target.hash:
        user, name = package.split("/")
        src = IMAGE.format(user=user, name=name, hash=target.hash) if target.is_image else ""
        return Link(object_path(package, target.hash), target.file_name, src)
    return Link(f"#{anchor(target.path)}" if target.path in shown else "#contents")


def _page(registry: Registry, found: ShownState, content: _Content) -> HTMLResponse:
    html = render("package.html", found=found, **_setup(registry), **content._asdict())
    return HTMLResponse(html)
