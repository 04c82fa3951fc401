"""What a worker of a cluster does: read a source, or run a stage, with objects that it finds and leaves by hash.

A task has hashes and a description, and its result has hashes and small facts. The same task may run twice, when a
worker is lost: what it stores is named by its content, and nothing else is written.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from datapkg.building.build_context import BuildContext, HashedResult, PreviousState
from datapkg.building.cache import TaskCache
from datapkg.building.cluster.allocator import keeping_memory
from datapkg.building.cluster.exchange import Exchange, Site
from datapkg.building.cluster.resources import held_gpus
from datapkg.building.node_builder import import_libraries, read_hashed, read_value
from datapkg.building.sources.base import Identity, TakenNodes
from datapkg.building.sources.file import open_source, stamp_of
from datapkg.building.spec.model import FileSource, NodeSpec, Stage
from datapkg.building.stages.inputs import NodesInput, PathInput
from datapkg.building.stages.process import Processes
from datapkg.building.stages.run import Workplace, run_stage
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput, NotFound
from datapkg.format.hashing import copy_hashed, mismatch
from datapkg.format.manifest.parsed import Manifest, TableNode
from datapkg.format.texts import quoted
from datapkg.objects.base import Readable
from datapkg.objects.files import remove_tree, temp_path
from datapkg.settings import UserSettings

TAIL_BYTES = 64 << 10
"""How much of the log of a stage comes back from another machine."""

_running: dict[str, set[Processes]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class ReadTask:
    """A source to read: a file if there is no `identity`.

    With a `stamp` (`stamp_of`), the file is read where it is, and hashed meanwhile if its `hash` is "". Elsewhere the
    object of this `hash` has its bytes. `given` are entries of the cache, `before` the tables of the state before at
    the node's path and below.
    """

    spec: NodeSpec
    package: str
    exchange: Exchange
    identity: Identity | None = None
    hash: str = ""
    stamp: tuple[int, int, int] | None = None
    given: Mapping[str, bytes] = field(default_factory=dict)
    before: bytes = b"[]"

    def run(self, local: Path) -> ReadResult:
        """Read it into the objects of the exchange."""
        site = self.exchange.opened(local)
        cache = TaskCache(self.package, self.given)
        tables = msgspec.json.decode(self.before, type=list[TableNode])
        import_libraries([self.spec])
        with site.writing(), keeping_memory(UserSettings().environ):
            before = PreviousState(Manifest.make(tables) if tables else None, site.objects, cache.claims)
            context = BuildContext(site.objects, cache, _no_secret, _no_package, before)
            with site.objects.batch():
                read = self._read_value(context) if self.identity else self._read_file(context, site)
        return ReadResult(msgspec.json.encode(read.result), read.own, read.hash, cache.added, before.warnings)

    def _read_value(self, context: BuildContext) -> HashedResult:
        assert self.identity is not None
        found = read_value(self.spec, self.identity, context)
        assert not isinstance(found, TakenNodes)
        return HashedResult("", *found)

    def _read_file(self, context: BuildContext, site: Site) -> HashedResult:
        source = self.spec.source
        assert isinstance(source, FileSource)
        if self.stamp is not None:
            with open_source(source.path, source.shown, source.within) as stream:
                if stamp_of(os.fstat(stream.fileno())) != self.stamp:
                    raise BuildFailed(
                        f"{quoted(source.shown)} is another file, or has changed, where a worker reads it"
                    )
                return read_hashed(self.spec, source, stream, context, hash=self.hash)
        folder = temp_path(site.tmp, "source")
        folder.mkdir(parents=True)
        try:
            path = folder / source.path.name
            _copy(site.objects, self.hash, path)
            here = FileSource(path, source.shown, source.file_name)
            with open_source(path, source.shown) as stream:
                return read_hashed(replace(self.spec, source=here), here, stream, context, hash=self.hash)
        finally:
            remove_tree(folder)


def _copy(objects: Readable, hash: str, path: Path) -> None:
    """Write an object to a new file; raise `HashMismatch` for other bytes."""
    with objects.open(hash) as stored, path.open("xb") as file:
        found, _ = copy_hashed(stored, file)
    if found != hash:
        raise mismatch(hash, found)


@dataclass(frozen=True)
class ReadResult:
    """The `TransformResult` of a source as JSON, whether the source alone determined it, the hash of a file, and
    entries for the cache.
    """

    result: bytes
    own: bool
    hash: str
    added: dict[str, bytes]
    warnings: list[str]


@dataclass(frozen=True)
class NodesGiven:
    """An input of a stage that is nodes: the hash of their manifest, its path there, and the form of tables."""

    manifest: str
    path: str
    form: str

    def placed(self, site: Site, folder: Path) -> NodesInput:
        """Return the input."""
        return NodesInput(Manifest.parse(site.objects.read(self.manifest)).nodes, site.objects, self.path, self.form)


@dataclass(frozen=True)
class FilesGiven:
    """Files beside a build file that a worker does not see: paths in a folder and hashes, as a JSON object."""

    files: str
    name: str
    is_folder: bool = True

    def placed(self, site: Site, folder: Path) -> PathInput:
        """Return the input, whose files are written below a folder."""
        self.write(site, folder / self.name)
        return PathSeen(folder / self.name, self.name).placed(site, folder)

    def write(self, site: Site, target: Path) -> None:
        """Write the files below a path, or the only one there."""
        if self.is_folder:
            target.mkdir(parents=True, exist_ok=True)
        for path, hash in msgspec.json.decode(site.objects.read(self.files), type=dict[str, str]).items():
            place = target / path if self.is_folder else target
            place.parent.mkdir(parents=True, exist_ok=True)
            _copy(site.objects, hash, place)


@dataclass(frozen=True)
class PathSeen:
    """A file or folder beside a build file that a worker sees too."""

    path: Path
    shown: str

    def placed(self, site: Site, folder: Path) -> PathInput:
        """Return the input."""
        return PathInput(self.path, self.shown, TaskCache("", {}))


GivenInput = NodesGiven | FilesGiven | PathSeen


@dataclass(frozen=True)
class StageTask:
    """A stage to run in the folder of the build; where that is not seen, in one that has only its `code`.

    `environ` are the variables that the stage names; all others are the worker's. With `takes_gpus`, the GPUs that it
    wants are those of the worker.
    """

    stage: Stage
    exchange: Exchange
    inputs: Mapping[str, GivenInput]
    root: Path
    log: Path
    environ: Mapping[str, str]
    code: FilesGiven | None = None
    takes_gpus: bool = False

    def run(self, local: Path) -> StageFacts:
        """Run it; what it failed with is part of the facts, as its log is."""
        site = self.exchange.opened(local)
        base = temp_path(site.tmp, "stage")
        log = self.log if self.exchange.is_here else base / "log"
        try:
            base.mkdir(parents=True)
            log.parent.mkdir(parents=True, exist_ok=True)
            with site.writing(), _stoppable(self.exchange.name) as processes:
                return self._run(site, base, log, processes)
        finally:
            remove_tree(base)

    def _run(self, site: Site, base: Path, log: Path, processes: Processes) -> StageFacts:
        root, stage = self.root, self.stage
        if self.code is not None:
            root = base / "root"
            self.code.write(site, root)
            stage = _moved(stage, self.root, root)
        (base / "run").mkdir()
        environ = {**UserSettings().environ, **self.environ}
        inputs = {name: each.placed(site, base / "given" / name) for name, each in self.inputs.items()}
        try:
            with held_gpus(stage if self.takes_gpus else None, UserSettings().environ) as gpus:
                place = Workplace(root, base / "run", log, {**environ, **gpus})
                run = run_stage(stage, inputs, place, site.objects, processes)
        except DatapkgError as error:
            return StageFacts(error=error, log=self._tail(log))
        outputs = site.objects.put_bytes(Manifest.make(run.nodes, {}).data)
        return StageFacts(outputs, run.code, run.seconds, None, self._tail(log), run.warnings, run.absent)

    def _tail(self, log: Path) -> bytes:
        """Return the end of a log that the machine of the build does not see."""
        if self.exchange.is_here:
            return b""
        with contextlib.suppress(OSError), log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return file.read()
        return b""


def _moved(stage: Stage, old: Path, new: Path) -> Stage:
    """Return a stage whose code is in another folder."""

    def there(path: Path) -> Path:
        return new / path.absolute().relative_to(old.absolute())

    code = tuple(replace(each, location=there(each.path), within=None) for each in stage.code)
    python = stage.python and replace(stage.python, module=there(stage.python.module))
    return replace(stage, code=code, python=python)


@dataclass(frozen=True)
class StageFacts:
    """What a `StageRun` has, with the hash of the manifest of outputs, or what the run failed with."""

    outputs: str = ""
    code: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: DatapkgError | None = None
    log: bytes = b""
    warnings: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


def run_task(task: ReadTask | StageTask) -> Any:
    """Run a task in a worker."""
    from distributed import get_worker

    return task.run(Path(get_worker().local_directory, "datapkg"))


def stop_stages(name: str) -> None:
    """End the commands that this process runs for a build."""
    with _lock:
        running = list(_running.get(name, ()))
    for processes in running:
        processes.stop()


@contextmanager
def _stoppable(name: str) -> Iterator[Processes]:
    processes = Processes()
    with _lock:
        _running.setdefault(name, set()).add(processes)
    try:
        yield processes
    finally:
        with _lock:
            _running[name].discard(processes)
            if not _running[name]:
                del _running[name]


def _no_secret(name: str) -> str:
    raise InvalidInput(f"{name} is not available to a worker")


def _no_package(ref: object) -> Any:
    raise NotFound(f"{ref} is not available to a worker")
