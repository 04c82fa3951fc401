"""The client of this registry: the page with the command that installs it, and the wheel itself."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

from datapkg.errors import NotFound
from registry_server.services.client_wheel import PATH, ClientWheel, client_wheel
from registry_server.web.conditional_requests import etag, wanted_part
from registry_server.web.dependencies import TheRegistry
from registry_server.web.rendering import render

router = APIRouter(include_in_schema=False)


@router.get(PATH)
@router.get(PATH.rstrip("/"))
def page(registry: TheRegistry) -> HTMLResponse:
    """Show the command that installs the client, and the settings that it needs."""
    return HTMLResponse(render("client.html", client=_wheel(), site=registry.settings.url))


@router.get(PATH + "requirements.txt")
def requirements(registry: TheRegistry) -> PlainTextResponse:
    """Return the client as a requirements file: `pip install -r` of its address installs any version of the client.

    Thin wheels name this address, since they outlive the version of the registry.
    """
    return PlainTextResponse(f"{_wheel().requirement(registry.settings.url)}\n")


@router.get(PATH + "{name}")
def wheel(request: Request, registry: TheRegistry, name: str) -> Response:
    """Return the wheel of the client, which exists in the version of this registry only."""
    found = _wheel()
    if name != found.name:
        raise NotFound(
            f"client file {name!r} not found; this registry has {found.name}",
            hint=found.install_line(registry.settings.url),
        )
    headers = {"etag": etag(found.sha256)}
    known = wanted_part(
        found.sha256, len(found.data), range=None, if_range=None, if_none_match=request.headers.get("if-none-match")
    )
    if known.kind == "unchanged":
        return Response(status_code=304, headers=headers)
    return Response(found.data, media_type="application/octet-stream", headers=headers)


def _wheel() -> ClientWheel:
    found = client_wheel()
    if found is None:
        raise NotFound("this registry has no client: its own datapkg is on the path, but not installed")
    return found
