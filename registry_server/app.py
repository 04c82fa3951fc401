"""The wiring of a registry: the app for given settings, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import ctypes.util
import gc
import logging
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.telemetry import TelemetryConfig
from filelock import FileLock, Timeout
from starlette.types import ASGIApp, Message, Scope

from datapkg import __version__
from datapkg.errors import Conflict
from registry_server.services import sweep, wheels
from registry_server.services.index_pages import NewestPages
from registry_server.services.policy import THE_OPERATOR
from registry_server.services.registry import Registry, open_registry
from registry_server.settings import Settings
from registry_server.web import (
    accounts,
    client,
    objects,
    packages,
    pages,
    pushes,
    run_cache,
    sharing,
    simple,
    tags_versions,
)
from registry_server.web.concurrency_limits import Makers, Slots
from registry_server.web.errors import install
from registry_server.web.logs import LineFormatter
from registry_server.web.middleware import RegistryMiddleware
from registry_server.web.protocol import TimedConnection
from registry_server.web.rendering import STATIC

logger = logging.getLogger(__name__)
# The operating system releases the lock when the process ends, even if it is killed.
LOCK_FILE = "serve.lock"
# FastAPI can export traces of requests; a registry must not send them anywhere.
SILENT: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8  # as malloc.h has them
# Each arena keeps freed memory: with one per thread, 600 readers left hundreds of MB allocated.
_MALLOC = ((M_MMAP_THRESHOLD, 4 << 20), (M_TRIM_THRESHOLD, 16 << 20), (M_TOP_PAD, 4 << 20), (M_ARENA_MAX, 2))
KEEP_ALIVE_S = 75
SHUTDOWN_S = 5  # for requests to end after SIGTERM; clients retry those that do not


def create_app(settings: Settings) -> FastAPI:
    """Return the ASGI app of a registry with these settings."""
    registry = open_registry(settings, create=True)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        is_ending = threading.Event()
        sweeper = asyncio.create_task(_sweep(registry, is_ending))
        yield
        is_ending.set()
        sweeper.cancel()
        await asyncio.wait([sweeper])
        registry.close()

    app = FastAPI(
        title="datapkg registry",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry=SILENT,
    )
    app.state.registry = registry
    app.state.uploads = Slots(settings.max_uploads, settings.slot_wait_s)
    waits = settings.slot_wait_s, settings.body_timeout_s
    app.state.searches = Makers(packages.SEARCHES_AT_ONCE, *waits)
    app.state.maps = Makers(objects.MAPS_AT_ONCE, *waits)
    app.state.pages = Makers(pages.PAGES_AT_ONCE, *waits, keep=pages.KEPT_PAGES)
    app.state.index_makers = Makers(simple.PAGES_AT_ONCE, *waits)
    app.state.index_pages = NewestPages(simple.KEPT_PAGES)
    app.add_middleware(RegistryMiddleware, settings=settings)
    install(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for room in (accounts, packages, tags_versions, sharing, pushes, run_cache, objects, client, simple, pages):
        app.include_router(room.router)
    return app


async def _sweep(registry: Registry, is_ending: threading.Event) -> None:
    await _build_wheels(registry, is_ending)
    pause_s = registry.settings.sweep_every_s
    while pause_s:
        try:
            await anyio.to_thread.run_sync(sweep.sweep, registry, THE_OPERATOR, is_ending.is_set)
        except Conflict:  # another process sweeps, such as a command of the operator
            pass
        except Exception as error:  # noqa: BLE001 - such as a full disk; the next sweep may succeed
            logger.error("the sweep stopped early: %s; the next one starts in %d seconds", error, pause_s)
        await asyncio.sleep(pause_s)


async def _build_wheels(registry: Registry, is_ending: threading.Event) -> None:
    """Build the wheels that an earlier version of this program did not; where that ends early, an index page does."""
    try:
        await anyio.to_thread.run_sync(wheels.build_all_missing, registry, is_ending.is_set)
    except Exception as error:  # noqa: BLE001 - such as a full disk
        logger.error("not all wheels of earlier states could be built: %s", error)


def serve(settings: Settings, announce: Callable[[Settings, bool], None]) -> None:
    """Serve until stopped by a signal.

    Once requests are accepted, call `announce` with the settings, which have the actual port, and whether the registry
    is new. Raise `InvalidInput` or `Conflict` if it cannot start.
    """
    with _alone(settings.data), _listen(settings) as listener:
        _allow_files()
        _keep_buffers()
        settings = settings.at(listener.getsockname()[1])
        app = create_app(settings)
        _run(app, listener, lambda: announce(settings, app.state.registry.created))


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Hold the data folder for one process, whose memory has the uploads in progress; raise `Conflict` for a second."""
    with contextlib.suppress(OSError):  # `open_registry` reports what is wrong with the folder
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not data.is_dir():
        yield
        return
    lock = FileLock(data / LOCK_FILE, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Conflict(
            f"another process serves the registry of {data}", hint="datapkg-registry serve --data ANOTHER_FOLDER"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(app: FastAPI, listener: socket.socket, announce: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        http=partial(TimedConnection, timeout_s=app.state.registry.settings.body_timeout_s),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    # uvicorn raises the signal that stopped it again when it is done: stopping a server is not a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    _Server(config, announce).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that calls `announce` when it accepts requests."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await load_routes(self.config.loaded_app)
        # What exists now stays: the collector need not look at it whenever a request has made many objects.
        gc.collect()
        gc.freeze()
        if self.started:
            self._announce()


async def load_routes(app: ASGIApp) -> None:
    """Ask for what does not exist, so that no user waits for it: FastAPI builds all routes at the first request."""
    address = {"path": "/api/", "raw_path": b"/api/", "root_path": "", "query_string": b"", "scheme": "http"}
    common: Scope = {"type": "http", "http_version": "1.1", "headers": [], "client": None, "server": None}

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        pass

    await app({**common, **address, "method": "GET"}, receive, send)


def _allow_files() -> None:
    """Raise the limit of open files as far as the system allows: each connection and pack holds one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _keep_buffers() -> None:
    """Let the C library keep freed buffers of a few MiB instead of returning each to the system (mallopt(3)).

    Bodies are handled in pieces of 256 KiB to 1 MiB; allocating each one anew took half of the time of an upload.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(ctypes.util.find_library("c")).mallopt
        for parameter, value in _MALLOC:
            mallopt(parameter, value)


def _listen(settings: Settings) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = _addresses(settings)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        if listener:
            listener.close()
        raise Conflict(
            f"cannot listen on {settings.host}, port {settings.port}: {getattr(error, 'strerror', None) or error}",
            hint="choose another address with --host and --port; --port 0 takes a free port",
        ) from error
    listener.setblocking(False)
    return listener


def _addresses(settings: Settings) -> list[Any]:
    return socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
