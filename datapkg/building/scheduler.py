"""All sources of a build: what is known first, many small tables side by side, big ones one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from datapkg.building.build_context import BIG_BYTES, BuildContext
from datapkg.building.node_builder import BuiltNodes, build_node, import_libraries, known_result
from datapkg.building.readers import TRANSFORMS
from datapkg.building.spec.model import FileSource, NodeSpec, PackageSource
from datapkg.errors import BuildFailed, DatapkgError
from datapkg.objects.progress import Progress

WORKERS = os.cpu_count() or 1

# What came of a node: its nodes, or why there are none; None for one that is another package's.
Outcome = BuiltNodes | DatapkgError | None


def build_all(specs: Sequence[NodeSpec], desk: BuildContext, progress: Progress) -> Iterator[tuple[NodeSpec, Outcome]]:
    """Makes the nodes of all sources, and gives them in order; one that fails does not keep others from being made."""
    _look(specs, desk)
    made: list[Outcome | Future[Outcome]] = [None] * len(specs)
    later: list[int] = []
    done = 0
    progress("building", done, len(specs))
    with ThreadPoolExecutor(WORKERS, "datapkg-node") as pool:
        for number, spec in enumerate(specs):
            if isinstance(spec.source, FileSource) and (known := known_result(spec, spec.source, desk)):
                made[number] = known
            elif _is_small_table(spec):
                import_libraries()
                made[number] = pool.submit(_make, spec, desk)
                continue
            elif isinstance(spec.source, PackageSource):
                pass
            elif isinstance(spec.source, FileSource) and TRANSFORMS[spec.transform].kind == "file":
                made[number] = _make(spec, desk)
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
        made[number] = _make(specs[number], desk)
        done += 1
        progress("building", done, len(specs))
    for spec, outcome in zip(specs, made, strict=True):
        assert not isinstance(outcome, Future)
        yield spec, outcome


def _look(specs: Sequence[NodeSpec], desk: BuildContext) -> None:
    """Reads from the cache, in few questions, what is known of all files."""
    files = [(spec, spec.source) for spec in specs if isinstance(spec.source, FileSource)]
    if not files:
        return
    desk.cache.look_below(outermost({os.path.dirname(str(source.path)) for _, source in files}))
    parsed, hashes = [], set()
    for spec, source in files:
        if known := desk.cache.hash_of(source.path):
            if TRANSFORMS[spec.transform].kind == "file":
                hashes.add(known[0])
            else:
                parsed.append((spec, known[0], source.name))
    desk.cache.look_for(parsed)
    desk.absent = desk.objects.missing(hashes)


def outermost(folders: set[str]) -> list[Path]:
    """The folders that lie in no other of them."""
    highest: list[str] = []
    for folder in sorted(folders):
        if not highest or not (folder + os.sep).startswith(highest[-1].rstrip(os.sep) + os.sep):
            highest.append(folder)
    return [Path(folder) for folder in highest]


def _is_small_table(spec: NodeSpec) -> bool:
    if not isinstance(spec.source, FileSource) or TRANSFORMS[spec.transform].kind == "file":
        return False
    try:
        return spec.source.path.stat().st_size < BIG_BYTES
    except OSError:
        return True


def _make(spec: NodeSpec, desk: BuildContext) -> Outcome:
    try:
        return build_node(spec, desk)
    except BuildFailed as error:
        return error
