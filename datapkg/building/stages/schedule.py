"""Run the stages of a build in the order of what they need, several at once; reuse what is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from datapkg.building.sources.base import SourceContext
from datapkg.building.spec.model import BuildSpec, NodeSpec, Stage, StageInput, StageSource
from datapkg.building.spec.stages import needed_stages
from datapkg.building.stages import identity as identities
from datapkg.building.stages.inputs import Input, NodesInput, PathInput, nodes_below, package_input
from datapkg.building.stages.output_nodes import output_specs
from datapkg.building.stages.process import Processes
from datapkg.building.stages.run import StageRun, Workplace, run_stage
from datapkg.errors import BuildFailed, DatapkgError, StageFailed
from datapkg.format.manifest.parsed import Manifest, Node
from datapkg.format.texts import quoted
from datapkg.objects.base import Objects
from datapkg.objects.files import remove_tree, temp_path
from datapkg.objects.progress import Progress
from datapkg.store.stage_results import FOLDER, FORMAT, StageResult, StageResults, key_of

if TYPE_CHECKING:
    from datapkg.store.store import Store

RUNNING = "running stages"
RunStage = Callable[[Stage, Mapping[str, Input], Workplace, Objects, Processes], StageRun]
_AGAIN = "--from"
RAN, REUSED, PLANNED, FAILED = "ran", "reused", "would run", "failed"


@dataclass(frozen=True)
class StageTools:
    """What stages need of this machine, and how they are run.

    `logs` is the folder for the logs of this package's stages, `jobs` how many run at once. `before` is what each was
    last run with. Those of `again`, and all that need them, are run whatever is known. A `dry_run` runs none. `run`
    runs one stage, here or elsewhere.
    """

    store: Store
    environ: Mapping[str, str]
    logs: Path
    jobs: int
    before: Mapping[str, Mapping[str, str]]
    again: frozenset[str] = frozenset()
    forced: bool = False
    dry_run: bool = False
    run: RunStage = run_stage


@dataclass
class StageOutcome:
    """What became of a stage: it ran, was reused, would run or failed, and why."""

    stage: Stage
    action: str
    why: str
    known: dict[str, str] = field(default_factory=dict)
    result: StageResult | None = None
    error: DatapkgError | None = None
    log: Path | None = None


class StageSchedule:
    """The stages of one build; `built` are the nodes that are there before, and those of stages are added."""

    def __init__(self, spec: BuildSpec, context: SourceContext, built: list[Node], tools: StageTools) -> None:
        self._spec, self._context, self._tools = spec, context, tools
        self.nodes = built
        self.outcomes: dict[str, StageOutcome] = {}
        self._results = StageResults(tools.store.folder / FOLDER, tools.store.tmp)
        self._processes = Processes()
        sources = {node.path: node.source if isinstance(node.source, StageSource) else None for node in spec.nodes}
        self._needs = {stage.name: needed_stages(stage, sources) for stage in spec.stages}

    def run(self, progress: Progress, *, keep_going: bool) -> Iterator[StageOutcome]:
        """Run all stages, and yield each when it is done; the caller adds the nodes that it gave to `nodes`.

        After a failure no other begins, unless `keep_going`; those that run are waited for.
        """
        sorter = TopologicalSorter(self._needs)
        sorter.prepare()
        stages = {stage.name: stage for stage in self._spec.stages}
        running: dict[Future[StageOutcome], str] = {}
        has_failed = False
        pool = ThreadPoolExecutor(max(1, self._tools.jobs))
        try:
            while sorter.is_active() or running:
                progress(RUNNING, len(self.outcomes), len(stages))
                ready = [] if has_failed and not keep_going else sorter.get_ready()
                done = []
                for name in ready:
                    outcome = self._begun(stages[name])
                    if isinstance(outcome, StageOutcome):
                        done.append(outcome)
                    else:
                        running[pool.submit(outcome)] = name
                if not done:
                    if not running:
                        break
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    done = [future.result() for future in finished if running.pop(future)]
                for outcome in done:
                    has_failed = has_failed or outcome.action == FAILED
                    self.outcomes[outcome.stage.name] = outcome
                    yield outcome
                    sorter.done(outcome.stage.name)
        finally:
            self._processes.stop()
            pool.shutdown(wait=True, cancel_futures=True)

    def nodes_of(self, outcome: StageOutcome) -> list[NodeSpec]:
        """Return the nodes to build of the outputs of a stage; none if it would only run."""
        if outcome.result is None:
            return []
        found: list[NodeSpec] = []
        for node in self._spec.nodes:
            if isinstance(source := node.source, StageSource):
                label = next((each for each, name in source.members.items() if name == outcome.stage.name), "")
                if label or source.stage == outcome.stage.name:
                    here = replace(node, path=f"{node.path}/{label}", meta={}) if label else node
                    found += output_specs(here, source, outcome.result, self._tools.store)
        return found

    def _begun(self, stage: Stage) -> StageOutcome | Callable[[], StageOutcome]:
        """Return the outcome of a stage that need not run or cannot, else the call that runs it."""
        needed = [self.outcomes[name] for name in self._needs[stage.name]]
        if failed := [each.stage.name for each in needed if each.action == FAILED]:
            error = StageFailed(f"stage {quoted(stage.name)} needs {quoted(failed[0])}, which failed", stage=stage.name)
            return StageOutcome(stage, FAILED, "", error=error)
        if planned := [each.stage.name for each in needed if each.action == PLANNED]:
            return StageOutcome(stage, PLANNED, f"it needs {planned[0]}, which would run")
        try:
            inputs = {name: self._input(each) for name, each in stage.inputs.items()}
            known = identities.identity(stage, inputs, self._root, self._context.cache, self._tools.environ)
        except DatapkgError as error:
            return StageOutcome(stage, FAILED, "", error=error)
        is_again = stage.name in self._tools.again or any(each.why == _AGAIN for each in needed)
        found = None if self._tools.forced or is_again else self._known(known)
        if found:
            return StageOutcome(stage, REUSED, "nothing changed", known, found)
        why = _AGAIN if is_again else self._why(stage, known)
        if self._tools.dry_run:
            return StageOutcome(stage, PLANNED, why, known)
        return partial(self._run, stage, inputs, known, why)

    @property
    def _root(self) -> Path:
        assert self._spec.root is not None
        return self._spec.root

    def _input(self, given: StageInput) -> Input:
        objects = self._context.objects
        if given.kind == "package":
            return package_input(given, self._context.find_package)
        if given.kind == "path":
            return PathInput(self._root / given.text, given.text, self._context.cache)
        if given.kind == "stage":
            name, _, output = given.text.partition("/")
            if not given.members:
                return NodesInput(self._outputs(name, output), objects, output, given.form)
            nodes = [
                msgspec.structs.replace(node, path=_member_path(node, output, label))
                for label, member in given.members.items()
                for node in self._outputs(member, output)
            ]
            return NodesInput(nodes, objects, output, given.form)
        nodes = nodes_below(self.nodes, given.text)
        if not nodes:
            raise BuildFailed(f"node {quoted(given.text)}, which a stage needs, was not built")
        return NodesInput(nodes, objects, given.text, given.form)

    def _outputs(self, stage: str, output: str) -> list[Node]:
        result = self.outcomes[stage].result
        assert result is not None
        return nodes_below(result.nodes, output)

    def _known(self, known: dict[str, str]) -> StageResult | None:
        """Return a result whose outputs are all here."""
        cache, root = self._context.cache, self._root
        result = self._results.find(key_of(known), lambda path: identities.hash_now(root, path, cache))
        if result is None:
            return None
        needed = [result.manifest, *(hash for node in result.nodes for hash, _ in node.objects())]
        return None if self._tools.store.objects.missing(needed) else result

    def _why(self, stage: Stage, known: dict[str, str]) -> str:
        if self._tools.forced:
            return "--force"
        before = self._tools.before.get(stage.name)
        if before is None:
            return "it is new"
        code = {name: hash for name, hash in before.items() if name.startswith("imported.")}
        now = {
            name: str(identities.hash_now(self._root, name.removeprefix("imported."), self._context.cache))
            for name in code
        }
        return ", ".join(identities.changes(before, {**known, **now})) or "its outputs are not here"

    def _run(self, stage: Stage, inputs: Mapping[str, Input], known: dict[str, str], why: str) -> StageOutcome:
        """Run a stage, in a thread."""
        tools, at = self._tools, datetime.now(UTC)
        log = tools.logs / stage.name / f"{at:%Y%m%dT%H%M%S.%f}.log"
        outcome = StageOutcome(stage, FAILED, why, known, log=log)
        folder = temp_path(tools.store.tmp, "stage")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True)
            place = Workplace(self._root, folder, log, tools.environ)
            started = time.time_ns()
            run = tools.run(stage, inputs, place, tools.store.objects, self._processes)
            manifest = Manifest.make(run.nodes, {})
            tools.store.save(manifest)
            outcome.result = self._kept(outcome, run, manifest, started, at)
            outcome.action = RAN
        except DatapkgError as error:
            outcome.error = error
        except OSError as error:
            outcome.error = StageFailed(f"stage {quoted(stage.name)} cannot run: {error}", stage=stage.name)
        finally:
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
        code = {path: hash for path, hash in hashes.items() if hash is not None}
        result = StageResult(
            format=FORMAT,
            stage=outcome.stage.name,
            manifest=manifest.hash,
            nodes=manifest.nodes,
            code=code,
            seconds=round(run.seconds, 3),
            at=at.isoformat(),
            known=outcome.known,
        )
        files = [root / path for path in (*own, *code)]
        if all(each.stat().st_mtime_ns < started for each in files) and len(code) == len(paths):
            self._results.keep(key_of(outcome.known), result)
        return result


def _member_path(node: Node, output: str, label: str) -> str:
    """Return the path of a file of one of several stages, in a folder of its own."""
    below = node.path.removeprefix(output).strip("/") or getattr(node, "file_name", "")
    return "/".join(filter(None, (output, label, below)))
