"""Fetch what will be read soon, in the background."""

from __future__ import annotations

from datapkg.errors import DatapkgError
from datapkg.objects.threads import start
from datapkg.reading.source import Source


class Prefetch:
    """A thread that fetches the objects of a node and of all nodes below it; it ends with the process.

    `done_bytes` of `size_bytes` are on this machine.
    """

    def __init__(self, source: Source, path: str) -> None:
        self.size_bytes = sum(source.manifest.objects(path).values())
        self.done_bytes = 0
        self._source, self._path = source, path
        self._error: DatapkgError | None = None
        self._call = start(self._run)

    def _run(self) -> None:
        try:
            self._source.bring(*self._source.manifest.below(self._path), progress=self._report)
            self.done_bytes = self.size_bytes
        except DatapkgError as error:
            self._error = error

    def _report(self, _: str, done: int, total: int) -> None:
        self.done_bytes = self.size_bytes - total + done

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is here, at most `timeout_s`; return whether it is. Raise the error that stopped it."""
        if timeout_s is None:
            self._call.result()
        is_done = self._call.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return is_done

    def __repr__(self) -> str:
        return f"<Prefetch: {self.done_bytes:,} of {self.size_bytes:,} bytes are on this machine>"
