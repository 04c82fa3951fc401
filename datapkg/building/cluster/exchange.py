"""Where tasks on a cluster find their inputs and leave their outputs: the store itself, or a location of objects.

What travels through the scheduler are descriptions and hashes. Workers that see the store's folder, as on one machine
or on a shared file system, use it as it is; others use a folder or a bucket that both sides reach.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import cast
from urllib.parse import urlsplit

from datapkg.building.cluster.package_objects import PackagePlace
from datapkg.errors import BuildFailed, InvalidInput
from datapkg.format.texts import quoted
from datapkg.format.urls import BUCKETS
from datapkg.home import Home
from datapkg.objects.base import Objects
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.files import temp_path, write_atomic
from datapkg.store.index import Index
from datapkg.store.store import Store

# A store keeps one batch open, and a worker may run tasks in several threads.
_opened = threading.local()


@dataclass(frozen=True)
class Exchange:
    """The store in `folder`, or else what is at `url` or in the run cache of a `package`; `name` tells builds apart.

    `mark` is a file of the store that exists during the build, by which workers tell that their folder is the same one.
    `index` is used on the machine called `host` only.
    """

    name: str
    url: str = ""
    package: PackagePlace | None = None
    folder: str = ""
    mark: str = ""
    shared: tuple[str, ...] = ()
    index: str = ""
    host: str = ""

    def is_seen(self) -> bool:
        """Return whether this process sees the store."""
        with contextlib.suppress(OSError):
            return Path(self.folder, "tmp", self.mark).read_text() == self.name
        return False

    @property
    def is_here(self) -> bool:
        """Whether this is the machine on which the build was started."""
        return self.host == socket.gethostname()

    def opened(self, local: Path) -> Site:
        """Return what this thread has open of it; `local` is a folder of this process."""
        if (known := getattr(_opened, "site", None)) is None or known[0] != self:
            local = local / threading.current_thread().name.replace("/", "-")
            known = _opened.site = (self, self._open(local))
        site: Site = known[1]
        return site

    def _open(self, local: Path) -> Site:
        if self.package is not None:
            local.mkdir(parents=True, exist_ok=True)
            # A task neither lists nor deletes objects.
            return Site(cast(Objects, self.package.opened(Home())), local)
        if self.url:
            local.mkdir(parents=True, exist_ok=True)
            return Site(open_location(self.url, local), local)
        if not self.is_seen():
            raise BuildFailed(f"the worker on {socket.gethostname()} does not see the store of the build")
        # SQLite's write-ahead log does not work on network file systems, so other machines get an index of their own.
        index = Path(self.index) if self.is_here else local / "index.db"
        store = Store(Path(self.folder), Index(index), shared=[Path(each) for each in self.shared])
        return Site(store.objects, store.tmp, store)


@dataclass(frozen=True)
class Site:
    """The objects of an exchange, open, and a folder for temporary files."""

    objects: Objects
    tmp: Path
    store: Store | None = None

    def writing(self) -> AbstractContextManager[None]:
        """Hold the lock that keeps others from freeing what is written."""
        return self.store.writing() if self.store else nullcontext()


def open_location(url: str, tmp: Path) -> CloudObjects:
    """Return the objects at the URL of a folder or a bucket; raise `InvalidInput` for another URL."""
    if urlsplit(url).scheme not in ("file", *BUCKETS):
        known = ", ".join(f"{each}://" for each in ("file", *BUCKETS))
        what = (
            f"{quoted(url)} cannot hold the objects of a build: expected a URL with one of {known}, or a package of a "
            "registry, such as me/exchange"
        )
        path = PurePosixPath(url)
        raise InvalidInput(
            what, hint=f"--objects {quote(path.as_uri()) if path.is_absolute() else 'file:///shared/folder'}"
        )
    from datapkg.remote.static.opening import open_blobs  # it loads what talks to a registry

    return CloudObjects(open_blobs(url), tmp)


@contextmanager
def marked(store: Store, name: str) -> Iterator[str]:
    """Keep a file in the store, by which a worker can tell that it sees the same store; yield its name."""
    path = temp_path(store.tmp, "cluster")
    write_atomic(path, name.encode(), store.tmp)
    try:
        yield path.name
    finally:
        path.unlink(missing_ok=True)
