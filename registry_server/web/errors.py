"""Errors as responses: every failure has the same JSON body, or a page."""

from __future__ import annotations

import errno
import logging
import secrets
from collections.abc import Mapping
from typing import Any, TypeGuard

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from datapkg.errors import (
    DatapkgError,
    DiskFull,
    InvalidInput,
    NotFound,
    PackageNotFound,
    ResourceExhausted,
    Unreachable,
    causes,
    exhausted,
)
from datapkg.format import wire
from datapkg.format.texts import quoted
from registry_server.web.rendering import render

MAX_PROBLEMS = 20
HEADINGS = {
    400: "Invalid request",
    404: "Not found",
    405: "Method not allowed",
    500: "Internal error",
    503: "Temporarily unavailable",
}
INDEX = "/simple/"  # pip, uv and poetry send tokens as a password
UNAVAILABLE = 503
RETRY_AFTER_S = 5
logger = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Make the app send its errors in the form of the API."""
    app.add_exception_handler(DatapkgError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)


def error_response(
    request: Request, error: DatapkgError, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response for an error; no cache may store it."""
    headers = {"cache-control": "no-store", **(headers or {})}
    if isinstance(error, Unreachable):  # busy or stopping; 502 would blame a server behind this one
        status = UNAVAILABLE
        headers["retry-after"] = str(RETRY_AFTER_S)
    status = status or error.status
    if status == 401:
        scheme = "Basic" if request.url.path.startswith(INDEX) else "Bearer"
        headers["www-authenticate"] = f'{scheme} realm="datapkg"'
    if is_page(request.url.path):
        heading = HEADINGS.get(status, "Something went wrong")
        page = render("error.html", heading=heading, error=error, status=status, package=_readable(request, error))
        return HTMLResponse(page, status, headers=headers)
    return JSONResponse({"error": error.to_wire()}, status, headers=headers)


def _readable(request: Request, error: DatapkgError) -> str:
    """Return the package of a page whose state is missing or invalid; that it may be read was checked before."""
    user, _, rest = request.url.path.strip("/").partition("/")
    name, at, _ = rest.partition("@")
    is_package = bool(at) and "/" not in rest and not isinstance(error, PackageNotFound)
    return f"{user}/{name}" if is_package and isinstance(error, (NotFound, InvalidInput)) else ""


def is_page(path: str) -> bool:
    """Return whether the path is for people rather than programs."""
    return not path.startswith(("/api/", "/static/")) and path not in ("/api", wire.HEALTH, "/openapi.json")


def may_be_sent(error: Exception) -> TypeGuard[DatapkgError]:
    """Return whether a client may see an error; that of a resource may name paths, and goes to the log."""
    return isinstance(error, DatapkgError) and not isinstance(error, ResourceExhausted)


def unexpected_response(request: Request, exception: BaseException) -> Response:
    """Return the response for an unforeseen failure: a full disk and what ran out are named; the log has more by id."""
    if _is_full(exception):
        logger.error("the disk is full: %s", str(exception).partition("\n")[0])
        full = DiskFull(
            "the registry has no space left; nothing was stored", hint="tell the administrator of the registry"
        )
        return error_response(request, full)
    if lack := exhausted(exception):
        logger.error("%s: %s %s", lack.message, request.method, request.url.path)
        hint = "try again later, or tell the administrator of the registry"
        return error_response(request, Unreachable(f"the registry ran out of {lack.detail['resource']}", hint=hint))
    id = secrets.token_hex(6)
    logger.error("error %s: %s %s", id, request.method, request.url.path, exc_info=exception)
    hint = "tell the administrator of the registry"
    error = DatapkgError(f"the registry failed; its log says why, under {id}", hint=hint, id=id)
    return error_response(request, error)


def _is_full(exception: BaseException | None) -> bool:
    return any(
        # SQLite's error has a text, and no number of the system.
        getattr(each, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "database or disk is full" in str(each)
        for each in causes(exception, hidden=True)
    )


async def _on_ours(request: Request, error: Exception) -> Response:
    return error_response(request, error) if may_be_sent(error) else unexpected_response(request, error)


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [(_place(each["loc"]), _what(each)) for each in error.errors()[:MAX_PROBLEMS]]
    message = "; ".join(f"{place} {what}" for place, what in problems)
    return error_response(request, InvalidInput(f"invalid request: {message}", problems=problems))


# By pydantic's name of the mistake: pydantic's own texts name Python types, which users of the API do not know.
_WRONG = {
    "bool_parsing": "is not true or false",
    "bool_type": "is not true or false",
    "dict_type": "is not a mapping",
    "extra_forbidden": "is unknown",
    "greater_than_equal": "is less than {ge}",
    "int_from_float": "is not a whole number",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "json_invalid": "is not JSON",
    "less_than_equal": "is more than {le}",
    "list_type": "is not a list",
    "missing": "is missing",
    "model_attributes_type": "is not a mapping",
    "model_type": "is not a mapping",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "string_type": "is not text",
    "too_long": "has more than {max_length} items",
}


def _what(problem: Mapping[str, Any]) -> str:
    words = _WRONG.get(str(problem["type"]), "is not allowed")
    return words.format_map(problem.get("ctx", {})) if "{" in words else words


def _place(parts: tuple[Any, ...]) -> str:
    """Return a place such as `body.hashes[3]`; its names may be foreign text."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{str(part)[:80]}"
    return text.lstrip(".")


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, DatapkgError):  # raised while the body was read
        return error_response(request, error.__cause__)
    return error_response(request, _as_ours(request, error), status=error.status_code, headers=error.headers)


def _as_ours(request: Request, error: HTTPException) -> DatapkgError:
    if error.status_code == 404:
        return NotFound(f"{quoted(request.url.path)} not found", hint="/openapi.json lists the paths")
    if error.status_code == 405:
        return InvalidInput(f"{request.method} is not allowed at {quoted(request.url.path)}")
    if error.status_code == 400:  # FastAPI's error for a body that it could not parse
        return InvalidInput("the body of the request is not JSON, or is nested too deeply")
    return DatapkgError(str(error.detail))
