"""Watch: a folder synced again whenever something in it changes, for as long as the caller asks for the next round."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
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
    """Seconds: between two looks, that a file must have been left alone, and at most between two tries.

    At more files than `many_files` looks are rarer in proportion, so that waiting costs little.
    """

    poll_s: float = 1.0
    settle_s: float = 1.0
    longest_s: float = 60.0
    many_files: int = 5_000


@dataclass(frozen=True)
class Round:
    """What a round came to: what was synced, or the error, and in how many seconds it is tried again (0: when
    something changes).
    """

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
    """Syncs a folder, then again after each change, without an end; gives the first round and those that did something.

    A file that is still being written waits for a later round, others do not wait for it. What may pass, a registry
    that is away or a race that was lost, is tried again after longer and longer; any other error ends the first round,
    and is given in later ones.
    """
    seen: Look | None = None
    delay_s, gone = 0.0, ""
    while True:
        try:
            now, busy = _settled(folder, seen, pace, wait)
        except DatapkgError as error:  # the folder is away
            if seen is None:
                raise
            if gone != error.message:
                yield Round(error=error)
            gone = error.message
            wait(pace.poll_s)
            continue
        gone = ""
        if seen is not None and not changed_paths(seen, now) - busy:
            wait(pace.poll_s * max(1.0, len(now) / pace.many_files))
            continue
        with progress() as tell:
            done = _attempt(home, folder, ref, options, busy=busy, progress=tell)
        if done.error is not None and _may_pass(done.error):
            delay_s = min(delay_s * 2 or pace.poll_s, pace.longest_s)
            yield Round(error=done.error, again_s=delay_s)
            wait(delay_s)
            continue
        if done.error is not None and seen is None:
            raise done.error
        if done.error is not None and not folder.is_dir():  # it went away just now, which the next look tells
            continue
        if done.error is not None or done.synced or seen is None:
            yield done
        seen = {path: stamp for path, stamp in now.items() if path not in busy}
        delay_s = 0.0


def _attempt(
    home: Home, folder: Path, ref: Ref, options: SyncOptions, *, busy: Collection[Path], progress: Progress
) -> Round:
    try:
        return Round(sync(home, folder, ref, options, busy=busy, progress=progress))
    except DatapkgError as error:
        return Round(error=error)


def _may_pass(error: DatapkgError) -> bool:
    """Whether the same may succeed later: a registry was away, or somebody else pushed in the same moment."""
    return isinstance(error, Unreachable) or (isinstance(error, Conflict) and "theirs" in error.detail)


def _settled(
    folder: Path, before: Look | None, pace: PollInterval, wait: Callable[[float], None]
) -> tuple[Look, set[Path]]:
    """What the files look like, and those of them that are being written: that changed while this looked twice."""
    now = read_stamps(folder)
    since_ns = time.time_ns() - int(pace.settle_s * 1e9)
    if any(is_recently_changed(now, path, since_ns) for path in now) if before is None else changed_paths(before, now):
        wait(pace.settle_s)
        again = read_stamps(folder)
        return again, changed_paths(now, again)
    return now, set()
