"""How long does datapkg take to do next to nothing?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _bench import report, run, seconds, workplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--nodes", type=int, default=10_000)
    options = parser.parse_args()
    python = Path(sys.executable).name
    with workplace() as (folder, environ):
        source = folder / "many"
        for number in range(options.nodes):
            path = source / f"{number % 100:02}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(number))
        run("datapkg", "build", "me/many", str(source), environ=environ)

        def took(*command: str) -> float:
            return 1000 * seconds(lambda: run(*command, environ=environ), options.repeats)

        bare = took(python, "-c", "pass")
        over = {
            "datapkg --version": (took("datapkg", "--version"), "≤ 50"),
            "datapkg ls": (took("datapkg", "ls"), "≤ 90"),
            "import datapkg": (took(python, "-c", "import datapkg"), ""),
            f"import a package of {options.nodes:,} nodes": (
                took(python, "-c", "from datapkg.data.me import many"),
                "≤ 25",
            ),
        }
        rows = [("python -c pass", bare, "ms", "")]
        rows += [(f"{what}, over it", value - bare, "ms", bar) for what, (value, bar) in over.items()]
        report("startup", rows, repeats=options.repeats, nodes=options.nodes)


if __name__ == "__main__":
    main()
