"""What do stages cost beside the commands that they run: first, with nothing changed, with one input changed?"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from _bench import Row, Usage, at_most, options, own_environ, report, scratch, used
from _peers import Peer, peer_environ, peers

CHAIN = 10
"""Each stage copies the output of the one before; there are as many such chains as it takes."""
NO_OP_S, OVERHEAD_MS = 1.0, 50.0


def chains(count: int) -> Iterator[tuple[int, str]]:
    """Yield the number of each stage, and the file that it reads."""
    for number in range(count):
        yield number, f"o{number - 1}" if number % CHAIN else f"raw{number // CHAIN}"


def write_inputs(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(0, count, CHAIN):
        (folder / f"raw{number // CHAIN}").write_text(f"row {number}\n" * 10)


def write_build_file(folder: Path, count: int) -> None:
    lines = [f"  o{number}: {{stage: s{number}}}" for number in range(count)]
    lines = ["contents:", *lines, "stages:"]
    for number, source in chains(count):
        given = source if source.startswith("raw") else f"stages.s{number - 1}.out"
        files = f"inputs: {{given: {given}}}, outputs: {{out: o{number}}}"
        lines.append(f"  s{number}: {{run: 'cp {{given}} {{out}}', {files}}}")
    (folder / "build.yml").write_text("\n".join(lines) + "\n")


def write_dvc(folder: Path, count: int, peer: Peer) -> None:
    lines = ["stages:"]
    for number, source in chains(count):
        lines.append(f"  s{number}: {{cmd: cp {source} o{number}, deps: [{source}], outs: [o{number}]}}")
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    command = [str(peer.program("dvc")), "init", "--no-scm", "-q"]
    subprocess.run(command, cwd=folder, env=peer_environ(folder.parent), check=True)


@contextmanager
def work(count: int, peer: Peer | None) -> Iterator[tuple[Path, Callable[[], Usage]]]:
    """Yield a new folder with these stages, and the call that brings them up to date."""
    with scratch() as place:
        folder = place / "stages"
        write_inputs(folder, count)
        if peer:
            write_dvc(folder, count, peer)
            yield folder, lambda: used(peer.program("dvc"), "repro", "-q", environ=peer_environ(place), folder=folder)
        else:
            write_build_file(folder, count)
            yield (
                folder,
                lambda: used("datapkg", "build", "me/stages", folder, "-q", environ=own_environ(place / "home")),
            )


def measured(count: int, peer: Peer | None) -> list[Row]:
    """Return a row for the first run, one with nothing changed, and one with the input of one chain changed."""
    who = peer.name if peer else "datapkg"
    with work(count, peer) as (folder, bring):
        first, same = bring(), bring()
        (folder / "raw0").write_text("another\n")
        changed = bring()
    per_stage = {"ms a stage": 1000 * first.seconds / count}
    bars = ({**at_most(per_stage["ms a stage"], OVERHEAD_MS)}, at_most(same.seconds, NO_OP_S)) if not peer else ({}, {})
    return [
        {"what": f"{who}, {count:,} stages, first", **first.row(), **per_stage, **bars[0]},
        {"what": f"{who}, {count:,} stages, nothing changed", **same.row(), **bars[1]},
        {"what": f"{who}, {count:,} stages, one input changed", **changed.row()},
    ]


def rows(chosen: argparse.Namespace, peer: Peer | None) -> list[Row]:
    sizes = {min(chosen.peer_stages, each) if peer else each for each in (chosen.few, chosen.many)}
    return [row for count in sorted(sizes) for row in measured(count, peer)]


def main() -> None:
    chosen = options(__doc__, peers=True, few=(10, 100, 100), many=(20, 1_000, 1_000), peer_stages=(10, 100, 200))
    found = rows(chosen, None)
    versions = {}
    for peer in peers(chosen, "dvc"):
        found += rows(chosen, peer)
        versions[peer.name] = peer.version
    report(chosen, found, versions)


if __name__ == "__main__":
    main()
