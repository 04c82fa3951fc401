"""Run the stages of a build in the order of what they need, several at once; reuse what is known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from datapkg.building.sources.base import SourceContext
from datapkg.building.spec.model import BuildSpec, NodeSpec, Stage, StageInput
from datapkg.building.spec.path_index import PathIndex
from datapkg.building.spec.stages import OfStage, indexed, needed_stages
from datapkg.building.stages import identity as identities
from datapkg.building.stages.capacity import VISIBLE_GPUS, InUse, Machine
from datapkg.building.stages.container import Images
from datapkg.building.stages.early_stopping import EarlyStopping
from datapkg.building.stages.inputs import Input, NodesInput, PathInput, nodes_below, package_input
from datapkg.building.stages.metrics import kept_metrics, last_file, metrics_of
from datapkg.building.stages.outcome import FAILED, PLANNED, RAN, REUSED, STOPPED, TAKEABLE, TAKEN, StageOutcome
from datapkg.building.stages.output_nodes import made_by, output_specs
from datapkg.building.stages.process import Processes
from datapkg.building.stages.run import StageRun, Workplace, log_folder, run_stage, system_failure
from datapkg.building.stages.shared_results import SharedResults, shown_origin
from datapkg.building.stages.sweep_results import SweepResults
from datapkg.errors import BuildFailed, DatapkgError, StageFailed
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.texts import listed, quoted
from datapkg.objects.base import Objects
from datapkg.objects.files import remove_tree, temp_path
from datapkg.objects.progress import Progress
from datapkg.objects.threads import PATIENCE_S, PendingCall, ThreadPool
from datapkg.store.stage_results import FOLDER, FORMAT, StageResult, StageResults, key_of

if TYPE_CHECKING:
    from datapkg.store.store import Store

RUNNING = "running stages"
MOST_AT_ONCE = 1_000  # threads that wait for stages; capacity limits how many run
RunStage = Callable[[Stage, Mapping[str, Input], Workplace, Objects, Processes], StageRun]
_AGAIN = "--from"


@dataclass(frozen=True)
class StageTools:
    """What stages need of this machine, and how they are run.

    `logs` is the folder for the logs of this package's stages; those that run at once use no more than the `machine`
    has, which is asked for when the first is to run. `before` is what each was last run with. Those of `again`, and all
    that need them, are run whatever is known. A `dry_run` runs none. `run` runs one stage, here or elsewhere. `shared`
    is the run cache of the `package`, if results are taken from there.
    """

    store: Store
    environ: Mapping[str, str]
    logs: Path
    machine: Callable[[], Machine]
    before: Mapping[str, Mapping[str, str]]
    again: frozenset[str] = frozenset()
    forced: bool = False
    dry_run: bool = False
    run: RunStage = run_stage
    package: str = ""
    shared: SharedResults | None = None


@dataclass(frozen=True)
class ReadyStage:
    """A stage whose inputs are there; `known` determines its outputs, `is_again` ignores what is known of them."""

    stage: Stage
    inputs: Mapping[str, Input]
    known: dict[str, str]
    is_again: bool
    read: dict[str, str]


class StageSchedule:
    """The stages of one build; `built` are the nodes that are there before, and those of stages are added."""

    def __init__(self, spec: BuildSpec, context: SourceContext, built: Sequence[Node], tools: StageTools) -> None:
        self._context, self._tools = context, tools
        assert spec.root is not None
        self._root = spec.root
        self.nodes = built
        self._indexed: PathIndex[Node] = PathIndex()
        self._seen = 0
        self.outcomes: dict[str, StageOutcome] = {}
        self._results = StageResults(tools.store.folder / FOLDER, tools.store.tmp)
        self._processes = Processes()
        self._ends: SimpleQueue[str] = SimpleQueue()
        self._in_use: InUse | None = None
        self._images = Images(tools.environ, tools.dry_run)
        self._stages = {stage.name: stage for stage in spec.stages}
        sources = {node.path: node.source if isinstance(node.source, OfStage) else None for node in spec.nodes}
        index = indexed(sources)
        self._needs = {stage.name: needed_stages(stage, index) for stage in spec.stages}
        self._made = made_by(spec.nodes)
        self._tables = SweepResults(spec.nodes)
        self._stopping = EarlyStopping(tools.store.objects)

    def run(self, progress: Progress, *, keep_going: bool) -> Iterator[list[StageOutcome]]:
        """Run all stages, and yield those that are done together; the caller adds the nodes that they gave to `nodes`.

        After a failure no other begins, unless `keep_going`; those that run are waited for.
        """
        sorter = TopologicalSorter(self._needs)
        sorter.prepare()
        waiting: list[ReadyStage] = []
        running: dict[PendingCall[StageOutcome], Stage] = {}
        has_failed = False
        pool = ThreadPool(min(MOST_AT_ONCE, max(1, len(self._stages))))
        try:
            while sorter.is_active() or running:
                progress(RUNNING, len(self.outcomes), len(self._stages))
                is_over = has_failed and not keep_going
                done, ready = self._begun(() if is_over else sorter.get_ready())
                waiting = self._submit([] if is_over else [*waiting, *ready], running, pool)
                if not done:
                    if not running:
                        break
                    done = self._ended(running)
                has_failed = has_failed or any(outcome.action == FAILED for outcome in done)
                self.outcomes |= {outcome.stage.name: outcome for outcome in done}
                yield done
                # After the caller has added their nodes, which stages that begin now may read.
                sorter.done(*(outcome.stage.name for outcome in done))
        finally:
            # Also where the caller stops asking, as after an error of its own: that closes this generator.
            self._processes.stop()
            pool.close()

    def _submit(
        self, waiting: list[ReadyStage], running: dict[PendingCall[StageOutcome], Stage], pool: ThreadPool
    ) -> list[ReadyStage]:
        """Begin the stages for which there is room, and return the others."""
        if not waiting:
            return []
        self._in_use = self._in_use or InUse(self._tools.machine())
        left = []
        for each in waiting:
            if (gpus := self._in_use.begin(each.stage)) is None:
                left.append(each)
            else:
                running[pool.submit(self._run_and_tell, each, gpus)] = each.stage
        return left

    def _ended(self, running: dict[PendingCall[StageOutcome], Stage]) -> list[StageOutcome]:
        """Wait until a stage has ended, and return all that have; run one here if no thread does."""
        assert self._in_use is not None
        finished: list[PendingCall[StageOutcome]] = []
        while not finished:
            try:
                name = self._ends.get(timeout=PATIENCE_S)
            except Empty:
                if not any(call.is_running for call in running):
                    next(iter(running)).run()
            else:
                for call in (call for call, stage in running.items() if stage.name == name):
                    call.wait()  # it reports its end a moment before
            finished = [call for call in running if call.is_done]
        for call in finished:
            self._in_use.end(running.pop(call))
        return [call.result() for call in finished]

    def nodes_of(self, outcome: StageOutcome) -> list[NodeSpec]:
        """Return the nodes to build of the outputs of a stage, and of results that are complete with it."""
        found = self._tables.add(outcome)
        if outcome.result is None or outcome.action == TAKEABLE:
            return found
        for node, source in self._made.get(outcome.stage.name, ()):
            found += output_specs(node, source, outcome.result, self._tools.store)
        return found

    def _begun(self, names: Iterable[str]) -> tuple[list[StageOutcome], list[ReadyStage]]:
        """Return the outcomes of stages that need not run or cannot, and those that are to run."""
        done: list[StageOutcome] = []
        ready: list[ReadyStage] = []
        for name in names:
            each = self._looked_at(self._stages[name])
            done.append(each) if isinstance(each, StageOutcome) else ready.append(each)
        may_be_known = [each for each in ready if not (self._tools.forced or each.is_again)]
        found = self._known(may_be_known)
        found |= self._shared([each for each in may_be_known if each.stage.name not in found])
        done += [self._reused(each, *found[each.stage.name]) for each in ready if each.stage.name in found]
        ready = [each for each in ready if each.stage.name not in found]
        return (done + list(map(self._planned, ready)), []) if self._tools.dry_run else (done, ready)

    def _reused(self, ready: ReadyStage, result: StageResult, action: str) -> StageOutcome:
        origin = shown_origin(result) if result.package else ""
        why = ", ".join(filter(None, ["nothing changed" if action == REUSED else "", origin]))
        outcome = StageOutcome(ready.stage, action, why, ready.known, result, read=ready.read)
        outcome.metrics = "" if action == TAKEABLE else metrics_of(result.nodes)
        self._stopping.end(outcome)
        return outcome

    def _planned(self, ready: ReadyStage) -> StageOutcome:
        if reason := self._stopping.reason(ready.stage):
            return StageOutcome(ready.stage, STOPPED, reason, ready.known, read=ready.read)
        return StageOutcome(ready.stage, PLANNED, self._why(ready), ready.known)

    def _looked_at(self, stage: Stage) -> StageOutcome | ReadyStage:
        """Return a stage with its inputs, or its outcome if one that it needs has failed or would only run."""
        needed = [self.outcomes[name] for name in self._needs[stage.name]]
        if failed := [each.stage.name for each in needed if each.action == FAILED]:
            error = StageFailed(f"stage {quoted(stage.name)} needs {quoted(failed[0])}, which failed", stage=stage.name)
            return StageOutcome(stage, FAILED, "", error=error)
        if planned := [each.stage.name for each in needed if each.action == PLANNED]:
            return StageOutcome(stage, PLANNED, f"it needs {planned[0]}, which would run")
        taken = [each.stage.name for each in needed if each.action == TAKEABLE]
        if taken and any(given.kind == "node" for given in stage.inputs.values()):
            return StageOutcome(stage, PLANNED, f"it needs nodes of {taken[0]}, which would be taken from the cache")
        try:
            inputs = {name: self._input(each) for name, each in stage.inputs.items()}
            image = self._images.id_of(stage) if stage.image else ""
            known = identities.identity(stage, inputs, self._root, self._context.cache, self._tools.environ, image)
        except DatapkgError as error:
            return StageOutcome(stage, FAILED, "", error=error)
        is_again = stage.name in self._tools.again or any(each.why == _AGAIN for each in needed)
        read = {name: each.named() for name, each in inputs.items()} if self._tables.has(stage.name) else {}
        return ReadyStage(stage, inputs, known, is_again, read)

    def _input(self, given: StageInput) -> Input:
        objects = self._context.objects
        if given.kind == "package":
            return package_input(given, self._context.find_package)
        if given.kind == "path":
            return PathInput(self._root / given.text, given.text, self._context.cache)
        if given.kind == "stage":
            name, _, output = given.text.partition("/")
            if not given.members:
                if self.outcomes[name].action == STOPPED:
                    raise BuildFailed(f"stage {quoted(name)}, whose output a stage needs, was stopped early")
                return NodesInput(self._outputs(name, output), objects, output, given.form)
            nodes = [
                msgspec.structs.replace(node, path=_member_path(node, output, label))
                for label, member in given.members.items()
                for node in self._outputs(member, output)
            ]
            return NodesInput(nodes, objects, output, given.form)
        nodes = self._nodes_below(given.text)
        if not nodes:
            raise BuildFailed(f"node {quoted(given.text)}, which a stage needs, was not built")
        return NodesInput(nodes, objects, given.text, given.form)

    def _nodes_below(self, path: str) -> list[Node]:
        for node in self.nodes[self._seen :]:
            self._indexed.add(node.path, node)
        self._seen = len(self.nodes)
        return self._indexed.within(path)

    def _outputs(self, stage: str, output: str) -> list[Node]:
        result = self.outcomes[stage].result  # None of a run that was stopped
        return nodes_below(result.nodes, output) if result else []

    def _hash_of(self, path: str) -> str | None:
        return identities.hash_now(self._root, path, self._context.cache)

    def _known(self, ready: Sequence[ReadyStage]) -> dict[str, tuple[StageResult, str]]:
        """Return the results whose outputs are all here, by the names of their stages, and what is done with them."""
        find, package = self._results.find, self._tools.package
        found = {each.stage.name: find(key_of(each.known), self._hash_of, package) for each in ready}
        needed = {name: set(result.objects()) for name, result in found.items() if result is not None}
        missing = self._tools.store.objects.missing(set().union(*needed.values()))
        return {name: (result, REUSED) for name, result in found.items() if result and not needed[name] & missing}

    def _shared(self, ready: Sequence[ReadyStage]) -> dict[str, tuple[StageResult, str]]:
        """Return the results that the run cache of the package has, fetched unless this is a dry run."""
        shared = self._tools.shared
        if shared is None or not ready:
            return {}
        found = shared.find({each.stage.name: (each.stage, each.known) for each in ready}, self._hash_of)
        if self._tools.dry_run:
            return {name: (result, TAKEABLE) for name, result in found.items()}
        found = shared.fetch(found)
        for result in found.values():
            self._results.keep(key_of(result.known), result)
        return {name: (result, TAKEN) for name, result in found.items()}

    def _why(self, ready: ReadyStage) -> str:
        if ready.is_again:
            return _AGAIN
        if self._tools.forced:
            return "--force"
        before = self._tools.before.get(ready.stage.name)
        if before is None:
            return "it is new"
        code = {name: hash for name, hash in before.items() if name.startswith("imported.")}
        now = {
            name: str(identities.hash_now(self._root, name.removeprefix("imported."), self._context.cache))
            for name in code
        }
        return ", ".join(identities.changes(before, {**ready.known, **now})) or "its outputs are not here"

    def _run_and_tell(self, ready: ReadyStage, gpus: Sequence[str]) -> StageOutcome:
        try:
            return self._run(ready, gpus)
        finally:
            self._ends.put(ready.stage.name)

    def _run(self, ready: ReadyStage, gpus: Sequence[str]) -> StageOutcome:
        """Run a stage, in a thread; a run of a sweep that has ended is not begun."""
        tools, at, stage = self._tools, datetime.now(UTC), ready.stage
        if reason := self._stopping.reason(stage):
            return StageOutcome(stage, STOPPED, reason, ready.known, read=ready.read)
        log = log_folder(tools.logs, stage.name) / f"{at:%Y%m%dT%H%M%S.%f}.log"
        outcome = StageOutcome(stage, FAILED, self._why(ready), ready.known, log=log, read=ready.read)
        folder = temp_path(tools.store.tmp, "stage")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True)
            self._stopping.begin(stage, folder)
            environ = {**tools.environ, VISIBLE_GPUS: ",".join(gpus)} if gpus else tools.environ
            place = Workplace(self._root, folder, log, environ)
            started = time.time_ns()
            run = tools.run(stage, ready.inputs, place, tools.store.objects, self._processes)
            manifest = Manifest.make(run.nodes, {})
            tools.store.save(manifest)
            outcome.result = self._kept(outcome, run, manifest, started, at)
            outcome.metrics, outcome.warnings, outcome.action = metrics_of(run.nodes), run.warnings, RAN
        except DatapkgError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = system_failure(stage, error)
        finally:
            if outcome.error is not None and (file := last_file(folder)):
                outcome.metrics = metrics_of(kept_metrics(file, tools.store.objects)[0])
            self._stopping.end(outcome)
            remove_tree(folder)
        return outcome

    def _kept(
        self, outcome: StageOutcome, run: StageRun, manifest: Manifest, started: int, at: datetime
    ) -> StageResult:
        """Return the result, and keep it for other builds unless its code was changed meanwhile."""
        root, cache = self._root, self._context.cache
        own = {each.shown for each in identities.code_files(outcome.stage, root)}
        paths = [each for each in run.code if each not in own]
        hashes = {path: identities.hash_now(root, path, cache) for path in paths}
        code = {path: hash for path, hash in hashes.items() if hash is not None and hash != identities.NO_FILE}
        appeared = [path for path in run.absent if os.path.lexists(root / path)]
        result = StageResult(
            format=FORMAT,
            stage=outcome.stage.name,
            manifest=manifest.hash,
            nodes=manifest.nodes,
            code=code | dict.fromkeys(run.absent, identities.NO_FILE),
            seconds=round(run.seconds, 3),
            at=at.isoformat(),
            known=outcome.known,
        )
        changed = [*appeared, *(path for path in paths if path not in code)]
        changed += [path for path in (*own, *code) if (root / path).stat().st_mtime_ns >= started]
        if not changed:
            self._results.keep(key_of(outcome.known), result)
        else:
            what = f"its code changed while it ran: {listed(changed, 3)}"
            run.warnings.append(f"stage {quoted(result.stage)}: {what}; the next build runs it again")
        return result


def _member_path(node: Node, output: str, label: str) -> str:
    """Return the path of a file of one of several stages, in a folder of its own."""
    below = node.path.removeprefix(output).strip("/") or getattr(node, "file_name", "")
    return "/".join(filter(None, (output, label, below)))
