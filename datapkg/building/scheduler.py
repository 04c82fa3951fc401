"""Schedule the sources of a build: cached ones first, then small tables in parallel, then big ones in sequence.

A big table uses all cores on its own, and building one at a time limits memory use to that of one table.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from datapkg.building.build_context import BIG_BYTES, BuildContext
from datapkg.building.cache import BuildCache
from datapkg.building.node_builder import BuiltNodes, build_node, import_libraries, known_result
from datapkg.building.readers import TRANSFORMS
from datapkg.building.sources.handlers import local_file
from datapkg.building.spec.model import FileSource, NodeSpec
from datapkg.errors import BuildFailed, DatapkgError
from datapkg.objects.progress import Progress

WORKERS = os.cpu_count() or 1

# The nodes of a source, or the error that it failed with.
Outcome = BuiltNodes | DatapkgError


def build_all(
    specs: Sequence[NodeSpec], context: BuildContext, progress: Progress
) -> Iterator[tuple[NodeSpec, Outcome]]:
    """Build the nodes of all sources and yield them in order; a source that fails does not stop the others."""
    context.absent = context.objects.missing(look_up_files(specs, context.cache))
    if not context.cache.forced:  # then nothing is known to be here
        context.objects.check_room(_new_file_bytes(specs, context), "the build")
    made: list[Outcome | Future[Outcome] | None] = [None] * len(specs)
    later: list[int] = []
    done = 0
    progress("building", done, len(specs))
    with ThreadPoolExecutor(WORKERS, "datapkg-node") as pool:
        for number, spec in enumerate(specs):
            file = local_file(spec.source)
            if file is not None and (known := known_result(spec, file, context)):
                made[number] = known
            elif file is not None and TRANSFORMS[spec.transform].kind == "file":
                made[number] = _make(spec, context)
            elif file is not None and _is_small(file):
                import_libraries()
                made[number] = pool.submit(_make, spec, context)
                continue
            else:
                later.append(number)
                continue
            done += 1
            progress("building", done, len(specs))
        for number, waiting in enumerate(made):
            if isinstance(waiting, Future):
                made[number] = waiting.result()
                done += 1
                progress("building", done, len(specs))
    for number in later:
        made[number] = _make(specs[number], context)
        done += 1
        progress("building", done, len(specs))
    for spec, outcome in zip(specs, made, strict=True):
        assert isinstance(outcome, BuiltNodes | DatapkgError)
        yield spec, outcome


def look_up_files(specs: Sequence[NodeSpec], cache: BuildCache) -> set[str]:
    """Load the cache entries of all local files in few queries; return the hashes of files that are stored as is."""
    files = [(spec, file) for spec in specs if (file := local_file(spec.source)) is not None]
    if not files:
        return set()
    cache.look_below(outermost({os.path.dirname(str(file.path)) for _, file in files}))
    parsed, hashes = [], set()
    for spec, file in files:
        if known := cache.hash_of(file.path):
            if TRANSFORMS[spec.transform].kind == "file":
                hashes.add(known[0])
            else:
                parsed.append((spec, known[0], file.name))
    cache.look_for(parsed)
    return hashes


def _new_file_bytes(specs: Sequence[NodeSpec], context: BuildContext) -> int:
    """Return the size of the files that are stored as they are and not here yet; a table's size is not known before."""
    size = 0
    for spec in specs:
        file = local_file(spec.source)
        if file is not None and TRANSFORMS[spec.transform].kind == "file":
            known = context.cache.hash_of(file.path)
            if known is None or known[0] in context.absent:
                with contextlib.suppress(OSError):
                    size += os.stat(file.path).st_size
    return size


def outermost(folders: set[str]) -> list[Path]:
    """Return the folders that are not inside another of the given folders."""
    highest: list[str] = []
    for folder in sorted(folders):
        if not highest or not (folder + os.sep).startswith(highest[-1].rstrip(os.sep) + os.sep):
            highest.append(folder)
    return [Path(folder) for folder in highest]


def _is_small(file: FileSource) -> bool:
    try:
        return file.path.stat().st_size < BIG_BYTES
    except OSError:
        return True


def _make(spec: NodeSpec, context: BuildContext) -> Outcome:
    try:
        return build_node(spec, context)
    except BuildFailed as error:
        return error
