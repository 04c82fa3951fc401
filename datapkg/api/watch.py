"""Watch: sync a folder again after each change, for as long as the caller requests the next round.

Changes are found by polling names, sizes and times, which needs no library and works on network file systems. The more
files there are, the less often it polls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from datapkg.api.results import SyncResult
from datapkg.api.sync import SyncOptions, sync
from datapkg.building.folder_stamps import Look, changed_paths, is_recently_changed, read_stamps
from datapkg.errors import Conflict, DatapkgError, Unreachable
from datapkg.format.names import Ref
from datapkg.home import Home
from datapkg.objects.progress import Progress, silent


@dataclass(frozen=True)
class PollInterval:
    """Seconds between two polls, without change before a file counts as complete, and at most between two retries.

    With more files than `many_files`, polls become rarer in proportion, so that waiting stays cheap.
    """

    poll_s: float = 1.0
    settle_s: float = 1.0
    longest_s: float = 60.0
    many_files: int = 5_000


@dataclass(frozen=True)
class Round:
    """The result of a round, or its error and the seconds until the retry (0: when something changes)."""

    synced: SyncResult | None = None
    error: DatapkgError | None = None
    again_s: float = 0.0


def watch(
    home: Home,
    folder: Path,
    ref: Ref,
    options: SyncOptions,
    *,
    pace: PollInterval = PollInterval(),
    wait: Callable[[float], None] = time.sleep,
    progress: Callable[[], AbstractContextManager[Progress]] = lambda: nullcontext(silent),
) -> Iterator[Round]:
    """Sync a folder, then again after each change, without end; yield the first round and those that did something.

    A file that is still being written waits for a later round. If the registry is down, or somebody else pushed at the
    same time, the round is retried with growing delays; other errors are raised in the first round, and yielded later.
    """
    seen: Look | None = None
    delay_s, gone = 0.0, ""
    while True:
        try:
            now, busy = _next_change(folder, seen, pace, wait, gone)
        except DatapkgError as error:  # the folder is missing
            if seen is None:
                raise
            gone = error.message
            yield Round(error=error)
            continue
        gone = ""
        # The time limit of a command holds for each round, not for the whole watch.
        home.begin_command()
        done = _attempt(home, folder, ref, options, busy=busy, progress=progress)
        if done.error is not None and _may_pass(done.error):
            delay_s = min(delay_s * 2 or pace.poll_s, pace.longest_s)
            yield replace(done, again_s=delay_s)
            wait(delay_s)
            continue
        if done.error is not None and seen is None:
            raise done.error
        if done.error is not None and not folder.is_dir():  # it was removed just now, which the next poll reports
            continue
        if done.error is not None or done.synced or seen is None:
            yield done
        # Without the busy files, so that the next poll finds them changed.
        seen, delay_s = {path: stamp for path, stamp in now.items() if path not in busy}, 0.0


def _attempt(
    home: Home,
    folder: Path,
    ref: Ref,
    options: SyncOptions,
    *,
    busy: Collection[Path],
    progress: Callable[[], AbstractContextManager[Progress]],
) -> Round:
    try:
        with progress() as report_progress:
            return Round(sync(home, folder, ref, options, busy=busy, progress=report_progress))
    except DatapkgError as error:
        return Round(error=error)


def _may_pass(error: DatapkgError) -> bool:
    """Return whether a retry may succeed: the registry was down, or somebody else pushed at the same time."""
    return isinstance(error, Unreachable) or (isinstance(error, Conflict) and "theirs" in error.detail)


def _next_change(
    folder: Path, seen: Look | None, pace: PollInterval, wait: Callable[[float], None], gone: str
) -> tuple[Look, set[Path]]:
    """Wait until files differ from those `seen`; return the current stamps, and the files that are being written.

    Raise the error of a missing folder, unless it equals the one that was reported last, `gone`.
    """
    while True:
        try:
            now, busy = _settled(folder, seen, pace, wait)
        except DatapkgError as error:
            if error.message != gone:
                raise
            wait(pace.poll_s)
            continue
        gone = ""
        if seen is None or changed_paths(seen, now) - busy:
            return now, busy
        wait(pace.poll_s * max(1.0, len(now) / pace.many_files))


def _settled(
    folder: Path, before: Look | None, pace: PollInterval, wait: Callable[[float], None]
) -> tuple[Look, set[Path]]:
    """Return the stamps of the files, and the files that changed between two polls and are still being written."""
    now = read_stamps(folder)
    since_ns = time.time_ns() - int(pace.settle_s * 1e9)
    if any(is_recently_changed(now, path, since_ns) for path in now) if before is None else changed_paths(before, now):
        wait(pace.settle_s)
        again = read_stamps(folder)
        return again, changed_paths(now, again)
    return now, set()
