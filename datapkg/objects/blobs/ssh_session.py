"""A connection over SSH for code that is not asynchronous: asyncssh runs in a thread with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncssh

CONNECT_TIMEOUT_S, KEEPALIVE_S, END_TIMEOUT_S = 15.0, 10.0, 5.0
T = TypeVar("T")


class SshSession:
    """One connection, in a thread with an event loop of its own; it is closed when nobody uses it any more."""

    def __init__(self, host: str, port: int | None, user: str | None) -> None:
        self._loop = asyncio.new_event_loop()
        # A daemon: an open connection must not keep the process from exiting.
        thread = threading.Thread(target=self._loop.run_forever, name="datapkg-ssh", daemon=True)
        thread.start()
        try:
            # asyncssh's own limit ends first, and its error is more precise than a timeout here.
            connection, self._sftp = self._wait(_connected(host, port, user), CONNECT_TIMEOUT_S + 5)
        except BaseException:
            _end(self._loop, thread, None)
            raise
        # The callback must not refer to `self`, or the session would never be collected.
        self.close = weakref.finalize(self, _end, self._loop, thread, connection)

    def run(self, action: Callable[[asyncssh.SFTPClient], Coroutine[Any, Any, T]]) -> T:
        """Return what the action returns, which is called with the SFTP client; raise what it raises."""
        return self._wait(action(self._sftp), None)

    def _wait(self, work: Coroutine[Any, Any, T], timeout_s: float | None) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            # After Ctrl-C here, the coroutine would go on in the other thread.
            future.cancel()
            raise


async def _connected(
    host: str, port: int | None, user: str | None
) -> tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient]:
    import asyncssh

    given: dict[str, Any] = {name: value for name, value in (("port", port), ("username", user)) if value}
    connection = await asyncssh.connect(
        host, connect_timeout=CONNECT_TIMEOUT_S, keepalive_interval=KEEPALIVE_S, keepalive_count_max=3, **given
    )
    return connection, await connection.start_sftp_client()


def _end(
    loop: asyncio.AbstractEventLoop, thread: threading.Thread, connection: asyncssh.SSHClientConnection | None
) -> None:
    """Close a connection and the loop that it is used in."""

    async def close() -> None:
        if connection is not None:
            connection.abort()
            await connection.wait_closed()
        # asyncio warns about tasks that are pending when their loop is closed.
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    with contextlib.suppress(TimeoutError):
        asyncio.run_coroutine_threadsafe(close(), loop).result(END_TIMEOUT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(END_TIMEOUT_S)
    # Closing a loop that is still running raises.
    if not thread.is_alive():
        loop.close()
