"""Build: make a package in the local store from files or values."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from datapkg import __version__
from datapkg.api.build_result import BuildResult
from datapkg.api.build_tools import fetcher, find_package, objects_for, runner_for, stage_tools
from datapkg.building.spec.options import BuildOptions
from datapkg.errors import InvalidInput, ObjectNotFound
from datapkg.format.object_sizes import MANY, in_groups
from datapkg.format.texts import quoted
from datapkg.objects.progress import Progress, silent
from datapkg.store.refs import Current, LogEvent

if TYPE_CHECKING:
    from datapkg.building.pipeline import BuildOutput
    from datapkg.building.snapshot import Snapshot
    from datapkg.building.spec.generate import Generated
    from datapkg.building.spec.model import BuildSpec
    from datapkg.building.stages.outcome import StageOutcome
    from datapkg.format.names import Ref
    from datapkg.home import Home

_SKIPPED_SHOWN = 5


def build_package(
    home: Home,
    ref: Ref,
    source: Any,
    options: BuildOptions = BuildOptions(),  # noqa: B008 - it is frozen
    *,
    message: str = "",
    explained: bool = False,
    progress: Progress = silent,
) -> BuildResult:
    """Build a directory, build file, data file, repository or values into the package that `ref` names.

    The current state is changed last, so a failed build has no visible effect. If nothing changed since the last build,
    nothing is read, unless `explained` requests the reason for each node.
    """
    if ref.state is not None or ref.path or ref.registry is not None:
        raise InvalidInput(
            f"{ref} is not what a build makes: name a package alone", hint=f"datapkg build {ref.package}"
        )
    before = home.store.refs.current(ref)
    # What asks for more than the last result takes the whole way, on which each option is checked too.
    asked = (message, explained, options.update, options.force, options.dry_run, options.again, options.on)
    seen = None if any(asked) else _look(source, options)
    if seen and before and (same := _recalled(home, ref, seen, before)):
        return same
    return _build(home, ref, source, options, before, seen, message=message, explained=explained, progress=progress)


def _look(source: Any, options: BuildOptions) -> Snapshot | None:
    """Return a snapshot of the folder that is built; None for any other source."""
    from datapkg.building import snapshot

    if not isinstance(source, str | Path) or "://" in str(source) or not Path(source).exists():
        return None
    path = Path(source).absolute()
    if path.is_file() and path.suffix.lower() not in (".yml", ".yaml"):
        return None
    # The names of files do not tell these, and each can change what a build makes of the folder.
    settings = [__version__, path, options.build_file, options.allow_outside, options.gitignore, *snapshot.versions()]
    return snapshot.take_snapshot(path if path.is_dir() else path.parent, settings)


def last_result(home: Home, ref: Ref, source: Any, options: BuildOptions, before: Current) -> BuildResult | None:
    """Return the result of the last build if a build now would change nothing, as far as names and stats tell."""
    seen = _look(source, options)
    return _recalled(home, ref, seen, before) if seen else None


def _recalled(home: Home, ref: Ref, seen: Snapshot, before: Current) -> BuildResult | None:
    """Return the result of the last build if the folder is unchanged and that build is still the current state."""
    from datapkg.building import snapshot

    found = snapshot.recall(home.index, ref.package, seen)
    # After an install of the same state, the build has to be logged: a push takes the newest build only if it is
    # newer than the last install.
    is_here = found is not None and found.get("hash") == before.hash and before.origin == "local"
    return BuildResult(**found) if found and is_here and not before.partial else None


def _build(
    home: Home,
    ref: Ref,
    source: Any,
    options: BuildOptions,
    before: Current | None,
    seen: Snapshot | None,
    *,
    message: str,
    explained: bool,
    progress: Progress,
) -> BuildResult:
    from datapkg.building.rebuild_reasons import explain
    from datapkg.building.sources.prepare import prepared

    record = home.store.record(ref, before.hash) if before else None
    hint = f"datapkg build {ref.package} {source} --update" if isinstance(source, str | Path) else ""
    opening = prepared(source, fetcher(home, progress), options, environ=home.settings.environ, hint=hint)
    with opening as found, home.store.writing():
        _refuse_empty(ref, source, found.spec, options)
        built = _built(home, ref, found.spec, options, before, progress)
        # Only now: a build that failed leaves the checksums in the build file as they were.
        is_written = not options.dry_run and found.write_sums()
        # The checkout of a repository is temporary, and the lock is in the folder that is built.
        if built.stages and not options.dry_run and not found.spec.git:
            _lock_stages(found.spec, built)
        if not options.dry_run:
            _keep(home, ref, built, message, before, _note_absent(home, built))
            _remember(home, ref, source, options, seen, found.spec, built)
    updated = [asdict(each) for each in found.sums if is_written and each.old != each.new]
    # Of very many nodes nobody reads the reasons unless they are asked for, and they take as much memory as the nodes.
    why = explain(built.why, built.record, record, options.force) if explained or len(built.why) < MANY else {}
    return _result(ref, built, updated, why)


def _result(ref: Ref, built: BuildOutput, updated: list[dict[str, Any]], why: dict[str, str]) -> BuildResult:
    from datapkg.building.checks.definitions import unpacked

    return BuildResult(
        package=ref.package,
        hash=built.manifest.hash,
        built=built.built,
        reused=built.reused,
        bytes_logical=built.bytes_logical,
        warnings=list(built.warnings),
        skipped=list(built.skipped),
        updated=updated,
        why=why,
        checks=unpacked(built.record),
        left_out=built.left_out,
        reread=built.reread,
        stages=[_stage_result(each) for each in built.stages],
        results={each.stage.name: each.result for each in built.stages if each.result is not None},
    )


def _stage_result(outcome: StageOutcome) -> dict[str, Any]:
    found: dict[str, Any] = {"stage": outcome.stage.name, "action": outcome.action, "why": outcome.why}
    if outcome.result is not None and outcome.action == "ran":
        found["seconds"] = outcome.result.seconds
    return found | ({"log": str(outcome.log)} if outcome.log else {})


def _lock_stages(spec: BuildSpec, built: BuildOutput) -> None:
    """Write `datapkg.stages.lock`; entries of stages that failed stay as they were."""
    from datapkg.building.stages import lock
    from datapkg.building.stages.record import lock_entries

    assert spec.root is not None
    names = {stage.name for stage in spec.stages}
    before = {name: entry for name, entry in lock.read_lock(spec.root).items() if name in names}
    lock.write_lock(spec.root, {**before, **lock_entries(built.stages)})


def _refuse_empty(ref: Ref, source: Any, spec: BuildSpec, options: BuildOptions) -> None:
    """Raise `InvalidInput` if there is nothing to build, unless allowed: the folder's name may be misspelt.

    A build file with `contents: {}` requests an empty package.
    """
    if options.allow_empty or spec.nodes or spec.groups or spec.origin == "build file":
        return
    is_path = isinstance(source, str | Path)
    place = quoted(source) if is_path else "the mapping"
    more = f", … ({len(spec.skipped):,})" if len(spec.skipped) > _SKIPPED_SHOWN else ""
    left_out = f"; left out: {', '.join(spec.skipped[:_SKIPPED_SHOWN])}{more}" if spec.skipped else ""
    line = f"datapkg build {ref.package} {quote(str(source))} --allow-empty" if is_path else "allow_empty=True"
    raise InvalidInput(f"{place} has nothing to build{left_out}", hint=f"to make an empty package: {line}")


def _built(
    home: Home, ref: Ref, spec: BuildSpec, options: BuildOptions, before: Current | None, progress: Progress
) -> BuildOutput:
    from datapkg.building.cache import BuildCache
    from datapkg.building.pipeline import build_package as build_from

    store = home.store
    with objects_for(store, options.dry_run) as objects, runner_for(home, spec, options) as runner:
        tools = stage_tools(home, ref, spec, options, runner)
        if tools is not None and runner is not None:
            tools = replace(tools, run=runner.run_stage)
        return build_from(
            spec,
            objects,
            previous=store.manifest(before.hash) if before and store.has(before.hash) else None,
            find_package=partial(find_package, home),
            cache=BuildCache(home.index, ref.package, forced=options.force),
            secret=home.settings.secret,
            keep_going=options.keep_going,
            stages=tools,
            runner=runner,
            progress=progress,
        )


def _note_absent(home: Home, built: BuildOutput) -> bool:
    """Warn if data of nodes taken from other packages are missing here; return whether they are."""
    absent = sum(home.store.absent(built.manifest).values()) if built.record.get("packages") else 0
    if absent:
        what = f"{absent:,} bytes of the nodes that were taken over are not on this machine"
        built.warnings.append(f"{what}; they stay at their registry, where a push finds them")
    return bool(absent)


def _keep(home: Home, ref: Ref, built: BuildOutput, message: str, before: Current | None, is_partial: bool) -> None:
    """Save a build and make it current; write no log event for a repeated build with the same record and no message."""
    store, manifest = home.store, built.manifest
    store.save(manifest)
    is_same = before and before.hash == manifest.hash and before.origin == "local" and before.partial == is_partial
    if is_same and not message and _same_record(home, ref, built):
        return
    parent = before.hash if before and before.hash != manifest.hash else None
    record = {**built.record, **({"parent": parent} if parent else {})}
    at = datetime.now(UTC).isoformat()
    store.append_log(ref, LogEvent("build", manifest.hash, at, "local", message, record))
    title = str(manifest.meta.get("title", ""))
    current = Current(manifest.hash, "local", is_partial, title, built.bytes_logical)
    store.refs.set_current(ref, current)


def _same_record(home: Home, ref: Ref, built: BuildOutput) -> bool:
    """Return whether the log has the same check results, skipped sources, and sources as `status` compares them."""
    from datapkg.building.status import compared
    from datapkg.format.hashing import hash_bytes
    from datapkg.format.record_lists import LISTS, split_record

    event = home.store.refs.recorded(ref, built.manifest.hash, "build")
    if event and event.record_object:
        # Very many sources take much memory; here it is enough that the objects with both lists are equal.
        short, lists = split_record(built.record)
        keys = (LISTS, "sources", "checks", "rules", "left_out")
        is_same = all(short.get(key) == event.record.get(key) for key in keys)
        if is_same and hash_bytes(lists) == event.record_object:
            return True
    record = home.store.record_of(event) if event else {}
    is_same = all(record.get(key) == built.record.get(key) for key in ("checks", "rules", "left_out"))
    return is_same and compared(record) == compared(built.record)


def _remember(
    home: Home, ref: Ref, source: Any, options: BuildOptions, seen: Snapshot | None, spec: BuildSpec, built: BuildOutput
) -> None:
    """Record the build's path and options, and a snapshot of the folder if the package depends on nothing else."""
    from datapkg.building import snapshot
    from datapkg.building.cache import BuildCache
    from datapkg.building.spec.model import FileSource

    if isinstance(source, str | Path) and spec.root is not None and not spec.git:
        BuildCache(home.index, ref.package).keep_place(Path(source), options)
    elif spec.git and isinstance(source, str):
        BuildCache(home.index, ref.package).keep_repository(source)
    paths = [node.source.location for node in spec.nodes if isinstance(node.source, FileSource)]
    # What was left out may be readable next time, and other sources can change while the folder does not.
    if seen is None or built.left_out or len(paths) < len(spec.nodes) or not seen.holds(paths):
        return
    objects = home.store.objects
    try:
        files = objects.files([built.manifest.hash])
        # Their files are kept too: if one is gone or damaged, the next build has to make it again.
        for some in in_groups(built.manifest.objects()):
            files |= objects.files(some)
    except ObjectNotFound:  # the package was removed meanwhile, or the space of a shared store was freed
        return
    result = {
        "package": ref.package,
        "hash": built.manifest.hash,
        "built": 0,
        "reused": built.built + built.reused,
        "bytes_logical": built.bytes_logical,
        "warnings": built.warnings,
        "skipped": built.skipped,
    }
    snapshot.keep(home.index, ref.package, seen, files, result)


def generate(directory: Path, *, gitignore: bool = True) -> Generated:
    """Write an initial `build.yml` and `README.md` into a directory."""
    from datapkg.building.spec.generate import generate as write_build_file

    return write_build_file(Path(directory), gitignore=gitignore)
