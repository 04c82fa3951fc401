"""Schedule the sources of a build: cached ones first, then small tables in parallel, then big ones in sequence.

A big table uses all cores on its own, and building one at a time limits memory use to that of one table. What a runner
takes, it schedules itself: a thread here waits for it. A runner is not asked for anything while all is known.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from datapkg.building.build_context import BIG_BYTES, BuildContext
from datapkg.building.cache import BuildCache
from datapkg.building.node_builder import (
    BuiltNodes,
    Deferred,
    StoredFile,
    build_node,
    file_nodes,
    import_libraries,
    known_result,
)
from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.handlers import handler_of, local_file
from datapkg.building.spec.model import NodeSpec, Source
from datapkg.errors import BuildFailed, DatapkgError
from datapkg.format.object_sizes import MANY, SizesCollector, lacking
from datapkg.format.texts import size_text
from datapkg.objects.progress import BUILDING, BUILDING_NODES, PartCounter, Progress, Share
from datapkg.objects.threads import PendingCall, ThreadPool

WORKERS = os.cpu_count() or 1

MOST_COMPRESSED = 16
"""Few tables take less than this part of their source: a build with less room than that does not begin."""
# The nodes of a source, or the error that it failed with.
Outcome = BuiltNodes | StoredFile | DatapkgError


def build_all(
    specs: Sequence[NodeSpec], context: BuildContext, progress: Progress
) -> Iterator[tuple[NodeSpec, Outcome]]:
    """Build the nodes of all sources and yield them in order; a source that fails does not stop the others.

    Very many files that are stored unchanged are yielded as such.
    """
    context.absent = set(lacking(look_up_files(specs, context.cache), context.objects.missing))
    made: list[Outcome | None] = []
    for number, spec in enumerate(specs):
        progress("comparing", number, len(specs))
        file = local_file(spec.source)
        made.append(known_result(spec, file, context) if file is not None else None)
    new = [number for number, known in enumerate(made) if known is None]
    sizes = [_size(specs[number].source) for number in new]
    # With --force, nothing is known of what is here already: all of it would count as new.
    if not context.cache.forced:
        files, tables = _least_bytes([specs[number] for number in new], sizes)
        what = f"the build (about {size_text(tables)} of it for tables)" if tables else "the build"
        context.objects.check_room(files + tables, what)
    counter = PartCounter(progress, sizes, (BUILDING, BUILDING_NODES))
    for at, done in _all_made([specs[number] for number in new], sizes, counter, context):
        made[new[at]] = done
    for number, spec in enumerate(specs):
        outcome, made[number] = made[number], None  # what the caller keeps of it takes less
        assert outcome is not None
        if isinstance(outcome, StoredFile) and len(specs) < MANY:
            outcome = file_nodes(spec, outcome, context)
        yield spec, outcome


def _all_made(
    specs: Sequence[NodeSpec], sizes: Sequence[int | None], counter: PartCounter, context: BuildContext
) -> Iterator[tuple[int, Outcome]]:
    """Build sources of these sizes, each a part of the counted work; yield number and outcome in any order."""
    runner = context.runner
    ways: dict[str, list[int]] = {"elsewhere": [], "in threads": [], "as it is": [], "alone": []}
    for number, (spec, size) in enumerate(zip(specs, sizes, strict=True)):
        is_elsewhere = runner is not None and runner.takes(spec, size)
        ways["elsewhere" if is_elsewhere else _way(spec, size)].append(number)
    if ways["in threads"]:
        import_libraries(specs[number] for number in ways["in threads"])
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPool(WORKERS))
        pending: dict[int, PendingCall[Outcome] | PendingCall[Outcome | Deferred]] = {
            number: pool.submit(_make, specs[number], context, counter.share(number))
            for way in ("elsewhere", "in threads")
            for number in ways[way]
        }
        waiting = None
        for number in ways["elsewhere"]:
            if callable(found := pending[number].result()):
                assert runner is not None
                waiting = waiting or stack.enter_context(ThreadPool(runner.slots))
                pending[number] = waiting.submit(_end, found, counter.share(number))
        for number in ways["as it is"]:
            yield number, _here(specs[number], context, counter.share(number))
        for number, call in pending.items():
            done = call.result()
            assert not callable(done)
            yield number, done
    for number in ways["alone"]:
        yield number, _here(specs[number], context, counter.share(number))


def _way(spec: NodeSpec, size: int | None) -> str:
    """Return how a source is built that no runner takes."""
    if local_file(spec.source) is None:
        return "alone"
    if TRANSFORMS[spec.transform].kind == "file":
        return "as it is"
    return "in threads" if size is None or size < BIG_BYTES else "alone"


def look_up_files(specs: Sequence[NodeSpec], cache: BuildCache) -> Mapping[str, int]:
    """Load the cache entries of all local files in few queries; return those that are stored as is: hash to size."""
    files = [(spec, file) for spec in specs if (file := local_file(spec.source)) is not None]
    if not files:
        return {}
    cache.look_below(outermost({os.path.dirname(file.location) for _, file in files}))
    parsed, stored = [], SizesCollector()
    for spec, file in files:
        if known := cache.hash_of(file.location):
            if TRANSFORMS[spec.transform].kind == "file":
                stored.add([known[0]], [known[1]])
            else:
                parsed.append((spec, known[0], file.name))
    cache.look_for(parsed)
    return stored.with_repeated()[0]


def _least_bytes(specs: Sequence[NodeSpec], sizes: Sequence[int | None]) -> tuple[int, int]:
    """Return how much new nodes take at least: local files that are stored as they are, and all tables.

    How well a table compresses is not known before, so that its part is about `1 / MOST_COMPRESSED` of its source.
    """
    files = tables = 0
    for spec, size in zip(specs, sizes, strict=True):
        if TRANSFORMS[spec.transform].kind != "file":
            tables += size or 0
        elif local_file(spec.source) is not None:
            files += size or 0
    return files, tables // MOST_COMPRESSED


def outermost(folders: set[str]) -> list[Path]:
    """Return the folders that are not inside another of the given folders."""
    highest: list[str] = []
    for folder in sorted(folders):
        if not highest or not (folder + os.sep).startswith(highest[-1].rstrip(os.sep) + os.sep):
            highest.append(folder)
    return [Path(folder) for folder in highest]


def _size(source: Source) -> int | None:
    """Return the bytes of the local files that a source consists of; None if that is not known."""
    files = handler_of(source).local_files(source)
    try:
        return sum(os.stat(each.path).st_size for each in files) if files else None
    except OSError:
        return None


def _make(spec: NodeSpec, context: BuildContext, share: Share) -> Outcome | Deferred:
    found: Outcome | Deferred
    try:
        found = build_node(spec, context, share)
    except BuildFailed as error:
        found = error
    if not callable(found):
        share(1)
    return found


def _end(deferred: Deferred, share: Share) -> Outcome:
    try:
        return deferred()
    except BuildFailed as error:
        return error
    finally:
        share(1)


def _here(spec: NodeSpec, context: BuildContext, share: Share) -> Outcome:
    found = _make(spec, context, share)
    return _end(found, share) if callable(found) else found
