"""How fast does one big object travel beside curl and sha256sum, and do many small ones where each answer is late?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import _data
from _bench import MB, Row, Usage, at_least, at_most, middle, options, own_environ, report, used, workplace
from _wire import delayed

LATE_S = 0.05
START = """
import sys
from datapkg.format.names import Ref
from datapkg.home import Home
print(Home().client().start_push(Ref.parse(sys.argv[1]), "0" * 64, []).push)
"""


def big_rows(size: int, rounds: int, folder: Path, environ: Mapping[str, str]) -> list[Row]:
    """Push and install one file in turns with curl, which sends and fetches another one of that size."""
    taken: dict[str, list[Usage]] = {"push": [], "curl up": [], "install": [], "curl down": []}
    for number in range(rounds):
        source, other = folder / f"big{number}" / "data.bin", folder / f"other{number}"
        source.parent.mkdir()
        for path in (source, other):
            with path.open("wb") as file:
                for _ in range(0, size, MB):
                    file.write(os.urandom(MB))
        ref, home = f"me/big{number}", {**environ, "DATAPKG_HOME": str(folder / f"home{number}")}
        used("datapkg", "build", ref, source.parent, "-q", environ=home)
        os.sync()
        taken["curl up"].append(curl_up(other, environ))
        os.sync()
        taken["push"].append(used("datapkg", "push", ref, "-q", environ=home))
        source.unlink()
        os.sync()
        taken["curl down"].append(curl_down(ref, home, other))
        other.unlink()
        os.sync()
        elsewhere = {**environ, "DATAPKG_HOME": str(folder / f"else{number}")}
        taken["install"].append(used("datapkg", "install", ref, "-q", environ=elsewhere))
    rows = {what: middle(usages) for what, usages in taken.items()}
    return [
        {"what": "curl -T, sha256sum", "MB/s": size / MB / rows["curl up"].seconds, **rows["curl up"].row()},
        beside("push one object", size, rows["push"], rows["curl up"]),
        {"what": "curl -o, sha256sum", "MB/s": size / MB / rows["curl down"].seconds, **rows["curl down"].row()},
        beside("install one object", size, rows["install"], rows["curl down"]),
    ]


def beside(what: str, size: int, ours: Usage, theirs: Usage) -> Row:
    """Return a row that compares our speed with that of curl, in %."""
    share = 100 * theirs.seconds / ours.seconds
    return {"what": what, "MB/s": size / MB / ours.seconds, **ours.row(), "% of curl": share, **at_least(share, 60)}


def curl_up(path: Path, environ: Mapping[str, str]) -> Usage:
    """Send a file to a push that is begun for it, which the registry hashes, and hash it here."""
    hash = hash_of(path)
    push = python(START, f"me/other{path.name}", environ=environ)
    user, name = "me", f"other{path.name}"
    url = f"{environ['DATAPKG_REGISTRY']}/api/v1/packages/{user}/{name}/pushes/{push}/objects/{hash}"
    return shell(
        f'curl -sSf -T "{path}" -H "Authorization: Bearer $DATAPKG_TOKEN" "{url}" && sha256sum "{path}"', environ
    )


def curl_down(ref: str, environ: Mapping[str, str], path: Path) -> Usage:
    """Fetch the object of a package into a file and hash that."""
    from datapkg.format.names import Ref
    from datapkg.home import Home
    from datapkg.resolve import find_installed

    home = Home(environ)
    found = find_installed(home, Ref.parse(ref))
    (hash,) = home.store.manifest(found.hash).objects()
    url = f"{environ['DATAPKG_REGISTRY']}/api/v1/packages/{ref}/objects/{hash}"
    return shell(
        f'curl -sSf -o "{path}" -H "Authorization: Bearer $DATAPKG_TOKEN" "{url}" && sha256sum "{path}"', environ
    )


def shell(line: str, environ: Mapping[str, str]) -> Usage:
    """Run a line of the shell and measure it."""
    return used("/bin/sh", "-c", line, environ=environ)


def hash_of(path: Path) -> str:
    """Return the sha256 of a file, which is then in the page cache as ours is after its build."""
    return subprocess.run(["sha256sum", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]


def python(code: str, *arguments: str, environ: Mapping[str, str]) -> str:
    """Run Python code as another user of this machine, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def late_rows(count: int, folder: Path, environ: Mapping[str, str]) -> list[Row]:
    """Push many small files and install them through a proxy that hands everything on late."""
    source = folder / "many"
    _data.write_files(source, count, 10_000)
    used("datapkg", "build", "me/many", source, "-q", environ=environ)
    with delayed(environ["DATAPKG_REGISTRY"], LATE_S) as url:
        os.sync()
        push = used("datapkg", "push", "me/many", "-q", environ=environ)
        elsewhere = own_environ(folder / "late", DATAPKG_REGISTRY=url, DATAPKG_TOKEN=environ["DATAPKG_TOKEN"])
        os.sync()
        install = used("datapkg", "install", "me/many", "-q", environ=elsewhere)
    what = f"{count:,} × 10 KB"
    return [
        {"what": f"push {what}", **push.row(), **at_most(push.seconds, 1.5)},
        {"what": f"install {what}, 50 ms a round trip", **install.row(), **at_most(install.seconds, 4)},
    ]


def main() -> None:
    chosen = options(__doc__, mb=(2, 100, 1_000), rounds=(1, 3, 3), files=(50, 10_000, 10_000))
    with workplace() as (folder, environ):
        rows = big_rows(chosen.mb * MB, chosen.rounds, folder, environ)
        rows += late_rows(chosen.files, folder, environ)
    report(chosen, rows)


if __name__ == "__main__":
    main()
