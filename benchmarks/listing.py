"""How long does a new process take to list a package of very many files, and to find one part of it, with each tool?

Every name with its size, in Python, from the start of the process to its end; the libraries take turns. The time of the
operating system for a folder of such files is shown for comparison. pins has no folders, so it lists only names.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import _data
from _bench import Row, options, report, scratch, turns, used
from _peers import Peer, ahead, peer_environ, peers

START = "import os, subprocess, sys\nfolder = sys.argv[1]\n"
OURS = "datapkg"
FLOOR = "os.scandir"
BYTES = 100


@dataclass(frozen=True)
class Way:
    """Code that stores `{folder}/many`, and code that lists all of it, and one folder of it."""

    store: str
    all: str
    one: str


SCAN = """
def scan(path):
    for entry in os.scandir(path):
        if entry.is_dir():
            yield from scan(entry.path)
        else:
            yield entry.path, entry.stat().st_size
"""
DVC = "from dvc.api import DVCFileSystem\nsystem = DVCFileSystem(f'{folder}/dvc')\n"
QUILT = """
import quilt3
package = quilt3.Package.browse('bench/many', registry=f'file://{folder}/quilt3')
"""
WAYS = {
    FLOOR: Way("", SCAN + "found = list(scan(f'{folder}/many'))", SCAN + "found = list(scan(f'{folder}/many/000'))"),
    OURS: Way(
        "import datapkg\ndatapkg.build('bench/many', f'{folder}/many')",
        """
import datapkg
from datapkg.data.bench import many
found = [(path, datapkg.size(node)) for path, node in datapkg.walk(many) if datapkg.kind(node) != 'group']""",
        """
import datapkg
from datapkg.data.bench import many
found = [(name, datapkg.size(node)) for name, node in datapkg.items(many['000'])]""",
    ),
    "through fsspec": Way(
        "",
        """
from fsspec import filesystem
found = filesystem('datapkg').find('bench/many', detail=True)""",
        """
from fsspec import filesystem
found = filesystem('datapkg').ls('bench/many/000', detail=True)""",
    ),
    "dvc": Way(
        """
import shutil
os.mkdir(f'{folder}/dvc')
shutil.copytree(f'{folder}/many', f'{folder}/dvc/many')
for command in ['init', '--no-scm'], ['add', 'many']:
    subprocess.run([sys.executable, '-m', 'dvc', *command, '-q'], cwd=f'{folder}/dvc', check=True)
shutil.rmtree(f'{folder}/dvc/many')""",
        DVC + "found = system.find('many', detail=True)",
        DVC + "found = system.ls('many/000', detail=True)",
    ),
    "quilt3": Way(
        """
import quilt3
quilt3.Package().set_dir('.', f'{folder}/many').build('bench/many', registry=f'file://{folder}/quilt3')""",
        QUILT + "found = [(path, entry.size) for path, entry in package.walk()]",
        QUILT + "found = [(name, package['000'][name].size) for name in package['000']]",
    ),
    "pins": Way(
        """
import pathlib, pins
paths = sorted(map(str, pathlib.Path(f'{folder}/many').rglob('*.txt')))
pins.board_folder(f'{folder}/pins').pin_upload(paths, 'many')""",
        """
import pins
meta = pins.board_folder(f'{folder}/pins').pin_meta('many')
found = list(zip(meta.file, meta.file_size, strict=True))""",
        "",
    ),
}


def stored(folder: Path, pythons: dict[str, str], count: int) -> None:
    """Create the files and store them with each library."""
    _data.write_files(folder / "many", count, BYTES)
    for name, python in pythons.items():
        used(python, "-c", START + WAYS[name].store, folder, environ=peer_environ(folder))


def took(folder: Path, pythons: dict[str, str], code: dict[str, str], expected: int, rounds: int) -> dict[str, float]:
    """Return the median of each library, which must find the expected number of files."""
    taken: dict[str, list[float]] = {name: [] for name in code}
    for number in range(rounds):
        for name in turns(code, number):
            checked = f"{START}{code[name]}\nassert len(found) == {expected}, len(found)"
            usage = used(pythons[name], "-c", checked, folder, environ=peer_environ(folder))
            taken[name].append(usage.seconds)
    return {name: median(each) for name, each in taken.items()}


def row(what: str, values: dict[str, float]) -> Row:
    others = [value for name, value in values.items() if name not in (FLOOR, OURS, "through fsspec")]
    return {"what": what, **values, **ahead(values[OURS], others)}


def measured(folder: Path, pythons: dict[str, str], count: int, rounds: int) -> list[Row]:
    """Measure listing all files, and one folder of them."""
    stored(folder, pythons, count)
    every = {name: WAYS[name].all for name in pythons}
    one = {name: WAYS[name].one for name in pythons if WAYS[name].one}
    return [
        row(f"all of {count:,} files", took(folder, pythons, every, count, rounds)),
        row(f"one folder of 100, of {count:,} files", took(folder, pythons, one, min(count, 100), rounds)),
    ]


def main() -> None:
    sizes = {"files": (200, 10_000, 10_000), "many": (0, 0, 100_000), "rounds": (1, 5, 9)}
    chosen = options(__doc__, peers=True, **sizes)
    installed: list[Peer] = list(peers(chosen, "dvc", "quilt3", "pins"))
    pythons = dict.fromkeys((FLOOR, OURS, "through fsspec"), sys.executable)
    pythons |= {peer.name: str(peer.python) for peer in installed}
    rows: list[Row] = []
    for count in (chosen.files, chosen.many):
        with scratch() as folder:
            if count:
                rows += measured(folder, pythons, count, chosen.rounds)
    report(chosen, rows, {peer.name: peer.version for peer in installed})


if __name__ == "__main__":
    main()
