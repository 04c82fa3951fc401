"""Run the transforms and stages of a build on a cluster.

Dask decides where and when, and runs again what a lost worker ran. A thread of the build waits for each task.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from datapkg.building.build_context import BuildContext
from datapkg.building.cache import TransformResult
from datapkg.building.cluster.connection import Cluster, connected
from datapkg.building.cluster.exchange import Exchange, marked, open_location
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
from datapkg.building.sources.file import open_source, put_file
from datapkg.building.sources.function import source_files
from datapkg.building.spec.model import FileSource, FilesSource, NodeSpec, PythonSource, Stage
from datapkg.building.stages.identity import code_files
from datapkg.building.stages.inputs import Input, NodesInput
from datapkg.building.stages.process import Processes
from datapkg.building.stages.run import StageRun, Workplace, log_hint
from datapkg.errors import BuildFailed, DatapkgError, InvalidInput
from datapkg.format.manifest.parsed import Manifest
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects, Readable
from datapkg.objects.cloud import CloudObjects
from datapkg.objects.transfer import plan, transfer
from datapkg.store.store import Store

TASK_BYTES = 1 << 20
"""Smaller files are read here, in about the time that a task adds or less: `benchmarks/cluster.py` measures both."""


@dataclass(frozen=True)
class ClusterPlan:
    """What a build runs `on`, the URL through which its `objects` move if workers do not see the store, and `workers`,
    the number of processes of a cluster on this machine.
    """

    on: str
    objects: str
    workers: int


@contextmanager
def cluster_runner(planned: ClusterPlan, store: Store, index: Path, root: Path | None) -> Iterator[ClusterRunner]:
    """Yield a runner on a cluster; `root` is the folder of the build.

    Raise `InvalidInput` if its workers see neither the store nor another place of objects, and as `connected` does.
    """
    name = uuid.uuid4().hex
    store.prepare()
    location = open_location(planned.objects, store.tmp) if planned.objects else None
    with connected(planned.on, name, planned.workers) as cluster, marked(store, name) as mark:
        exchange = Exchange(
            name,
            folder=str(store.folder.absolute()),
            mark=mark,
            shared=tuple(str(each) for each in store.shared),
            index=str(index.absolute()),
            host=socket.gethostname(),
        )
        if location is not None:
            exchange = Exchange(name, planned.objects, host=exchange.host)
        elif blind := [key for key, sees in cluster.call_all(_sees, exchange, _folder_state(root)).items() if not sees]:
            raise InvalidInput(
                f"worker {blind[0]} does not see the store in {store.folder} and the folder that is built",
                hint="use a place that the workers can reach: --objects s3://BUCKET/PREFIX",
            )
        yield ClusterRunner(cluster, exchange, store, location)


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
    """A `TaskRunner` and a `RunStage` on a cluster; `location` is open where workers do not see the store."""

    def __init__(self, cluster: Cluster, exchange: Exchange, store: Store, location: CloudObjects | None) -> None:
        self._cluster, self._exchange, self._store, self._location = cluster, exchange, store, location
        # More than run at once, so that no worker waits for the next task.
        self.slots = 2 * cluster.slots

    def takes(self, spec: NodeSpec, size: int | None) -> bool:
        """Return whether a source is read on the cluster: functions and many files as one only if workers see them."""
        if isinstance(spec.source, FileSource):
            return TRANSFORMS[spec.transform].kind != "file" and (size is None or size >= TASK_BYTES)
        return self._location is None and isinstance(spec.source, FilesSource | PythonSource)

    def read_source(
        self, spec: NodeSpec, source: FileSource, status: os.stat_result, hash: Callable[[], str], context: BuildContext
    ) -> tuple[TransformResult, bool]:
        """Read a file on the cluster."""
        task = self._read_task(spec, context)
        if self._location is None:
            here = replace(source, path=source.path.absolute())
            task = replace(task, spec=replace(task.spec, source=here), stamp=(status.st_size, status.st_mtime_ns))
        else:
            wanted = hash()
            if self._location.missing([wanted]):
                with open_source(source.path, source.shown, source.within) as stream:
                    self._location.put(stream, wanted)
            task = replace(task, hash=wanted)
        return self._read(task, context)

    def read_value(self, spec: NodeSpec, identity: Identity, context: BuildContext) -> tuple[TransformResult, bool]:
        """Read a source of several files, or of a function, on the cluster."""
        return self._read(replace(self._read_task(spec, context), identity=identity), context)

    def _read_task(self, spec: NodeSpec, context: BuildContext) -> ReadTask:
        before = list(context.previous.tables_below(spec.path))
        given = context.cache.portable(spec, [table.content for table in before])
        bare = replace(spec, meta={}, checks=())
        return ReadTask(bare, context.cache.package, self._exchange, given=given, before=msgspec.json.encode(before))

    def _read(self, task: ReadTask, context: BuildContext) -> tuple[TransformResult, bool]:
        found: ReadResult = self._cluster.run(task, task.spec.path)
        result = msgspec.json.decode(found.result, type=TransformResult)
        self._bring({hash: size for node in result.nodes for hash, size in node.objects()}, task.spec.path)
        context.cache.add(found.added)
        context.previous.warnings += [each for each in found.warnings if each not in context.previous.warnings]
        return result, found.own

    def _bring(self, sizes: Mapping[str, int], what: str) -> None:
        """Take the objects of a result into the store; raise `BuildFailed` for what is not where it should be."""
        objects = self._store.objects
        if self._location is not None:
            transfer(self._location, objects, plan(sizes, objects))
        elif absent := objects.missing(sizes):
            raise BuildFailed(f"{what}: a worker did not leave object {min(absent)} in the store")

    def run_stage(
        self, stage: Stage, inputs: Mapping[str, Input], place: Workplace, objects: Objects, processes: Processes
    ) -> StageRun:
        """Run a stage on the cluster, and store its outputs."""
        given = {name: self._given(each) for name, each in inputs.items()}
        environ = {name: place.environ[name] for name in stage.env if name in place.environ}
        code = None
        if self._location is not None:
            code = FilesGiven(self._put_files(_code(stage, place.root)), "root")
        task = StageTask(stage, self._exchange, given, place.root.absolute(), place.log, environ, code)
        what = f"stage {stage.name}"
        facts: StageFacts = self._cluster.run(task, what, lambda: processes.is_stopped)
        if facts.log:
            place.log.write_bytes(facts.log)
        if facts.error is not None:
            raise _with_log(facts.error, place.log)
        self._bring_outputs(facts.outputs, what)
        return StageRun(list(Manifest.parse(self._store.objects.read(facts.outputs)).nodes), facts.code, facts.seconds)

    def _bring_outputs(self, manifest: str, what: str) -> None:
        where: Readable = self._store.objects if self._location is None else self._location
        data = where.read(manifest)
        nodes = Manifest.parse(data, manifest).nodes
        self._bring({hash: size for node in nodes for hash, size in node.objects()} | {manifest: len(data)}, what)

    def _given(self, given: Input) -> GivenInput:
        if isinstance(given, NodesInput):
            return self._given_nodes(given)
        if self._location is None:
            return PathSeen(given.path.absolute(), given.shown)
        files = [(name or given.path.name, file) for name, file in given.files()]
        return FilesGiven(self._put_files(files), given.path.name, given.path.is_dir())

    def _given_nodes(self, given: NodesInput) -> NodesGiven:
        """Leave nodes where workers find them."""
        target = self._store.objects if self._location is None else self._location
        sizes = {hash: size for node in given.nodes for hash, size in node.objects()}
        transfer(given.objects, target, plan(sizes, target))
        return NodesGiven(target.put_bytes(Manifest.make(given.nodes, {}).data), given.path, given.form)

    def _put_files(self, files: Iterable[tuple[str, FileSource]]) -> str:
        """Store files for workers; return the hash of their list."""
        assert self._location is not None
        hashes = {}
        with self._location.batch():
            for shown, each in files:
                with open_source(each.path, each.shown) as stream:
                    hashes[shown], _ = put_file(stream, self._location)
            return self._location.put_bytes(msgspec.json.encode(hashes))


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
