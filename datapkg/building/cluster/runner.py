"""Run the transforms and stages of a build on a cluster.

Dask decides where and when, and runs again what a lost worker ran. A thread of the build waits for each task.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec

from datapkg.building.build_context import BuildContext, HashedResult
from datapkg.building.cache import TransformResult
from datapkg.building.cluster.connection import LOCAL, Cluster, check_address, connected
from datapkg.building.cluster.exchange import Exchange, marked, open_location
from datapkg.building.cluster.package_objects import PackageObjects, PackagePlace
from datapkg.building.cluster.resources import check_placeable, declared_names, wanted_of
from datapkg.building.cluster.tasks import (
    FilesGiven,
    GivenInput,
    NodesGiven,
    PathSeen,
    ReadResult,
    ReadTask,
    StageFacts,
    StageTask,
)
from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.base import Identity
from datapkg.building.sources.file import open_source, put_file, stamp_of
from datapkg.building.sources.function import source_files
from datapkg.building.spec.model import FileSource, FilesSource, NodeSpec, PythonSource, Stage
from datapkg.building.stages.capacity import VISIBLE_GPUS, Machine, cluster_of
from datapkg.building.stages.identity import code_files
from datapkg.building.stages.inputs import Input, NodesInput
from datapkg.building.stages.process import Processes
from datapkg.building.stages.run import StageRun, Workplace, log_hint
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.texts import quoted
from datapkg.home import Home
from datapkg.objects.base import Objects, Readable, Writable
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.transfer import plan, transfer
from datapkg.store.store import Store

TASK_BYTES = 1 << 20
"""Smaller files are read here, in about the time that a task adds or less: `benchmarks/cluster.py` measures both."""


@dataclass(frozen=True)
class ClusterPlan:
    """What a build runs `on`, the place through which its `objects` move if workers do not see the store (the URL of a
    folder or a bucket, or a package, "" for none), and `workers`, the number of processes of a cluster on this machine.
    """

    on: str
    objects: str | PackagePlace
    workers: int


@contextmanager
def cluster_runner(planned: ClusterPlan, home: Home, root: Path | None) -> Iterator[ClusterRunner]:
    """Yield a runner on a cluster, which is contacted or started for the first task; `root` is the folder of the build.

    Raise `InvalidInput` for a plan that no cluster can have, `MissingDependency`. The first task raises as `connected`
    does, and `InvalidInput` if workers see neither the store nor another place of objects.
    """
    home.store.prepare()
    place = planned.objects
    location = open_location(place, home.store.tmp) if place and isinstance(place, str) else place or None
    check_address(planned.on)
    with contextlib.ExitStack() as stack:
        yield ClusterRunner(lambda: stack.enter_context(_opened(planned, home, root)), planned, home, location)


@contextmanager
def _opened(planned: ClusterPlan, home: Home, root: Path | None) -> Iterator[tuple[Cluster, Exchange]]:
    name, store, place = uuid.uuid4().hex, home.store, planned.objects
    with connected(planned.on, name, planned.workers) as cluster, marked(store, name) as mark:
        exchange = Exchange(
            name,
            folder=str(store.folder.absolute()),
            mark=mark,
            shared=tuple(str(each) for each in store.shared),
            index=str(store.index_path.absolute()),
            host=socket.gethostname(),
        )
        if isinstance(place, PackagePlace):
            _check_reached(place, cluster)
            exchange = Exchange(name, package=place, host=exchange.host)
        elif place:
            exchange = Exchange(name, place, host=exchange.host)
        elif blind := [key for key, sees in cluster.call_all(_sees, exchange, _folder_state(root)).items() if not sees]:
            raise InvalidInput(
                f"worker {blind[0]} does not see the store in {store.folder} and the folder that is built",
                hint="use a place that the workers can reach: --objects s3://BUCKET/PREFIX",
            )
        yield cluster, exchange


def _check_reached(place: PackagePlace, cluster: Cluster) -> None:
    """Raise `InvalidInput` unless all workers may write to a package."""
    for worker, problem in cluster.call_all(_problem_with, place).items():
        if problem:
            raise InvalidInput(
                f"worker {worker} cannot move objects through {place.package} at {place.registry}: {problem}",
                hint="set DATAPKG_REGISTRY and DATAPKG_TOKEN in the environment of the workers",
            )


def _problem_with(place: PackagePlace) -> str:
    return place.problem(Home())


def _folder_state(root: Path | None) -> tuple[str, int, int] | None:
    """Return a folder and what tells it from one of the same path on another machine."""
    if root is None:
        return None
    status = os.stat(root)
    return str(root.absolute()), status.st_ino, status.st_mtime_ns


def _sees(exchange: Exchange, folder: tuple[str, int, int] | None) -> bool:
    """Return whether this process, a worker, sees the store and the folder of a build."""
    with contextlib.suppress(OSError):
        return exchange.is_seen() and (folder is None or _folder_state(Path(folder[0])) == folder)
    return False


class ClusterRunner:
    """A `TaskRunner` and a `RunStage` on a cluster, which `connect` returns when it is needed.

    `location` is given where workers do not see the store; a package is opened with the cluster. `is_here` tells a
    cluster of this machine alone, whose resources the build divides as without one.
    """

    def __init__(
        self,
        connect: Callable[[], tuple[Cluster, Exchange]],
        planned: ClusterPlan,
        home: Home,
        location: CloudObjects | PackagePlace | None,
    ) -> None:
        self.is_here = planned.on == LOCAL
        self._declared: set[str] = set()
        self._connect, self._home, self._store, self._location = connect, home, home.store, location

    @cached_property
    def _connected(self) -> tuple[Cluster, Exchange]:
        self._place  # noqa: B018 - what is wrong with it is raised before a cluster is started
        return self._connect()

    @cached_property
    def _place(self) -> CloudObjects | PackageObjects | None:
        return self._location.opened(self._home) if isinstance(self._location, PackagePlace) else self._location

    @property
    def _cluster(self) -> Cluster:
        return self._connected[0]

    @property
    def _exchange(self) -> Exchange:
        return self._connected[1]

    @property
    def slots(self) -> int:
        # More than run at once, so that no worker waits for the next task.
        return 2 * self._cluster.slots

    def machine(self, stages: Sequence[Stage], jobs: int = 0) -> Machine:
        """Return how many stages may run at once, `jobs` at most; raise `InvalidInput` for one that no worker can run.

        Dask places each by what its workers declare.
        """
        workers = self._cluster.workers()
        check_placeable(stages, workers)
        self._declared = declared_names(workers)
        return cluster_of(jobs or self.slots)

    def takes(self, spec: NodeSpec, size: int | None) -> bool:
        """Return whether a source is read on the cluster: functions and many files as one only if workers see them."""
        if isinstance(spec.source, FileSource):
            return TRANSFORMS[spec.transform].kind != "file" and (size is None or size >= TASK_BYTES)
        return self._location is None and isinstance(spec.source, FilesSource | PythonSource)

    def read_source(
        self, spec: NodeSpec, source: FileSource, status: os.stat_result, hash: str, context: BuildContext
    ) -> HashedResult:
        """Read a file on the cluster; a worker that sees it hashes it too."""
        task = replace(self._read_task(spec, context), hash=hash)
        if self._place is None:
            here = replace(source, location=source.path.absolute())
            task = replace(task, spec=replace(task.spec, source=here), stamp=stamp_of(status))
        else:
            task = replace(task, hash=self._sent(source, status, hash, self._place.writer()))
        return self._read(task, context)

    def _sent(self, source: FileSource, status: os.stat_result, hash: str, target: Writable) -> str:
        """Leave the bytes of a file where workers find them; return their hash."""
        with open_source(source.path, source.shown, source.within) as stream:
            if stamp_of(os.fstat(stream.fileno())) != stamp_of(status):
                raise BuildFailed(f"{quoted(source.shown)} changed before it was read", path=source.shown)
            return hash if hash and not target.missing([hash]) else target.put(stream, hash or None)

    def read_value(self, spec: NodeSpec, identity: Identity, context: BuildContext) -> tuple[TransformResult, bool]:
        """Read a source of several files, or of a function, on the cluster."""
        read = self._read(replace(self._read_task(spec, context), identity=identity), context)
        return read.result, read.own

    def _read_task(self, spec: NodeSpec, context: BuildContext) -> ReadTask:
        before = list(context.previous.tables_below(spec.path))
        given = context.cache.portable(spec, [table.content for table in before])
        # Metadata and checks are added by the build; a worker does not need them to read a source.
        bare = replace(spec, meta={}, checks=())
        return ReadTask(bare, context.cache.package, self._exchange, given=given, before=msgspec.json.encode(before))

    def _read(self, task: ReadTask, context: BuildContext) -> HashedResult:
        found: ReadResult = self._cluster.run(task, task.spec.path)
        result = msgspec.json.decode(found.result, type=TransformResult)
        self._bring({hash: size for node in result.nodes for hash, size in node.objects()}, task.spec.path)
        context.cache.add(found.added)
        context.previous.warnings += [each for each in found.warnings if each not in context.previous.warnings]
        return HashedResult(found.hash, result, found.own)

    def _bring(self, sizes: Mapping[str, int], what: str) -> None:
        """Take the objects of a result into the store; raise `BuildFailed` for what is not where it should be."""
        objects = self._store.objects
        if self._place is not None:
            transfer(self._place, objects, plan(sizes, objects))
        elif absent := objects.missing(sizes):
            raise BuildFailed(f"{what}: a worker did not leave object {min(absent)} in the store")

    def run_stage(
        self, stage: Stage, inputs: Mapping[str, Input], place: Workplace, objects: Objects, processes: Processes
    ) -> StageRun:
        """Run a stage on the cluster, and store its outputs."""
        given = {name: self._given(each) for name, each in inputs.items()}
        given_gpus = (VISIBLE_GPUS,) if self.is_here and stage.resources.gpu else ()
        environ = {name: place.environ[name] for name in (*stage.env, *given_gpus) if name in place.environ}
        code = None
        if self._place is not None:
            code = FilesGiven(self._put_files(_code(stage, place.root)), "root")
        task = StageTask(
            stage, self._exchange, given, place.root.absolute(), place.log, environ, code, not self.is_here
        )
        what = f"stage {stage.name}"
        resources = {} if self.is_here else wanted_of(stage, self._declared)
        facts: StageFacts = self._cluster.run(task, what, lambda: processes.is_stopped, resources)
        if facts.log:
            place.log.write_bytes(facts.log)
        if facts.error is not None:
            raise _with_log(facts.error, place.log)
        self._bring_outputs(facts.outputs, what)
        nodes = list(Manifest.parse(self._store.objects.read(facts.outputs)).nodes)
        return StageRun(nodes, facts.code, facts.seconds, facts.warnings, facts.absent)

    def _bring_outputs(self, manifest: str, what: str) -> None:
        where: Readable = self._store.objects if self._place is None else self._place
        data = where.read(manifest)
        nodes = Manifest.parse(data, manifest).nodes
        self._bring({hash: size for node in nodes for hash, size in node.objects()} | {manifest: len(data)}, what)

    def _given(self, given: Input) -> GivenInput:
        if isinstance(given, NodesInput):
            return self._given_nodes(given)
        if self._place is None:
            return PathSeen(given.path.absolute(), given.shown)
        files = [(name or given.path.name, file) for name, file in given.files()]
        return FilesGiven(self._put_files(files), given.path.name, given.path.is_dir())

    def _given_nodes(self, given: NodesInput) -> NodesGiven:
        """Leave nodes where workers find them."""
        target = self._target()
        sizes = {hash: size for node in given.nodes for hash, size in node.objects()}
        transfer(given.objects, target, plan(sizes, target))
        return NodesGiven(target.put_bytes(Manifest.make(given.nodes, {}).data), given.path, given.form)

    def _target(self) -> Writable:
        """Return where workers find what is put, with batches of its own: one of another thread would hide it."""
        if self._place is not None:
            return self._place.writer()
        return Store(self._store.folder, self._store.objects.index, shared=self._store.shared).objects

    def _put_files(self, files: Iterable[tuple[str, FileSource]]) -> str:
        """Store files for workers; return the hash of their list."""
        hashes, target = {}, self._target()
        with target.batch():
            for shown, each in files:
                with open_source(each.path, each.shown) as stream:
                    hashes[shown], _ = put_file(stream, target)
            return target.put_bytes(msgspec.json.encode(hashes))


def _code(stage: Stage, root: Path) -> Iterator[tuple[str, FileSource]]:
    """Yield the code of a stage with its paths in the build folder, and what its scripts import from beside them.

    A command that names a file outside of the folder, such as an interpreter, finds it where it runs.
    """
    found = {each.shown: each for each in code_files(stage, root)}
    for script in [each.path for each in found.values() if each.path.suffix == ".py"]:
        for path in source_files(script):
            shown = Path(os.path.relpath(path, root)).as_posix()
            found.setdefault(shown, FileSource(path, shown))
    for shown, file in found.items():
        if not shown.startswith("../"):
            yield shown, file
        elif file in stage.code:
            raise InvalidInput(f"{quoted(shown)} is outside of the folder that workers get", stage=stage.name)


def _with_log(error: DatapkgError, log: Path) -> DatapkgError:
    """Return the error of a stage with the path of its log on this machine."""
    if "log" in error.detail:
        error.detail["log"] = str(log)
        error.explain("", hint=log_hint(log))
    return error
