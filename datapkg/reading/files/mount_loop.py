"""Run libfuse until a mount ends, by unmounting or by a signal."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datapkg.errors import MissingDependency, Refused
from datapkg.objects.threads import start
from datapkg.reading.files.mount import MountedTree
from datapkg.reading.files.mount_points import INSTALL_FUSE, detach

KEPT_S = 86_400  # how long the kernel may cache names and sizes, which never change
GRACE_S = 5.0  # for programs to close their files when a mount ends
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
READS_AT_ONCE = 64  # reads that wait for a registry must not block others
STDERR = 2
FILL_DIR_PLUS = 2  # in libfuse's fuse.h: the attributes of the entry are complete
OPTIONS = {
    "foreground": True,
    "ro": True,
    "default_permissions": True,
    "subtype": "datapkg",
    "kernel_cache": True,
    "attr_timeout": KEPT_S,
    "entry_timeout": KEPT_S,
    "negative_timeout": KEPT_S,
}

Words = queue.SimpleQueue[tuple[str, Any]]  # "ready", "stop" or "ended"; a signal handler may put one at any moment


def library() -> Any:
    """Return mfusepy; raise `MissingDependency` if it, or libfuse, is not installed."""
    try:
        import mfusepy
    except ImportError as error:
        line = "pip install mfusepy"
        raise MissingDependency(f"mfusepy is not installed; type: {line}", hint=line) from error
    except (OSError, AttributeError) as error:
        raise MissingDependency(
            f"mounting takes libfuse, which is not installed: {error}", hint=INSTALL_FUSE
        ) from error
    return mfusepy


def run(shown: MountedTree, folder: Path, options: dict[str, Any], ready: Callable[[], None]) -> bool:
    """Mount and serve; call `ready` once programs can read. Return false if files were still open at the end.

    libfuse runs in another thread, so that this one handles signals whatever a read waits for. Raise `Refused` if the
    system does not mount anything.
    """
    words: Words = queue.SimpleQueue()
    shown.ready = lambda: words.put(("ready", None))
    fuse = library()
    # libfuse has this option since 3.12, and refuses to mount with options that it does not know.
    if (fuse.fuse_version_major, fuse.fuse_version_minor) >= (3, 12):
        options = {**options, "max_threads": READS_AT_ONCE}
    arguments = (fuse, shown, folder, {**OPTIONS, **options}, words)
    with _signals(words):
        with _kept_stderr() as output:
            start(_answer, *arguments)
            is_stopped = False
            while (word := words.get())[0] == "stop":  # a signal before the mount began
                is_stopped = True
        if is_stopped:
            words.put(("stop", None))
        if word[0] == "ended":
            raise _refused(folder, output() or str(word[1]))
        try:
            ready()
        except BaseException:
            words.put(("stop", None))
            _until_ended(folder, words)
            raise
        return _until_ended(folder, words)


def _answer(library: Any, shown: MountedTree, folder: Path, options: dict[str, Any], words: Words) -> None:
    """Run the mount from beginning to end, in a thread."""
    error: BaseException | None = None
    try:
        _with_sizes(library)(shown, str(folder), **options)
    except BaseException as failure:  # noqa: BLE001 (the thread that waits must hear of any end)
        error = failure
    words.put(("ended", error))


def _with_sizes(library: Any) -> Any:
    """Return mfusepy's `FUSE` with larger requests, and listings that include sizes and times.

    So `ls -l` makes one request, not one a file.
    """

    class Fuse(library.FUSE):
        def _init(self, connection: Any, config: Any) -> None:
            if connection:
                connection.contents.max_background = READS_AT_ONCE
            super()._init(connection, config)

        def readdir_fuse_3(self, path: bytes, buffer: Any, fill: Any, offset: int, file: Any, flags: int) -> int:
            status = library.c_stat()
            for name, values, _ in self.operations.readdir(path.decode(self.encoding, self.errors), file.contents.fh):
                library.ctypes.memset(library.ctypes.byref(status), 0, library.ctypes.sizeof(status))
                library.set_st_attrs(status, values, use_ns=True)
                if fill(buffer, name.encode(), status, 0, FILL_DIR_PLUS):
                    break
            return 0

    return Fuse


def _until_ended(folder: Path, words: Words) -> bool:
    """Wait; on the first signal, unmount and give programs time to close their files."""
    word, _ = words.get()
    if word == "ended":
        return True
    detach(folder, even_if_busy=True)
    with contextlib.suppress(queue.Empty):
        word, _ = words.get(timeout=GRACE_S)
    return word == "ended"


def _refused(folder: Path, reason: str) -> Refused:
    hint = "a container needs: docker run --device /dev/fuse --cap-add SYS_ADMIN …"
    return Refused(f"{folder} could not be mounted: {reason}", hint=hint)


@contextlib.contextmanager
def _signals(words: Words) -> Iterator[None]:
    """Put signals that end a program into the queue; libfuse keeps handlers that are not the default."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [each for each in SIGNALS if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]  # nohup
    before = {each: signal.signal(each, lambda *_: words.put(("stop", None))) for each in heard}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _kept_stderr() -> Iterator[Callable[[], str]]:
    """Capture what libfuse and fusermount3 write at the start; return a function that reports it afterwards."""
    texts: list[str] = []
    with tempfile.TemporaryFile() as file:
        try:
            own = os.dup(STDERR)
        except OSError:  # already closed
            yield str
            return
        os.dup2(file.fileno(), STDERR)
        try:
            yield lambda: " ".join(texts)
        finally:
            os.dup2(own, STDERR)
            os.close(own)
            file.seek(0)
            texts += file.read().decode(errors="replace").splitlines()
