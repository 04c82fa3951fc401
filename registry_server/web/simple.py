"""The Python package index over HTTP: `/simple/`, for pip, uv and poetry.

They send what `~/.netrc` has for this host with every request, so credentials that are no token of a registry are as if
there were none, and nothing is answered with a challenge but a token that is not valid.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from datapkg.errors import InvalidInput
from datapkg.format.hashing import hash_bytes
from datapkg.format.simple_index import HTML_TYPE, JSON_TYPE, METADATA_SUFFIX, TEXT_TYPE
from registry_server.services import accounts, python_index
from registry_server.services.index_pages import IndexPage, NewestPages
from registry_server.services.policy import ANONYMOUS, Actor
from registry_server.web.concurrency_limits import Makers
from registry_server.web.conditional_requests import etag, wanted_part
from registry_server.web.dependencies import TheRegistry
from registry_server.web.errors import error_response
from registry_server.web.objects import BYTES, reply

PATH = "/simple/"
USER = "__token__"
PAGES_AT_ONCE, KEPT_PAGES = 2, 32
# The types of a page, by what a client may ask for; the first is for those that accept anything.
TYPES = {
    TEXT_TYPE: TEXT_TYPE,
    HTML_TYPE: HTML_TYPE,
    JSON_TYPE: JSON_TYPE,
    "application/vnd.pypi.simple.latest+html": HTML_TYPE,
    "application/vnd.pypi.simple.latest+json": JSON_TYPE,
}
_SEPARATORS = re.compile(r"[-_.]+")
NOT_ACCEPTABLE = 406

router = APIRouter(include_in_schema=False)


async def _actor(request: Request) -> Actor:
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    token = sent.strip()
    if scheme.lower() == "basic":
        try:
            user, _, token = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return ANONYMOUS
        if user != USER and not token.startswith(accounts.TOKEN_PREFIX):
            return ANONYMOUS
    elif scheme.lower() != "bearer":
        return ANONYMOUS
    return accounts.authenticate(request.app.state.registry, token)


TheIndexUser = Annotated[Actor, Depends(_actor)]


@router.get(PATH.rstrip("/"))
async def without_slash() -> Response:
    """Redirect to the list of projects."""
    return RedirectResponse(PATH, 301)


@router.get(PATH)
async def projects(request: Request, registry: TheRegistry, actor: TheIndexUser) -> Response:
    """List the projects that the user may read."""
    return await _reply(
        request, actor, lambda as_json: run_in_threadpool(python_index.projects_page, registry, actor, as_json=as_json)
    )


@router.get(PATH + "{name}")
async def project_without_slash(name: str) -> Response:
    """Redirect to the page of a project, as PEP 503 wants it, whether it exists or not."""
    return RedirectResponse(f"{PATH}{_normalized(name)}/", 301)


@router.get(PATH + "{name}/")
async def project(request: Request, registry: TheRegistry, actor: TheIndexUser, name: str) -> Response:
    """List the wheels of a project."""
    if name != _normalized(name):
        return await project_without_slash(name)
    found = await run_in_threadpool(python_index.find_project, registry, actor, name)
    makers: Makers[IndexPage] = request.app.state.index_makers
    newest: NewestPages = request.app.state.index_pages

    async def make(as_json: bool) -> IndexPage:
        page_name = python_index.page_name(found, as_json=as_json)
        if page := newest.find(page_name, found.key):
            return page
        write = partial(python_index.project_page, found, newest, as_json=as_json)
        return await makers.get(f"{page_name} {found.key}", write)

    return await _reply(request, actor, make)


@router.get(PATH + "{name}/{file_name}")
async def file(request: Request, registry: TheRegistry, actor: TheIndexUser, name: str, file_name: str) -> Response:
    """Return a wheel, or its metadata."""
    found = await run_in_threadpool(python_index.find_file, registry, actor, name, file_name)
    if not isinstance(found, bytes):
        return await reply(request, found, BYTES)
    assert file_name.endswith(METADATA_SUFFIX)
    return _whole(request, lambda: found, hash_bytes(found), {"content-type": BYTES, **_cache(actor)})


def _normalized(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


async def _reply(request: Request, actor: Actor, make: Callable[[bool], object]) -> Response:
    kind = wanted_type(request.query_params.get("format") or request.headers.get("accept", ""))
    if kind is None:
        message = f"a page is of one of the types {', '.join(dict.fromkeys(TYPES.values()))}"
        return error_response(request, InvalidInput(message), status=NOT_ACCEPTABLE)
    page: IndexPage = await make(kind == JSON_TYPE)  # type: ignore[misc]
    content_type = f"{kind}; charset=utf-8" if kind == TEXT_TYPE else kind
    headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding, Authorization", **_cache(actor)}
    if page.is_long and "gzip" in request.headers.get("accept-encoding", ""):
        return _whole(request, lambda: page.zipped, page.sha256, {**headers, "content-encoding": "gzip"})
    return _whole(request, lambda: page.body, page.sha256, headers)


def _cache(actor: Actor) -> dict[str, str]:
    return {"cache-control": "no-cache" if actor == ANONYMOUS else "private, no-cache"}


def _whole(request: Request, body: Callable[[], bytes], sha256: str, headers: dict[str, str]) -> Response:
    """Return the body, or 304 where the client has it."""
    # Weak for a compressed page: the tag is that of the page, not of these bytes.
    headers = {"etag": f"{'W/' if 'content-encoding' in headers else ''}{etag(sha256)}", **headers}
    known = request.headers.get("if-none-match")
    if wanted_part(sha256, 0, range=None, if_range=None, if_none_match=known).kind == "unchanged":
        return Response(status_code=304, headers=headers)
    return Response(body(), headers=headers)


def wanted_type(accept: str) -> str | None:
    """Return the type of page that an Accept header prefers (RFC 9110), None where it allows none of them."""
    weights: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = next(
            (each.partition("=")[2].strip() for each in parameters if each.partition("=")[0].strip() == "q"), "1"
        )
        try:
            weights[kind] = float(weight)
        except ValueError:
            weights[kind] = 0
    if not accept.strip():
        return TEXT_TYPE
    best = max(TYPES, key=lambda kind: _weight(weights, kind))
    return TYPES[best] if _weight(weights, best) > 0 else None


def _weight(weights: dict[str, float], kind: str) -> float:
    group = kind.partition("/")[0] + "/*"
    return next((weights[each] for each in (kind, group, "*/*") if each in weights), 0)
