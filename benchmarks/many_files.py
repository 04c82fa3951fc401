"""How long do many small files take: build, push, install, and each again with nothing to do?"""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from _bench import report, run, seconds, workplace


def hash_all(source: Path) -> None:
    """Reads and hashes every file: what no tool can do without."""
    for path in source.rglob("*.bin"):
        hashlib.sha256(path.read_bytes()).digest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=10_000)
    options = parser.parse_args()
    with workplace() as (folder, environ):
        source = folder / "many"
        for number in range(options.files):
            path = source / f"{number % 100:02}" / f"{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(options.size))
        elsewhere = {**environ, "DATAPKG_HOME": str(folder / "second")}

        def took(environ: dict[str, str], *command: str) -> float:
            return seconds(lambda: run("datapkg", *command, "-q", environ=environ))

        rows = [
            ("read and hash", seconds(lambda: hash_all(source)), "s", ""),
            ("build", took(environ, "build", "me/many", str(source)), "s", ""),
            ("build again", took(environ, "build", "me/many", str(source)), "s", ""),
            ("push", took(environ, "push", "me/many"), "s", "≤ 1.5"),
            ("push again", took(environ, "push", "me/many"), "s", "≤ 0.4"),
            ("install elsewhere", took(elsewhere, "install", "me/many"), "s", "≤ 1.5"),
            ("install again", took(elsewhere, "install", "me/many"), "s", ""),
            ("verify", took(elsewhere, "verify"), "s", ""),
        ]
        report("many_files", rows, files=options.files, size_bytes=options.size)


if __name__ == "__main__":
    main()
